"""Which rows people rate, in what order, and which system stands on the left: drawn by hashes of a seed and the rows' ids."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from eval.comparison.task import Comparison, Row

Letter = Literal["A", "B"]  # the first and the second system of `python -m eval rate A B`


@dataclass(frozen=True)
class Sheet:
    """The content of a page of ratings.

    Attributes:
      systems: fingerprints of what A and B say in these rows. The page does not know their names.
      rows: (id, the system that stands on the left), in the order shown.
      common: rows that both systems answered.
      identical: those of them with one and the same output, which no page shows.
    """

    task: str
    split: str
    seed: int
    systems: tuple[str, str]
    rows: tuple[tuple[str, Letter], ...]
    common: int
    identical: int

    @cached_property
    def page(self) -> str:
        """The page's identity: other rows, sides, texts or systems give another."""
        drawn = [self.task, self.split, self.seed, self.systems, self.rows, self.common, self.identical]
        return _hash(json.dumps(drawn))[:16]


def draw(comparison: Comparison, *, rows: int, seed: int) -> Sheet:
    """Draws rows on which the two systems' outputs differ; each system is on the left in half of them.

    Args:
      rows: at most so many.
    """
    first, second = (column.rows for column in comparison.columns)
    ids = [a["id"] for a, b in zip(first, second, strict=True) if _shown(a) != _shown(b)]
    drawn = sorted(ids, key=lambda id: _hash(f"row {seed} {id}"))[:rows]
    by_side = sorted(drawn, key=lambda id: _hash(f"side {seed} {id}"))
    a_left = set(by_side[: len(drawn) // 2])
    return Sheet(
        comparison.task,
        comparison.split,
        seed,
        (fingerprint(by_id(first, drawn)), fingerprint(by_id(second, drawn))),
        tuple((id, "A" if id in a_left else "B") for id in drawn),
        comparison.n,
        comparison.n - len(ids),
    )


def by_id(rows: Iterable[Row], ids: Sequence[str]) -> list[Row]:
    """The rows with these ids, in their order. KeyError: there is no such row."""
    table = {row["id"]: row for row in rows}
    return [table[id] for id in ids]


def source(row: Row) -> str:
    """The text that a row's output is about: its dialogue, otherwise the whole input."""
    return row.get("dialogue") or row["inputs"]


def fingerprint(rows: Iterable[Row]) -> str:
    """Tells a system by what it says in some rows: other answers, or other dialogues, give another."""
    shown: list[Any] = [[row["id"], source(row), row["prediction"]] for row in rows]
    return _hash(json.dumps(shown))[:16]


def _shown(row: Row) -> list[str]:
    return row["prediction"].split()  # a reader sees no more of white space


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
