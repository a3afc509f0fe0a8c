"""Bad input ends with exit code 2 and one line that names the place; no run directory is left behind."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.command import command
from safetensors.numpy import save_file

REPOSITORY = Path(__file__).parent.parent.parent
SIZES = {"emb_dim": 32, "mlp_dim": 32, "num_heads": 2, "head_dim": 8, "num_encoder_layers": 1, "num_decoder_layers": 1}


@pytest.fixture
def configure(tmp_path, make_card, vocabulary_path):
    """Writes a valid configuration over the card `tiny`, with changes to the rows of its training data."""

    def configure(train: str | None = None) -> Path:
        card = make_card(
            source={"type": "jsonl", "train": "train.jsonl", "validation": "test.jsonl", "test": "test.jsonl"}
        )
        if train is not None:
            (card.parent / "train.jsonl").write_text(train, encoding="utf-8")
        config = {
            "run_dir": str(tmp_path / "run"),
            "model": {"preset": "t5-tiny", "vocabulary": str(vocabulary_path), **SIZES},
            "data": {"mixture": "tiny", "cards": [str(card)], "lengths": {"inputs": 64, "targets": 32}},
            "train": {"steps": 1, "batch_size": 2},
            "logging": {"tensorboard": False},
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        return tmp_path / "config.yaml"

    return configure


def refusal(config: Path, *overrides: str) -> str:
    done = command("train", str(config), *overrides)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    *_, line = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert not (config.parent / "run").exists(), "nothing half-written"
    return line


GOOD = json.dumps({"id": "a", "dialogue": "Ann: Hi.", "summary": "Ann says hi."})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (f'{GOOD}\n{{"id": "b", "dialogue": \n', r"train\.jsonl:2: "),
        (f'{GOOD}\n{{"id": "b", "dialogue": "x"}}\n', r"train\.jsonl:2: .*summary"),
        ("", r"train\.jsonl: .*(empty|no rows)"),
    ],
    ids=["not JSON", "without a field", "empty split"],
)
def test_rows_are_named_by_file_and_line(configure, rows, expected):
    assert re.search(expected, refusal(configure(rows)))


def test_a_missing_data_file_is_named(configure):
    config = configure()
    (config.parent / "cards" / "tiny" / "train.jsonl").unlink()
    nothing_prepared = f"data.cache={config.parent / 'cache'}"
    assert "train.jsonl" in refusal(config, nothing_prepared)


def test_weights_that_are_not_there_are_refused_before_anything_is_prepared(configure, tmp_path):
    cache = tmp_path / "cache"
    line = refusal(configure(), "model.weights=no/where", f"data.cache={cache}")
    assert "model.weights: no/where: no such folder" in line
    assert not list(cache.glob("*/tiny*")) and not list(cache.glob("tiny*"))


def test_an_unknown_mixture_gets_a_suggestion(configure):
    assert "tinny" in (line := refusal(configure(), "data.mixture=tinny"))
    assert "did you mean tiny?" in line


def test_a_vocabulary_that_is_none_is_named(configure, tmp_path):
    (tmp_path / "words.txt").write_text("these are words")
    assert "words.txt" in (line := refusal(configure(), f"model.vocabulary={tmp_path / 'words.txt'}"))
    assert "SentencePiece" in line


def test_weights_that_do_not_fit_are_listed(configure, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    hf = {
        "d_model": 32,
        "d_ff": 32,
        "num_heads": 2,
        "d_kv": 8,
        "num_layers": 1,
        "num_decoder_layers": 1,
        "vocab_size": 2560,
    }
    hf |= {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "model_type": "t5"}
    (folder / "config.json").write_text(json.dumps(hf))
    save_file({"shared.weight": np.zeros((2560, 31), np.float32)}, folder / "model.safetensors")
    line = refusal(configure(), f"model.weights={folder}")
    assert "shared.weight" in line
    assert "28 tensor(s) missing: decoder.block.0" in line


def test_a_mesh_that_does_not_fit_the_devices_is_counted(configure):
    assert "mesh: data 3 x fsdp 1 x tensor 1 does not fit the 1 device" in refusal(configure(), "mesh.data=3")


def test_a_hub_out_of_reach_says_how_to_get_the_weights(configure, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "hf://google/flan-t5-small" in refusal(configure(), "model.weights=hf://google/flan-t5-small")
