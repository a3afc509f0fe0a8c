"""Shared by the tests of the evaluation: a run of a tiny model."""

from pathlib import Path

import pytest
import yaml


@pytest.fixture
def run_dir(make_card, tmp_path, vocabulary_path) -> Path:
    """A run of a tiny model on the card `tiny`, without checkpoints yet."""
    rows = [
        {"id": f"r{i}", "dialogue": f"Ann: Is it {i}?\nBob: Yes, it is {i}.", "summary": f"It is {i}."}
        for i in range(6)
    ]
    config = {
        "run_dir": str(tmp_path / "run"),
        "model": {
            "preset": "t5-tiny", "vocabulary": str(vocabulary_path), "emb_dim": 16, "mlp_dim": 16,
            "num_heads": 2, "head_dim": 8, "num_encoder_layers": 1, "num_decoder_layers": 1,
        },
        "data": {"mixture": "tiny", "cards": [str(make_card(test_rows=rows))], "lengths": {"inputs": 24, "targets": 16}},
        "mesh": {"data": 1},
        "eval": {"split": "test", "decode": {"type": "greedy", "max_tokens": 4}},
    }  # fmt: skip
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "run"
