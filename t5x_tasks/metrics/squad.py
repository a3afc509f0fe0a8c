"""Short answers as SQuAD scores them: exact match and F1 of words, best over the references.

Reference: Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016; evaluate-v1.1.py.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from t5x_tasks.metrics.pooled import check_rows

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return (
        "own implementation 1 of SQuAD's evaluate-v1.1 (lower case, without punctuation, articles and extra white space); "
        "exact_match and f1 (mean of each row's F1 of words) in %"
    )


def squad(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Scores short answers.

    Returns:
      `exact_match` and `f1` in percent, both [rows], each against the reference that is best for it. Where nothing is left of
      prediction and reference (`the`, `.`), they are equal: 100, as SQuAD 2.0 has it.

    Raises:
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    check_rows(predictions, references)
    exact, f1 = np.zeros(len(predictions)), np.zeros(len(predictions))
    for row, (prediction, answers) in enumerate(zip(predictions, references, strict=True)):
        said = normalize_answer(prediction)
        rights = [normalize_answer(answer) for answer in answers]
        exact[row] = 100.0 * (said in rights)
        f1[row] = 100.0 * max(_f1(said, right) for right in rights)
    return {"exact_match": exact, "f1": f1}


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, the words a, an, the, and extra white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _f1(prediction: str, reference: str) -> float:
    said, right = Counter(prediction.split()), Counter(reference.split())
    if not said or not right:
        return float(said == right)
    return 2 * (said & right).total() / (said.total() + right.total())
