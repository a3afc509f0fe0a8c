"""Shared by the tests of whole runs."""

import json
import random
from pathlib import Path

import pytest
import yaml

STEPS = 24
NAMES = ("Ana", "Ben", "Chloe", "Dev", "Esi", "Finn")
THINGS = ("a refund", "a new card", "the invoice", "a late parcel", "two tickets", "a quiet room")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, vocabulary_path: Path) -> Path:
    """A folder with a card, its 60 dialogues and a configuration of a very small model."""
    folder = tmp_path_factory.mktemp("loop")
    draw = random.Random(0)
    rows = []
    for number in range(60):
        one, other, thing = draw.choice(NAMES), draw.choice(NAMES), draw.choice(THINGS)
        turns = "\n".join(f"{other}: Note {draw.randrange(100)}." for _ in range(draw.randrange(1, 6)))
        rows.append(
            {
                "id": f"r{number}",
                "chat": f"{one}: I need {thing}.\n{turns}",
                "recap": f"{one} asks {other} for {thing}.",
            }
        )
    for split, part in (("train", rows[:48]), ("validation", rows[48:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    card = {
        "name": "notes",
        "source": {"type": "jsonl", "train": "train.jsonl", "validation": "validation.jsonl"},
        "fields": {"dialogue": "chat", "summary": "recap"},
        "templates": [
            {"id": "t00", "inputs": "Sum up: {dialogue}", "targets": "{summary}"},
            {"id": "t01", "inputs": "{dialogue} Who wants what?", "targets": "{summary}"},
        ],
        "metrics": ["rouge"],
    }
    (folder / "notes.yaml").write_text(yaml.safe_dump(card))
    sizes = {
        "emb_dim": 32,
        "mlp_dim": 32,
        "num_heads": 2,
        "head_dim": 8,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
    }
    config = {
        "run_dir": "set by each test",
        "model": {"preset": "t5-tiny", "vocabulary": str(vocabulary_path), **sizes},
        "data": {"mixture": "notes", "cards": [str(folder / "notes.yaml")], "lengths": {"inputs": 96, "targets": 32}},
        "optimizer": {"type": "adafactor", "learning_rate": 0.05},
        "train": {"steps": STEPS, "batch_size": 8, "dropout": 0.1, "validation_examples": 12},
        "checkpoint": {"every_steps": 5},
        "logging": {"every_steps": 1, "tensorboard": False},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder
