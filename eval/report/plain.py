"""The report's numbers for other programs (CSV), and a short form for a pull request (Markdown)."""

import csv
import io
from collections.abc import Sequence

from eval.comparison.forgetting import Cell, Matrix, Mean, TaskRow
from eval.comparison.task import FEWEST_ROWS, SIGNIFICANT, Comparison, Interval, verdict_of
from eval.report import view
from eval.report.page import Contents
from eval.score_names import decimals, plain_name
from eval.scoring.spreadsheets import as_cell

CSV_COLUMNS = (
    "task", "split", "n", "system", "score", "value", "ci_low", "ci_high", "compared_with", "difference", "difference_low",
    "difference_high", "p", "p_holm", "settings",
)  # fmt: skip

_NONE = "–"


def csv_text(comparisons: Sequence[Comparison]) -> str:
    """One line a task, system and score; empty where there is nothing to compare with."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for comparison in comparisons:
        for i, column in enumerate(comparison.columns):
            for score, found in comparison.intervals[i].items():
                change = comparison.differences[i].get(score)
                writer.writerow(
                    as_cell(cell)
                    for cell in [
                        comparison.task, comparison.split, comparison.n, column.system.name, score,
                        *(found[key] for key in ("value", "ci_low", "ci_high")),
                        *((comparison.systems[0].name, *change) if change else [""] * 6),
                        comparison.settings(i, score),
                    ]
                )  # fmt: skip
    return file.getvalue()


def markdown_text(contents: Contents, report: str) -> str:
    """Main score of each task, what it does not see, and where the report is."""
    lines = [f"### {_cell(contents.title)}", ""]
    for comparison in contents.shown:
        if comparison.main is None:
            continue
        names = [_cell(system.name) for system in comparison.systems]
        lines += [f"**{_cell(comparison.task)}**, {comparison.n} rows of {comparison.split}", ""]
        lines += [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
        for score in _shown_scores(comparison):
            digits = decimals(score)
            cells = []
            for found, differences in zip(comparison.intervals, comparison.differences, strict=True):
                text = view.number(found.get(score), digits)
                if score in differences:
                    change = differences[score]
                    mark = {"better": " ▲", "worse": " ▼", "even": " ○"}.get(
                        verdict_of(change, comparison.better(score), comparison.n), ""
                    )
                    text += f" ({view.change_text(change, digits, contents.samples)}{mark})"
                elif score in found:
                    text += f" [{found[score]['ci_low']:.{digits}f}, {found[score]['ci_high']:.{digits}f}]"
                cells.append(text)
            lines.append(f"| {_cell(score)} | {' | '.join(cells)} |")
        lines.append("")
    if contents.ratings is not None:
        lines += [f"**What people prefer**: {_cell(contents.ratings.headline)}", ""]
    if contents.matrix is not None:
        lines += ["**Learned and forgotten**", "", *forgetting_table(contents.matrix), ""]
    for choice in contents.choices:
        lines.append(
            f"- {_cell(choice.dataset)}, {_cell(choice.system)}: template `{choice.chosen.variant}`, chosen on "
            f"{choice.chosen_on}, has {choice.score} {choice.chosen.value:.1f} on {choice.reported_on} (mean of all templates "
            f"{choice.average:.1f})"
        )
    lines += [
        f"95% bootstrap intervals over rows, {contents.samples} resamples; differences by the paired bootstrap and by "
        f"swapping answers, p two-sided; ▲ better, ▼ worse at p < {SIGNIFICANT} with Holm's correction for all scores and "
        f"systems of a task, ○ no significant difference; no mark below {FEWEST_ROWS} rows. With several references: the "
        "best for each row.",
        "",
        f"Examples, charts and what they rest on: `{report}`",
    ]
    return "\n".join(lines) + "\n"


def forgetting_table(matrix: Matrix) -> list[str]:
    """Lines of Markdown: a row for each system, and for each task its score and what is kept of the first system's.

    The last columns are backward transfer and the mean change on tasks that a system was never trained on, where there are any.
    """
    first = matrix.systems[0].name
    columns = {
        "backward transfer": [total.backward_transfer for total in matrix.totals],
        "mean change where never trained": [total.others for total in matrix.totals],
    }
    columns = {head: means for head, means in columns.items() if any(means)}
    heads = [
        "",
        *(head for row in matrix.rows for head in (f"{_cell(row.task)}, {plain_name(row.score)}", "kept of it, %")),
        *columns,
    ]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for number, system in enumerate(matrix.systems):
        cells = [text for row in matrix.rows for text in _texts(row, row.cells[number])]
        means = [_mean(of_all[number]) for of_all in columns.values()]
        lines.append(f"| {' | '.join([_cell(system.name), *cells, *means])} |")
    ns = ", ".join(f"{row.task} {row.n}" for row in matrix.rows)
    return [
        *lines,
        "",
        f"Scores with 95% bootstrap intervals over rows ({ns} of {matrix.rows[0].split}); kept: score / score of {_cell(first)}, "
        f"by the paired bootstrap; {_NONE}: nothing to compare with."
        + " Backward transfer: change since the stage that trained a task last."
        * ("backward transfer" in columns),
    ]


def _texts(row: TaskRow, cell: Cell | None) -> tuple[str, str]:
    if cell is None:
        return _NONE, _NONE
    return _interval(cell.interval, decimals(row.score)), _interval(cell.retention, 0) if cell.retention else _NONE


def _interval(found: Interval, digits: int) -> str:
    return f"{found['value']:.{digits}f} [{found['ci_low']:.{digits}f}, {found['ci_high']:.{digits}f}]"


def _mean(mean: Mean | None) -> str:
    return _NONE if mean is None else f"{mean.value:+.1f} [{mean.ci_low:+.1f}, {mean.ci_high:+.1f}]"


def _shown_scores(comparison: Comparison) -> list[str]:
    """Scores without those of other ways to use the references, and the diagnostics that can be compared."""
    scores = [n for n in comparison.score_names if not n.endswith(("_mean", "_first"))]
    return [*scores, *dict.fromkeys(name for column in comparison.columns for name in column.diagnostics)]


def _cell(text: str) -> str:
    """Text that stays a cell: no line break, no column, no markup."""
    text = " ".join(text.split())
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return text
