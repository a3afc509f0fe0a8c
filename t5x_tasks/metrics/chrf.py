"""chrF by sacrebleu: overlap of characters, so that it needs no words and reads every script.

Reference: Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015.
"""

from collections.abc import Sequence

import numpy as np
import sacrebleu

from t5x_tasks.metrics.pooled import check_rows


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return f"sacrebleu {sacrebleu.__version__} chrF2 of each row (6 characters, beta 2, white space left out)"


def chrf(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Scores each row by itself.

    Returns:
      `chrf`, 0 to 100, [rows]: sacrebleu's `sentence_score` against the reference that is best.

    Raises:
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    check_rows(predictions, references)
    scorer = sacrebleu.CHRF()
    rows = zip(predictions, references, strict=True)
    return {"chrf": np.array([scorer.sentence_score(said, list(rights)).score for said, rights in rows], np.float64)}
