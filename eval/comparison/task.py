"""One task, answered by several systems on the same rows: scores with intervals, and differences with their significance."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eval.comparison.columns import Column, Row, joined
from eval.comparison.systems import System
from eval.diagnostics.copying import words
from eval.diagnostics.corruptions import preferred
from eval.score_names import Side, better_side, main_score
from eval.scoring.bootstrap import Difference, enough_resamples, holm, interval_settings, paired_differences
from eval.scoring.seeds import seeds_differences
from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics import compute
from t5x_tasks.metrics.final_answer import same_answers
from t5x_tasks.metrics.pooled import Pooled, Scores, divide

FEWEST_ROWS = 30  # of which a verdict, or the interval of a slice, is given: those of fewer are not to be relied on
SIGNIFICANT = 0.05  # of p after Holm's correction
PROBE = "probe."  # before the names of its corruptions
Interval = Mapping[str, float]  # value, ci_low, ci_high


@dataclass(frozen=True, eq=False)
class Comparison:
    """A task's rows and the systems that answered all of them. The first system is what the others are compared with.

    Attributes:
      left_out: rows that only some of the systems answered.
      samples: bootstrap resamples.
    """

    task: str
    split: str
    columns: list[Column]
    left_out: int
    samples: int

    @property
    def n(self) -> int:
        return len(self.columns[0].rows)

    @property
    def systems(self) -> list[System]:
        return [column.system for column in self.columns]

    @cached_property
    def score_names(self) -> list[str]:
        return list(dict.fromkeys(name for column in self.columns for name in column.scores))

    @property
    def main(self) -> str | None:
        """The score that stands for the task."""
        return main_score(name for name in self.score_names if all(name in c.scores for c in self.columns))

    def better(self, score: str) -> Side | None:
        """Which values of a score are better, as metrics.json says; None where neither are."""
        stated = (self.stated(i, score) for i in range(len(self.columns)))
        return better_side(score, next((found for found in stated if found), None))

    def stated_of_rows(self, column: int, part: str = "diagnostics") -> dict[str, Any]:
        """The entry of a column in metrics.json, where that is of the comparison's rows and of no others; else nothing."""
        summary, probe = self.columns[column].summary, self.columns[column].probe
        found = summary.get(part, {}) if summary["n"] == self.n else {}
        return {name: value for name, value in found.items() if not name.startswith(PROBE) or name in probe}

    def stated(self, column: int, score: str) -> dict[str, Any]:
        """The entry of metrics.json for a column's score or diagnostic, over all rows that the system answered; {} if nothing."""
        summary = self.columns[column].summary
        return {**summary.get("diagnostics", {}), **summary["metrics"]}.get(score, {})

    @cached_property
    def intervals(self) -> list[dict[str, dict[str, float]]]:
        """For each column, the intervals of all its scores and diagnostics."""
        return [column.intervals(samples=self.samples) for column in self.columns]

    @cached_property
    def differences(self) -> list[dict[str, Difference]]:
        """For each column, its differences from the first; {} of the first itself."""
        return self.differences_from(0)

    def differences_from(self, base: int) -> list[dict[str, Difference]]:
        """For each column, its differences from another; {} of that itself. All scores and systems are one family of tests.

        Of a score that a system computed with other settings (another metric, version or use of references) there is none.
        """
        family = sum(len(self._scores_of(i)) + len(c.probe) for i, c in enumerate(self.columns) if i != base)
        samples = self._resamples(family)
        found = [{} if i == base else self._differences(base, i, samples) for i in range(len(self.columns))]
        return holm(found)

    def difference(self, base: int, column: int, score: str) -> Difference | None:
        """One difference by itself; None where there is none to give."""
        pairs = len(self.columns) * (len(self.columns) - 1) // 2
        samples = self._resamples(pairs)
        return self._differences(base, column, samples, only=score).get(score)

    def _resamples(self, tests: int) -> int:
        """Enough for a verdict on each of so many differences; of too few rows there is none."""
        return self.samples if self.n < FEWEST_ROWS else max(self.samples, enough_resamples(tests, self.n))

    def other_settings(self, base: int, column: int) -> list[str]:
        """Scores that two systems both have, by different settings."""
        both = [name for name in self.columns[base].scores if name in self.columns[column].scores]
        return [name for name in both if self.differ_in_settings(base, column, name)]

    def differ_in_settings(self, base: int, column: int, score: str) -> bool:
        return self._implementation(base, score) != self._implementation(column, score)

    def _scores_of(self, column: int) -> Scores:
        return {**self.columns[column].scores, **self.columns[column].diagnostics}

    def _differences(self, base: int, column: int, samples: int, only: str | None = None) -> dict[str, Difference]:
        sides = [self.columns[base], self.columns[column]]
        left_out = self.other_settings(base, column)
        if any(side.few_found for side in sides):
            left_out.append("made_up_per_100")
        found = _paired(*(side.of_seeds(but=left_out, only=only) for side in sides), samples=samples)
        for name, values in sides[0].probe.items():
            if name in sides[1].probe and only in (None, name) and len(values) >= FEWEST_ROWS:
                found |= _paired(*(side.probe_of_seeds(name) for side in sides), samples=samples)
        return found

    def settings(self, column: int, score: str) -> str:
        """How a number of this comparison was computed: its metric, rows and interval."""
        implementation = self._implementation(column, score)
        n = len(self.columns[column].probe.get(score, ())) or self.n
        return (
            f"{implementation}, {self.split} split, n={n}, {self._interval_settings(column)}" if implementation else ""
        )

    def _interval_settings(self, column: int) -> str:
        if not (seeds := self.columns[column].seeds):
            return interval_settings(self.samples)
        return f"mean of {len(seeds)} seeds, 95% interval of {self.samples} resamples of seeds and rows (eval/scoring/seeds.py)"

    def _implementation(self, column: int, score: str) -> str:
        """How a score was computed; rows and interval, which the report computes anew, aside."""
        stated = str(self.stated(column, score).get("settings", ""))
        return re.split(rf"[,;] {re.escape(self.split)} split", stated, maxsplit=1)[0]

    def of_rows(self, column: int, score: str) -> np.ndarray | None:
        """A score of each row, [rows]; None of one that only all rows together have."""
        return self.columns[column].of_rows(score)

    def slice(self, column: int, rows: np.ndarray, score: str) -> dict[str, float] | None:
        """A score over some of the rows, without an interval of too few; None where there are none of them or no such score."""
        if score not in self.columns[column].scores or not len(rows):
            return None
        found = self.columns[column].intervals(samples=min(self.samples, 1000), only=score, rows=rows)[score]
        return found if len(rows) >= FEWEST_ROWS else {"value": found["value"]}


def compare_task(task: str, split: str, systems: Sequence[System], *, samples: int) -> Comparison:
    """Lines up the rows that all systems with answers for this task and split have.

    Raises:
      UserError: predictions cannot be read, no row is common to all, or the references of a row differ.
    """
    together = [system for system in systems if (task, split) in system.answers]
    answered = [seed for system in together for seed in (system.seeds or (system,)) if (task, split) in seed.answers]
    tables = [{row["id"]: row for row in system.answers[task, split].rows()} for system in answered]
    ids = [id for id in tables[0] if all(id in table for table in tables)]
    if not ids:
        names = " and ".join(system.name for system in answered)
        raise UserError(
            f"{task}, {split}: {names} answered no row in common; evaluate them on the same rows (eval.limit)"
        )
    summaries = [system.answers[task, split].summary for system in answered]
    for system, table, summary in zip(answered[1:], tables[1:], summaries[1:], strict=True):
        by_answer = _compared_by_answer(summaries[0], summary)
        for id in ids:
            references = tables[0][id]["references"], table[id]["references"]
            if references[0] != references[1] and not (by_answer and same_answers(*references)):
                raise UserError(
                    f"{system.answers[task, split].path}: row {id}: its references are not those of "
                    f"{answered[0].name}; scores of different data cannot be compared"
                )
    lined_up = [[table[id] for id in ids] for table in tables]
    columns = [
        Column(system, rows, summary, _scores(rows, summary), _diagnostics(rows), probe)
        for system, rows, summary, probe in zip(answered, lined_up, summaries, _probes(lined_up), strict=True)
    ]
    left_out = len({id for table in tables for id in table}) - len(ids)
    of_systems = [
        joined([c for c in columns if any(c.system is seed for seed in (system.seeds or (system,)))], system)
        for system in together
    ]
    return Comparison(task, split, of_systems, left_out, samples)


def _paired(first: Sequence[Scores], second: Sequence[Scores], *, samples: int) -> dict[str, Difference]:
    """Differences of two systems, each with the scores of its seeds."""
    if len(first) == len(second) == 1:
        return paired_differences(first[0], second[0], samples=samples)
    return seeds_differences(first, second, samples=samples)


def _compared_by_answer(first: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether all that two systems are both scored by is the final answer, which no rationale or template around it changes."""
    names = [summary.get("metric_names") or () for summary in (first, other)]
    return {name for name in names[0] if name in names[1]} == {"final_answer"}


def _scores(rows: list[Row], summary: dict[str, Any]) -> Scores:
    """Scores of each row, as they are there; those of all rows together, such as BLEU, are computed anew."""
    scores: dict[str, np.ndarray | Pooled] = {
        name: np.array([row["scores"][name] for row in rows], np.float64)
        for name in summary["metrics"]
        if all(name in row["scores"] for row in rows)
    }
    if len(scores) < len(summary["metrics"]) and (metrics := summary.get("metric_names")):
        found = compute(metrics, [row["prediction"] for row in rows], [row["references"] for row in rows])
        for by_name in found.values():
            scores |= {n: v for n, v in by_name.items() if isinstance(v, Pooled) and n in summary["metrics"]}
    return {name: scores[name] for name in summary["metrics"] if name in scores}


def _diagnostics(rows: list[Row]) -> Scores:
    """The diagnostics that can be paired, from what is in the rows."""
    if not rows or not all("diagnostics" in row for row in rows):
        return {}
    alarms = np.array([100.0 * bool(row["diagnostics"]["made_up"]) for row in rows])
    counts = []
    for row in rows:
        found = row["diagnostics"]["speakers"]
        right = len(found["named"]) - len(found["unexpected"])
        counts.append((right, len(found["named"]), right + len(found["missed"])))
    speakers = np.array(counts, np.float64).reshape(-1, 3)
    lengths = [
        (len(words(row["prediction"])), np.mean([len(words(text)) for text in row["references"]])) for row in rows
    ]
    per_100 = {}
    of_rows = [row["diagnostics"] for row in rows]
    if all("particulars" in found for found in of_rows) and any(found["particulars"] for found in of_rows):
        rate = [(len(found["made_up"]), found["particulars"]) if found["particulars"] else (0, 0) for found in of_rows]
        statistics = np.array(rate, np.float64)
        per_100["made_up_per_100"] = Pooled(statistics, lambda sums: 100 * divide(sums[..., 0], sums[..., 1]))
    return {
        "made_up_rows": alarms,
        **per_100,
        "speaker_recall": Pooled(speakers, lambda sums: 100 * divide(sums[..., 0], sums[..., 2])),
        "length_ratio": Pooled(np.array(lengths, np.float64), lambda sums: divide(sums[..., 0], sums[..., 1])),
    }


def _probes(lined_up: Sequence[list[Row]]) -> list[dict[str, np.ndarray]]:
    """Each system's result in the probe, on the rows on which all that have a corruption were asked for the same text."""
    asked = [[row.get("diagnostics", {}).get("probe", {}) for row in rows] for rows in lined_up]
    found: list[dict[str, np.ndarray]] = [{} for _ in lined_up]
    for name in dict.fromkeys(name for of_rows in asked for of_row in of_rows for name in of_row):
        having = [i for i, of_rows in enumerate(asked) if any(name in of_row for of_row in of_rows)]
        texts = [[of_row.get(name, {}).get("text") for of_row in asked[i]] for i in having]
        common = [n for n, row in enumerate(zip(*texts, strict=True)) if row[0] is not None and len(set(row)) == 1]
        for i in having if common else ():
            found[i][PROBE + name] = np.array([preferred(asked[i][n][name]["margin"]) for n in common])
    return found


def verdict_of(difference: Difference, better: Side | None, n: int) -> str:
    """better, worse or even (no significant difference after Holm's correction); empty where nothing can be said.

    Args:
      better: values of the score that are better; None where neither are, and then there is no verdict.
      n: rows; of fewer than 30 there is no verdict.
    """
    if better is None or n < FEWEST_ROWS:
        return ""
    if difference.p_holm >= SIGNIFICANT or difference.value == 0:
        return "even"
    return "better" if (difference.value > 0) == (better == "higher") else "worse"
