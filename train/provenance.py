"""What a run says about itself: RUN_DIR/config.yaml, written once it is certain that the run can start."""

import platform
import subprocess
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import jax

from t5x_tasks.errors import UserError
from train import config as configuration
from train.config import Config
from train.log import say

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
            "choose another run_dir, or give the run's own values to go on with it"
        )
    return config


def say_new_course(config: Config, run_dir: Path) -> None:
    """Says so if a run that goes on is to end elsewhere than it was, and its learning rate depends on that."""
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
    data: dict[str, str],
    read: dict[str, str],
    files: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What a checkpoint carries besides arrays: enough to know what it is when its run directory is lost.

    Args:
      data: fingerprint of each task that is trained on; a position in the stream means nothing in other data.
      read: fingerprints of the base as it was read (train/fingerprint.py), where something of it is frozen, so not in the
        checkpoint, or is what a regulariser pulls to.
      files: fingerprints of the method's own files that a regulariser's target was made from.
    """
    values = config.model_dump(mode="json", exclude={"environment", "run_dir"})
    return {
        "config": values,
        "base": config.model.weights,
        "data": data,
        "read": read,
        "files": files or {},
    }


def check_data(run_dir: Path, stored: dict[str, Any], data: dict[str, str]) -> None:
    """Raises UserError when a run is to go on with other data than it was cut off in."""
    before = stored.get("data", {})
    if changed := sorted(name for name in before.keys() | data.keys() if before.get(name) != data.get(name)):
        raise UserError(
            f"{run_dir}: {', '.join(changed[:3])}{' ...' if len(changed) > 3 else ''}: the data (or the code that prepares them) "
            "changed since the run was cut off; choose another run_dir, or bring the old data back"
        )


def git_revision() -> str | None:
    """Revision of this code's checkout, with `+changes` when it differs from the commit; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return result.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:
        return None
