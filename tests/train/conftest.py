"""Shared by the tests of whole runs."""

from pathlib import Path

import pytest
import yaml

from bench.notes import SIZES, write_notes

STEPS = 24


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, vocabulary_path: Path) -> Path:
    """A folder with a card, its 60 dialogues and a configuration of a very small model."""
    folder = tmp_path_factory.mktemp("loop")
    card = write_notes(folder)
    config = {
        "run_dir": "set by each test",
        "model": {"preset": "t5-tiny", "vocabulary": str(vocabulary_path), **SIZES},
        "data": {"mixture": "notes", "cards": [str(card)], "lengths": {"inputs": 96, "targets": 32}},
        "optimizer": {"type": "adafactor", "learning_rate": 0.05},
        "train": {"steps": STEPS, "batch_size": 8, "dropout": 0.1, "validation_examples": 12},
        "checkpoint": {"every_steps": 5},
        "logging": {"every_steps": 1, "tensorboard": False},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder
