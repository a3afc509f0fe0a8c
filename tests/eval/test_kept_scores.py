"""Scores of another split, limit or decoding take no part in choosing a checkpoint, and do not displace those that do."""

import json
from pathlib import Path

import jax.numpy as jnp
import pytest
import yaml
from helpers.checkpoint import evaluate_run, save_checkpoint

from eval.commands.compare import gather
from eval.decoding.decoder import Decoder
from eval.plan import find_steps, load_config, make_plan
from eval.report.summary import summarize
from eval.run import follow
from eval.scoring.results import write_task
from eval.scoring.score_task import TaskScores
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.rundir.origin import save_fingerprint
from train.selection import Selection, read_checkpoints

VALUES = {10: 30.0, 20: 40.0, 30: 35.0}
OTHER = ("eval.split=train", "eval.limit=2", "eval.decode.max_tokens=3")


@pytest.fixture
def ranked(run_dir: Path) -> Path:
    """A run whose checkpoints a task's score ranks, evaluated with its own settings; step 20 is the best."""
    path = run_dir / "config.yaml"
    ranking = {"checkpoint": {"every_steps": 10, "best": "tiny/rougeL", "patience": 1}}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | ranking))
    with Checkpoints(run_dir / "checkpoints", keep_latest=9) as checkpoints:
        for step, value in VALUES.items():
            checkpoints.save(step, {"params": {"w": jnp.ones(3)}}, position={}, metadata={})
            checkpoints.wait()
            score(run_dir, step, value)
    return run_dir


def score(run_dir: Path, step: int, value: float, *overrides: str, task: str = "tiny") -> None:
    """The files of `python -m eval RUN_DIR eval.steps=[step]`."""
    plan = make_plan(*load_config(str(run_dir), [f"eval.steps=[{step}]", *overrides]))
    interval = {"value": value, "ci_low": value, "ci_high": value}
    rows = [{"id": "r0", "inputs": "", "prediction": "", "references": [""], "scores": {"rougeL": value}}]
    scores = TaskScores({"n": 1, "metrics": {"rougeL": interval}}, rows)
    write_task(plan, step, task, scores, fingerprint=save_fingerprint(run_dir, step) or "")


def best(run_dir: Path) -> int | None:
    with read_checkpoints(run_dir) as checkpoints:
        return checkpoints.best_step()


@pytest.mark.parametrize("other", OTHER)
def test_scoring_the_latest_checkpoint_in_another_way_changes_neither_the_best_nor_the_end(ranked, other):
    score(ranked, 30, 99.0, other)
    score(ranked, 10, 99.0, other)
    assert (
        json.loads((ranked / "eval" / "30" / "metrics.json").read_text())["tasks"]["tiny"]["metrics"]["rougeL"]["value"]
        == 99
    )
    assert best(ranked) == 20 and find_steps(("best",), ranked) == [20]
    selection = Selection(ranked, configuration.load(ranked, []))
    assert selection.losses() == {step: -value for step, value in VALUES.items()}
    assert "best at step 20" in str(selection.enough(40))
    score(ranked, 30, 50.0)  # scored again, in the run's own way
    assert best(ranked) == 30


def test_a_run_that_was_only_scored_in_another_way_has_no_best(run_dir, ranked):
    for path in (ranked / "eval").rglob("*.json"):
        path.unlink()
    score(ranked, 20, 40.0, "eval.split=train")
    assert best(ranked) is None


def test_waiting_for_a_score_says_that_the_one_there_is_of_other_settings(ranked, capsys, monkeypatch):
    for path in (ranked / "eval").rglob("*.json"):
        path.unlink()
    score(ranked, 30, 99.0, "eval.split=train")
    monkeypatch.setattr("train.selection._FIRST_ROUND_S", 0.0)
    monkeypatch.setattr("train.selection._POLL_S", 0.0)
    asked = iter([True, True, False, False, False])
    Selection(ranked, configuration.load(ranked, [])).wait(30, go_on=lambda: next(asked))
    said = capsys.readouterr().err
    assert "waits for tiny/rougeL of step 30" in said and "split is train, not test" in said


def test_scores_of_an_evaluation_before_they_were_kept_apart_count(ranked):
    for path in (ranked / "eval").rglob("scores-*.json"):
        path.unlink()
    assert best(ranked) == 20
    score(ranked, 30, 10.0, task="other")  # beside it, in the same way
    assert best(ranked) == 20
    assert Selection(ranked, configuration.load(ranked, [])).loss(30) == -35.0


def test_following_passes_over_what_was_evaluated_in_its_way_though_another_split_was_scored_since(
    run_dir, monkeypatch
):
    save_checkpoint(run_dir, 2, seed=2, total_steps=2)
    assert evaluate_run(run_dir) == 0
    assert evaluate_run(run_dir, "eval.split=train") == 0

    def decode(*_: object, **__: object) -> None:
        raise AssertionError("was evaluated before")

    monkeypatch.setattr(Decoder, "stream", decode)
    assert follow(make_plan(*load_config(str(run_dir), [])), every_s=0.1) == 0
    assert json.loads((run_dir / "eval" / "2" / "metrics.json").read_text())["split"] == "train"


def test_scores_of_another_decoding_are_in_another_table_and_no_point_of_the_curve(ranked, capsys):
    score(ranked, 10, 20.0, "eval.decode.max_tokens=3")
    summarize(ranked)
    shown = capsys.readouterr().out
    assert shown.count("tiny, 1 rows of test") == 2
    score(ranked, 10, 30.0)
    assert gather([str(ranked)], samples=100).over_steps
    score(ranked, 10, 20.0, "eval.limit=1")
    assert not gather([str(ranked)], samples=100).over_steps  # two points are no curve


def test_following_scores_again_what_was_scored_on_other_data(run_dir, make_card, monkeypatch):
    save_checkpoint(run_dir, 2, seed=2, total_steps=2)
    decoded = []
    stream = Decoder.stream
    monkeypatch.setattr(Decoder, "stream", lambda *a, **k: decoded.append(1) or stream(*a, **k))
    scored = []
    for summary in ("It is one.", "It is one.", "It is two."):
        rows = [{"id": "r0", "dialogue": "Ann: Is it 1?\nBob: Yes, it is 1.", "summary": summary}]
        assert make_card(test_rows=rows)
        assert follow(make_plan(*load_config(str(run_dir), ["eval.steps=[2]"])), every_s=0.1) == 0
        scored.append(json.loads((run_dir / "eval" / "2" / "metrics.json").read_text())["tasks"]["tiny"]["data"])
    assert scored[0] == scored[1] != scored[2]
    assert len(decoded) == 2


def test_patience_counts_no_score_on_other_data_than_the_last(ranked):
    for step, data in zip(VALUES, ("old", "old", "new"), strict=True):
        for path in (ranked / "eval" / str(step)).glob("*.json"):
            values = json.loads(path.read_text())
            values["tasks"]["tiny"]["data"] = data
            path.write_text(json.dumps(values))
    assert Selection(ranked, configuration.load(ranked, [])).losses() == {30: -35.0}
