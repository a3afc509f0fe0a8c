"""What an evaluation leaves behind: OUTPUT/<step>/metrics.json and <task>/predictions.jsonl."""

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
    path = folder / "metrics.json"
    write_predictions(folder, task, scores.rows)
    before, tasks = _read(path)
    different = [f"{key} {before.get(key)}" for key in head if before.get(key) != head[key]]
    if tasks and different:
        say(f"{path}: replaces the scores of {', '.join(tasks)} ({'; '.join(different)}); eval.output=DIR keeps both")
    write_metrics(folder, head, {**(tasks if before == head else {}), task: scores.summary})


def head_of(plan: Plan, step: int) -> dict[str, Any]:
    """What metrics.json says of all its tasks."""
    settings = plan.config.eval
    return {
        "step": step,
        "split": settings.split,
        "limit": settings.limit,
        "weights": plan.weights(step),
        "decode": settings.decode.in_words(),
    }


def tasks_beside(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    """Tasks that were scored before, in the same way; of another split, limit or decoding they make way."""
    before, tasks = _read(path)
    return tasks if before == head else {}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a metrics.json says of all its tasks, and of each; nothing where there is none that can be read."""
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, {}
    return head, head.pop("tasks", {})
