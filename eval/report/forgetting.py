"""What a model learned and what it forgot: a matrix of tasks and systems, against the model before training.

References: Lopez-Paz & Ranzato 2017, "Gradient Episodic Memory for Continual Learning", section 2 (backward transfer).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.bootstrap import Difference, interval, resample
from eval.names import Side
from eval.report.comparison import Comparison, Interval
from eval.report.systems import Run, System
from t5x_tasks.catalog import load_catalog
from t5x_tasks.errors import UserError
from t5x_tasks.located_yaml import read_yaml
from t5x_tasks.metrics.pooled import value


@dataclass(frozen=True)
class Cell:
    """A system on a task.

    Attributes:
      difference: from the first system; None of itself.
      retention: score / first system's score, in percent, with the interval of a paired bootstrap; None where the first system's
        is 0 or lower is better.
      trained: the system, or the run that it went on from, trained on this data set; None where that is not known.
    """

    interval: Interval
    difference: Difference | None
    retention: Interval | None
    trained: bool | None


@dataclass(frozen=True)
class TaskRow:
    task: str
    split: str
    score: str
    better: Side | None
    n: int
    cells: list[Cell | None]  # of each system
    ever_trained: bool


@dataclass(frozen=True)
class Mean:
    """Mean over tasks, with the interval of a bootstrap over the rows of each task by itself."""

    value: float
    ci_low: float
    ci_high: float
    tasks: int


@dataclass(frozen=True)
class Totals:
    """What a system's column comes to.

    Attributes:
      learned: mean gain on the tasks that it trained on (the difference; of a score of which less is better, its negative).
      others: mean gain on the tasks that it did not train on: below zero is forgetting.
      retention: mean retention on those, in percent.
      backward_transfer: mean over the tasks of earlier stages (runs that this one went on from) of the score now minus the score
        right after the stage that trained on them last.
    """

    learned: Mean | None
    others: Mean | None
    retention: float | None
    backward_transfer: Mean | None


@dataclass(frozen=True)
class Matrix:
    systems: list[System]
    rows: list[TaskRow]
    totals: list[Totals]


def forgetting(comparisons: Sequence[Comparison], systems: Sequence[System], *, samples: int) -> Matrix | None:
    """Builds the matrix of all tasks that have a main score; None unless there are two systems and a task.

    A task that lacks the first system has its scores, and no differences.
    """
    usable = [c for c in comparisons if c.main is not None]
    if len(systems) < 2 or not usable:
        return None
    stages = {system.name: _stages(system.run) for system in systems}
    rows = []
    for comparison in usable:
        score = comparison.main or ""
        index = {system.name: i for i, system in enumerate(comparison.systems)}
        base = index.get(systems[0].name)
        dataset = comparison.task.partition(".")[0]
        cells: list[Cell | None] = []
        for system in systems:
            i = index.get(system.name)
            if i is None:
                cells.append(None)
                continue
            found = comparison.intervals[i][score]
            difference = retention = None
            if base is not None and i != base:
                # the comparison's first column need not be ours
                pairs = comparison.differences[i] if base == 0 else comparison.differences_from(base)[i]
                difference, before = pairs.get(score), comparison.intervals[base][score]["value"]
                if before > 0 and comparison.better(score) == "higher":
                    retention = _retention(comparison, base, i, score, samples)
            cells.append(Cell(found, difference, retention, _trained(system, stages[system.name], dataset)))
        ever = any(cell is not None and cell.trained for cell in cells)
        rows.append(
            TaskRow(comparison.task, comparison.split, score, comparison.better(score), comparison.n, cells, ever)
        )
    totals = [_totals(i, usable, rows, systems, stages, samples) for i in range(len(systems))]
    order = sorted(range(len(rows)), key=lambda i: not rows[i].ever_trained)  # stable: trained ones first
    return Matrix(list(systems), [rows[i] for i in order], totals)


def _totals(
    number: int, comparisons: Sequence[Comparison], rows: list[TaskRow], systems: Sequence[System],
    stages: dict[str, list["_Stage"]], samples: int,
) -> Totals:  # fmt: skip
    system, first = systems[number], systems[0]
    learned, others, back, kept = [], [], [], []
    for comparison, row in zip(comparisons, rows, strict=True):
        cell = row.cells[number]
        if cell is None or cell.trained is None:
            continue
        if cell.difference is not None:
            (learned if cell.trained else others).append((comparison, first.name))
            if not cell.trained and cell.retention is not None:
                kept.append(cell.retention["value"])
        earlier = _last_trained(stages[system.name], row.task.partition(".")[0], systems)
        if earlier in [s.name for s in comparison.systems]:
            back.append((comparison, earlier))
    means = [_mean(pairs, system.name, samples) for pairs in (learned, others, back)]
    return Totals(means[0], means[1], float(np.mean(kept)) if kept else None, means[2])


def _retention(comparison: Comparison, before: int, after: int, score: str, samples: int) -> Interval:
    """100 x after / before; the same rows are drawn for both."""
    both = [{score: comparison.columns[i].scores[score]} for i in (before, after)]
    draws = [resample(scores, samples=samples)[score] for scores in both]
    ratios = 100 * draws[1][draws[0] > 0] / draws[0][draws[0] > 0]
    low, high = interval(ratios, comparison.n)
    return {"value": 100 * value(both[1][score]) / value(both[0][score]), "ci_low": low, "ci_high": high}


def _mean(pairs: list[tuple[Comparison, str]], system: str, samples: int) -> Mean | None:
    if not pairs:
        return None
    values, resampled = [], []
    for seed, (comparison, before) in enumerate(pairs):
        score = comparison.main or ""
        index = {s.name: i for i, s in enumerate(comparison.systems)}
        both = [{score: comparison.columns[index[name]].scores[score]} for name in (before, system)]
        # the same rows for both systems, other rows for each task
        draws = [resample(scores, samples=samples, seed=seed)[score] for scores in both]
        sign = -1 if comparison.better(score) == "lower" else 1  # a mean over tasks is of gains
        values.append(sign * (value(both[1][score]) - value(both[0][score])))
        resampled.append(sign * (draws[1] - draws[0]))
    return Mean(float(np.mean(values)), *interval(np.mean(resampled, axis=0), min(c.n for c, _ in pairs)), len(pairs))


@dataclass(frozen=True)
class _Stage:
    """A run in the chain that led to a system: its folder, and the data sets it trained on (None: not known)."""

    folder: Path
    datasets: frozenset[str] | None


def _stages(run: Run | None) -> list[_Stage]:
    """The run and those that it went on from, the earliest first."""
    chain: list[_Stage] = []
    if run is None:
        return chain
    folder, config = run.folder.resolve(), run.config
    while config and all(stage.folder != folder for stage in chain):
        chain.append(_Stage(folder, _datasets(config)))
        weights = str(config.get("model", {}).get("weights", ""))
        before = _run_folder(weights)
        if before is None:
            break
        folder, config = before, _config(before)
    return chain[::-1]


def _datasets(config: dict) -> frozenset[str] | None:
    data = config.get("data", {})
    try:
        return frozenset(
            card.name for card, _ in load_catalog(data.get("cards") or ()).resolve(data.get("mixture") or "")
        )
    except UserError:  # its cards are not here, or it is SeqIO's own
        return None


def _run_folder(weights: str) -> Path | None:
    path = Path(weights).expanduser()
    for folder in (path, path.parent, path.parent.parent):
        if path.is_dir() and (folder / "config.yaml").is_file():
            return folder.resolve()
    return None


def _config(folder: Path) -> dict:
    found, _ = read_yaml(folder / "config.yaml")
    return found if isinstance(found, dict) else {}


def _trained(system: System, stages: list[_Stage], dataset: str) -> bool | None:
    if system.is_base:
        return False
    if not stages or all(stage.datasets is None for stage in stages):
        return None
    return any(dataset in (stage.datasets or ()) for stage in stages)


def _last_trained(stages: list[_Stage], dataset: str, systems: Sequence[System]) -> str | None:
    """The system at the end of the earlier stage that trained on a data set last; None if the system's own run trained on it."""
    if not stages or dataset in (stages[-1].datasets or ()):
        return None
    for stage in reversed(stages[:-1]):
        if dataset in (stage.datasets or ()):
            of_stage = [s for s in systems if s.run and s.run.folder.resolve() == stage.folder and s.step]
            return max(of_stage, key=lambda s: s.step or 0).name if of_stage else None
    return None
