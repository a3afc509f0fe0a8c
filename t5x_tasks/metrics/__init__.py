"""Metrics: functions of (predictions, references), found by name.

A metric takes `predictions: Sequence[str]` and `references: Sequence[Sequence[str]]` (every right answer of each row) and
returns its scores by name: an array of [rows] where the score of all is the mean of each row's, `Pooled` where it is not
(BLEU, F1 over counts). Scores are 0 to 100, higher is better. The metric's module says where it differs: `settings()`
gives implementation, version and units, `LOWER_IS_BETTER` the names of the scores of which less is better.

The names of scores. A score is called what its metric calls it. Where several metrics of one card use a name, each of them
is called `metric.name` (`bleu.exact_match` and `squad.exact_match`; `f1` stays `f1` where only one gives it). So a name
depends on the card alone, not on the order of its metrics or on what was predicted, and no score stands for another.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.functions import check_name, load_function

if TYPE_CHECKING:
    from t5x_tasks.metrics.pooled import Scores

    Metric = Callable[[Sequence[str], Sequence[Sequence[str]]], Scores]

# Names that cards may use. Paths rather than functions: rouge_score takes a second to import.
METRICS = {
    "rouge": "t5x_tasks.metrics.rouge:rouge",
    "py_rouge": "t5x_tasks.metrics.py_rouge:py_rouge",
    "bleu": "t5x_tasks.metrics.bleu:bleu",
    "chrf": "t5x_tasks.metrics.chrf:chrf",
    "exact_match": "t5x_tasks.metrics.exact_match:exact_match",
    "accuracy": "t5x_tasks.metrics.accuracy:accuracy",
    "rating": "t5x_tasks.metrics.rating:rating",
    "entities": "t5x_tasks.metrics.entities:entities",
    "squad": "t5x_tasks.metrics.squad:squad",
    "final_answer": "t5x_tasks.metrics.final_answer:final_answer",
}


def check_metric_name(name: str) -> None:
    """Raises ValueError if `name` is neither in `METRICS` nor of the form `package.module:function`."""
    check_name(name, METRICS, kind="metric", key="metrics")


def load_metric(name: str) -> "Metric":
    """Returns the function behind a metric's name.

    Raises:
      UserError: no metric of that name, or the module or function cannot be imported.
    """
    try:
        check_metric_name(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    return load_function(METRICS.get(name, name), folder=Path(), where="metrics")


def lower_is_better(metric: str, score: str) -> bool:
    """Whether less of a score is better, as the metric's module says in `LOWER_IS_BETTER`.

    Args:
      score: a name that `compute` gave, `metric.name` where several metrics use the name.

    Raises:
      UserError: no metric of that name, or it cannot be imported.
    """
    module = sys.modules[load_metric(metric).__module__]
    return score.removeprefix(f"{metric}.") in getattr(module, "LOWER_IS_BETTER", ())


def compute(
    metrics: Sequence[str], predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> "dict[str, Scores]":
    """Scores predictions with all metrics of a card.

    Returns:
      metric -> name of a score -> array of [rows] or Pooled. No name stands twice, see above.

    Raises:
      UserError: a metric cannot be loaded, or these references are not what it can score.
      ValueError: a metric's function returns no dict of scores, or one that is neither Pooled nor a finite number for each row.
    """
    by_metric = {metric: load_metric(metric)(predictions, references) for metric in metrics}
    for metric, scores in by_metric.items():
        _check_scores(metric, scores, len(predictions))
    givers = Counter(name for scores in by_metric.values() for name in scores)
    return {
        metric: {name if givers[name] == 1 else f"{metric}.{name}": values for name, values in scores.items()}
        for metric, scores in by_metric.items()
    }


def _check_scores(metric: str, scores: "Scores", rows: int) -> None:
    import numpy as np

    from t5x_tasks.metrics.pooled import Pooled

    if not isinstance(scores, dict) or not scores:
        raise ValueError(f"metrics: {metric}: must return a dict of scores by name, not {scores!r:.60}")
    for name, values in scores.items():
        numbers = values.statistics if isinstance(values, Pooled) else np.asarray(values)
        if (numbers.ndim, *numbers.shape[:1]) != (1 + isinstance(values, Pooled), rows):
            raise ValueError(
                f"metrics: {metric}: {name} has the shape {list(numbers.shape)} for {rows} rows; give a number for each row, or "
                "t5x_tasks.metrics.pooled.Pooled for a score of all rows together"
            )
        if not np.isfinite(numbers).all():
            bad = int(np.argwhere(~np.isfinite(numbers))[0, 0])
            raise ValueError(f"metrics: {metric}: {name} of row {bad} (from 0) is {numbers[bad]}, which is no score")
