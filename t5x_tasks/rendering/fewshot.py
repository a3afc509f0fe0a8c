"""Exemplars: solved examples before the question, drawn from the rows that are trained on, never the question itself.

Which they are is a function of the example's id and the template alone, so that every machine and every run of the same
data sees the same; each example has its own. What does not fit into the row is left out from the last exemplar on, as
a whole, and counted.
"""

import itertools
from collections.abc import Collection, Container, Iterable, Sequence

import numpy as np

from t5x_tasks.card.card import Card, Variant
from t5x_tasks.common.hashing import example_key, mix
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.rendering.render import render, shot
from t5x_tasks.rendering.training_rows import Question, kept_rows
from t5x_tasks.sources import Row, question

POOL_ROWS = 20_000  # of the training split that exemplars are drawn from
AUTO_FIT = 1024  # tokens of inputs, where `data.lengths: auto` has not chosen them yet
_TRIES = 8  # positions looked at for each exemplar before it is left out: repeated questions are rare


def exemplar_pool(card: Card, rows: Iterable[Row], elsewhere: Container[Question] = ()) -> list[Row]:
    """Returns what exemplars are drawn from: of the first rows of the training split those that are trained on.

    Args:
      elsewhere: see `training_rows.kept_rows`: with `dedupe`, no exemplar may tell the answer to a question of the test split.
    """
    return kept_rows(card, itertools.islice(rows, POOL_ROWS), elsewhere)


class Exemplars:
    """Draws exemplars for the rows of one template.

    Args:
      pool: see `exemplar_pool`.
      fit: tokens that the inputs may have, with end of sequence.
    """

    def __init__(self, card: Card, variant: Variant, pool: Sequence[Row], vocabulary: Vocabulary, fit: int):
        self._card = card
        self._variant = variant
        self._pool = pool
        self._vocabulary = vocabulary
        self._fit = fit
        self._lengths: dict[int, int] = {}  # index in the pool -> tokens, of those that were drawn so far
        self.asked = 0
        self.kept = 0

    def choose(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Returns the exemplars of each row, `variant.shots` or fewer, and counts them in `asked` and `kept`."""
        card, variant = self._card, self._variant
        own = self._vocabulary.encode_batch([render(card, variant, row).inputs for row in rows])
        drawn = [self._draw(row, order) for row, order in zip(rows, self._orders(rows), strict=True)]
        self._measure({index for indices in drawn for index in indices})
        chosen: list[list[Row]] = []
        for ids, indices in zip(own, drawn, strict=True):
            left = self._fit - 1 - len(ids)
            kept: list[Row] = []
            for index in indices:
                left -= self._lengths[index]
                if left < 0:
                    break
                kept.append(self._pool[index])
            self.asked += variant.shots
            self.kept += len(kept)
            chosen.append(kept)
        return chosen

    def _orders(self, rows: Sequence[Row]) -> list[list[int]]:
        """Returns the positions in the pool that are looked at for each row, a batch at once: rows one by one take 60 us."""
        if not self._pool or not rows:
            return [[] for _ in rows]
        keys = np.array([[example_key(row.id)] for row in rows], np.uint64)
        seeds = mix(mix(keys) ^ np.uint64(example_key(self._card.task_name(self._variant))))
        tries = np.arange(self._variant.shots * _TRIES, dtype=np.uint64)
        return (mix(seeds + tries) % np.uint64(len(self._pool))).tolist()

    def _draw(self, row: Row, order: list[int]) -> list[int]:
        card, shots = self._card, self._variant.shots
        drawn: list[int] = []
        asked = question(card, row)
        for index in order:
            if len(drawn) == shots:
                break
            other = self._pool[index]
            if index not in drawn and other.id != row.id and question(card, other) != asked:
                drawn.append(index)
        return drawn

    def _measure(self, indices: Collection[int]) -> None:
        """Counts the tokens of exemplars. Tokens do not cross white space, so those of a row are the sum of its parts'."""
        new = sorted(set(indices) - self._lengths.keys())
        renderings = [render(self._card, self._variant, self._pool[index]) for index in new]
        encoded = self._vocabulary.encode_batch([shot(r.inputs, r.targets) for r in renderings])
        self._lengths.update(zip(new, map(len, encoded), strict=True))
