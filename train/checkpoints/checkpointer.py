"""Checkpoints of a run: RUN_DIR/checkpoints/<step>/, written by Orbax in the background.

A step holds `params/` (the trainable parameters), `train_state/` (step counter, optimizer, random state) and, in the
commit's own metadata, what is small: the position in the input stream, the run's metadata, the metrics of the step.

    folder.py       which steps there are, whether they are whole
    arrays.py       how a step stores the arrays of a state
    orbax_save.py   one save by Orbax, which nothing else touches but the code here
    agreement.py    what one of several processes meets, all of them learn
    seal.py         checksums
    holds.py        who reads a step of a run that is still training holds it, and pruning respects that

A save that failed is tried again under a name of its own (`7.try2`), which becomes the step's when all of it is there: what
is still being written of the try before cannot mix with it. Several processes do so together, whichever of them failed.
"""

import contextlib
import functools
import gc
import itertools
import json
import math
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from t5x_tasks.common.errors import UserError, one_line
from train.checkpoints import holds, orbax_save, seal
from train.checkpoints.agreement import together
from train.checkpoints.arrays import PyTree, by_name, check_match, divide
from train.checkpoints.folder import MARKER, TRY, Damaged, Info, StepFolder, committed
from train.log import say
from train.parallel import processes
from train.retry import retrying


@dataclass(frozen=True)
class Restored(Info):
    """A checkpoint: `state` has the structure, shapes, dtypes and shardings of the `like` it was restored into."""

    state: PyTree


class Checkpoints(StepFolder, AbstractContextManager):
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
        super().__init__(folder)
        self._keep_latest = keep_latest
        self._keep_best = keep_best
        self._best_metric = best_metric
        self._ranking = ranking
        self._read_only = read_only
        self._alive = alive
        self._pending: tuple[Path, Future[None]] | None = None  # where it is written
        self._failed = False  # the last save, and nobody has tried again
        self._background = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._save_context = orbax_save.make_context()
        if not read_only and processes.is_first():
            self._remove_leftovers()
            self._seal_the_unsealed()

    def best_step(self) -> int | None:
        """Returns the committed step with the lowest `best_metric` (of equals, the later), or None."""
        return next(iter(self._ranked(self.steps())), None)

    def save(
        self,
        step: int,
        state: PyTree,
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
          state: a tree of jax.Array with `params` among its keys or fields.
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
        """The first process's view: an error there, or in what each sees for itself, would leave the others waiting."""
        look = functools.partial(committed, path) if processes.is_first() else bool
        return retrying(f"{path}: looking", lambda: together("looking", look, at=path)[0], on=Exception)

    def _save_patiently(self, step: int, state: PyTree, info: Info, *, again: bool) -> None:
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
            # Threads of that try may still write there. The next has a folder of its own, and clears up when it is done.
            with contextlib.suppress(OSError):
                self._remove_leftovers()
            return committed(path)

        return together("clearing away", clear if processes.is_first() else bool, at=path)[0]

    def _start(self, step: int, state: PyTree, info: Info, path: Path) -> None:
        """Starts the saving of a step, in all processes or in none, in a folder that later gets its name."""

        def start() -> None:
            end = orbax_save.start(self._save_context, path, divide(state), vars(info))
            self._pending = path, self._background.submit(self._finish, step, info, path, end)

        try:
            together("starting to save", start, at=path)
        except Exception:
            _, started = self._pending or (path, None)
            self._pending = None
            if started is not None:
                started.exception()  # waits: it ends soon, as the others left it
            raise

    def restore(self, step: int, like: PyTree) -> Restored:
        """Reads a whole checkpoint, onto whatever mesh `like` describes.

        `like` is the tree that was given to `save`, with a jax.ShapeDtypeStruct that has a sharding for each array.
        UserError: there is no such step, or an array is missing, left over, or of another shape or dtype.
        Damaged: its files are not as they were written.
        """
        return Restored(**vars(self.info(step)), state=self._load(step, like))

    def restore_params(self, step: int, like: PyTree) -> PyTree:
        """Reads only the parameters, the part of `like` under "params"; nothing of the optimizer is touched."""
        return self._load(step, {"params": like})["params"]

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
        if kind is not None and processes.several():
            self._background.shutdown()  # this process may be alone with its error, so the others are not asked
        else:
            self.close()

    def _load(self, step: int, like: PyTree) -> PyTree:
        path = self._existing(step)
        items = divide(like)
        processes.from_first("checkpoint is whole", lambda: self._check(step, tuple(items)))
        for item, wanted in items.items():
            saved: Any = ocp.metadata(str(path), item).metadata
            if saved is None:  # Orbax only warns when a file of its own is damaged
                raise UserError(f"{path}: the checkpoint cannot be read, its description is damaged; is it whole?")
            check_match(path, saved=saved, wanted=wanted)
        loaded = ocp.load_checkpointables(str(path), items)
        arrays = {name: array for item in items for name, array in loaded[item].items()}
        return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in by_name(like)])

    def _finish(self, step: int, info: Info, written: Path, end: Callable[[], None]) -> None:
        """Background: waits for the commit of the folder that was written, which then gets the step's name."""
        end()
        path = self._folder / str(step)
        if processes.is_first() and written != path:
            written.rename(path)
        self._tidy(step, info)
        if processes.is_first() and written != path:  # threads of a failed try may have written on
            with contextlib.suppress(OSError):
                self._remove_leftovers()

    def _tidy(self, step: int, info: Info) -> None:
        """Background: seals a committed step, then removes those that are neither among the latest nor the best."""
        self._infos[step] = info
        if processes.is_first():
            seal.write(self._folder / str(step))
        steps = self.steps() if processes.is_first() else []
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


def _trouble(function: Callable[[], None]) -> str | None:
    """Why a function failed, in words: what the error's frames hold, a copy of the state, need not live longer."""
    try:
        function()
    except Exception as error:
        return one_line(error)
    return None
