"""Checkpoints of a run: RUN_DIR/checkpoints/<step>/, written by Orbax in the background. No other file touches Orbax but
train/orbax_save.py, which starts and ends a save.

A step holds `params/` (the trainable parameters), `train_state/` (step counter, optimizer, random state) and, in the
commit's own metadata, what is small: the position in the input stream, the run's metadata, the metrics of the step.
Arrays are stored under their path in the tree (`params/encoder/query`, `opt_state/0/mu/encoder/query`), without the
types of containers: the tree to restore into supplies those, whatever the version of optax that defines them.

Who reads a step of a run that goes on training holds it meanwhile (`hold`, train/holds.py), and pruning respects that.

One rule says what counts: a step exists if, and only if, its commit marker is there. Orbax writes the marker last,
pruning takes it away first. So neither a kill during a save nor one during a deletion leaves a step that looks whole;
what such a kill leaves behind is removed when the run starts again. That needs a file system that renames a folder at once;
where it moves file by file, a step whose renaming was cut off is removed then, too.

A save that failed is tried again under a name of its own (`7.try2`), which becomes the step's when all of it is there: what
is still being written of the try before cannot mix with it. Several processes do so together, whichever of them failed.

Behind the commit follow the checksums of its files (train/seal.py). Whoever reads a step has them compared first, so that one
that was damaged since is an error which names the file, never a wrong weight; a run goes on after the step before.
"""

import contextlib
import functools
import gc
import itertools
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from t5x_tasks.errors import UserError, one_line
from train import distributed, holds, orbax_save, seal
from train.log import say
from train.retry import retrying
from train.together import together

# Orbax tells at INFO, through absl's logger, of every thread it starts and every barrier it passes.
logging.getLogger("absl").setLevel(logging.WARNING)
# And of a save that failed at ERROR, with the stack of each of its threads. Whoever waits for it gets the error.
logging.getLogger("absl").addFilter(lambda record: "_SignalingThread.run() raised" not in str(record.msg))

PyTree = Any
MARKER = "commit_success.txt"  # orbax.checkpoint._src.path.atomicity_types.COMMIT_SUCCESS_FILE
DESCRIPTION = "_CHECKPOINT_METADATA"  # orbax.checkpoint._src.metadata.checkpoint._STEP_METADATA_FILENAME
_SMALL = ("",)  # the part of a step that lies in no subfolder
TRY = ".try"  # <step>.try<n> is where a save that failed before is written
UNFINISHED = ".orbax-checkpoint-tmp"  # the name of a step's folder holds this until Orbax renames it at the commit


@dataclass(frozen=True)
class Info:
    """What is small in a checkpoint. `position` and `metadata` are as they were given to `save`."""

    position: dict[str, Any]
    metadata: dict[str, Any]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Restored(Info):
    """A checkpoint: `state` has the structure, shapes, dtypes and shardings of the `like` it was restored into."""

    state: PyTree


class Damaged(UserError):
    """A checkpoint is not what was written; the message names the file."""


class Checkpoints(AbstractContextManager):
    """The checkpoints in one folder. Use it as a context manager: leaving it waits for the save in progress.

    Args:
      folder: RUN_DIR/checkpoints; made by the first save. It must be on a file system that all hosts share.
      keep_latest: how many of the latest steps to keep, at least 1.
      keep_best: how many steps with the lowest `best_metric` to keep besides; steps without it (or NaN) are never the best.
      best_metric: the name of the metric that ranks steps, lower is better, for example "validation_loss".
      ranking: in its place, step -> number, lower is better, NaN while it is not known (train/selection.py).
      read_only: for readers of a run that may be training: nothing is written but holds, nothing pruned or cleaned.
      alive: called before each try of a save that is waited for: a watchdog's, for all tries together may take long.

    Not thread-safe: one thread uses an object. With several hosts, each calls `save` and `restore` with the same
    arguments in the same order.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep_latest: int = 1,
        keep_best: int = 0,
        best_metric: str | None = None,
        ranking: Callable[[int], float] | None = None,
        read_only: bool = False,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        if keep_latest < 1 or keep_best < 0:
            raise ValueError(f"keep_latest={keep_latest} must be at least 1, keep_best={keep_best} at least 0")
        self._folder = folder.absolute()  # TensorStore takes no relative path
        self._keep_latest = keep_latest
        self._keep_best = keep_best
        self._best_metric = best_metric
        self._ranking = ranking
        self._read_only = read_only
        self._alive = alive
        self._pending: tuple[Path, Future[None]] | None = None  # where it is written
        self._failed = False  # the last save, and nobody has tried again
        self._background = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._infos: dict[int, Info] = {}  # a committed step never changes
        self._checked: set[tuple[int, tuple[str, ...]]] = set()
        self._save_context = orbax_save.make_context()
        if not read_only and distributed.is_first():
            self._remove_leftovers()
            self._seal_the_unsealed()

    def steps(self) -> list[int]:
        """Returns the committed steps, ascending, as the folder holds them now."""
        if not self._folder.is_dir():
            return []
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdecimal() and _committed(path))

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
                say(f"{error}. Set aside as {aside.name}; goes on with the checkpoint before, of step {step}")
            return step
        if damaged:
            raise Damaged(f"{damaged[0][1]}; and no other checkpoint is whole. To begin again, choose another run_dir")
        return None

    def best_step(self) -> int | None:
        """Returns the committed step with the lowest `best_metric` (of equals, the later), or None."""
        return next(iter(self._ranked(self.steps())), None)

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

    def save(
        self,
        step: int,
        state: dict[str, PyTree],
        *,
        position: dict[str, Any],
        metadata: dict[str, Any],
        metrics: dict[str, float] | None = None,
        wait: bool = False,
    ) -> None:
        """Saves a step. Returns as soon as the arrays have been copied to the host; the rest happens in the background.

        After it returns, `state` may be donated to the next step. (On CPU the copy is a view of the buffer; JAX then
        refuses the donation and lets the step write elsewhere, so what is saved stays what it was.) A save still in
        progress is waited for first. If it failed, a line says so, and this one is waited for.

        Args:
          step: the step just finished. ValueError if it is saved already.
          state: a tree of jax.Array with "params" among its keys.
          position: where the input stream stands; JSON.
          metadata: what a reader must know (configuration, fingerprint of the base weights); JSON.
          metrics: metrics of this step; `best_metric` among them lets it be one of the best.
          wait: returns when it is committed.

        Raises:
          Failure: a save that is waited for failed, and for half a minute whenever it was tried again; in all processes, when it
            failed in one.
        """
        if self._read_only:
            raise ValueError(f"{self._folder} was opened read-only")
        # A copy, and a TypeError now rather than in the background if something is no JSON.
        info = Info(**json.loads(json.dumps({"position": position, "metadata": metadata, "metrics": metrics or {}})))
        path, again = self._folder / str(step), not self.settled()
        self._failed = False
        if self._is_saved(path):
            raise ValueError(f"{path}: step {step} is saved already")
        if not (wait or again):
            trouble = _trouble(lambda: self._start(step, state, info, path))
            if trouble is None:
                return
            say(f"{path}: saving: {trouble}; is tried again at once")
            again = True
        self._save_patiently(step, state, info, again=again)

    def settled(self) -> bool:
        """Waits for the save in progress, as `wait` does; whether none has failed. One that has makes the next save patient."""
        path, _ = self._pending or (self._folder, None)
        trouble = _trouble(self.wait)
        if trouble is not None:
            say(f"{path}: saving failed in the background ({trouble}); the next step's saving is waited for")
            self._failed = True
        return not self._failed

    def _is_saved(self, path: Path) -> bool:
        """What the first process sees: an error there, or in what each sees for itself, would leave the others waiting."""
        look = functools.partial(_committed, path) if distributed.is_first() else bool
        return retrying(f"{path}: looking", lambda: together("looking", look, at=path)[0], on=Exception)

    def _save_patiently(self, step: int, state: dict[str, PyTree], info: Info, *, again: bool) -> None:
        """Tries until the step is saved in all processes. Each comes through the same lines as often as the others.

        Args:
          again: whether a save has failed just before.
        """
        path = self._folder / str(step)
        tries = itertools.count(1)

        def attempt() -> None:
            nonlocal again
            self._alive()
            number, clear, again = next(tries), again, True
            if not clear:
                self._start(step, state, info, path)
            elif self._clear(path):
                self._pending = path, self._background.submit(self._tidy, step, info)
            else:
                self._start(step, state, info, path.with_name(f"{step}{TRY}{number}"))
            self.wait()

        retrying(f"{path}: saving", attempt, on=Exception)

    def _clear(self, path: Path) -> bool:
        """Removes what a failed try left; says whether all of it is there after all, and only sealing or pruning failed."""
        gc.collect()  # tasks of Orbax's that failed refer to each other, and to a copy of the state

        def clear() -> bool:
            self._remove_leftovers()
            return _committed(path)

        return together("clearing away", clear if distributed.is_first() else bool, at=path)[0]

    def _start(self, step: int, state: dict[str, PyTree], info: Info, path: Path) -> None:
        """Starts the saving of a step, in all processes or in none, in a folder that later gets its name."""

        def start() -> None:
            end = orbax_save.start(self._save_context, path, _items(state), vars(info))
            self._pending = path, self._background.submit(self._finish, step, info, path, end)

        try:
            together("starting to save", start, at=path)
        except Exception:
            _, started = self._pending or (path, None)
            self._pending = None
            if started is not None:
                started.exception()  # waits: it ends soon, as the others left it
            raise

    def restore(self, step: int, like: dict[str, PyTree]) -> Restored:
        """Reads a whole checkpoint, onto whatever mesh `like` describes.

        `like` is the tree that was given to `save`, with a jax.ShapeDtypeStruct that has a sharding for each array.
        UserError: there is no such step, or an array is missing, left over, or of another shape or dtype.
        Damaged: its files are not as they were written.
        """
        return Restored(**vars(self.info(step)), state=self._load(step, like))

    def restore_params(self, step: int, like: PyTree) -> PyTree:
        """Reads only the parameters, the part of `like` under "params"; nothing of the optimizer is touched."""
        return self._load(step, {"params": like})["params"]

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

    def saved_at(self, step: int) -> int:
        """Returns when a step was committed, nanoseconds: another one under the same number has another time."""
        return (self._existing(step) / MARKER).stat().st_mtime_ns

    def wait(self) -> None:
        """Returns when the save in progress is committed and older steps are pruned; raises the error that it met.

        With several processes all must call it. It then tells of the save of all of them: Failure, when one's failed.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            path, ended = pending
            together("saving", ended.result, at=path)

    def close(self) -> None:
        """Waits, then frees the background thread."""
        try:
            self.wait()
        finally:
            self._background.shutdown()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and distributed.several():
            self._background.shutdown()  # this process may be alone with its error, so the others are not asked
        else:
            self.close()

    def _existing(self, step: int) -> Path:
        path = self._folder / str(step)
        if not _committed(path):
            there = ", ".join(map(str, self.steps())) or "none"
            half = " whole (a save that was cut off, or is in progress)" if path.is_dir() else ""
            raise UserError(f"{self._folder}: no checkpoint of step {step}{half}; there are: {there}")
        return path

    def _load(self, step: int, like: dict[str, PyTree]) -> dict[str, PyTree]:
        path = self._existing(step)
        items = _items(like)
        distributed.from_first("checkpoint is whole", lambda: self._check(step, tuple(items)))
        for item, wanted in items.items():
            saved: Any = ocp.metadata(str(path), item).metadata
            if saved is None:  # Orbax only warns when a file of its own is damaged
                raise UserError(f"{path}: the checkpoint cannot be read, its description is damaged; is it whole?")
            _check_match(path, saved=saved, wanted=wanted)
        loaded = ocp.load_checkpointables(str(path), items)
        arrays = {name: array for item in items for name, array in loaded[item].items()}
        return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in _by_name(like)])

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

    def _finish(self, step: int, info: Info, written: Path, end: Callable[[], None]) -> None:
        """Background: waits for the commit of the folder that was written, which then gets the step's name."""
        end()
        path = self._folder / str(step)
        if distributed.is_first() and written != path:
            written.rename(path)
        self._tidy(step, info)
        if distributed.is_first() and written != path:  # threads of a failed try may have written on
            with contextlib.suppress(OSError):
                self._remove_leftovers()

    def _tidy(self, step: int, info: Info) -> None:
        """Background: seals a committed step, then removes those that are neither among the latest nor the best."""
        self._infos[step] = info
        if distributed.is_first():
            seal.write(self._folder / str(step))
        steps = self.steps() if distributed.is_first() else []
        keep = {step, *steps[-self._keep_latest :], *self._ranked(steps)[: self._keep_best]}
        for old in sorted(set(steps) - keep - holds.held(self._folder)):
            marker = self._folder / str(old) / MARKER
            aside = marker.with_suffix(".pruned")
            marker.rename(aside)
            # Held since a moment ago: whoever holds it has seen the marker, or will not read.
            if old in holds.held(self._folder):
                aside.rename(marker)
                continue
            shutil.rmtree(self._folder / str(old))

    def _ranked(self, steps: list[int]) -> list[int]:
        """Steps that have a rank, the best first."""
        values = {step: self._rank(step) for step in steps}
        return sorted((s for s in steps if not math.isnan(values[s])), key=lambda step: (values[step], -step))

    def _rank(self, step: int) -> float:
        """Lower is better; NaN for none."""
        if self._ranking is not None:
            return self._ranking(step)
        try:
            return self.info(step).metrics.get(self._best_metric or "", math.nan)
        except Damaged:  # never the best
            return math.nan

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
            uncommitted = path.is_dir() and path.name.isdecimal() and not _committed(path)
            if uncommitted or UNFINISHED in path.name or TRY in path.name:
                shutil.rmtree(path)


def _trouble(function: Callable[[], None]) -> str | None:
    """Why a function failed, in words: what the error's frames hold, a copy of the state, need not live longer."""
    try:
        function()
    except Exception as error:
        return one_line(error)
    return None


def _committed(path: Path) -> bool:
    # Callers look at names of digits only: a temporary folder has the marker, too, just before it is renamed.
    return (path / MARKER).is_file()


def _by_name(tree: PyTree) -> dict[str, Any]:
    """Leaves under their path: {"opt_state": (Adam(mu={"w": x}),)} -> {"opt_state/0/mu/w": x}, in the tree's order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _items(state: dict[str, PyTree]) -> dict[str, dict[str, Any]]:
    """The two parts of a checkpoint, so that one can be read without the other."""
    items: dict[str, dict[str, Any]] = {"params": {}, "train_state": {}}
    for name, leaf in _by_name(state).items():
        items["params" if name.startswith("params/") else "train_state"][name] = leaf
    return {item: leaves for item, leaves in items.items() if leaves}


def _check_match(path: Path, *, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises UserError with the first array that the checkpoint and the program see differently."""

    def text(arrays: dict[str, Any], name: str) -> str:
        return f"{arrays[name].dtype}{list(arrays[name].shape)}" if name in arrays else "nothing"

    wrong = [name for name in sorted(saved.keys() | wanted.keys()) if text(saved, name) != text(wanted, name)]
    if wrong:
        name, more = wrong[0], f" ({len(wrong) - 1} more differ)" if len(wrong) > 1 else ""
        raise UserError(
            f"{path}: {name}: the checkpoint holds {text(saved, name)}, this configuration needs {text(wanted, name)}"
            f"{more}; use the configuration of the run that saved it, or another run_dir"
        )
    for name, leaf in wanted.items():
        if leaf.sharding is None:
            raise ValueError(f"{name}: the tree to restore into has no sharding for it")
