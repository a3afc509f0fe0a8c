"""Answers are kept for the weights that gave them: by what these are, not by where they lie or when they were written."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.checkpoint import evaluate_run, save_checkpoint

from eval.decoding.decoder import Decoder


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """How many examples were decoded, for each time that answers were asked for."""
    counts: list[int] = []
    stream = Decoder.stream

    def counted(self: Decoder, params: Any, inputs: list[Any], *, ids: Any, done: Any) -> Any:
        counts.append(len(inputs) - len(done))
        return stream(self, params, inputs, ids=ids, done=done)

    monkeypatch.setattr(Decoder, "stream", counted)
    return counts


def test_answers_before_training_are_given_anew_where_the_base_of_the_base_changed(run_dir, tmp_path, decoded):
    """The files of a base may stay as they are: an adapter names its own base, and a run's weights are in its checkpoints."""
    base = Path(shutil.copytree(run_dir, tmp_path / "base"))
    save_checkpoint(base, 3, seed=7)
    path = run_dir / "config.yaml"
    values = yaml.safe_load(path.read_text())
    values["model"]["weights"] = str(base)
    path.write_text(yaml.safe_dump(values))
    for _ in range(2):
        assert evaluate_run(run_dir, "eval.steps=[0]") == 0
    assert decoded == [6, 0]
    shutil.rmtree(base / "checkpoints")
    save_checkpoint(base, 3, seed=8)
    assert evaluate_run(run_dir, "eval.steps=[0]") == 0
    assert decoded == [6, 0, 6]


def test_a_copied_run_keeps_its_answers(run_dir, tmp_path, decoded):
    save_checkpoint(run_dir, 3, seed=7)
    assert evaluate_run(run_dir, "eval.steps=[0, 3]") == 0
    copied = Path(shutil.copytree(run_dir, tmp_path / "copied", copy_function=shutil.copy))  # with times of its own
    assert evaluate_run(copied, "eval.steps=[0, 3]") == 0
    assert decoded == [6, 6, 0, 0]
