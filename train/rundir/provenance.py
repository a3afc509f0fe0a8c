"""The provenance of a run: RUN_DIR/config.yaml, written once it is certain that the run can start."""

import platform
from collections.abc import Mapping
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import jax

from t5x_tasks.cache import FORMAT, CachedSplit, is_prepared
from t5x_tasks.common.errors import UserError
from t5x_tasks.prepare.recipe import CODE
from train import config as configuration
from train.config import Config
from train.data.description import Description, differences, some, templates_of
from train.log import say
from train.rundir.revision import git_revision

Streams = dict[str, Description]  # "training", "replay", "validation", "fisher": those that the run has


_SHOWN = 3  # differences in a message


PACKAGES = ("flan-t5x", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "sentencepiece", "numpy")


def check_run_dir(config: Config, run_dir: Path) -> Config:
    """Checks that a run directory, if it is one already, is of this configuration.

    Returns:
      The configuration; `data.lengths: auto` becomes what the run found when it started.

    Raises:
      UserError: the directory holds another configuration's run, or something that is no run.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        if run_dir.is_file() or (run_dir.is_dir() and (run_dir / "checkpoints").is_dir()):
            raise UserError(f"{run_dir}: is there already and has no config.yaml; choose another run_dir")
        return config
    theirs = configuration.load(path, [])
    if theirs.environment is None:
        raise UserError(f"{path}: was not written by a run; choose a run_dir of its own for {config.run_dir}")
    if config.data.lengths == "auto":
        config = config.model_copy(update={"data": config.data.model_copy(update={"lengths": theirs.data.lengths})})
    if different := configuration.differences(config, theirs):
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise UserError(
            f"{run_dir}: holds a run of another configuration ({'; '.join(different[:3])}{more}); "
            "choose another run_dir, or give the run's own values to resume it"
        )
    return config


def say_new_course(config: Config, run_dir: Path) -> None:
    """Says so if a resumed run is to end elsewhere than it was, and its learning rate depends on that."""
    path = run_dir / "config.yaml"
    if config.optimizer.schedule.type not in ("linear", "cosine") or not path.is_file():
        return
    theirs = configuration.load(path, [])
    for key in ("steps", "epochs"):
        if (ours := getattr(config.train, key)) != (before := getattr(theirs.train, key)):
            say(f"train.{key}: {before} -> {ours}: the learning rate now follows the longer or shorter course")


def write(config: Config, run_dir: Path, mesh: jax.sharding.Mesh, *, attention: str) -> None:
    """Writes config.yaml (atomically): the resolved configuration, package versions, git revision, devices, path of attention."""
    devices = list(mesh.devices.flat)
    environment = {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_revision": git_revision(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
        "attention": attention,
    }
    if jax.process_index() != 0:
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    temporary = run_dir / "config.yaml.tmp"
    temporary.write_text(configuration.dump(config.model_copy(update={"environment": environment})), encoding="utf-8")
    temporary.replace(run_dir / "config.yaml")


def metadata(
    config: Config,
    streams: Streams,
    read: dict[str, str],
    files: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The metadata of a checkpoint: enough to know what it is when its run directory is lost.

    Args:
      streams: description of each; a position means nothing in another, and losses on other data are not to be compared.
      read: fingerprints of the base as it was read (train/model/fingerprint.py), where something of it is frozen, so not in the
        checkpoint, or is what a regulariser pulls to.
      files: fingerprints of the method's own files that a regulariser's target was made from.
    """
    values = config.model_dump(mode="json", exclude={"environment", "run_dir"})
    return {
        "config": values,
        "base": config.model.weights,
        "streams": streams,
        "read": read,
        "files": files or {},
    }


def check_data(config: Config, stored: dict[str, Any], streams: Streams) -> None:
    """Checks that a run resumes with the data that it was interrupted in.

    Args:
      stored: metadata of its checkpoint.
      streams: the data as they are now.

    Raises:
      UserError: they are others; the message says which, and what to do.
    """
    old = "streams" not in stored
    before = {name: stream for name, stream in stored.get("streams", {}).items() if _counts(name, config)}
    changed = _changes_by_folders(stored.get("data", {}), streams, config) if old else changes(before, streams)
    if not changed:
        return
    ways = ["bring back what it began with", "choose another run_dir"]
    if any(CODE in line for line in changed) and (revision := _environment(Path(config.run_dir)).get("git_revision")):
        ways.insert(0, f"start it with the code that it was last started with (git revision {revision})")
    if all(line.startswith("validation: ") for line in changed):
        ways.append("set train.validation_examples=0, which resumes it without a validation loss")
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    raise UserError(
        f"{config.run_dir}: its data changed since the run was interrupted: {'; '.join(changed[:_SHOWN])}{more}; "
        f"{', or '.join(ways)}"
    )


def changes(before: Streams, now: Streams) -> list[str]:
    """Says what is not the same in the streams of `before`. One that is new has nothing that it could be mixed with."""
    return [
        f"{name}: {line}"
        for name, stream in before.items()
        for line in (differences(stream, now[name]) if name in now else ["is gone"])
    ]


def between_processes(first: Streams, other: Streams) -> list[str]:
    """As `changes`; here a stream that only one process has differs, too."""
    return changes(first, other) + [f"{name}: is new" for name in other if name not in first]


def _counts(name: str, config: Config) -> bool:
    return name != "validation" or config.train.validation_examples > 0


def _changes_by_folders(before: dict[str, str], streams: Streams, config: Config) -> list[str]:
    """The same of a checkpoint that knows of each task trained on only which folder of the cache it was: its tokens are compared.

    Args:
      before: task -> name of the folder.
    """
    now = {
        task: t for name in ("training", "replay") if name in streams for task, t in templates_of(streams[name]).items()
    }
    lines = [f"{task} is {'new' if task in now else 'gone'}" for task in sorted(before.keys() ^ now.keys())]
    cache, gone = config.data.cache_folder(), []
    for task in sorted(before.keys() & now.keys()):
        folder = cache / task / before[task]
        if now[task]["split"] == f"{task}/{before[task]}":
            continue
        if not is_prepared(folder):
            gone.append(f"{task}/{before[task]}")
        elif CachedSplit.open(folder, formats=(1, FORMAT)).tokens_digest() != now[task]["tokens"]:
            lines.append(f"{task}: other tokens")
    # Versions that wrote such checkpoints drew all templates of a data set equally often, whatever the mixture said.
    lines += [
        f"{source['dataset']}: its templates are drawn by their weights now, which the version that it was started with ignored"
        for stream in (streams[name] for name in ("training", "replay") if name in streams)
        for source in stream["sources"]
        if source["weights"] is not None
    ]
    if gone:
        lines.append(
            f"{some(gone)} of {cache}, which it was trained on and which tokens are compared with, is gone; the version of the "
            f"{CODE} that it was started with makes it again (python -m t5x_tasks prepare)"
        )
    return lines


def say_other_packages(run_dir: Path) -> None:
    """Says so if a resumed run was last started with other versions of what it computes with."""
    before, now = _environment(run_dir), _versions()
    pairs = {name: (before.get(name), version) for name, version in now.items()}
    if changed := [f"{name} {old} -> {new}" for name, (old, new) in pairs.items() if old is not None and old != new]:
        say(
            f"{', '.join(changed)}: other versions than the run was last started with; its numbers may no longer be the same to "
            "the bit"
        )


def _environment(run_dir: Path) -> dict[str, Any]:
    """The environment of the run's last start as in config.yaml, its packages beside the rest; empty where it says nothing."""
    path = run_dir / "config.yaml"
    found: Any = configuration.load(path, []).environment if path.is_file() else None
    values = dict(found) if isinstance(found, Mapping) else {}
    packages = values.get("packages")
    return {**values, **(packages if isinstance(packages, Mapping) else {})}


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:
        return None
