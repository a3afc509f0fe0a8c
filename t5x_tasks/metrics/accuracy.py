"""Accuracy and macro-F1 of labels."""

import string
import unicodedata
from collections.abc import Sequence

import numpy as np

from t5x_tasks.metrics.pooled import Pooled, Scores, check_rows, macro_f1

MOST_LABELS = 100  # with more of them, answers are texts rather than classes, and macro-F1 is left out
_AROUND = string.whitespace + ".,;:!?\"'`()[]{}*“”‘’«»…"  # no - + # < >: they can be the label, as in -1 or C++


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return (
        "own implementation 1; accuracy: equal labels in %, whatever their case, width, white space and the punctuation around "
        "them; macro_f1: unweighted mean over the labels of the references, as scikit-learn's f1_score (left out above "
        f"{MOST_LABELS} labels)"
    )


def accuracy(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Scores labels: yes / no, entailment / neutral / contradiction, positive / negative.

    Labels are compared as `normalize_label` gives them. Where a row has several right ones, any will do; it counts as the
    label that was predicted if that is right, and otherwise as the first.

    Returns:
      `accuracy` in percent, [rows], and `macro_f1`, Pooled, over the labels of the references.

    Raises:
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    check_rows(predictions, references)
    said = [normalize_label(prediction) for prediction in predictions]
    right = [[normalize_label(text) for text in texts] for texts in references]
    actual = [label if label in labels else labels[0] for label, labels in zip(said, right, strict=True)]
    correct = [100.0 * (label == other) for label, other in zip(said, actual, strict=True)]
    scores: dict[str, np.ndarray | Pooled] = {"accuracy": np.array(correct)}
    # of all references, not of `actual`: a score must not come and go with the predictions
    if len({label for labels in right for label in labels}) <= MOST_LABELS:
        scores["macro_f1"] = macro_f1(said, actual)
    return scores


def normalize_label(text: str) -> str:
    """Returns a label without case, width, punctuation and white space around it: ` "Yes".` and `- yes` are `yes`.

    `_` is a space. A label of punctuation only stays what it is.
    """
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().replace("_", " ").split())
    return text.removeprefix("- ").strip(_AROUND) or text
