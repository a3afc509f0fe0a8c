"""The examples as data for the report's page: texts once each, answers with what was made up and what was missed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.comparison.columns import Row
from eval.comparison.slices import Slicing, length_of
from eval.comparison.task import Comparison
from eval.diagnostics.particulars import particulars
from eval.diagnostics.source import Source

_MOST_SCORES = 6  # of each row


class Texts:
    """Numbers texts, so that a dialogue which many answers are about is stored once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def all(self) -> list[str]:
        return list(self._numbers)


def embed(
    comparisons: Iterable[Comparison],
    systems: Sequence[str],
    slicings: Mapping[tuple[str, str], Sequence[Slicing]] | None = None,
) -> dict[str, Any]:
    """Returns what the page's scripts read: see data.js.

    A task has `best`, the place among its `systems` of the one to look at first; `better`, for each score higher, lower or null;
    `seeds`, for each system how many it stands for (0: one), whose first said the texts; `summaries`: its answers were diagnosed;
    `templates`: it was asked in several; `slicings`: [{title, slices: [[label, numbers of rows], ...]}, ...]; and `rows`: [id,
    template, groups, source text, reference texts, words, answers]. An answer of a system: [text, scores, made-up spans [start,
    end, kind], for each reference the spans that the answer misses [start, end], speakers missed]. Texts are numbers of
    `texts`; spans count UTF-16 units, as JavaScript does.
    """
    texts = Texts()
    tasks = []
    for comparison in comparisons:
        scores = [
            n for n in comparison.score_names if all(comparison.of_rows(c, n) is not None for c in _columns(comparison))
        ]
        scores = [n for n in scores if not n.endswith(("_mean", "_first"))]  # the other ways to use references
        main = comparison.main
        if main in scores:  # first, whatever the order of the card's metrics
            scores = [main, *(name for name in scores if name != main)]
        scores = scores[:_MOST_SCORES]
        tasks.append(
            {
                "task": comparison.task,
                "split": comparison.split,
                "systems": [systems.index(system.name) for system in comparison.systems],
                "best": _best(comparison),
                "scores": scores,
                "better": [comparison.better(name) for name in scores],
                "seeds": [len(column.seeds) for column in comparison.columns],
                "summaries": any("diagnostics" in row for row in comparison.columns[0].rows),
                "templates": len({row.get("template") for row in comparison.columns[0].rows}) > 1,
                "slicings": [
                    {"title": slicing.title, "slices": [[part.label, part.rows.tolist()] for part in slicing.slices]}
                    for slicing in (slicings or {}).get((comparison.task, comparison.split), ())
                ],
                "rows": [_row(comparison, number, scores, texts) for number in range(comparison.n)],
            }
        )
    return {"systems": list(systems), "tasks": tasks, "texts": texts.all}


def _best(comparison: Comparison) -> int:
    """The column with the best main score but for the first one, with which it is compared."""
    others = range(1, len(comparison.columns))
    if comparison.main is None or not others:
        return len(comparison.columns) - 1
    sign = -1 if comparison.better(comparison.main) == "lower" else 1
    return max(others, key=lambda i: sign * comparison.intervals[i][comparison.main or ""]["value"])


def _columns(comparison: Comparison) -> range:
    return range(len(comparison.columns))


def _row(comparison: Comparison, number: int, scores: Sequence[str], texts: Texts) -> list[Any]:
    row = comparison.columns[0].rows[number]
    groups = [f"{name}: {value}" for name, values in row.get("groups", {}).items() for value in values]
    return [
        row["id"],
        row.get("template"),
        groups,
        texts.number(row.get("dialogue") or row["inputs"]),
        [texts.number(reference) for reference in row["references"]],
        length_of(row),
        [_answer(comparison, i, number, scores, texts) for i in _columns(comparison)],
    ]


def _answer(comparison: Comparison, column: int, number: int, scores: Sequence[str], texts: Texts) -> list[Any]:
    row = comparison.columns[column].rows[number]
    prediction, diagnostics = row["prediction"], row.get("diagnostics", {})
    made_up = [
        [*_utf16(prediction, span["start"], span["end"]), span["kind"]] for span in diagnostics.get("made_up", ())
    ]
    of_rows = [comparison.of_rows(column, name) for name in scores]
    values = [round(float(values[number]), 4) for values in of_rows if values is not None]  # means over seeds
    missed = [[_utf16(text, *span) for span in spans] for text, spans in missed_particulars(row)]
    return [texts.number(prediction), values, made_up, missed, diagnostics.get("speakers", {}).get("missed", [])]


def missed_particulars(row: Row) -> list[tuple[str, list[tuple[int, int]]]]:
    """Names, numbers, amounts, times and dates of each reference that the prediction lacks: (reference, spans).

    The made-up alarm's rules the other way round: what the reference says is looked up in the prediction. Empty of rows that are
    no summaries.
    """
    if "diagnostics" not in row:
        return []
    said = Source.of(row["prediction"], 0)
    found = []
    for reference in row["references"]:
        spans = [particular.span for particular in particulars(reference, said)]
        found.append((reference, [span for span in spans if span]))
    return found


def _utf16(text: str, start: int, end: int) -> list[int]:
    if text.isascii():
        return [start, end]
    return [len(text[:position].encode("utf-16-le")) // 2 for position in (start, end)]
