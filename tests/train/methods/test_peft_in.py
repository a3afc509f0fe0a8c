"""LoRA of the `peft` library read as weights: of some layers only, plain, and of kinds that are refused by name."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from t5x_tasks.common.errors import UserError
from tests.train.methods.test_peft import SIZES, base, batch, ours, theirs
from train.model.t5 import Params, T5Config, abstract_model
from train.params import infer_config, load_weights

__all__ = ["base"]  # a fixture

SOME = {"target_modules": ["q", "o", "wi_0", "wo"]}
# What an adapter changes, and the layers of query kernels that it leaves alone.
PLACES: dict[str, dict[str, Any]] = {
    "layers_to_transform": {**SOME, "layers_to_transform": [1], "layers_pattern": "block"},
    "exclude_modules": {**SOME, "exclude_modules": r".*block\.0.*"},
    "a regex of one layer": {"target_modules": r"encoder\.block\.1\..*\.(q|wo)"},
    "a regex of one kernel": {"target_modules": r"decoder\.block\.0\.layer\.1\.EncDecAttention\.v"},
}
KINDS: dict[str, dict[str, Any]] = {"plain": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}


@pytest.fixture
def save_adapter(base: Path, tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """Returns a function: settings of LoraConfig -> what peft saves after some noise for training, and its model."""

    def save(noise: float = 0.3, **settings: Any) -> tuple[Path, Any]:
        import torch  # pyright: ignore[reportMissingImports]
        from peft import LoraConfig, get_peft_model  # pyright: ignore[reportMissingImports]
        from transformers import AutoModelForSeq2SeqLM

        torch.manual_seed(0)
        plain = AutoModelForSeq2SeqLM.from_pretrained(base)
        model: Any = get_peft_model(plain, LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=7, **settings))
        model.save_pretrained(tmp_path / "start")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.add_(noise * torch.randn(parameter.shape))
        model.save_pretrained(tmp_path / "lora")
        return tmp_path / "lora", model.eval()

    return save


def load(folder: Path) -> tuple[Any, Params, T5Config]:
    config = infer_config(folder)
    graphdef, shapes, _ = abstract_model(config)
    return graphdef, load_weights(folder, shapes, None, config), config


def assert_same_logits(folder: Path, model: Any, base: Path) -> None:
    graphdef, params, config = load(folder)
    tokens = batch(config.vocab_size)
    expected = theirs(model, tokens)
    np.testing.assert_allclose(ours(graphdef, params, tokens), expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(ours(graphdef, load(base)[1], tokens) - expected).max() > 0.1  # it does something


@pytest.mark.needs_peft
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_layers_that_an_adapter_leaves_alone_stay_the_base(place, kind, save_adapter, base):
    folder, model = save_adapter(**PLACES[place], **KINDS[kind])
    assert_same_logits(folder, model, base)
    changed = {name.rpartition(".lora_")[0] for name in load_file(folder / "adapter_model.safetensors")}
    params, plain = load(folder)[1], load(base)[1]
    for stack in ("encoder", "decoder"):
        for layer in range(2):
            if not any(f"{stack}.block.{layer}." in name for name in changed):
                before, after = (jax.tree.map(lambda x, i=layer: x[i], p[stack]) for p in (plain, params))
                jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), after, before)


@pytest.mark.needs_peft
@pytest.mark.parametrize("start", ["gaussian", False, "eva"])
def test_adapters_whose_start_leaves_the_base_alone_are_read(start, save_adapter, base):
    folder, model = save_adapter(**SOME, init_lora_weights=start)
    assert_same_logits(folder, model, base)


@pytest.mark.needs_peft
def test_half_precision_adapters_are_read(save_adapter, base):
    folder, model = save_adapter(**SOME)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.bfloat16()
    model.save_pretrained(folder)
    assert {v.dtype for v in load_file(folder / "adapter_model.safetensors").values()} == {np.dtype(ml_dtypes.bfloat16)}
    assert_same_logits(folder, model.float(), base)


@pytest.mark.needs_peft
@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora"])
def test_adapters_of_a_changed_base_are_refused_until_peft_converts_them(start, save_adapter, base, tmp_path):
    folder, model = save_adapter(noise=0.1, **SOME, init_lora_weights=start)
    with pytest.raises(UserError, match=f"init_lora_weights is '{start}', which cannot be read; merge it with peft"):
        load(folder)
    # What peft writes when it is told where the adapter started belongs to the published base.
    settings = json.loads((tmp_path / "start" / "adapter_config.json").read_text()) | {"init_lora_weights": True}
    (tmp_path / "start" / "adapter_config.json").write_text(json.dumps(settings))
    expected = theirs(model, batch(128))
    model.save_pretrained(tmp_path / "lora", path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    graphdef, params, _ = load(folder)
    np.testing.assert_allclose(ours(graphdef, params, batch(128)), expected, atol=1e-4 * np.abs(expected).max())


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """An adapter of two kernels in one layer, written by hand."""
    (folder := tmp_path / "by_hand").mkdir()
    rng = np.random.default_rng(0)
    module = "base_model.model.encoder.block.1.layer.0.SelfAttention"
    shapes = {"q.lora_A": (4, 32), "q.lora_B": (16, 4), "o.lora_A": (4, 16), "o.lora_B": (32, 4)}
    tensors = {f"{module}.{n}.weight": rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    change(folder, peft_type="LORA", base_model_name_or_path=str(base), r=4, lora_alpha=8)
    return folder


def change(folder: Path, **values: Any) -> None:
    file = folder / "adapter_config.json"
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(before | values))


@pytest.mark.needs_peft
def test_every_key_of_peft_is_read_without_effect_or_refused(adapter):
    """A newer peft with a key that nobody here has looked at makes this fail."""
    import dataclasses

    from peft import LoraConfig  # pyright: ignore[reportMissingImports]

    refused = {
        "alora_invocation_tokens": [1, 2], "arrow_config": {"top_k": 2}, "ensure_weight_tying": True, "fan_in_fan_out": True,
        "kasa_config": {"beta": 1e-4}, "layer_replication": [[0, 2]], "lora_bias": True, "megatron_config": {"a": 1},
        "modules_to_save": ["lm_head"], "monteclora_config": {"num_samples": 8}, "rank_pattern": {"q": 2},
        "alpha_pattern": {"q": 2}, "target_parameters": ["q.weight"], "trainable_token_indices": [3], "use_bdlora": {"a": 1},
        "use_qalora": True, "velora_config": {"a": 1}, "bias": "all", "init_lora_weights": "corda",
    }  # fmt: skip
    ignored = {
        "auto_mapping": {"base_model_class": "T5"}, "inference_mode": True, "peft_version": "9", "task_type": "SEQ_2_SEQ_LM",
        "runtime_config": {"a": 1}, "target_modules": ["q"], "exclude_modules": ["v"], "layers_to_transform": [1],
        "layers_pattern": ["block"], "lora_dropout": 0.5, "eva_config": {"rho": 2}, "corda_config": {"a": 1},
        "lora_ga_config": {"a": 1}, "loftq_config": {"loftq_bits": 4}, "megatron_core": "m", "qalora_group_size": 16,
        "revision": "main",
    }  # fmt: skip
    read = {"peft_type", "base_model_name_or_path", "r", "lora_alpha", "use_rslora", "use_dora"}
    assert {field.name for field in dataclasses.fields(LoraConfig)} == {*refused, *ignored, *read}
    # As peft writes a plain adapter: every key, at its default.
    change(adapter, **{k: v for k, v in LoraConfig().to_dict().items() if k not in read})
    params = load(adapter)[1]
    change(adapter, **ignored)
    jax.tree.map(np.testing.assert_array_equal, load(adapter)[1], params)
    for key, value in refused.items():
        settings = (adapter / "adapter_config.json").read_text()
        change(adapter, **{key: value})
        with pytest.raises(UserError, match=re.escape(f"{key} is {value!r}, which cannot be read; merge it with peft")):
            load(adapter)
        (adapter / "adapter_config.json").write_text(settings)


@pytest.mark.parametrize(
    ("key", "value"),
    [("init_lora_weights", s) for s in ("pissa_niter_16", "olora", "corda", "loftq", "orthogonal", "lora_ga", "mica", "new")]
    + [("use_qalora", True), ("alora_invocation_tokens", [5]), ("layer_replication", [[0, 2]]), ("of_tomorrow", 0.5)],
)  # fmt: skip
def test_a_key_that_is_not_known_to_be_plain_is_refused_by_name(adapter, key, value):
    change(adapter, **{key: value})
    with pytest.raises(UserError, match=re.escape(f"{key} is {value!r}, which cannot be read")):
        load(adapter)


@pytest.mark.parametrize(
    ("key", "value"),
    [("r", 10**12), ("r", -4), ("r", 0), ("r", "4"), ("r", None), ("lora_alpha", float("nan")), ("lora_alpha", -1),
     ("lora_alpha", float("inf")), ("lora_alpha", 1e308), ("lora_alpha", [8]), ("use_dora", "no")],
)  # fmt: skip
def test_absurd_numbers_of_an_adapter_are_refused(adapter, key, value):
    change(adapter, **{key: value})
    with pytest.raises(UserError, match=f"{key} is .*, which LoRA cannot have|does not have the rank and sizes"):
        load(adapter)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.clear(), "holds no tensor"),
        (lambda t: t.pop(next(name for name in t if "q.lora_B" in name)), "has a, must have a, b"),
        (lambda t: t.update({n.replace("block.1", "block.7"): t.pop(n) for n in list(t)}), "the model has 2 layers"),
        (lambda t: t.update({n: v.astype(np.int8) for n, v in t.items()}), "a is I8"),
        (lambda t: t.update({n: v[:3] for n, v in t.items()}), "does not have the rank and sizes"),
    ],
)
def test_tensors_that_are_missing_or_misshapen_are_refused(adapter, spoil, message):
    tensors = load_file(adapter / "adapter_model.safetensors")
    spoil(tensors)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()}, adapter / "adapter_model.safetensors"
    )
    with pytest.raises(UserError, match=message):
        load(adapter)


def test_a_base_of_the_hub_is_the_revision_that_the_adapter_was_trained_on(adapter, base):
    from train.weights.peft import base_of

    change(adapter, base_model_name_or_path="someone/t5", revision="refs/pr/1")
    assert base_of(adapter) == "hf://someone/t5@refs/pr/1"
    change(adapter, revision=None)
    assert base_of(adapter) == "hf://someone/t5"
    change(adapter, base_model_name_or_path=str(base), revision="main")
    assert base_of(adapter) == str(base)
    change(adapter, base_model_name_or_path="someone/t5", revision=7)
    with pytest.raises(UserError, match="revision is 7"):
        base_of(adapter)


def test_an_adapter_that_is_its_own_base_is_refused(adapter, tmp_path):
    change(adapter, base_model_name_or_path=str(adapter))
    with pytest.raises(UserError, match="by_hand: is its own base"):
        load(adapter)
    (tmp_path / "second").mkdir()
    for file in adapter.iterdir():
        (tmp_path / "second" / file.name).write_bytes(file.read_bytes())
    change(adapter, base_model_name_or_path=str(tmp_path / "second"))
    config = T5Config(128, **SIZES)
    with pytest.raises(UserError, match="is its own base"):
        load_weights(adapter, abstract_model(config)[1], None, config)
