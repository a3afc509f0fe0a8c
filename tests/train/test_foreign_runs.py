"""A run directory given as weights may be anybody's: nothing that its config.yaml names is imported."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from eval.commands.judge import config_of
from t5x_tasks.common.errors import UserError
from tests.helpers.tiny import TINY
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config, MeshConfig, dump
from train.model.fingerprint import fingerprint
from train.model.t5 import Params, abstract_model
from train.model_spec import ModelSpec, merged_params
from train.parallel.mesh import make_mesh
from train.params import load_base, load_params, load_weights

MODEL = {name: getattr(TINY, name) for name in Config(run_dir="r").model.sizes()}
OWN = "downloaded.theirs:Own"  # found from the folder that holds the run's: Python needs no __init__.py

# A method like LoRA, which leaves a trace when it is imported.
METHOD = """
from pathlib import Path
from train.methods.lora import Lora
Path(__file__).with_name("imported").touch()
class Own(Lora):
    type: str = ""
"""


@pytest.fixture
def make_run(tmp_path: Path, vocabulary_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Returns a function: sections of its config.yaml -> a run that trained LoRA, below the folder of the commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str = "downloaded", **sections: dict[str, Any]) -> Path:
        (run_dir := tmp_path / name).mkdir()
        (run_dir / "theirs.py").write_text(METHOD)
        model = {"preset": "t5-tiny", "vocab_size": TINY.vocab_size, "vocabulary": str(vocabulary_path), **MODEL}
        config = Config.model_validate({"run_dir": str(run_dir), "model": model, "method": {"type": "lora"}})
        built = plain_model(config)
        rng = np.random.default_rng(0)
        trained, frozen = built.split(load_params(config, built))
        trained = jax.tree.map(lambda x: x + rng.standard_normal(x.shape, np.float32), trained)
        with Checkpoints(run_dir / "checkpoints") as checkpoints:
            checkpoints.save(5, {"params": trained}, position={}, metadata={"frozen": fingerprint(frozen)})
        tree = yaml.safe_load(dump(config))
        tree |= {section: tree[section] | values for section, values in sections.items()}
        (run_dir / "config.yaml").write_text(yaml.safe_dump(tree))
        return run_dir

    yield make
    for module in [name for name in sys.modules if name.split(".")[0] == "downloaded"]:
        del sys.modules[module]


def plain_model(config: Config) -> ModelSpec:
    return ModelSpec.on(make_mesh(MeshConfig(), jax.devices()[:1]), TINY, config.method)


def load(folder: Path) -> Params:
    return load_weights(folder, abstract_model(TINY)[1], None, TINY)


def assert_refused(read: Callable[[], Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"downloaded: was trained by {OWN}, which is no part of flan-t5x")):
        read()
    assert not list(tmp_path.rglob("imported"))


def test_weights_run_no_code_that_their_run_names(make_run, tmp_path):
    run_dir = make_run(method={"type": OWN})
    assert_refused(lambda: load(run_dir), tmp_path)
    assert_refused(lambda: load(run_dir / "checkpoints" / "5"), tmp_path)
    assert_refused(lambda: config_of(str(run_dir), None), tmp_path)  # --weights of eval.commands.suggest


def test_weights_of_weights_run_none_either(make_run, tmp_path):
    run_dir = make_run(method={"type": OWN})
    above = make_run("mine", model={"weights": str(run_dir)})
    assert_refused(lambda: load(above), tmp_path)

    (adapter := tmp_path / "adapter").mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(run_dir), "r": 1, "lora_alpha": 1}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    save_file({}, adapter / "adapter_model.safetensors")
    assert_refused(lambda: load(adapter), tmp_path)


def test_a_method_that_the_users_own_configuration_names_is_run(make_run, tmp_path):
    run_dir = make_run(method={"type": OWN})
    own = configuration.load(run_dir, [f"model.weights={run_dir}"])
    with jax.set_mesh((model := plain_model(own)).mesh):
        params = merged_params(model, load_base(own, model))
    (run_dir / "config.yaml").write_text((run_dir / "config.yaml").read_text().replace(OWN, "lora"))
    jax.tree.map(np.testing.assert_array_equal, params, load(run_dir))


def test_nothing_else_that_their_run_names_is_read_or_imported(make_run, tmp_path):
    expected = load(make_run("plain"))
    names: dict[str, dict[str, Any]] = {
        "data": {
            "modules": ["downloaded/theirs.py", "downloaded.theirs"],
            "cards": ["downloaded/cards"],
            "mixture": "theirs",
        },
        "eval": {"metrics": ["downloaded.theirs:score"], "tasks": ["theirs"]},
        "replay": {"mixture": "theirs"},
        "model": {"vocabulary": "downloaded/nowhere.model"},
    }
    run_dir = make_run(**names)
    jax.tree.map(np.testing.assert_array_equal, load(run_dir), expected)
    assert not list(tmp_path.rglob("imported"))


def test_a_run_that_is_its_own_base_is_refused(make_run):
    run_dir = make_run(model={"weights": "downloaded"})
    with pytest.raises(UserError, match="downloaded: is its own base"):
        load(run_dir)
