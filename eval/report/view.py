"""The report's tables, ready to be set: numbers are texts here, with their intervals and what is to be said of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.comparison.task import FEWEST_ROWS, Comparison, verdict_of
from eval.diagnostics.show import SHOWN
from eval.score_names import decimals
from eval.scoring.bootstrap import Difference


@dataclass(frozen=True)
class Cell:
    """A number in a table.

    Attributes:
      text: `38.7`.
      interval: `37.6 to 39.8`, or empty.
      change: `+5.1 (4.2 to 6.0), p = 0.002`: against the first system; empty where there is nothing to compare.
      verdict: better, worse, even; empty where there is nothing to compare, or no side is better.
    """

    text: str
    interval: str = ""
    change: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class TableRow:
    label: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """Attributes:
    caption: says what the numbers are.
    note: how they were made.
    """

    caption: str
    note: str
    header: list[str]
    rows: list[TableRow]


def score_tables(comparison: Comparison) -> list[Table]:
    """One table for each implementation and way of using references: numbers of two of them never share one."""
    baselines = _baselines(comparison)
    by_settings: dict[str, list[str]] = {}
    for name in comparison.score_names:
        by_settings.setdefault(_settings(comparison, name), []).append(name)
    tables = []
    for settings, names in by_settings.items():
        rows = []
        for name in names:
            floor = [cell(of_one.get(name), name) for of_one in baselines.values()]
            rows.append(TableRow(name, [*floor, *(_compared(comparison, i, name) for i in _columns(comparison))]))
        implementation, _, convention = settings.rpartition(", ")
        header = ["score", *baselines, *(system.name for system in comparison.systems)]
        tables.append(Table((convention or "scores").capitalize(), implementation or settings, header, rows))
    return tables


def diagnostics_table(comparison: Comparison) -> Table | None:
    """The diagnostics beside the scores: the references' own rates first; None of what is no summarization.

    All numbers are of the comparison's rows: what only metrics.json has, over all rows of an evaluation, is left out where these
    are not the same.
    """
    found = [comparison.stated_of_rows(i) for i in _columns(comparison)]
    if not any(found):
        return None
    rows = []
    for name, label, digits in SHOWN:
        measures = [of_one.get(name) for of_one in found]
        if not any(measures):
            continue
        theirs = next((m["references"] for m in measures if m and "references" in m), None)
        cells = [cell(theirs, name, digits)]
        for i, measure in enumerate(measures):
            if name in comparison.intervals[i]:
                cells.append(_compared(comparison, i, name, digits))
            else:
                cells.append(cell(measure, name, digits))
        rows.append(TableRow(label, cells))
    header = ["measure", "references", *(system.name for system in comparison.systems)]
    note = (
        "The made-up alarm lists names, numbers, amounts, times and dates of a summary that its dialogue lacks. It is an alarm "
        "to be looked at, not a faithfulness score; read it against the references' own rate. The share of summaries falls where "
        "they say less, so only the rate per name and number found tells which is better, and only where enough are found."
    )
    return Table("What the scores do not see", note, header, rows)


def change_text(difference: Difference, digits: int, samples: int) -> str:
    """`+5.1 (4.2 to 6.0), p = 0.002`."""
    low, high = (f"{signed(value, digits)}" for value in (difference.ci_low, difference.ci_high))
    holm = "" if difference.p_holm == difference.p else f", Holm {_p(difference.p_holm)}"
    return f"{signed(difference.value, digits)} ({low} to {high}), {p_text(difference.p, samples)}{holm}"


def p_text(p: float, samples: int) -> str:
    """`p = 0.031`; rounded up, and never below what so many resamples can tell."""
    smallest = 2 / (samples + 1)
    return f"p ≤ {_p(smallest)}" if p <= smallest * 1.001 else f"p = {_p(p)}"


def _p(p: float) -> str:
    digits = 4 if p < 0.01 else 3 if p < 0.1 else 2
    return f"{min(1.0, math.ceil(p * 10**digits - 1e-9) / 10**digits):.{digits}f}"


def headline(comparison: Comparison, column: int) -> str:
    """One sentence on a system against the first."""
    score = comparison.main or ""
    digits = decimals(score)
    first, other = comparison.systems[0].name, comparison.systems[column].name
    before, after = (comparison.intervals[i][score]["value"] for i in (0, column))
    values = f"{other} against {first}: {score} {before:.{digits}f} → {after:.{digits}f}"
    difference = comparison.differences[column].get(score)
    if difference is None:
        return f"{values}: computed with different settings, so there is no difference to give"
    words = {
        "better": "better",
        "worse": "worse",
        "even": "no significant difference",
        "": f"no verdict on {comparison.n} rows (at least {FEWEST_ROWS})",
    }[verdict_of(difference, comparison.better(score), comparison.n)]
    return f"{values}, {change_text(difference, digits, comparison.samples)}: {words}"


def number(found: Mapping[str, Any] | None, digits: int) -> str:
    return "–" if not found or found.get("value") is None else f"{found['value']:.{digits}f}"


def signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else f"±{0:.{digits}f}"  # no -0.0


def cell(found: Mapping[str, Any] | None, name: str, digits: int | None = None) -> Cell:
    digits = decimals(name) if digits is None else digits
    if not found or found.get("value") is None:
        return Cell("–")
    return Cell(number(found, digits), f"{found['ci_low']:.{digits}f} to {found['ci_high']:.{digits}f}")


def _compared(comparison: Comparison, column: int, name: str, digits: int | None = None) -> Cell:
    digits = decimals(name) if digits is None else digits
    found = comparison.intervals[column].get(name) or comparison.stated_of_rows(column, "metrics").get(name)
    alone = cell(found, name, digits)
    difference = comparison.differences[column].get(name)
    if difference is None:
        return alone
    mark = verdict_of(difference, comparison.better(name), comparison.n)
    return Cell(alone.text, alone.interval, change_text(difference, digits, comparison.samples), mark)


def _columns(comparison: Comparison) -> Sequence[int]:
    return range(len(comparison.columns))


def _baselines(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """LEAD-3 and LONGEST-3, where they were measured on just these rows."""
    summary = comparison.columns[0].summary
    if summary["n"] != comparison.n:
        return {}
    return {baseline_name(name): found for name, found in summary.get("baselines", {}).items()}


def baseline_name(name: str) -> str:
    """`LEAD-3 (baseline)`, which is told from a system that somebody calls LEAD-3."""
    return f"{name.upper().replace('_', '-')} (baseline)"


def _settings(comparison: Comparison, name: str) -> str:
    """`implementation, convention` of a score; what follows it (split, rows, interval) the report says by itself."""
    for column in comparison.columns:
        if settings := column.summary["metrics"].get(name, {}).get("settings"):
            return settings.partition(f", {comparison.split} split")[0]
    return ""
