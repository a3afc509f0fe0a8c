"""Scores of weights that are no longer there, under the same path and step, stand for nothing."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from helpers.checkpoint import evaluate_run, save_checkpoint

from eval.decoding.decoder import Decoder
from eval.plan import load_config, make_plan
from eval.run import follow
from train import config as configuration
from train.selection import Selection


def retrain(run_dir: Path) -> None:
    """Another run leaves its checkpoint of step 3 where there was one."""
    shutil.rmtree(run_dir / "checkpoints" / "3")
    save_checkpoint(run_dir, 3, seed=8, total_steps=3)


def scored(run_dir: Path, name: str = "metrics.json") -> set[str]:
    (path,) = (run_dir / "eval" / "3").glob(name)
    return set(json.loads(path.read_text())["tasks"])


@pytest.fixture
def trained(run_dir: Path) -> Path:
    save_checkpoint(run_dir, 3, seed=7, total_steps=3)
    assert evaluate_run(run_dir, "eval.steps=[3]") == 0
    return run_dir


def test_scores_of_other_tasks_go_when_the_weights_in_their_place_are_others(trained, capsys):
    retrain(trained)
    assert evaluate_run(trained, "eval.steps=[3]", "eval.tasks=[tiny.heldout]") == 0
    assert scored(trained) == {"tiny.heldout"}
    assert scored(trained, "scores-*.json") == {"tiny.heldout"}
    assert "replaces the scores of tiny (of other weights in the same place)" in capsys.readouterr().err
    assert evaluate_run(trained, "eval.steps=[3]") == 0
    assert scored(trained) == scored(trained, "scores-*.json") == {"tiny", "tiny.heldout"}  # of the same weights


def test_a_run_that_was_copied_keeps_its_scores(trained, tmp_path):
    copied = Path(shutil.copytree(trained, tmp_path / "copied", copy_function=shutil.copy))  # with times of its own
    assert evaluate_run(copied, "eval.steps=[3]", "eval.tasks=[tiny.heldout]") == 0
    assert scored(copied) == {"tiny", "tiny.heldout"}


def test_following_evaluates_a_step_again_whose_weights_are_others(trained, monkeypatch):
    retrain(trained)
    decoded = []
    stream = Decoder.stream
    monkeypatch.setattr(Decoder, "stream", lambda *a, **k: decoded.append(1) or stream(*a, **k))
    plan = make_plan(*load_config(str(trained), ["eval.steps=[3]"]))
    for _ in range(2):
        assert follow(plan, every_s=0.1) == 0
    assert len(decoded) == 1


def test_scores_of_weights_that_were_there_before_choose_no_checkpoint(trained):
    path = trained / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"checkpoint": {"best": "tiny/rougeL"}}))
    selection = Selection(trained, configuration.load(trained, []))
    assert set(selection.losses()) == {3}
    retrain(trained)
    assert selection.losses() == {}


def test_random_weights_of_another_size_are_decoded_anew(run_dir, monkeypatch):
    assert evaluate_run(run_dir, "eval.steps=[0]") == 0
    assert evaluate_run(run_dir, "eval.steps=[0]", "eval.tasks=[tiny.heldout]", "model.mlp_dim=32") == 0
    found = json.loads((run_dir / "eval" / "0" / "metrics.json").read_text())["tasks"]
    assert set(found) == {"tiny.heldout"}
