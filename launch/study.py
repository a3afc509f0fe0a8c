"""`python -m launch study configs/forgetting`: several runs that are compared, one after the other on this machine.

Each YAML file of the folder is a run (those that begin with `_` are parts that runs share). A run whose directory is another's
`model.weights` comes first. All are trained and evaluated, then compared: one table and one figure of tasks and runs. Started
again, it resumes: what is trained stays, and what is decoded is not decoded again.

With `model.weights=...` among the overrides no run is the base of the others any more: then that is what they are compared with,
and a run that was only there to be the base is left out.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.tools import Tools
from t5x_tasks.common.errors import UserError
from train import config as configuration
from train.config import Config

CONFIG = ("FOLDER", "a folder of configurations, for example configs/forgetting")


@dataclass(frozen=True)
class Member:
    """A run of the study; `overrides` are those of the command line and its own run directory."""

    name: str
    path: Path
    config: Config
    overrides: tuple[str, ...]

    @property
    def run_dir(self) -> Path:
        return Path(self.config.run_dir)


@dataclass(frozen=True)
class Study:
    """Runs that are compared.

    Attributes:
      base: the run that the others start from; None where they start from other weights.
      members: the others, by name.
      output: the report.
    """

    base: Member | None
    members: list[Member]
    output: Path

    def commands(self) -> list[list[str]]:
        """The commands of a study, in order; each may be run again."""
        python, steps = [sys.executable, "-m"], []
        runs = self.members if self.base is None else [self.base, *self.members]
        for number, member in enumerate(runs):
            configured = [str(member.path), *member.overrides]
            # the model before training is the same for all: asked once
            asked = "eval.steps=[0,latest]" if number == 0 and self.base is None else "eval.steps=[latest]"
            steps += [[*python, "train", *configured], [*python, "eval", *configured, asked]]
        folders = [f"{member.name}={member.run_dir}" for member in runs]
        return [*steps, [*python, "eval", "compare", *folders, "--output", str(self.output)]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, help="the report (default: report.html beside the runs)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, and do nothing")


def run(options: argparse.Namespace) -> int:
    study, tools = load(Path(options.config), options.overrides, options.output), Tools(options.dry_run)
    start = time.perf_counter()
    for command in study.commands():
        if code := tools.run(command, follow=True):
            return code if code > 0 else 128 - code
    tools.say(f"{len(study.members)} runs compared, {time.perf_counter() - start:.0f} s in all")
    return 0


def load(folder: Path, overrides: Sequence[str], output: Path | None = None) -> Study:
    """Reads all configurations of a folder, before anything is started.

    Raises:
      UserError: there is none, one has a mistake, or two have one run directory.
    """
    files = sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("_"))
    if not files:
        raise UserError(f"{folder}: holds no configuration (*.yaml); give a folder of them, such as configs/forgetting")
    if any(override.startswith("run_dir=") for override in overrides):
        raise UserError("command line: run_dir: each run of a study has its own; change the configurations")
    own = {path: configuration.load(path, []) for path in files}
    members = [Member(path.stem, path, configuration.load(path, list(overrides)), tuple(overrides)) for path in files]
    by_folder: dict[Path, Member] = {}
    for member in members:
        if (other := by_folder.setdefault(member.run_dir, member)) is not member:
            raise UserError(f"{member.path}: run_dir: {member.run_dir} is that of {other.path} too; choose another")
    roots = {Path(config.run_dir) for config in own.values()} & {Path(c.model.weights) for c in own.values()}
    bases = [member for member in members if member.run_dir in roots]
    rest = [member for member in members if member not in bases]
    if len(bases) > 1:
        raise UserError(f"{folder}: {' and '.join(b.name for b in bases)} are both the base of others; a study has one")
    used = [base for base in bases if any(Path(member.config.model.weights) == base.run_dir for member in rest)]
    return Study(next(iter(used), None), rest, output or rest[0].run_dir.parent / "report.html")
