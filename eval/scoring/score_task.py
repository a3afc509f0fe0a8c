"""Scores: metrics with bootstrap confidence intervals, the scores of each row, and the floor that needs no model.

Imports neither JAX nor TensorFlow.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.diagnostics.diagnose import diagnose
from eval.examples import Example, Questions
from eval.scoring.bootstrap import SAMPLES, bootstrap, interval_settings
from t5x_tasks.common.vocabulary import UNKNOWN
from t5x_tasks.metrics import compute, load_metric, lower_is_better
from t5x_tasks.metrics.baselines import lead, longest
from t5x_tasks.metrics.pooled import Pooled, Scores
from t5x_tasks.rendering.render import is_blank

BASELINES = {"lead_3": lead, "longest_3": longest}


# Count -> what it means for the scores.
_REMARKS = {
    "blank_references": "rows have no reference: ROUGE is 0 there and its mean too low; leave these rows out of the split, or "
    "write their references",
    "unread_references": "rows have references in other letters than a to z, which ROUGE does not see: it is 0 there whatever is "
    "predicted; set the card's metrics to chrf, which reads every script",
    "unwritable_references": "rows have references with characters that the vocabulary lacks, so no prediction can be the same; "
    "where they are letters other than a to z ROUGE does not show it, but chrf among the card's metrics does",
    "truncated_inputs": "inputs were cut to data.lengths.inputs, so their ends were not read",
    "unended_predictions": "predictions did not end within eval.decode.max_tokens and were cut there",
    "unknown_predictions": f"predictions hold {UNKNOWN}, which stands for a character that the vocabulary lacks",
}


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
    questions: Questions, predictions: Sequence[str], *, counts: dict[str, int | None], bootstrap_samples: int = SAMPLES
) -> TaskScores:
    """Scores one prediction for each example with the metrics of the task's card; summaries are diagnosed, too.

    Args:
      counts: what was cut or unknown on the way; those of empty and unknown texts are added.
      bootstrap_samples: resamples behind each confidence interval.

    Raises:
      UserError: a metric cannot be loaded, or the task's references are not what it can score.
    """
    examples = questions.examples
    references = [example.references for example in examples]

    def summarized(scores: dict[str, Scores]) -> dict[str, Any]:
        summary = {}
        for metric, values in scores.items():
            for name, interval in bootstrap(values, samples=bootstrap_samples).items():
                better = "lower" if lower_is_better(metric, name) else "higher"
                settings = _settings(questions, metric, name, bootstrap_samples)
                summary[name] = {**interval, "better": better, "settings": settings}
        return summary

    baselines = {}
    dialogues = [example.dialogue for example in examples]
    if all(dialogue is not None for dialogue in dialogues):
        for name, baseline in BASELINES.items():
            said = [baseline(dialogue or "") for dialogue in dialogues]
            baselines[name] = summarized(compute(questions.metrics, said, references))
    scores = compute(questions.metrics, predictions, references)
    variants = {example.variant.id: example.variant.split for example in examples if example.variant}
    summary = {
        "n": len(examples),
        "metric_names": list(questions.metrics),
        "phrasings": variants,
        "metrics": summarized(scores),
        "baselines": baselines,
        "counts": {**counts, **count_references(questions), **_count_texts(examples, predictions)},
    }
    of_rows = {
        name: values
        for by_name in scores.values()
        for name, values in by_name.items()
        if not isinstance(values, Pooled)
    }
    rows = prediction_rows(questions, predictions)
    for i, row in enumerate(rows):
        row["scores"] = {name: round(float(values[i]), 4) for name, values in of_rows.items()}
    if examples and all(dialogue is not None for dialogue in dialogues):
        diagnosis = diagnose(
            [dialogue or "" for dialogue in dialogues],
            predictions,
            references,
            interval=lambda scores: bootstrap(scores, samples=bootstrap_samples),
            settings=_behind(questions, bootstrap_samples),
        )
        summary["diagnostics"] = diagnosis.summary
        for row, diagnostics in zip(rows, diagnosis.rows, strict=True):
            row["diagnostics"] = diagnostics
    return TaskScores(summary, rows)


def count_references(questions: Questions) -> dict[str, int]:
    """Rows whose every reference is blank, and those whose every reference is in letters that ROUGE does not see."""
    if not {"rouge", "py_rouge"} & set(questions.metrics):
        return {}
    from t5x_tasks.metrics.rouge import can_read

    texts = [example.references for example in questions.examples]
    return {
        "blank_references": sum(all(map(is_blank, references)) for references in texts),
        "unread_references": sum(not any(map(can_read, references)) for references in texts),
    }


def remarks(counts: Mapping[str, int | None], n: int) -> list[str]:
    """Cautions about n rows' scores, from their counts: lower, or higher, than the predictions deserve."""
    return [f"{count} of {n} {remark}" for name, remark in _REMARKS.items() if (count := counts.get(name))]


def _count_texts(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, int]:
    return {
        "empty_inputs": sum(example.empty for example in examples),
        "empty_predictions": sum(not prediction.strip() for prediction in predictions),
        "unknown_predictions": sum(UNKNOWN in prediction for prediction in predictions),
    }


def prediction_rows(questions: Questions, predictions: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the rows of predictions.jsonl, not scored yet."""
    return [_row(example, said) for example, said in zip(questions.examples, predictions, strict=True)]


def _settings(questions: Questions, metric: str, name: str, samples: int) -> str:
    """The settings behind a number: implementation, which reference, split, rows, interval."""
    module = importlib.import_module(load_metric(metric).__module__)
    implementation = module.settings() if hasattr(module, "settings") else metric
    most = max(len(example.references) for example in questions.examples)
    choice = getattr(module, "REFERENCES", "best of")
    return f"{implementation}, {_convention(name, most, choice)}, {_behind(questions, samples)}"


def _behind(questions: Questions, samples: int) -> str:
    return f"{questions.split} split, n={len(questions.examples)}, {interval_settings(samples)}"


def _convention(name: str, most: int, choice: str) -> str:
    if most == 1:
        return "one reference"
    if name.endswith("_mean"):
        return f"mean over up to {most} references"
    if name.endswith("_first"):
        return f"first of up to {most} references"
    return f"{choice} up to {most} references"


def _row(example: Example, prediction: str) -> dict[str, Any]:
    row = {
        "id": example.id,
        "template": example.variant.id if example.variant else None,
        "inputs": example.inputs,
        "prediction": prediction,
        "references": example.references,
        "scores": {},
    }
    if example.dialogue is not None:
        row["dialogue"] = example.dialogue
    if example.groups:
        row["groups"] = dict(example.groups)
    return row
