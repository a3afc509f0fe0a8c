"""The systems that are compared: what `python -m eval` and `python -m eval score` left in folders.

A system is a model, or anybody, that answered the rows of some tasks: a checkpoint of a run, the model before training, a file of
predictions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from t5x_tasks.errors import UserError
from t5x_tasks.located_yaml import read_yaml
from train.metrics_log import METRICS, read_rows

_ROW = {"id": str, "prediction": str, "references": list, "scores": dict}  # of predictions.jsonl; there may be more


@dataclass(frozen=True)
class Answers:
    """A system's predictions for one task, as predictions.jsonl and metrics.json hold them.

    Attributes:
      head: split, limit, weights, decode, step: how they were made.
      summary: n, metrics, baselines, counts, diagnostics.
      path: of predictions.jsonl.
    """

    head: dict[str, Any]
    summary: dict[str, Any]
    path: Path

    @property
    def split(self) -> str:
        return self.head.get("split") or "test"

    def rows(self) -> list[dict[str, Any]]:
        """Reads predictions.jsonl; see `read_predictions`."""
        return read_predictions(self.path)


@dataclass(frozen=True)
class System:
    """Attributes:
    name: what the report calls it; no other system's.
    step: of the checkpoint; 0 before training, None of a file of predictions.
    weights: what answered, as metrics.json says it.
    run: the run it belongs to, if any.
    answers: task, split -> answers; of several seeds those of the first that has them.
    seeds: the systems of each seed, where it stands for several; see seeds.py.
    """

    name: str
    step: int | None
    weights: str
    run: "Run | None"
    answers: dict[tuple[str, str], Answers] = field(default_factory=dict)
    seeds: tuple["System", ...] = ()

    @property
    def is_base(self) -> bool:
        return self.step == 0


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
      config: of config.yaml; empty where there is none.
      log: rows of metrics.jsonl.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    log: list[dict[str, Any]]

    @property
    def mixture(self) -> str:
        return str(self.config.get("data", {}).get("mixture", ""))

    @property
    def initial_weights(self) -> str:
        return str(self.config.get("model", {}).get("weights", ""))


def read_systems(folders: Sequence[str]) -> tuple[list[System], list[Run]]:
    """Reads run folders, `eval` folders and folders of one evaluation, in the order given.

    An evaluation counts once: of `base=RUN/eval/0 RUN` the first has the name `base`. The model before training is one system,
    however many runs begin with it. Two evaluations of the same weights (of two splits, say) are one system, too.

    Args:
      folders: `DIR` or `NAME=DIR`; the name is for the report.

    Raises:
      UserError: a folder holds no evaluation, or is one that was read before, or a file in it cannot be read.
    """
    found: list[System] = []
    runs: dict[Path, Run] = {}
    read: dict[Path, str] = {}
    for given in folders:
        name, folder = name_and_folder(given)
        for evaluation in _evaluations(folder):
            if (before := read.get(evaluation.resolve())) is not None:
                if evaluation == folder:
                    raise UserError(f"{given}: was given with {before} already; give it once, or first to name it")
                continue  # `base=RUN/eval/0 RUN`: it has its name
            read[evaluation.resolve()] = given
            head, tasks = read_metrics(evaluation)
            run_folder = _run_of(evaluation)
            run = None
            if run_folder is not None:
                run_name = name or run_folder.name
                run = runs.setdefault(run_folder.resolve(), _read_run(run_name, run_folder))
            split = head.get("split") or "test"
            answers = {
                (task, split): Answers(head, summary, evaluation / task / "predictions.jsonl")
                for task, summary in tasks.items()
            }
            step, weights = head.get("step"), str(head.get("weights") or evaluation)
            found.append(System(name or (run.name if run else _short(evaluation)), step, weights, run, answers))
    return _named(_merged(found)), list(runs.values())


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Reads an evaluation's predictions.jsonl.

    Raises:
      UserError: it is not there, or a line of it is broken.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path}: is not there, though metrics.json beside it names the task; evaluate it again"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    rows = []
    # not splitlines(): U+2028 in a dialogue is no end of a line
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            for name, kind in _ROW.items():
                if not isinstance(row[name], kind):
                    raise TypeError(f"{name} is no {kind.__name__}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path}:{number}: is no row of an evaluation ({type(error).__name__}: {error}); evaluate it again"
            ) from None
        rows.append(row)
    return rows


def _merged(systems: list[System]) -> list[System]:
    """Makes one system of evaluations of the same weights, as long as they don't answer the same task twice differently."""
    merged: dict[tuple[Any, ...], System] = {}
    for system in systems:
        decode = json.dumps(next(iter(system.answers.values())).head.get("decode")) if system.answers else ""
        key = (system.step, system.weights, decode)
        if (other := merged.get(key)) is None:
            merged[key] = system
        elif not other.answers.keys() & system.answers.keys() or system.is_base:
            merged[key] = replace(other, answers={**system.answers, **other.answers})
        else:
            merged[(*key, len(merged))] = system
    return list(merged.values())


def _named(systems: list[System]) -> list[System]:
    bases = [system for system in systems if system.is_base]
    several_runs = len({system.run.folder for system in systems if system.run}) > 1
    names: list[str] = []
    for system in systems:
        if system.is_base:
            name = "before training" if len(bases) == 1 else f"before training ({system.weights})"
        elif system.step is not None and not several_runs:
            name = f"step {system.step}"
        elif system.step is not None:
            name = f"{system.name}, step {system.step}"
        else:
            name = system.name
        number = 2
        unique = name
        while unique in names:
            unique, number = f"{name} ({number})", number + 1
        names.append(unique)
    # the model before training is what the others are compared with
    renamed = [replace(system, name=name) for system, name in zip(systems, names, strict=True)]
    return sorted(renamed, key=lambda system: not system.is_base)


def name_and_folder(given: str) -> tuple[str, Path]:
    """Reads `NAME=DIR`, or `DIR` without a name."""
    name, equals, path = given.rpartition("=")
    if equals and name and not Path(given).exists():
        return name, Path(path)
    return "", Path(given)


def _evaluations(folder: Path) -> list[Path]:
    """Folders with a metrics.json, steps in order."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a run, or what --output of an evaluation named")
    if (folder / "metrics.json").is_file():
        return [folder]
    for parent in (folder / "eval", folder):
        steps = [path.parent for path in parent.glob("*/metrics.json") if path.parent.name.isdecimal()]
        if steps:
            return sorted(steps, key=lambda path: int(path.name))
    raise UserError(
        f"{folder}: holds no evaluation (metrics.json, <step>/metrics.json or eval/<step>/metrics.json); run `python -m eval "
        f"{folder}` or `python -m eval score` first"
    )


def read_metrics(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads FOLDER/metrics.json: what it says of all its tasks, and of each. UserError: it is none."""
    path = folder / "metrics.json"
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        tasks = head.pop("tasks")
        if not all("metrics" in summary and "n" in summary for summary in tasks.values()):
            raise KeyError("metrics")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: is no metrics.json of an evaluation ({type(error).__name__}: {error})") from None
    return head, tasks


def _run_of(evaluation: Path) -> Path | None:
    """RUN for RUN/eval/<step>, also where the evaluation went to another folder of the run's."""
    for parent in (evaluation.resolve().parent.parent, evaluation.resolve().parent):
        if (parent / "config.yaml").is_file():
            return parent
    return None


def _read_run(name: str, folder: Path) -> Run:
    config, _ = read_yaml(folder / "config.yaml")
    return Run(name, folder, config if isinstance(config, dict) else {}, read_rows(folder / METRICS))


def _short(folder: Path) -> str:
    name = folder.resolve().name
    return name if not name.isdecimal() else f"{folder.resolve().parent.name}/{name}"
