"""How long a summary is, how much of it is copied, how much is new, and whether it repeats itself.

Words are runs of letters and figures, in lower case, without punctuation.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from t5x_tasks.metrics.pooled import Pooled, Scores, divide

ORDERS = (1, 2, 3)
_WORD = re.compile(r"\w+")


class Copying(NamedTuple):
    """Counts of one summary.

    Attributes:
      words: its words.
      copied: of them in fragments of the dialogue.
      squares: sum of the squared lengths of these fragments.
      novel: for each of ORDERS, n-grams that are not in the dialogue.
      grams: for each of ORDERS, all n-grams.
      repeated: trigrams that stand earlier in the summary, too.
    """

    words: int
    copied: int
    squares: int
    novel: tuple[int, ...]
    grams: tuple[int, ...]
    repeated: int


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


class Said:
    """The words of a dialogue, where each stands, and its n-grams. Made once a dialogue."""

    def __init__(self, dialogue: str):
        self.words = words(dialogue)
        self.grams = {n: set(_grams(self.words, n)) for n in ORDERS}
        self.where: dict[str, list[int]] = {}
        for position, word in enumerate(self.words):
            self.where.setdefault(word, []).append(position)


def copying(summary: str, dialogue: Said) -> Copying:
    """Counts of a summary against its dialogue."""
    said = words(summary)
    lengths = fragments(said, dialogue)
    grams = {n: _grams(said, n) for n in ORDERS}
    return Copying(
        words=len(said),
        copied=sum(lengths),
        squares=sum(length**2 for length in lengths),
        novel=tuple(sum(gram not in dialogue.grams[n] for gram in grams[n]) for n in ORDERS),
        grams=tuple(len(grams[n]) for n in ORDERS),
        repeated=len(grams[3]) - len(set(grams[3])),
    )


def fragments(summary: Sequence[str], dialogue: Said) -> list[int]:
    """Lengths of the extractive fragments: the longest shared runs of words, taken greedily from the left.

    Reference: Grusky, Naaman & Artzi 2018, "Newsroom", figure 3 (F(A, S)).
    """
    lengths, i, source = [], 0, dialogue.words
    while i < len(summary):
        longest = 0
        for j in dialogue.where.get(summary[i], ()):
            k = 1
            while i + k < len(summary) and j + k < len(source) and summary[i + k] == source[j + k]:
                k += 1
            longest = max(longest, k)
        if longest:
            lengths.append(longest)
        i += longest or 1
    return lengths


def copying_scores(rows: Sequence[Sequence[Copying]]) -> Scores:
    """Shares over all rows, in percent but for the density. A row may have several texts (its references): they are pooled.

    - `copied_share`: words in fragments copied from the dialogue (coverage of Grusky et al. 2018, equation 1, pooled).
    - `copied_density`: mean length of the fragment that a word is in (density, equation 2, pooled), in words.
    - `novel_1grams`, `novel_2grams`, `novel_3grams`: n-grams that the dialogue lacks (See et al. 2017, figure 6).
    - `repeated_3grams`: trigrams that stand earlier in the same summary, too.
    - `empty`: summaries without a word.
    """
    table = np.array([_statistics(texts) for texts in rows], np.float64).reshape(len(rows), -1)
    orders = len(ORDERS)

    def share(part: int, whole: int, scale: float = 100.0) -> Pooled:
        return Pooled(table[:, [part, whole]], lambda sums: scale * divide(sums[..., 0], sums[..., 1]))

    # columns: words, copied, squares, novel (3), grams (3), repeated, empty, texts
    return {
        "copied_share": share(1, 0),
        "copied_density": share(2, 0, 1.0),
        **{f"novel_{n}grams": share(3 + i, 3 + orders + i) for i, n in enumerate(ORDERS)},
        "repeated_3grams": share(3 + 2 * orders, 3 + 2 * orders - 1),
        "empty": share(4 + 2 * orders, 5 + 2 * orders),
    }


def length_ratio(predictions: Sequence[Copying], references: Sequence[Sequence[Copying]]) -> Pooled:
    """Words of the predictions over words of the references (of several, their mean), over all rows; 1 is as long."""
    pairs = [
        (p.words, np.mean([text.words for text in texts])) for p, texts in zip(predictions, references, strict=True)
    ]
    return Pooled(np.array(pairs, np.float64).reshape(-1, 2), lambda sums: divide(sums[..., 0], sums[..., 1]))


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def _statistics(texts: Sequence[Copying]) -> list[int]:
    flat = [(t.words, t.copied, t.squares, *t.novel, *t.grams, t.repeated, int(t.words == 0), 1) for t in texts]
    return [sum(column) for column in zip(*flat, strict=True)]
