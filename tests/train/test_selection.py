"""The best checkpoint and the end of a run, by validation loss or by a task's score that another process writes."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from t5x_tasks.common.errors import UserError
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config, EvalConfig
from train.selection import Selection


def selection_of(run_dir: Path, **checkpoint: Any) -> Selection:
    return Selection(
        run_dir, Config.model_validate({"run_dir": str(run_dir), "checkpoint": {"every_steps": 10, **checkpoint}})
    )


def score(run_dir: Path, step: int, value: float, *, task: str = "chats", name: str = "rougeL") -> None:
    """The scores of a checkpoint as `python -m eval` writes them, with the run's own settings."""
    folder = run_dir / "eval" / str(step)
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(
        json.dumps({"step": step, **EvalConfig().settings(), "tasks": {task: {"metrics": {name: {"value": value}}}}})
    )


def validated(run_dir: Path, *losses: float) -> None:
    """metrics.jsonl of a run that logs each step and validates at every tenth."""
    rows = [{"step": step, "loss": 1.0} | ({"validation_loss": losses[step // 10 - 1]} if step % 10 == 0 else {})
            for step in range(1, 10 * len(losses) + 1)]  # fmt: skip
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("losses", "ends"),
    [((3, 2, 1), False), ((3, 1, 2), False), ((3, 1, 2, 1.5), True), ((1, 1, 1), True), ((3, 2, 2.5, 1, 1.5), False)],
)
def test_a_run_ends_when_the_validation_loss_was_not_lower_for_as_many_checkpoints_as_its_patience(
    tmp_path, losses, ends
):
    validated(tmp_path, *losses)
    assert bool(selection_of(tmp_path, patience=2).enough(10 * len(losses))) == ends
    assert selection_of(tmp_path).enough(10 * len(losses)) is None


def test_what_a_stopped_run_saved_besides_does_not_count_for_its_patience(tmp_path):
    validated(tmp_path, 3, 1, 2)
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows[22] = json.dumps({"step": 23, "loss": 1.0, "validation_loss": 1.5})
    rows[26] = json.dumps({"step": 27, "loss": 1.0, "validation_loss": 0.5})
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    assert selection_of(tmp_path, patience=2).enough(30) is None
    assert "best at step 20, and no better at the 1 " in str(selection_of(tmp_path, patience=1).enough(30))


def test_a_line_that_a_crash_cut_off_is_passed_over(tmp_path):
    validated(tmp_path, 1, 2, 3)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 31, "lo')
    assert selection_of(tmp_path, patience=2).enough(30)


def test_a_tasks_score_is_better_when_it_is_higher_unless_said_otherwise(tmp_path):
    for step, value in ((10, 30.0), (20, 40.0), (30, 35.0), (40, 36.0), (50, 99.0)):
        score(tmp_path, step, value)
    by_score = selection_of(tmp_path, best="chats/rougeL", patience=2)
    assert by_score.enough(50) == "chats/rougeL was best at step 20, and no better at the 2 checkpoints since"
    assert by_score.enough(40) is None  # the score of step 40 itself comes later
    assert selection_of(tmp_path, best="chats/rougeL", best_is="lowest", patience=3).enough(50)


def test_the_checkpoint_with_the_best_score_is_kept_and_found(tmp_path):
    import jax.numpy as jnp

    selection = selection_of(tmp_path, best="chats/rougeL")
    with Checkpoints(tmp_path / "checkpoints", keep_latest=1, keep_best=1, ranking=selection.ranking) as checkpoints:
        for step, value in ((1, 30.0), (2, 40.0), (3, 35.0), (4, 36.0)):
            checkpoints.save(step, {"params": {"w": jnp.ones(3)}}, position={}, metadata={})
            checkpoints.wait()
            score(tmp_path, step, value)
        assert (checkpoints.steps(), checkpoints.best_step()) == ([2, 4], 2)


def test_it_waits_for_the_score_of_another_process(tmp_path, capsys):
    selection = selection_of(tmp_path, best="chats/rougeL")
    selection.wait(None, go_on=lambda: pytest.fail("there is no checkpoint yet"))
    looks = []

    def go_on() -> bool:
        looks.append(len(looks))
        if len(looks) == 1:
            threading.Timer(0.2, score, (tmp_path, 10, 30.0)).start()
        return True

    selection.wait(10, go_on=go_on)
    assert selection.losses() == {10: -30.0} and looks
    selection.wait(20, go_on=lambda: False)  # told to end


def test_a_score_that_the_task_has_not_is_refused(tmp_path):
    score(tmp_path, 10, 30.0, name="accuracy")
    with pytest.raises(UserError, match=r"checkpoint\.best: .*chats has no rougeL; it has accuracy"):
        selection_of(tmp_path, best="chats/rougeL").loss(10)
