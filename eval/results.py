"""What an evaluation leaves behind: OUTPUT/<step>/metrics.json and <task>/predictions.jsonl.

Those are of the last evaluation of the step. Its scores are also kept in scores-<digest of split, limit and decoding>.json, so
that an evaluation of another split displaces nothing that chooses checkpoints (train/selection.py).
"""

import json
from pathlib import Path
from typing import Any

from eval.files import write_json, write_jsonl
from eval.plan import Plan
from eval.scoring import TaskScores
from train.log import say


def write_predictions(folder: Path, task: str, rows: list[dict[str, Any]]) -> Path:
    """Writes FOLDER/<task>/predictions.jsonl."""
    path = folder / task / "predictions.jsonl"
    write_jsonl(path, rows)
    return path


def write_metrics(folder: Path, head: dict[str, Any], tasks: dict[str, Any]) -> Path:
    """Writes FOLDER/metrics.json: `head` (step, split, limit, weights, decode), then the tasks."""
    path = folder / "metrics.json"
    write_json(path, {**head, "tasks": tasks})
    return path


def write_task(plan: Plan, step: int, task: str, scores: TaskScores) -> None:
    """Writes predictions.jsonl and the task's part of metrics.json; says which scores make way for it."""
    head, folder = head_of(plan, step), plan.output / str(step)
    path, kept = folder / "metrics.json", plan.config.eval.scores_file(folder)
    write_json(kept, {**head, "tasks": {**tasks_scored(plan, step), task: scores.summary}})
    write_predictions(folder, task, scores.rows)
    before, tasks = _read(path)
    different = [f"{key} {before.get(key)}" for key in head if before.get(key) != head[key]]
    if tasks and different:
        say(f"{path}: replaces the scores of {', '.join(tasks)} ({'; '.join(different)}); eval.output=DIR keeps both")
    write_metrics(folder, head, {**(tasks if before == head else {}), task: scores.summary})


def head_of(plan: Plan, step: int) -> dict[str, Any]:
    """What metrics.json says of all its tasks."""
    settings = plan.config.eval.settings()
    decode = settings.pop("decode")
    return {"step": step, **settings, "weights": plan.weights(step), "decode": decode}


def tasks_scored(plan: Plan, step: int) -> dict[str, Any]:
    """Tasks that were scored before, in the same way: split, limit, weights and decoding."""
    head, folder = head_of(plan, step), plan.output / str(step)
    found = [_read(path) for path in (folder / "metrics.json", plan.config.eval.scores_file(folder))]
    return {task: scores for before, tasks in found if before == head for task, scores in tasks.items()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a metrics.json says of all its tasks, and of each; nothing where there is none that can be read."""
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        return head, dict(head.pop("tasks", {}))
    except (OSError, ValueError, TypeError, AttributeError):
        return {}, {}
