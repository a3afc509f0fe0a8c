"""Scores of parts of the rows: by template, by length, and by the groups that the card's rows have, such as a topic."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eval.comparison.columns import Row
from eval.comparison.task import Comparison, Interval

_BINS = 4
_FEWEST = 5  # rows that a topic needs to stand by itself; its interval is shown of 30 or more
_MOST_GROUPS = 15


@dataclass(frozen=True)
class Slice:
    """Some of the rows.

    Attributes:
      rows: which, [n] numbers of the comparison's rows.
      values: of each system, the main score over them; None where a system lacks it.
    """

    label: str
    rows: np.ndarray
    values: list[Interval | None]

    @property
    def n(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Slicing:
    """A way to part the rows.

    Attributes:
      title: by template, by length of the dialogue, by topic.
      note: what a reader must know of it; may be empty.
    """

    title: str
    note: str
    slices: list[Slice]


def slicings(comparison: Comparison) -> list[Slicing]:
    """All ways that part the rows into two or more."""
    if comparison.main is None:
        return []
    rows = comparison.columns[0].rows
    found = [_by_template(comparison), _by_length(comparison)]
    for group in dict.fromkeys(name for row in rows for name in row.get("groups", {})):
        found.append(_by_group(comparison, group))
    return [slicing for slicing in found if slicing and len(slicing.slices) > 1]


def length_of(row: Row) -> int:
    """Words of what was asked about."""
    return len((row.get("dialogue") or row["inputs"]).split())


def _by_template(comparison: Comparison) -> Slicing | None:
    asked = [[row.get("template") for row in column.rows] for column in comparison.columns]
    if any(templates != asked[0] for templates in asked) or None in asked[0]:
        return None  # each system was asked in its own way
    masks = {str(name): np.array([t == name for t in asked[0]]) for name in sorted(set(map(str, asked[0])))}
    return Slicing(
        "By template",
        "Each row was asked in one of the templates, so the templates met different rows; for a clean comparison evaluate every "
        f"template on all rows: eval.tasks=[{comparison.task.partition('.')[0]}.*]",
        _slices(comparison, masks),
    )


def _by_length(comparison: Comparison) -> Slicing:
    lengths = np.array([length_of(row) for row in comparison.columns[0].rows])
    edges = sorted({int(q) for q in np.quantile(lengths, np.linspace(0, 1, _BINS + 1))})
    masks = {}
    for number, (low, high) in enumerate(pairwise(edges)):
        last = number == len(edges) - 2
        label = f"{low}–{high if last else high - 1} words"
        masks[label] = (lengths >= low) & ((lengths <= high) if last else (lengths < high))
    return Slicing("By length of the input", "Quarters of the rows.", _slices(comparison, masks))


def _by_group(comparison: Comparison, group: str) -> Slicing:
    of_rows = [set(row.get("groups", {}).get(group, ())) for row in comparison.columns[0].rows]
    counts = Counter(name for names in of_rows for name in names)
    common = [name for name, count in counts.most_common(_MOST_GROUPS) if count >= _FEWEST]
    masks = {name: np.array([name in names for names in of_rows]) for name in common}
    rest = np.array([not names & set(common) for names in of_rows])
    if rest.any():
        masks["all others"] = rest
    note = f"{len(counts)} in all; those of {_FEWEST} rows or more, at most {_MOST_GROUPS}. A row may have several."
    return Slicing(f"By {group}", note, _slices(comparison, masks))


def _slices(comparison: Comparison, masks: Mapping[str, np.ndarray]) -> list[Slice]:
    score = comparison.main or ""
    columns = range(len(comparison.columns))
    chosen = {label: np.flatnonzero(mask) for label, mask in masks.items() if mask.any()}
    return [
        Slice(label, rows, [comparison.slice(column, rows, score) for column in columns])
        for label, rows in chosen.items()
    ]
