"""BLEU by sacrebleu, over all rows, with several references; and exact match, which a row has of its own.

References: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002; Post, "A Call for Clarity
in Reporting BLEU Scores", 2018.
"""

from collections.abc import Sequence

import numpy as np
import sacrebleu

from t5x_tasks.metrics.exact_match import exact_match
from t5x_tasks.metrics.pooled import Pooled, Scores

REFERENCES = "n-grams of any of"  # where a row has several references, BLEU does not choose the best


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    scorer = _new_scorer()
    scorer.sentence_score("a", ["a"])  # before it has scored, sacrebleu gives no signature
    parts = [
        part for part in scorer.get_signature().format().split("|") if not part.startswith("nrefs:")
    ]  # those of "a"
    return f"sacrebleu corpus BLEU {'|'.join(parts)}; exact_match: equal texts in %, but for white space around them"


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Scores translations, of languages or of code, with sacrebleu's default tokenisation (13a).

    The score is that of sacrebleu's `corpus_score`, with its effective order: where no prediction has an n-gram of some order,
    BLEU is that of the lower orders instead of 0, so that perfect one-word answers get 100. As soon as one prediction has four
    tokens, that changes nothing.

    Returns:
      `bleu`, Pooled, 0 to 100 (0 without a common word); `exact_match` in percent, [rows], see `exact_match`.

    Raises:
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    exact = exact_match(predictions, references)  # checks the arguments, too
    scorer = _new_scorer()
    statistics = [_statistics(scorer, said, rights) for said, rights in zip(predictions, references, strict=True)]
    return {"bleu": Pooled(np.array(statistics, np.float64).reshape(-1, 10), _score), **exact}


def _statistics(scorer: sacrebleu.BLEU, prediction: str, references: Sequence[str]) -> list[int]:
    """[10]: length of the prediction, of the reference that is nearest in length, matching and all n-grams of orders 1 to 4."""
    segment = scorer.sentence_score(prediction, list(references))
    return [segment.sys_len, segment.ref_len, *segment.counts, *segment.totals]


def _score(sums: np.ndarray) -> np.ndarray:
    return np.apply_along_axis(_score_of_one, -1, sums)


def _score_of_one(sums: np.ndarray) -> float:
    lengths, counts = sums[:2].tolist(), sums[2:].tolist()
    options = {"smooth_method": "exp", "effective_order": True}  # those of `_new_scorer`
    return sacrebleu.BLEU.compute_bleu(counts[:4], counts[4:], int(lengths[0]), int(lengths[1]), **options).score


def _new_scorer() -> sacrebleu.BLEU:
    return sacrebleu.BLEU(effective_order=True)  # tok:13a, smooth:exp, case:mixed
