"""Methods on a base that is held in bfloat16: what is exported computes what was trained."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bare_run import save_base, save_run, some_tokens
from helpers.logits import logits_of
from safetensors.numpy import load_file

from train.checkpoints.checkpointer import Checkpoints
from train.config import Config
from train.export import __main__ as export_cli
from train.model.t5 import Params, abstract_model
from train.model_spec import ModelSpec
from train.params import checkpoint_params, infer_config, load_weights
from train.trees import flat

LORA = {"type": "lora", "rank": 4, "alpha": 8, "targets": [".*"]}
MERGED: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "dora": LORA | {"dora": True},
    "ia3": {"type": "ia3"},
    "p_tuning": {"type": "p_tuning", "length": 4, "hidden": 8, "in_templates": 900},
    "word_embeddings": {"type": "word_embeddings", "tokens": [20, 21, 22, 23]},
}


@pytest.fixture(scope="module")
def base(vocabulary_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "hf", vocabulary_path)


@pytest.fixture
def model(base: Path, vocabulary_path: Path) -> dict[str, Any]:
    return {"weights": str(base), "vocabulary": str(vocabulary_path), "param_dtype": "bfloat16"}


def small_product(start: Params, frozen: Params, *, share: float) -> Params:
    """LoRA whose product has `share` of its kernel's norm."""
    draw, kernels, made = np.random.default_rng(0), flat(frozen), {}
    for path, a in flat(start).items():
        if path.endswith("/a"):
            b = draw.standard_normal((a.shape[0], a.shape[2], start_of(start, path, "b").shape[2]))
            norm = np.linalg.norm(_product(a, b), axis=(1, 2), keepdims=True)
            kernel = np.asarray(kernels[_kernel(path)], np.float32)
            made[path] = a
            made[f"{path[:-1]}b"] = b * share * np.linalg.norm(kernel, axis=(1, 2), keepdims=True) / norm
    return jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.asarray(made[jax.tree_util.keystr(path, simple=True, separator="/")], x.dtype), start
    )


def start_of(start: Params, path: str, name: str) -> Any:
    return flat(start)[f"{path[:-1]}{name}"]


def _product(a: Any, b: Any) -> np.ndarray:
    return 2 * np.matmul(np.asarray(a, np.float64), np.asarray(b, np.float64))  # alpha / rank


def _kernel(path: str) -> str:
    return path.replace("adapters/", "").rpartition("/")[0]


def params_of(run_dir: Path, config: Config, model: ModelSpec) -> Params:
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        return checkpoint_params(config, model, checkpoints, 5)


@pytest.mark.parametrize("share", [0.003, 0.01])
@pytest.mark.parametrize("to", ["hf", "t5x"])
def test_an_exported_lora_on_a_bfloat16_base_keeps_its_effect(to, share, base, model, tmp_path, record_property):
    made = save_run(tmp_path / "run", model, LORA, functools.partial(small_product, share=share))
    export_cli.main([str(tmp_path / "run"), "--to", to, str(tmp_path / "out")])
    config = infer_config(base)
    out = flat(load_weights(tmp_path / "out", abstract_model(config)[1], None, config))
    run = flat(params_of(tmp_path / "run", *made))
    lost = {}
    for path in (path for path in run if path.endswith("/a")):
        product = _product(run[path], run[f"{path[:-1]}b"])
        effect = np.asarray(out[_kernel(path)], np.float64) - np.asarray(run[_kernel(path)], np.float64)
        lost[path] = np.linalg.norm(effect - product) / np.linalg.norm(product)
    print(f"{to}, {share}: lost {max(lost.values()):.2%}")
    assert max(lost.values()) < 1e-3


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", MERGED)
def test_transformers_computes_what_a_run_on_a_bfloat16_base_does(name, base, model, tmp_path):
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForSeq2SeqLM

    def moved(start: Params, _: Params) -> Params:
        draw = np.random.default_rng(0)
        return jax.tree.map(lambda x: x + (0.02 * draw.standard_normal(x.shape)).astype(x.dtype), start)

    config, built = save_run(tmp_path / "run", model, MERGED[name], moved)
    tokens = some_tokens(900)
    tokens["encoder_input_tokens"][:, :8] = [900, 899, 898, 897, 20, 21, 22, 23]
    export_cli.main([str(tmp_path / "run"), "--to", "hf", str(tmp_path / "out")])
    said = json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"]
    held = {tensor.dtype.name for tensor in load_file(tmp_path / "out" / "model.safetensors").values()}
    assert said == "float32" and held <= {"float32", "bfloat16"}

    def theirs(folder: Path) -> np.ndarray:
        opened = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        assert {p.dtype for p in opened.parameters()} == {torch.float32}
        encoder, decoder = (torch.tensor(tokens[f"{side}_input_tokens"]).long() for side in ("encoder", "decoder"))
        with torch.no_grad():
            return opened(input_ids=encoder, decoder_input_ids=decoder, use_cache=False).logits.numpy()

    run = np.asarray(logits_of(built.graphdef, params_of(tmp_path / "run", config, built), tokens))
    off = np.abs(theirs(tmp_path / "out") - run).max() / np.abs(theirs(base) - run).max()
    print(f"{name}: {off:.2%} of the method's effect")
    assert off < 2e-3
