"""The steps in a folder of checkpoints: which there are, whether they are whole, and what is small in them. Reads no array.

One rule says what counts: a step exists if, and only if, its commit marker is there. Orbax writes the marker last,
pruning takes it away first. So neither a kill during a save nor one during a deletion leaves a step that looks whole;
what such a kill leaves behind is removed when the run starts again. That needs a file system that renames a folder at once;
where it moves file by file, a step whose renaming was interrupted is removed then, too.

Behind the commit follow the checksums of its files (seal.py). Whoever reads a step has them compared first, so that one
that was damaged since is an error which names the file, never a wrong weight; a run resumes after the step before.
"""

import contextlib
import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5x_tasks.common.errors import UserError, one_line
from train.checkpoints import holds, seal
from train.log import say
from train.retry import retrying
from train.rundir.origin import DESCRIPTION, MARKER

_SMALL = ("",)  # the part of a step that is in no subfolder
TRY = ".try"  # <step>.try<n> is where a save that failed before is written
UNFINISHED = ".orbax-checkpoint-tmp"  # the name of a step's folder holds this until Orbax renames it at the commit


@dataclass(frozen=True)
class Info:
    """The small parts of a checkpoint. `position` and `metadata` are as they were given to `save`."""

    position: dict[str, Any]
    metadata: dict[str, Any]
    metrics: dict[str, float]


class Damaged(UserError):
    """A checkpoint is not what was written; the message names the file."""


class StepFolder:
    """The steps in one folder.

    Args:
      folder: RUN_DIR/checkpoints; need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()  # TensorStore takes no relative path
        self._infos: dict[int, Info] = {}  # a committed step never changes
        self._checked: set[tuple[int, tuple[str, ...]]] = set()

    def steps(self) -> list[int]:
        """Returns the committed steps, ascending, as the folder holds them now."""
        if not self._folder.is_dir():
            return []
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdecimal() and committed(path))

    def latest_step(self) -> int | None:
        """Returns the last committed step, or None."""
        return max(self.steps(), default=None)

    def latest_whole(self) -> int | None:
        """Returns the last committed step whose files are as they were written, or None where there is no step.

        Later ones that are damaged are set aside, as <step>.damaged, with a line that says so. Call it in one process.

        Raises:
          Damaged: all are; they stay where they are.
        """
        damaged: list[tuple[Path, Damaged]] = []
        for step in reversed(self.steps()):
            try:
                self._check(step)
            except Damaged as error:
                damaged.append((self._folder / str(step), error))
                continue
            for path, error in damaged:
                aside = path.with_name(f"{path.name}.damaged")
                if aside.exists():
                    shutil.rmtree(aside)
                path.rename(aside)
                say(f"{error}. Set aside as {aside.name}; resumes from the checkpoint before, of step {step}")
            return step
        if damaged:
            raise Damaged(f"{damaged[0][1]}; and no other checkpoint is whole. To begin again, choose another run_dir")
        return None

    def info(self, step: int) -> Info:
        """Returns position, metadata and metrics of a step, without reading an array.

        Raises:
          UserError: there is no such step.
          Damaged: its small files are not as they were written.
        """
        if step not in self._infos:
            path = self._existing(step)
            self._check(step, _SMALL)
            # Not by ocp.metadata: it opens the arrays, too, whose checksums nobody has compared, and logs what it finds there.
            try:
                self._infos[step] = Info(**json.loads((path / DESCRIPTION).read_bytes())["custom_metadata"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise Damaged(f"{path}: is damaged: {DESCRIPTION}: cannot be read ({one_line(error)})") from error
        return self._infos[step]

    @contextlib.contextmanager
    def hold(self, step: int) -> Iterator[None]:
        """Keeps a step from being pruned as long as the context lasts.

        Raises:
          UserError: there is no such step (any more).
        """
        self._existing(step)
        with holds.holding(self._folder, step):
            self._existing(step)  # it may have gone before the hold was there; from here on it stays
            yield

    def _existing(self, step: int) -> Path:
        path = self._folder / str(step)
        if not committed(path):
            there = ", ".join(map(str, self.steps())) or "none"
            half = " whole (a save that was interrupted, or is in progress)" if path.is_dir() else ""
            raise UserError(f"{self._folder}: no checkpoint of step {step}{half}; there are: {there}")
        return path

    def _check(self, step: int, parts: tuple[str, ...] = ()) -> None:
        """Compares a step's files, or those of some parts of it, with their checksums, once.

        Raises:
          Damaged: they are not as they were written.
          Failure: they cannot be read.
        """
        path = self._existing(step)
        if {(step, parts), (step, ())} & self._checked:
            return
        if (path / seal.SEAL).is_file():
            if found := retrying(f"{path}: reading", lambda: seal.damage(path, parts)):
                raise Damaged(f"{path}: is damaged: {found}")
        else:  # a reader of a run that is being trained comes between commit and checksums
            say(f"{path}: has no checksums (yet), so that damage would not be noticed")
        self._checked.add((step, parts))

    def _seal_the_unsealed(self) -> None:
        """Of steps whose saving was killed between the commit and the checksums."""
        for step in self.steps():
            path = self._folder / str(step)
            if not (path / seal.SEAL).is_file():
                retrying(f"{path}: writing checksums", functools.partial(seal.write, path))

    def _remove_leftovers(self) -> None:
        """Removes what a killed process or a failed try left: saves without a commit, deletions that were not finished."""
        paths = list(self._folder.iterdir()) if self._folder.is_dir() else []
        for path in paths:
            step = path.name.partition(UNFINISHED)[0].partition(TRY)[0]
            final = self._folder / step
            # Both there, and no checksums: the folder was renamed file by file (a bucket mounted without hierarchical
            # namespace) and cut off, and the marker need not be the last that moved.
            if path != final and step.isdecimal() and final.is_dir() and not (final / seal.SEAL).is_file():
                shutil.rmtree(final)
        for path in paths:
            uncommitted = path.is_dir() and path.name.isdecimal() and not committed(path)
            if uncommitted or UNFINISHED in path.name or TRY in path.name:
                shutil.rmtree(path)


def committed(path: Path) -> bool:
    """Whether a step's folder is whole. For names of digits only: a temporary one has the marker before it is renamed."""
    return (path / MARKER).is_file()
