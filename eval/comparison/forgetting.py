"""Learning and forgetting: a matrix of tasks and systems, against the model before training.

References: Lopez-Paz & Ranzato 2017, "Gradient Episodic Memory for Continual Learning", section 2 (backward transfer R[T, i] -
R[i, i]: the model's score on task i after the last stage, less its score right after stage i).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.comparison.systems import System, resolve
from eval.comparison.task import Comparison, Interval
from eval.score_names import Side
from eval.scoring.bootstrap import Difference, interval, resample
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.hub import SCHEME
from t5x_tasks.common.located_yaml import read_yaml
from t5x_tasks.metrics.pooled import value
from train.rundir.origin import run_and_step


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
    """The means of a system's column.

    A task that only the first system was trained on, of which this one is a continuation, is in `backward_transfer` alone.

    Attributes:
      learned: mean gain on the tasks that it trained on (the difference; of a score of which less is better, its negative).
      others: mean gain on the tasks that it did not train on: below zero is forgetting.
      retention: mean retention on those, in percent.
      backward_transfer: mean over the tasks of earlier stages (runs that this one started from) of the score now minus the score
        right after the stage that trained on them last: of the checkpoint that the next stage started from.
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
    stages = {system.name: _stages(system) for system in systems}
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
    since = _since(stages[first.name], stages[system.name])
    learned, others, back, kept = [], [], [], []
    for comparison, row in zip(comparisons, rows, strict=True):
        cell, dataset = row.cells[number], row.task.partition(".")[0]
        if cell is None or cell.trained is None:
            continue
        if cell.difference is not None and not cell.trained:
            others.append((comparison, first.name))
            if cell.retention is not None:
                kept.append(cell.retention["value"])
        elif cell.difference is not None and any(dataset in (stage.datasets or ()) for stage in since):
            learned.append((comparison, first.name))
        earlier = _last_trained(stages[system.name], dataset, systems)
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
    """A run in the chain that led to a system.

    Attributes:
      folder: of the run, resolved.
      datasets: that it trained on; None: not known.
      end: the step at which the next stage started from it, or of the system itself; None: not known.
      next: the folder of the next stage; None of the last.
    """

    folder: Path
    datasets: frozenset[str] | None
    end: int | None
    next: Path | None


def _stages(system: System) -> list[_Stage]:
    """The runs that trained a system, the earliest first; of step 0 those before its own."""
    chain: list[_Stage] = []
    run = system.run
    if run is None:
        return chain
    folder, config, end, after = run.folder, run.config, system.step, None
    while config and all(stage.folder != folder for stage in chain):
        if chain or end != 0:
            chain.append(_Stage(folder, _datasets(folder, config), end, after))
        before = _started_from(folder, config)
        if before is None:
            break
        after, (folder, end) = folder, before
        config = _config(folder)
    return chain[::-1]


def _datasets(folder: Path, config: dict) -> frozenset[str] | None:
    data = config.get("data", {})
    cards = [str(resolve(str(card), folder, config)) for card in data.get("cards") or ()]
    try:
        return frozenset(card.name for card, _ in load_catalog(cards).resolve(data.get("mixture") or ""))
    except UserError:  # its cards are not here, or it is SeqIO's own
        return None


def _started_from(folder: Path, config: dict) -> tuple[Path, int | None] | None:
    """The run and the step that a run's weights are of, also where that checkpoint is gone; None of weights of no run."""
    weights = str(config.get("model", {}).get("weights", ""))
    if weights in ("", "random") or weights.startswith(SCHEME):
        return None
    path = resolve(weights, folder, config).absolute()
    if found := run_and_step(path):
        return found
    if (path / "config.yaml").is_file():
        return path.resolve(), None
    is_step = path.parent.name == "checkpoints" and path.name.isdecimal()
    return (path.parents[1].resolve(), int(path.name)) if is_step and _config(path.parents[1]) else None


def _config(folder: Path) -> dict:
    if not (folder / "config.yaml").is_file():
        return {}
    found, _ = read_yaml(folder / "config.yaml")
    return found if isinstance(found, dict) else {}


def _trained(system: System, stages: list[_Stage], dataset: str) -> bool | None:
    if system.is_base and not stages:
        return False
    if not stages or all(stage.datasets is None for stage in stages):
        return None
    return any(dataset in (stage.datasets or ()) for stage in stages)


def _since(first: list[_Stage], stages: list[_Stage]) -> list[_Stage]:
    """The stages of a system, without those that led to the first system, too."""
    done = {(stage.folder, stage.end) for stage in first}
    folders = {folder for folder, _ in done}
    return [s for s in stages if (s.folder, s.end) not in done and (s.end is not None or s.folder not in folders)]


def _last_trained(stages: list[_Stage], dataset: str, systems: Sequence[System]) -> str | None:
    """The system that ended the earlier stage that trained on a data set last; None if the system's own run trained on it."""
    if not stages or dataset in (stages[-1].datasets or ()):
        return None
    for stage in reversed(stages[:-1]):
        if dataset in (stage.datasets or ()):
            return _ended(stage, systems)
    return None


def _ended(stage: _Stage, systems: Sequence[System]) -> str | None:
    """The system that the next stage started from: that stage's step 0, or the run's checkpoint; None if neither is there."""
    for place in ((stage.next, 0), (stage.folder, stage.end)):
        if found := next((system.name for system in systems if place in system.places), None):
            return found
    if stage.end is not None:
        return None
    of_run = [(step, s.name) for s in systems for folder, step in s.places if folder == stage.folder and step]
    return max(of_run)[1] if of_run else None
