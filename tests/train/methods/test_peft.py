"""Adapters that the `peft` library opens, and those of its that we read: the same weights, the same logits, the same tokens."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eval.decoding.decoder import Decoder
from t5x_tasks.common.errors import UserError
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config, GreedyConfig, dump
from train.export import __main__ as export_cli
from train.export.hf import save_hf
from train.model.fingerprint import fingerprint
from train.model.t5 import Params, T5Config, abstract_model, init_params
from train.model_spec import ModelSpec, merged_params
from train.params import checkpoint_params, infer_config, load_params, load_weights
from train.weights.locate import resolve_weights

# As many layers on both sides: transformers sizes the cache of `generate` by the encoder's.
SIZES: dict[str, Any] = {
    "emb_dim": 32,
    "mlp_dim": 48,
    "num_heads": 2,
    "head_dim": 8,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"type": "lora", "rank": 4, "alpha": 6},
    "lora of everything, rank-stabilised": {"type": "lora", "rank": 4, "targets": [".*"], "rslora": True},
    "dora": {"type": "lora", "rank": 3, "dora": True, "targets": ["decoder/.*", ".*/value"]},
    "ia3": {"type": "ia3"},
}


@pytest.fixture(scope="module")
def base(vocabulary: Any, vocabulary_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face directory of random weights, sharp enough that an adapter shows."""
    config = T5Config(vocab_size=-(-vocabulary.size // 128) * 128, **SIZES)
    params = jax.tree.map(lambda x: 1.5 * x if x.ndim > 2 else x, init_params(config, 0))
    folder = tmp_path_factory.mktemp("base") / "hf"
    save_hf(params, config, folder, vocabulary_path)
    return folder


@pytest.fixture(scope="module")
def make_run(base: Path, vocabulary_path: Path, tmp_path_factory: pytest.TempPathFactory, make_model: Any) -> Any:
    """Returns a function that makes a run of a method whose checkpoint holds random numbers, and returns it with its model."""

    def make(method: dict[str, Any]) -> tuple[Path, Config, ModelSpec]:
        run_dir = tmp_path_factory.mktemp("run")
        model = {"preset": "t5-tiny", "weights": str(base), "vocabulary": str(vocabulary_path), **SIZES}
        config = Config.model_validate({"run_dir": str(run_dir), "model": model, "method": method})
        (run_dir / "config.yaml").write_text(dump(config))
        model = make_model(config)
        rng = np.random.default_rng(0)
        trained, frozen = model.split(load_params(config, model))
        trained = jax.tree.map(lambda x: x + 0.3 * jnp.asarray(rng.standard_normal(x.shape), x.dtype), trained)
        with Checkpoints(run_dir / "checkpoints") as checkpoints:
            checkpoints.save(5, {"params": trained}, position={}, metadata={"frozen": fingerprint(frozen)})
        return run_dir, config, model

    return make


def all_params(run: tuple[Path, Config, ModelSpec]) -> Params:
    run_dir, config, model = run
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        return checkpoint_params(config, model, checkpoints, 5)


def batch(vocab_size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    tokens = {
        f"{side}_input_tokens": rng.integers(3, vocab_size, (3, n)) for side, n in (("encoder", 20), ("decoder", 9))
    }
    segments = {name.replace("input_tokens", "segment_ids"): np.ones_like(value) for name, value in tokens.items()}
    return {name: value.astype(np.int32) for name, value in (tokens | segments).items()}


def ours(graphdef: nnx.GraphDef, params: Params, batch: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(jax.jit(lambda params, batch: nnx.merge(graphdef, params)(batch))(params, batch))


def theirs(model: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    import torch  # pyright: ignore[reportMissingImports]

    tokens = (torch.tensor(batch[f"{side}_input_tokens"].astype(np.int64)) for side in ("encoder", "decoder"))
    with torch.no_grad():
        encoder, decoder = tokens
        return model(input_ids=encoder, decoder_input_ids=decoder, use_cache=False).logits.numpy()


@pytest.mark.needs_peft
@pytest.mark.parametrize("name", METHODS)
def test_peft_opens_an_exported_adapter_and_computes_the_same(name, make_run, base, tmp_path):
    import torch  # pyright: ignore[reportMissingImports]
    from peft import AutoPeftModelForSeq2SeqLM  # pyright: ignore[reportMissingImports]

    run = make_run(METHODS[name])
    run_dir, _, model = run
    export_cli.main([str(run_dir), "--to", "peft", str(tmp_path / "out")])
    opened = AutoPeftModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    tokens, params = batch(model.config.vocab_size), all_params(run)
    logits = ours(model.graphdef, params, tokens)
    np.testing.assert_allclose(theirs(opened, tokens), logits, atol=1e-4 * np.abs(logits).max())
    plain = opened.unload()  # it does something
    assert np.abs(theirs(plain, tokens) - logits).max() > 0.05 * np.abs(logits).max()

    opened = AutoPeftModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    inputs = [np.append(row, 1).astype(np.int32) for row in tokens["encoder_input_tokens"]]
    decoder = Decoder(model.graphdef, GreedyConfig(max_tokens=12), mesh=model.mesh, batch_size=4)
    with torch.no_grad():
        generated = opened.generate(
            input_ids=torch.tensor(np.stack(inputs).astype(np.int64)), max_new_tokens=12, num_beams=1, do_sample=False
        )
    for mine, other in zip(decoder(params, inputs), generated.numpy(), strict=True):
        np.testing.assert_array_equal(mine, other[1 : 1 + len(mine)])


@pytest.mark.needs_peft
@pytest.mark.parametrize("dora", [False, True])
def test_a_lora_directory_that_peft_saved_is_read_as_weights(dora, base, tmp_path):
    import torch  # pyright: ignore[reportMissingImports]
    from peft import LoraConfig, get_peft_model  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForSeq2SeqLM

    settings = LoraConfig(
        task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=7, target_modules=["q", "o", "wi_0", "wo"], use_dora=dora,
        layers_to_transform=[1], layers_pattern="block",
    )  # fmt: skip
    torch.manual_seed(0)
    model = get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(base), settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape))
    model.save_pretrained(tmp_path / "lora")
    config = infer_config(tmp_path / "lora")
    graphdef, shapes, _ = abstract_model(config)
    tokens = batch(config.vocab_size)
    logits = ours(graphdef, load_weights(resolve_weights(str(tmp_path / "lora")), shapes, None, config), tokens)
    np.testing.assert_allclose(logits, theirs(model.eval(), tokens), atol=1e-4 * np.abs(logits).max())
    assert np.abs(ours(graphdef, load_weights(base, shapes, None, config), tokens) - logits).max() > 0.01


@pytest.mark.parametrize("name", ["lora", "dora"])
def test_an_exported_lora_is_read_back_as_the_merged_weights(name, make_run, tmp_path):
    run = make_run(METHODS[name])
    export_cli.main([str(run[0]), "--to", "peft", str(tmp_path / "out")])
    shapes = abstract_model(run[2].config)[1]
    merged = merged_params(run[2], all_params(run))
    read = load_weights(tmp_path / "out", shapes, None, run[2].config)
    jax.tree.map(np.testing.assert_array_equal, read, merged)


def test_a_merged_run_goes_out_as_a_hugging_face_directory(make_run, tmp_path):
    run = make_run(METHODS["ia3"])
    export_cli.main([str(run[0]), "--to", "hf", str(tmp_path / "out")])
    read = load_weights(tmp_path / "out", abstract_model(run[2].config)[1], None, run[2].config)
    jax.tree.map(np.testing.assert_array_equal, read, merged_params(run[2], all_params(run)))


def test_what_peft_has_not_is_refused_and_nothing_is_written(make_run, tmp_path):
    for method, message in (
        ({"type": "bottleneck"}, "peft has no such adapter"),
        ({"type": "full"}, "peft has no such"),
    ):
        with pytest.raises(UserError, match=message):
            export_cli.main([str(make_run(method)[0]), "--to", "peft", str(tmp_path / "out")])
    with pytest.raises(UserError, match="cannot be merged"):
        export_cli.main([str(make_run({"type": "bottleneck"})[0]), "--to", "hf", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "only LORA can be read"),
        ({"rank_pattern": {"q": 2}}, "rank_pattern is {'q': 2}, which cannot be read"),
        ({"base_model_name_or_path": None}, "lacks base_model_name_or_path"),
        ({"r": 5}, "does not have the rank and sizes"),
    ],
)
def test_an_adapter_that_is_something_else_is_refused(change, message, make_run, tmp_path):
    run = make_run(METHODS["lora"])
    export_cli.main([str(run[0]), "--to", "peft", str(tmp_path / "out")])
    file = tmp_path / "out" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=message):
        load_weights(tmp_path / "out", abstract_model(run[2].config)[1], None, run[2].config)
