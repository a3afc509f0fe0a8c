"""A data set of 60 short dialogues and a very small model, for runs of which only the course matters."""

import json
import random
from pathlib import Path

import yaml

NAMES = ("Ana", "Ben", "Chloe", "Dev", "Esi", "Finn")
THINGS = ("a refund", "a new card", "the invoice", "a late parcel", "two tickets", "a quiet room")
SIZES = {"emb_dim": 32, "mlp_dim": 32, "num_heads": 2, "head_dim": 8, "num_encoder_layers": 1, "num_decoder_layers": 1}


def write_notes(folder: Path) -> Path:
    """Writes the card `notes` in two templates, 48 rows to train on and 12 to validate with; returns the card's path."""
    draw = random.Random(0)
    rows = []
    for number in range(60):
        one, other, thing = draw.choice(NAMES), draw.choice(NAMES), draw.choice(THINGS)
        turns = "\n".join(f"{other}: Note {draw.randrange(100)}." for _ in range(draw.randrange(1, 6)))
        chat, recap = f"{one}: I need {thing}.\n{turns}", f"{one} asks {other} for {thing}."
        rows.append({"id": f"r{number}", "chat": chat, "recap": recap})
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
    path = folder / "notes.yaml"
    path.write_text(yaml.safe_dump(card))
    return path
