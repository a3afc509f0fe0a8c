"""The files of an evaluation: OUTPUT/<step>/metrics.json and <task>/predictions.jsonl.

Those are of the last evaluation of the step. Its scores are also kept in scores-<digest of split, limit and decoding>.json, so
that an evaluation of another split displaces nothing that chooses checkpoints (train/selection.py).
"""

import json
from pathlib import Path
from typing import Any

from eval.plan import Plan
from eval.scoring.files import write_json, write_jsonl
from eval.scoring.score_task import TaskScores
from train.log import say
from train.rundir.origin import FINGERPRINT


def write_predictions(folder: Path, task: str, rows: list[dict[str, Any]]) -> Path:
    """Writes FOLDER/<task>/predictions.jsonl."""
    path = folder / task / "predictions.jsonl"
    write_jsonl(path, rows)
    return path


def write_metrics(folder: Path, head: dict[str, Any], tasks: dict[str, Any]) -> Path:
    """Writes FOLDER/metrics.json: `head` (step, split, limit, weights, weights_fingerprint, decode), then the tasks."""
    path = folder / "metrics.json"
    write_json(path, {**head, "tasks": tasks})
    return path


def write_task(plan: Plan, step: int, task: str, scores: TaskScores, *, fingerprint: str) -> None:
    """Writes predictions.jsonl and the task's part of metrics.json; says which scores make way for it.

    Args:
      fingerprint: of the weights, see `Predictor.fingerprint`: scores of others that were in their place make way.
    """
    head, folder = head_of(plan, step, fingerprint), plan.output / str(step)
    path, kept = folder / "metrics.json", plan.config.eval.scores_file(folder)
    write_json(kept, {**head, "tasks": {**tasks_scored(plan, step, fingerprint), task: scores.summary}})
    write_predictions(folder, task, scores.rows)
    before, tasks = _read(path)
    different = _different(before, head)
    if tasks and different:
        said = "; ".join(_said(key, before) for key in different)
        say(f"{path}: replaces the scores of {', '.join(tasks)} ({said}); eval.output=DIR keeps both")
    write_metrics(folder, head, {**({} if different else tasks), task: scores.summary})


def head_of(plan: Plan, step: int, fingerprint: str | None) -> dict[str, Any]:
    """The part of metrics.json that holds for all its tasks."""
    settings = plan.config.eval.settings()
    decode = settings.pop("decode")
    weights = {"weights": plan.weights(step), FINGERPRINT: fingerprint}
    return {"step": step, **settings, **weights, "decode": decode}


def tasks_scored(plan: Plan, step: int, fingerprint: str | None) -> dict[str, Any]:
    """Tasks that were scored before, in the same way: split, limit, weights (None: any) and decoding."""
    head, folder = head_of(plan, step, fingerprint), plan.output / str(step)
    found = [_read(path) for path in (folder / "metrics.json", plan.config.eval.scores_file(folder))]
    return {task: scores for before, tasks in found if not _different(before, head) for task, scores in tasks.items()}


def _different(before: dict[str, Any], head: dict[str, Any]) -> list[str]:
    """The settings in which two evaluations differ; the folder of the same weights is none."""
    asked = [key for key in head if key != "weights" and not (key == FINGERPRINT and head[key] is None)]
    return [key for key in asked if before.get(key) != head[key]]


def _said(key: str, before: dict[str, Any]) -> str:
    if key != FINGERPRINT:
        return f"{key} {before.get(key)}"
    return "of other weights in the same place" if key in before else "of weights that it has no fingerprint of"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of a metrics.json for all its tasks, and for each; nothing where there is none that can be read."""
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        return head, dict(head.pop("tasks", {}))
    except (OSError, ValueError, TypeError, AttributeError):
        return {}, {}
