"""Runs of a very small model on `support_chats`, in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

from train.config import Config, MeshConfig
from train.loop import train
from train.sharding import make_mesh
from train.state import Model, model_config

SIZES = {"emb_dim": 32, "mlp_dim": 48, "num_heads": 2, "head_dim": 8, "num_encoder_layers": 2, "num_decoder_layers": 2}


@pytest.fixture(scope="session")
def make_config(vocabulary_path: Path) -> Callable[..., Config]:
    """Returns a function: run directory, section `method`, other sections -> configuration."""

    def make(run_dir: Path, method: dict[str, Any], **sections: Any) -> Config:
        values: dict[str, Any] = {
            "run_dir": str(run_dir),
            "model": {"preset": "t5-tiny", "vocabulary": str(vocabulary_path), **SIZES},
            "data": {"mixture": "support_chats", "lengths": {"inputs": 320, "targets": 80}},
            "method": method,
            "optimizer": {"type": "adamw", "learning_rate": 1e-2, "weight_decay": 0.1},
            "train": {"steps": 20, "batch_size": 2, "dropout": 0.1, "validation_examples": 0},
            "mesh": {"data": 1},
            "checkpoint": {"every_steps": 10, "keep_latest": 9},
            "logging": {"every_steps": 1, "tensorboard": False},
        }
        return Config.model_validate(
            {name: values.get(name, {}) | section for name, section in sections.items()}
            | {name: value for name, value in values.items() if name not in sections}
        )

    return make


@pytest.fixture(scope="session")
def run(make_config, tmp_path_factory) -> Callable[..., Path]:
    """Returns a function that trains, once for each method and sections, and returns the run directory."""
    done: dict[str, Path] = {}

    def train_once(method: dict[str, Any], **sections: Any) -> Path:
        key = json.dumps([method, sections], sort_keys=True)
        if key not in done:
            run_dir = tmp_path_factory.mktemp("run") / "run"
            assert train(make_config(run_dir, method, **sections)) == 0
            done[key] = run_dir
        return done[key]

    return train_once


@pytest.fixture(scope="session")
def make_model(vocabulary) -> Callable[[Config], Model]:
    """The model of a configuration, on one device."""

    def make(config: Config) -> Model:
        mesh = make_mesh(MeshConfig(), jax.devices()[:1])
        return Model.on(mesh, model_config(config, vocabulary.size), config.method)

    return make
