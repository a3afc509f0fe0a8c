"""One system's answers to a task's rows: its scores, their intervals, and those of its seeds where it has several."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from eval.comparison.systems import System
from eval.diagnostics.diagnose import few_found
from eval.scoring.bootstrap import bootstrap, take
from eval.scoring.seeds import mean_scores, seeds_bootstrap
from t5x_tasks.metrics.pooled import Pooled, Scores, value

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Column:
    """One system's answers to the rows.

    Attributes:
      rows: of predictions.jsonl, in the comparison's order; of several seeds those of the first.
      scores: of its metrics, all rows; `diagnostics`: of what they do not see. Of several seeds their means.
      probe: `probe.<corruption>` -> whether it prefers the reference, of the rows that all who were probed have.
      seeds: a column for each seed; empty of one.
    """

    system: System
    rows: list[Row]
    summary: dict[str, Any]
    scores: Scores
    diagnostics: Scores
    probe: Scores = field(default_factory=dict)
    seeds: tuple["Column", ...] = ()

    @cached_property
    def few_found(self) -> str:
        """Why its made-up alarm cannot be compared; empty where it can, and where nothing was diagnosed."""
        if self.seeds:
            return next((seed.few_found for seed in self.seeds if seed.few_found), "")
        diagnosed = [row.get("diagnostics", {}) for row in self.rows]
        return few_found(diagnosed) if all("particulars" in row for row in diagnosed) else ""

    def of_rows(self, score: str) -> np.ndarray | None:
        """A score of each row, [rows]; None of one that only all rows together have."""
        values = self.scores.get(score)
        return None if values is None or isinstance(values, Pooled) else values

    def of_seeds(self, but: Sequence[str] = (), only: str | None = None) -> list[Scores]:
        """Scores and diagnostics of each seed; of one seed they are alone.

        Args:
          but: names that are left out.
          only: one name in place of all.
        """
        return [
            {n: v for n, v in {**one.scores, **one.diagnostics}.items() if n not in but and only in (None, n)}
            for one in (self.seeds or (self,))
        ]

    def probe_of_seeds(self, name: str) -> list[Scores]:
        """One corruption of the probe, of each seed."""
        return [{name: one.probe[name]} for one in (self.seeds or (self,))]

    def intervals(
        self, *, samples: int, only: str | None = None, rows: np.ndarray | None = None
    ) -> dict[str, dict[str, float]]:
        """Scores, diagnostics and probe with their intervals: over rows, and over seeds where there are several.

        Args:
          only: one score in place of all.
          rows: numbers of some of the rows. The probe, which has rows of its own, is left out.
        """
        groups = [[scores if rows is None else take(scores, rows) for scores in self.of_seeds(only=only)]]
        if rows is None:
            groups += [self.probe_of_seeds(name) for name in self.probe if only in (None, name)]
        found = {}
        for seeds in filter(lambda seeds: seeds[0], groups):
            found |= (
                bootstrap(seeds[0], samples=samples) if len(seeds) == 1 else seeds_bootstrap(seeds, samples=samples)
            )
        return found


def joined(seeds: Sequence[Column], system: System) -> Column:
    """The column of a system with several seeds, from those of its seeds, on the same rows."""
    if len(seeds) == 1:
        return replace(seeds[0], system=system)
    return Column(
        system, seeds[0].rows, _summary([seed.summary for seed in seeds]), mean_scores([seed.scores for seed in seeds]),
        mean_scores([seed.diagnostics for seed in seeds]), mean_scores([seed.probe for seed in seeds]), tuple(seeds),
    )  # fmt: skip


def spread(column: Column, score: str, digits: int) -> str:
    """`3 seeds: 42.1, 43.0, 43.9`; empty of one."""
    if not column.seeds:
        return ""
    values = [value(seed.scores[score]) for seed in column.seeds if score in seed.scores]
    return f"{len(values)} seeds: {', '.join(f'{one:.{digits}f}' for one in sorted(values))}"


def _summary(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entry of metrics.json for all seeds: means, whose intervals hold those of all seeds."""
    found = dict(seeds[0])
    for part in ("metrics", "diagnostics"):
        of_all = [seed.get(part, {}) for seed in seeds]
        found[part] = {
            name: _measure([one[name] for one in of_all]) for name in of_all[0] if all(name in one for one in of_all)
        }
    return found


def _measure(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if any(seed.get("value") is None for seed in seeds):
        return {**seeds[0], "value": None}
    return {
        **seeds[0],
        "value": sum(seed["value"] for seed in seeds) / len(seeds),
        "ci_low": min(seed["ci_low"] for seed in seeds),
        "ci_high": max(seed["ci_high"] for seed in seeds),
    }
