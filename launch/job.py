"""The job to run, the same for every launcher: a configuration, its overrides, a name, and what its exit codes mean."""

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.tools import check_checkout
from t5x_tasks.common.errors import UserError
from train import config as configuration
from train.config import Config

RESUME = 143  # stopped by SIGTERM, and saved: start it again
MISTAKE = 2  # the user's: starting it again would not help


@dataclass(frozen=True)
class Job:
    config: Config
    path: str
    overrides: tuple[str, ...]
    name: str

    def command(self, python: str = "python") -> list[str]:
        return [python, "-m", "train", self.path, *self.overrides]

    def shell(self, python: str = "python") -> str:
        return shlex.join(self.command(python))

    @property
    def run_dir(self) -> str:
        return self.config.run_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="of the job, by which it is found again (default: from run_dir)")
    parser.add_argument("--dry-run", action="store_true", help="print exactly what would be done, and do nothing")


def load(options: argparse.Namespace) -> Job:
    """Reads the configuration before anything is started, so that its mistakes are found here and not on 64 machines.

    Raises:
      UserError: of the configuration, or the name is none that every launcher takes.
    """
    config = configuration.load(options.config, options.overrides)
    name = options.name or re.sub(r"[^a-z0-9]+", "-", Path(config.run_dir).name.lower()).strip("-")[:40]
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name):
        raise UserError(f"--name: {name!r}: a letter, then up to 39 small letters, digits and '-', the last no '-'")
    return Job(config, options.config, tuple(options.overrides), name)


def check_kept(job: Job, mounted: Sequence[str], *, todo: str) -> None:
    """Raises UserError, before anything is created, if the run directory would go with the machines.

    Args:
      mounted: folders of theirs whose storage outlives them.
      todo: ends the message: where it would be kept.
    """
    run_dir = Path(os.path.normpath(job.run_dir))
    if not any(run_dir.is_relative_to(folder) for folder in mounted):
        raise UserError(f"run_dir: {job.run_dir} is on the machines' own disks, which are deleted with them; {todo}")


def relative_to_code(job: Job, *, mounted: Sequence[str], committed: bool = False) -> Job:
    """The same job with its configuration's path as it is in a copy of the code.

    Args:
      mounted: folders that the machines have.
      committed: the code goes as its commit.

    Raises:
      UserError: that file, or another that the run names, would not be there; or this code is no checkout that could be sent.
    """
    from launch.preflight import Sent  # after --help

    sent = Sent(committed=committed, mounted=mounted)
    check_checkout(sent.code)
    sent.check(Path(job.path), job.config)
    return Job(job.config, str(Path(job.path).resolve().relative_to(sent.code)), job.overrides, job.name)
