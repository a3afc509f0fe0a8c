"""Scores: metrics of each row, their means with bootstrap confidence intervals, and the floor that needs no model.

Imports neither JAX nor TensorFlow.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.examples import Example, Questions
from eval.files import write_json, write_jsonl
from t5x_tasks.metrics import load_metric
from t5x_tasks.metrics.baselines import lead, longest

BOOTSTRAP_SEED = 0
CONFIDENCE = 0.95
BASELINES = {"lead_3": lead, "longest_3": longest}
_CHUNK = 50  # resamples drawn at once: 50 x 13,000 rows are 5 MB


@dataclass(frozen=True)
class TaskScores:
    """One task scored.

    Attributes:
      summary: what stands under the task's name in metrics.json.
      rows: those of predictions.jsonl.
    """

    summary: dict[str, Any]
    rows: list[dict[str, Any]]


def score_task(
    questions: Questions, predictions: Sequence[str], *, counts: dict[str, int | None], bootstrap_samples: int = 1000
) -> TaskScores:
    """Scores one prediction for each example with the metrics of the task's card.

    Args:
      counts: what was cut or unknown on the way; `empty_inputs` is added.
      bootstrap_samples: resamples behind each confidence interval.
    """
    examples = questions.examples
    references = [example.references for example in examples]

    def summarized(scores: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
        summary = {}
        for metric, values in scores.items():
            for name, interval in bootstrap(values, samples=bootstrap_samples).items():
                summary[name] = {**interval, "settings": _settings(questions, metric, name, bootstrap_samples)}
        return summary

    baselines = {}
    dialogues = [example.dialogue for example in examples]
    if all(dialogue is not None for dialogue in dialogues):
        for name, baseline in BASELINES.items():
            said = [baseline(dialogue or "") for dialogue in dialogues]
            baselines[name] = summarized(_scores(questions.metrics, said, references))
    scores = _scores(questions.metrics, predictions, references)
    summary = {
        "n": len(examples),
        "metrics": summarized(scores),
        "baselines": baselines,
        "counts": {**counts, "empty_inputs": sum(example.empty for example in examples)},
    }
    by_name = {name: values for metric in scores.values() for name, values in metric.items()}
    rows = prediction_rows(questions, predictions)
    for i, row in enumerate(rows):
        row["scores"] = {name: round(float(values[i]), 4) for name, values in by_name.items()}
    return TaskScores(summary, rows)


def prediction_rows(questions: Questions, predictions: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the rows of predictions.jsonl, not scored yet."""
    return [_row(example, said) for example, said in zip(questions.examples, predictions, strict=True)]


def bootstrap(
    values: dict[str, np.ndarray], *, samples: int, seed: int = BOOTSTRAP_SEED
) -> dict[str, dict[str, float]]:
    """Means of rows with percentile confidence intervals (Efron & Tibshirani 1993, chapter 13).

    All metrics are resampled together, and the same seed draws the same rows for every system scored on n rows, so
    their intervals can be compared.

    Args:
      values: name -> [rows].
      samples: resamples.

    Returns:
      name -> {"value", "ci_low", "ci_high"}.
    """
    table = np.stack(list(values.values()), axis=1)  # [rows, metrics]
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, samples, _CHUNK):
        drawn = rng.integers(0, len(table), (min(_CHUNK, samples - start), len(table)))
        means += [table[rows].mean(axis=0) for rows in drawn]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return {
        name: {"value": float(value), "ci_low": float(low[i]), "ci_high": float(high[i])}
        for i, (name, value) in enumerate(zip(values, table.mean(axis=0), strict=True))
    }


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


def _scores(
    metrics: Sequence[str], predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, dict[str, np.ndarray]]:
    """metric -> name of a score -> [rows]."""
    return {metric: load_metric(metric)(predictions, references) for metric in metrics}


def _settings(questions: Questions, metric: str, name: str, samples: int) -> str:
    """What produced a number: implementation, which reference, split, rows, interval."""
    module = importlib.import_module(load_metric(metric).__module__)
    implementation = module.settings() if hasattr(module, "settings") else metric
    most = max(len(example.references) for example in questions.examples)
    return (
        f"{implementation}, {_convention(name, most)}, {questions.split} split, n={len(questions.examples)}, "
        f"{CONFIDENCE:.0%} interval of {samples} bootstrap resamples (seed {BOOTSTRAP_SEED})"
    )


def _convention(name: str, most: int) -> str:
    if most == 1:
        return "one reference"
    if name.endswith("_mean"):
        return f"mean over up to {most} references"
    if name.endswith("_first"):
        return f"first of up to {most} references"
    return f"best of up to {most} references"


def _row(example: Example, prediction: str) -> dict[str, Any]:
    row = {
        "id": example.id,
        "template": example.template,
        "inputs": example.inputs,
        "prediction": prediction,
        "references": example.references,
        "scores": {},
    }
    if example.dialogue is not None:
        row["dialogue"] = example.dialogue
    return row
