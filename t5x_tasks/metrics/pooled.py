"""Scores that are no mean over rows, and what the metrics share: ratios, macro-F1, checks of their arguments.

0/0 is 0 everywhere, unless a metric says otherwise of itself; no score is ever NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np


@dataclass(frozen=True)
class Pooled:
    """A score of all rows together, such as BLEU or F1 over counts: a function of the sums of statistics of each row.

    Sums are all that the score of any choice of rows needs, so that a bootstrap over rows costs no more than for a mean.

    Attributes:
      statistics: [rows, k] float64, mostly counts.
      score: sums [..., k] -> scores [...]. Finite for any sums of rows, zeros too.
    """

    statistics: np.ndarray
    score: Callable[[np.ndarray], np.ndarray]

    def __post_init__(self) -> None:
        statistics = np.asarray(self.statistics, np.float64)
        if statistics.ndim != 2:
            raise ValueError(f"statistics of Pooled must be [rows, k], not of shape {statistics.shape}")
        object.__setattr__(self, "statistics", statistics)

    def __len__(self) -> int:
        return len(self.statistics)


Scores: TypeAlias = Mapping[str, np.ndarray | Pooled]


def value(scores: np.ndarray | Pooled) -> float:
    """The score of all rows: the mean of each row's, or the score of the pooled statistics. Without a row, 0."""
    if isinstance(scores, Pooled):
        return float(scores.score(scores.statistics.sum(axis=0)))
    return float(np.mean(scores)) if len(scores) else 0.0


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Element by element; x/0 is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


def macro_f1(predicted: Sequence[object | None], actual: Sequence[object]) -> Pooled:
    """F1 of each label times 100, averaged over the labels that occur in `actual`, whatever their frequency.

    The `f1_score(average="macro", labels=sorted(set(actual)))` of scikit-learn. In a resample, labels that do not occur in it
    are left out of the mean: perfect rows give 100 however they are drawn.

    Args:
      predicted: [rows]; None, or what is no label of `actual`, is the right answer of no row.
      actual: [rows].
    """
    column = {label: 3 * i for i, label in enumerate(dict.fromkeys(actual))}
    statistics = np.zeros((len(actual), 3 * len(column)))  # of each label: right, predicted, actual
    for row, (said, right) in enumerate(zip(predicted, actual, strict=True)):
        statistics[row, column[right]] += said == right
        statistics[row, column[right] + 2] += 1
        if said in column:
            statistics[row, column[said] + 1] += 1
    return Pooled(statistics, _macro_f1)


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    counts = sums.reshape(*sums.shape[:-1], -1, 3)
    f1 = divide(2 * counts[..., 0], counts[..., 1] + counts[..., 2])  # [..., labels]
    occurs = counts[..., 2] > 0
    return 100 * divide((f1 * occurs).sum(axis=-1), occurs.sum(axis=-1))


def check_rows(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raises ValueError if predictions and references differ in number, or a row has no reference."""
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} rows of references")
    if not all(references):
        raise ValueError("every row needs at least one reference")
