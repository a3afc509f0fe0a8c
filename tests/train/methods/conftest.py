"""A very small model that learns `support_chats`: its steps alone, and whole runs, all in this process."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from train.checkpoints.checkpointer import Checkpoints
from train.config import Config, MeshConfig
from train.data.open import open_training
from train.loop import train
from train.model.fingerprint import Prints
from train.model.t5 import Params
from train.model_spec import ModelSpec, open_model, resolve_method
from train.optimizer import make_optimizer, make_schedule
from train.parallel import runtime
from train.parallel.mesh import global_batch, make_mesh
from train.params import join, load_frozen, load_params
from train.rundir.provenance import metadata
from train.state import first_state, state_shapes
from train.step import make_train_step

SIZES = {"emb_dim": 32, "mlp_dim": 48, "num_heads": 2, "head_dim": 8, "num_encoder_layers": 2, "num_decoder_layers": 2}
STEPS = 20


@pytest.fixture(scope="session", autouse=True)
def compile_once(own_cache: Path) -> Iterator[None]:
    """Keeps small programs in the compilation cache, too: the same methods are trained again and again."""
    runtime.set_up(own_cache)
    compilation_cache.reset_cache()  # a process that compiled something before it had a folder would never use it
    option = "jax_persistent_cache_min_compile_time_secs"
    before: Any = getattr(jax.config, option)
    jax.config.update(option, 0.0)
    yield
    jax.config.update(option, before)


@pytest.fixture(scope="session")
def make_config(vocabulary: Any, vocabulary_path: Path) -> Callable[..., Config]:
    """Returns a function: run directory, section `method` and others -> resolved configuration."""

    def make(run_dir: Path | str, method: dict[str, Any], **sections: dict[str, Any]) -> Config:
        values: dict[str, Any] = {
            "run_dir": str(run_dir),
            "model": {"preset": "t5-tiny", "vocabulary": str(vocabulary_path), **SIZES},
            "data": {"mixture": "support_chats", "lengths": {"inputs": 320, "targets": 80}},
            "method": method,
            "optimizer": {"type": "adamw", "learning_rate": 1e-2, "weight_decay": 0.1},
            "train": {"steps": STEPS, "batch_size": 2, "dropout": 0.1, "validation_examples": 0},
            "mesh": {"data": 1},
            "checkpoint": {"every_steps": 10, "keep_latest": 9},
            "logging": {"every_steps": 1, "tensorboard": False},
        }
        for name, section in sections.items():
            values[name] = {**values.get(name, {}), **section}
        return resolve_method(Config.model_validate(values), vocabulary)

    return make


@pytest.fixture(scope="session")
def run_dir(make_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of LoRA, by the training loop."""
    folder = tmp_path_factory.mktemp("run") / "run"
    assert train(make_config(folder, {"type": "lora", "rank": 4, "dropout": 0.1})) == 0
    return folder


@pytest.fixture(scope="session")
def make_model(vocabulary: Any) -> Callable[[Config], ModelSpec]:
    """The model of a configuration, on one device."""

    def make(config: Config) -> ModelSpec:
        mesh = make_mesh(MeshConfig(), jax.devices()[:1])
        return open_model(config, vocabulary.size, mesh)

    return make


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model after twenty steps, and after ten more from the checkpoint at the tenth."""

    model: ModelSpec
    batches: list[dict[str, np.ndarray]]
    before: Params  # all parameters
    after: Params
    resumed: Params
    losses: list[float]
    checkpoint: Path  # of step 10
    info: dict[str, Any]  # its metadata


@pytest.fixture(scope="session")
def make_batches(vocabulary: Any) -> Callable[[Config], list[dict[str, np.ndarray]]]:
    """Returns a function: configuration -> the first packed batches of its data, with the method's prompts."""
    done: dict[tuple[int, ...], list[dict[str, np.ndarray]]] = {}

    def make(config: Config) -> list[dict[str, np.ndarray]]:
        if (prompt := config.method.prompt(config.data.mixture)) not in done:
            inputs = iter(open_training(config, vocabulary).batches)
            done[prompt] = [next(inputs).arrays for _ in range(STEPS)]
        return done[prompt]

    return make


@pytest.fixture(scope="session")
def trained(
    make_config: Callable[..., Config],
    make_model: Callable[[Config], ModelSpec],
    make_batches: Callable[[Config], list[dict[str, np.ndarray]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[dict[str, Any]], Trained]:
    """Returns a function that trains with a method, once."""
    done: dict[str, Trained] = {}

    def train_once(method: dict[str, Any]) -> Trained:
        if (key := repr(method)) not in done:
            config = make_config("unused", method)
            done[key] = _train(config, make_model, make_batches(config), tmp_path_factory.mktemp("steps"))
        return done[key]

    return train_once


def _train(config: Config, make_model: Any, batches: list[dict[str, np.ndarray]], folder: Path) -> Trained:
    model: ModelSpec = make_model(config)
    with jax.set_mesh(model.mesh):
        schedule = make_schedule(config.optimizer, STEPS)
        optimizer = make_optimizer(config.optimizer, schedule, model.split(model.axes)[0])
        shapes = state_shapes(model, optimizer)
        shardings = jax.tree.map(lambda s: s.sharding, shapes)
        update = make_train_step(model.graphdef, optimizer, schedule, config.train, shardings)
        read: Prints = {}
        before = load_params(config, model, read=read)
        start, frozen = model.split(before)
        # The step takes its state's memory.
        state = first_state(jax.tree.map(lambda x: x.copy(), start), optimizer, config.train.seed, shapes)
        losses = []
        with Checkpoints(folder / "checkpoints") as checkpoints:
            for step, batch in enumerate(batches, start=1):
                state, metrics = update(state, frozen, global_batch(model.mesh, batch, parts=1))
                losses.append(float(metrics["loss"]))
                if step == 10:
                    info = metadata(config, {}, read)
                    checkpoints.save(step, state, position={}, metadata=info)
            checkpoints.wait()
            again = checkpoints.restore(10, shapes).state
            frozen = load_frozen(config, model, info, where="step 10")
            for batch in batches[10:]:
                again, _ = update(again, frozen, global_batch(model.mesh, batch, parts=1))
    whole, resumed = (join(s.params, frozen) for s in (state, again))
    return Trained(model, batches, before, whole, resumed, losses, folder / "checkpoints", info)
