"""Exact match of whole texts."""

from collections.abc import Sequence

import numpy as np

from t5x_tasks.metrics.pooled import check_rows


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return "own implementation 1, equal texts in %, but for white space around them"


def exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Gives `exact_match`: 100 if the prediction is one of the references, white space around them aside, else 0; [rows].

    Nothing else is forgiven, since line breaks and indents count in code. For labels there is `accuracy`, for short
    answers `squad`.

    Raises:
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    check_rows(predictions, references)
    pairs = zip(predictions, references, strict=True)
    return {"exact_match": np.array([100.0 * (said.strip() in map(str.strip, rights)) for said, rights in pairs])}
