"""A figure of the matrix of tasks and systems, for a paper; the table is in plain.py."""

from pathlib import Path
from typing import TYPE_CHECKING

from eval.comparison.forgetting import Matrix, TaskRow
from eval.score_names import plain_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def figure(matrix: Matrix, path: Path) -> None:
    """Draws a panel for each task: systems from top to bottom, their scores with intervals, the first one's as a band."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    names = [system.name for system in matrix.systems]
    size = (2 + 3.2 * len(matrix.rows), 1.2 + 0.32 * len(names))
    drawn = Figure(figsize=size, layout="constrained")
    axes = drawn.subplots(1, len(matrix.rows), sharey=True, squeeze=False)
    for row, panel in zip(matrix.rows, axes[0], strict=True):
        _panel(row, panel)
    axes[0][0].set_yticks(range(len(names)), names, parse_math=False)
    axes[0][0].invert_yaxis()
    drawn.savefig(path)


def _panel(row: TaskRow, panel: "Axes") -> None:
    if (before := row.cells[0]) is not None:
        panel.axvspan(before.interval["ci_low"], before.interval["ci_high"], color="0.9", linewidth=0)
        panel.axvline(before.interval["value"], color="0.5", linestyle="--", linewidth=1)
    for place, cell in enumerate(row.cells):
        if cell is None:
            continue
        found = cell.interval
        whiskers = [[found["value"] - found["ci_low"]], [found["ci_high"] - found["value"]]]
        panel.errorbar(found["value"], place, xerr=whiskers, fmt="o", color="C0" if place else "0.4", capsize=2)
    panel.set_title(f"{row.task}\n{plain_name(row.score)}, {row.split}, n={row.n}", fontsize="medium", parse_math=False)
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)
