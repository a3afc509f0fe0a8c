"""Runs and PEFT directories as the base of another run: read in the types it wants, and known again."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bare_run import save_base, save_run, shifted
from safetensors.numpy import load_file, save_file

from t5x_tasks.common.errors import UserError
from train.anchor import check_anchor, start_files
from train.checkpoints.checkpointer import Checkpoints
from train.export.export import export
from train.model.t5 import abstract_model
from train.params import checkpoint_params, load_frozen, load_params, load_weights

LORA = {"type": "lora", "rank": 4}
DORA = LORA | {"dora": True, "targets": [".*"]}


@pytest.fixture(scope="module")
def base(vocabulary_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "hf", vocabulary_path)


@pytest.fixture
def model(base: Path, vocabulary_path: Path) -> dict[str, Any]:
    return {"weights": str(base), "vocabulary": str(vocabulary_path)}


@pytest.mark.parametrize("method", [{"type": "full"}, LORA], ids=lambda method: method["type"])
@pytest.mark.parametrize(("held", "wanted"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_a_run_is_cast_to_the_types_that_are_asked_for(method, held, wanted, model, tmp_path, capsys):
    _, built = save_run(tmp_path / "run", model | {"param_dtype": held}, method, shifted)
    asked = dataclasses.replace(built.config, param_dtype=jnp.dtype(wanted))
    shapes = abstract_model(asked)[1]
    read = load_weights(tmp_path / "run", shapes, None, asked)
    assert jax.tree.map(lambda x: x.dtype, read) == jax.tree.map(lambda x: x.dtype, shapes)
    export(str(tmp_path / "run"), tmp_path / "out", to="hf")  # in float32
    exact = load_weights(tmp_path / "out", shapes, None, asked)
    jax.tree.map(np.testing.assert_array_equal, read, exact)
    rounded = "is rounded to model.param_dtype=bfloat16" in capsys.readouterr().err
    assert rounded == (method == LORA and wanted == "bfloat16"), "a merged adapter is not rounded without a word"


def test_an_adapter_as_weights_in_bfloat16_says_that_it_is_rounded(model, tmp_path, capsys):
    _, built = save_run(tmp_path / "run", model, LORA, shifted)
    export(str(tmp_path / "run"), tmp_path / "adapter", to="peft")
    asked = dataclasses.replace(built.config, param_dtype=jnp.dtype("bfloat16"))
    load_weights(tmp_path / "adapter", abstract_model(asked)[1], None, asked)
    assert "adapter: what lora trained is rounded to model.param_dtype=bfloat16" in capsys.readouterr().err


def test_a_run_evaluated_in_other_types_than_it_was_trained_in_is_refused_by_name(model, tmp_path):
    config, built = save_run(tmp_path / "run", model, LORA, shifted)
    metadata = {"config": {"model": {"param_dtype": "bfloat16"}}}
    with pytest.raises(UserError, match=r"step 5: was trained with model\.param_dtype=bfloat16, not float32; give"):
        load_frozen(config, built, metadata, where="step 5")


def change_adapter(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name] + np.float32(1e-6)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def change_scale(run_dir: Path) -> None:
    text = (run_dir / "config.yaml").read_text()
    (run_dir / "config.yaml").write_text(text.replace("alpha: 16.0", "alpha: 17.0"))


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        ("peft", change_adapter, "adapter_model.safetensors differ"),
        ("run", change_scale, "method differ"),
        ("run", None, r"adapters/key/a and \d+ more"),
    ],
)
def test_a_base_that_changed_is_found_by_what_is_read_of_it(kind, change, named, model, tmp_path):
    save_run(tmp_path / "first", model, DORA, shifted)
    folder = tmp_path / "first"
    if kind == "peft":
        folder = tmp_path / "adapter"
        export(str(tmp_path / "first"), folder, to="peft")
    config, built = save_run(tmp_path / "second", model | {"weights": str(folder)}, LORA)
    before: dict[str, str] = {}
    load_params(config, built, read=before)
    metadata = {"base": str(folder), "read": before}
    load_frozen(config, built, metadata, where="step 5")
    if change is None:
        (tmp_path / "first").rename(tmp_path / "old")
        save_run(tmp_path / "first", model, DORA, lambda start, frozen: jax.tree.map(_more, shifted(start, frozen)))
    else:
        change(folder)
    with pytest.raises(UserError, match=rf"step 5: was trained on .*{folder.name}; .* is another base: .*{named}"):
        load_frozen(config, built, metadata, where="step 5")


def _more(x: jax.Array) -> jax.Array:
    return x * np.float32(1.001)


def test_a_prompt_that_a_run_is_pulled_to_is_known_again_by_its_file(model, tmp_path):
    file = tmp_path / "prompt.npy"
    np.save(file, np.zeros((3, 32), np.float32))
    method = {"type": "prompt_tuning", "length": 3, "init": {"type": "file", "path": str(file)}}
    config, _ = save_run(tmp_path / "run", model, method)
    anchor: dict[str, Any] = {"params": {}}
    metadata = {"base": "x", "read": {}, "files": start_files(config.method, anchor)}
    check_anchor(anchor, metadata, read={}, files=start_files(config.method, anchor), where="run")
    np.save(file, np.ones((3, 32), np.float32))
    with pytest.raises(UserError, match=r"run: was regularised toward x; .*: prompt\.npy differ"):
        check_anchor(anchor, metadata, read={}, files=start_files(config.method, anchor), where="run")


def test_a_checkpoint_from_before_fingerprints_of_what_is_read_is_accepted(model, tmp_path):
    config, built = save_run(tmp_path / "run", model, DORA, shifted)  # with fingerprints of the frozen parameters
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.info(5).metadata.keys() == {"frozen"}
        checkpoint_params(config, built, checkpoints, 5)
