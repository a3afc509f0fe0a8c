"""The systems that are compared: what `python -m eval` and `python -m eval score` left in folders.

A system is a model, or anybody, that answered the rows of some tasks: a checkpoint of a run, the model before training, a file of
predictions.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.hub import SCHEME
from t5x_tasks.common.located_yaml import read_yaml
from train.rundir.metrics import METRICS, read_rows
from train.rundir.origin import FINGERPRINT, run_and_step

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
    places: folder of a run, step: where it stands. A checkpoint that another run started from is that one's step 0, too.
    """

    name: str
    step: int | None
    weights: str
    run: "Run | None"
    answers: dict[tuple[str, str], Answers] = field(default_factory=dict)
    seeds: tuple["System", ...] = ()
    places: frozenset[tuple[Path, int]] = frozenset()

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


def resolve(path: str, folder: Path, config: dict[str, Any]) -> Path:
    """A path of a run's configuration; a relative one starts where the run was started, as far as that can be told.

    Args:
      folder: of the run, resolved. It ends with `run_dir` of its configuration, unless it was moved.
    """
    run_dir = Path(str(config.get("run_dir") or "."))
    parts = run_dir.parts
    known = parts and not run_dir.is_absolute() and folder.parts[-len(parts) :] == parts
    return (folder.parents[len(parts) - 1] if known else Path()) / Path(path).expanduser()


@dataclass(frozen=True)
class _Evaluation:
    """An evaluation as it was read.

    Attributes:
      system: without its name.
      given: the name that was given to just this evaluation; empty if none was.
      source: the folder whose name it has otherwise.
      weights: what tells its weights from others.
    """

    system: System
    given: str
    source: Path
    weights: tuple[Any, ...]


def read_systems(folders: Sequence[str]) -> tuple[list[System], list[Run]]:
    """Reads run folders, `eval` folders and folders of one evaluation, in the order given.

    An evaluation counts once: of `base=RUN/eval/0 RUN` the first has the name `base`. The model before training is one system,
    however many runs begin with it, and so is a checkpoint that another run started from. Two evaluations of the same weights (of
    two splits, say) are one system, too, unless they were given two names. Weights are the same if their fingerprints are.

    Args:
      folders: `DIR` or `NAME=DIR`; the name is for the report.

    Raises:
      UserError: a folder holds no evaluation, or is one that was read before, or a file in it cannot be read.
    """
    evaluations: list[tuple[str, Path]] = []  # the name that was given to just this one, folder
    names: dict[Path, str] = {}  # of runs
    read: dict[Path, str] = {}
    for given in folders:
        name, folder = name_and_folder(given)
        for evaluation in _evaluations(folder):
            if (before := read.get(evaluation.resolve())) is not None:
                if evaluation == folder:
                    raise UserError(f"{given}: was given with {before} already; give it once, or first to name it")
                continue  # `base=RUN/eval/0 RUN`: it has its name
            read[evaluation.resolve()] = given
            evaluations.append((name if evaluation == folder else "", evaluation))
            if name and evaluation != folder and (run_folder := _run_of(evaluation)):
                names.setdefault(run_folder, name)
    run_folders = {folder: None for _, evaluation in evaluations if (folder := _run_of(evaluation))}
    tails = _short_names(folder for folder in run_folders if folder not in names)
    runs: dict[Path, Run] = {}
    for folder in run_folders:
        name = _unique(names.get(folder) or tails[folder], [run.name for run in runs.values()])
        runs[folder] = _read_run(name, folder)
    found = [_read_evaluation(name, evaluation, runs) for name, evaluation in evaluations]
    return _named(_merged(found)), list(runs.values())


def _read_evaluation(given: str, evaluation: Path, runs: dict[Path, Run]) -> _Evaluation:
    head, tasks = read_metrics(evaluation)
    run_folder = _run_of(evaluation)
    run = runs[run_folder] if run_folder else None
    split = head.get("split") or "test"
    answers = {
        (task, split): Answers(head, summary, evaluation / task / "predictions.jsonl")
        for task, summary in tasks.items()
    }
    step, weights = head.get("step"), str(head.get("weights") or evaluation)
    places = frozenset({(run.folder, step)} if run and step is not None else ())
    source = run_folder or (evaluation.resolve() if step is None else evaluation.resolve().parent)
    system = System("", step, weights, run, answers, places=places)
    return _Evaluation(system, given, source, _weights(evaluation, head, run))


def _weights(evaluation: Path, head: dict[str, Any], run: Run | None) -> tuple[Any, ...]:
    """What the weights, and how they were decoded, are. Without a fingerprint: the folder they were in, resolved."""
    decode = json.dumps(head.get("decode"), sort_keys=True)
    if fingerprint := head.get(FINGERPRINT):
        return decode, fingerprint
    step, weights = head.get("step"), str(head.get("weights") or "")
    if step and run:
        return decode, run.folder, step
    if run and weights.startswith("random"):
        return decode, weights, json.dumps(run.config.get("model"), sort_keys=True, default=str)
    if weights.startswith(SCHEME):
        return decode, weights
    path = resolve(weights, run.folder, run.config) if run else Path(weights)
    if weights and path.is_absolute():
        return decode, *(run_and_step(path) or [path.resolve()])
    return decode, evaluation.resolve()


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


def _merged(found: list[_Evaluation]) -> list[_Evaluation]:
    """Makes one of evaluations of the same weights, in the place of the first.

    What answers the same task twice stays two, but for a model before training: it is there once, with its first answers, and
    where a run started from a checkpoint of another, it is that checkpoint.
    """
    merged: list[_Evaluation] = []
    for one in found:
        place = next((i for i, other in enumerate(merged) if _are_one(other, one)), None)
        if place is None:
            merged.append(one)
            continue
        first = merged[place]
        kept = one if first.system.is_base and not one.system.is_base else first
        system = replace(
            kept.system,
            answers={**one.system.answers, **first.system.answers},
            places=first.system.places | one.system.places,
        )
        merged[place] = replace(kept, system=system, given=first.given or one.given)
    return merged


def _are_one(first: _Evaluation, other: _Evaluation) -> bool:
    if first.weights != other.weights or (first.given and other.given and first.given != other.given):
        return False
    both = (first.system, other.system)
    return any(system.is_base for system in both) or not both[0].answers.keys() & both[1].answers.keys()


def _named(found: list[_Evaluation]) -> list[System]:
    bases = [one.system.weights for one in found if one.system.is_base]
    several = len({one.source for one in found if one.system.step is not None and not one.system.is_base}) > 1
    tails = _short_names(one.source for one in found if not one.system.run)
    named: list[System] = []
    for one in found:
        system = one.system
        source = system.run.name if system.run else tails[one.source]
        if one.given:
            name = one.given
        elif system.is_base and len(bases) == 1:
            name = "before training"
        elif system.is_base:
            told = bases.count(system.weights) == 1
            name = f"before training ({system.weights})" if told else f"{source}, before training"
        elif system.step is not None:
            name = f"{source}, step {system.step}" if several else f"step {system.step}"
        else:
            name = source
        named.append(replace(system, name=_unique(name, [other.name for other in named])))
    # the model before training is what the others are compared with
    return sorted(named, key=lambda system: not system.is_base)


def _unique(name: str, taken: Sequence[str]) -> str:
    number, unique = 2, name
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    return unique


def _short_names(folders: Iterable[Path]) -> dict[Path, str]:
    """Of each folder the last parts of its path, as many as tell it from the others."""
    every = list(dict.fromkeys(folders))
    names = {}
    for folder in every:
        others = [other for other in every if other != folder]
        lengths = range(1, len(folder.parts) + 1)
        length = next(n for n in lengths if all(other.parts[-n:] != folder.parts[-n:] for other in others))
        names[folder] = "/".join(folder.parts[-length:])
    return names


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
    """RUN, resolved, for RUN/eval/<step>, also where the evaluation went to another folder of the run's."""
    for parent in (evaluation.resolve().parent.parent, evaluation.resolve().parent):
        if (parent / "config.yaml").is_file():
            return parent
    return None


def _read_run(name: str, folder: Path) -> Run:
    config, _ = read_yaml(folder / "config.yaml")
    return Run(name, folder, config if isinstance(config, dict) else {}, read_rows(folder / METRICS))
