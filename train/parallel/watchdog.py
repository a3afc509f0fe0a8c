"""Ends a process that would wait for ever: for a peer that is gone, or in a step that does not come to its end.

Each of several processes tells every two seconds that it lives and which step it finished. One that is silent for
PEER_TIMEOUT_S is dead or unreachable: the others say which one it is and exit, for without it no step of theirs can end. (When
process 0 dies, JAX's coordination service dies with it, and JAX itself ends the others at once, with signal 6.) A process
whose own loop stands still for `hang_s` writes the stacks of its threads before it exits, alone as among others.
"""

import contextlib
import faulthandler
import json
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from t5x_tasks.common.errors import one_line
from train.log import duration
from train.parallel import processes

PEER_TIMEOUT_S = 24.0  # Gloo gives a peer up after 30, and then JAX may end the process before it could say why.


_EVERY_S = 2.0


_GRACE_S = 8.0  # of a peer's end that it announced: this process may be about to end by the same error


EXIT_CODE = 1


class Watchdog:
    """Watches in a thread of its own, from `start` to `close`.

    Attributes:
      step: the step just finished, as the loop says it.
    """

    def __init__(self, hang_s: float = math.inf, *, stacks: Path | None = None):
        """`stacks` is the folder for the stacks of a process that hangs, besides standard error."""
        self._hang_s, self._stacks = hang_s, stacks
        self._step: int | None = None
        self._moved: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        # Apart from the thread that watches: where the network is cut, a call to the coordinator does not come back.
        self._talker = threading.Thread(target=self._talk, name="watchdog-talks", daemon=True)
        self._reached = start = time.monotonic()
        me, count = jax.process_index(), jax.process_count()
        self._seen = {process: start for process in range(count) if process != me}
        self._words: dict[int, dict[str, Any]] = {}
        self._beat = 0

    def start(self) -> None:
        self._thread.start()
        if self._seen:
            self._talker.start()

    def progress(self, step: int | None = None) -> None:
        """The loop has come on; from the first call on it must go on. `step` is the step just finished."""
        self._step, self._moved = self._step if step is None else step, time.monotonic()

    def close(self, error: BaseException | None = None) -> None:
        """Ends the watch and tells the others how this process ended. Of an error of JAX's, a lost peer may be the reason:
        then this waits until that is certain, and the process ends with a line that says it."""
        if self._seen and isinstance(error, jax.errors.JaxRuntimeError):
            traceback.print_exception(error)
            print(f"{processes.name()}: looking whether a peer is lost ...", file=sys.stderr, flush=True)
            self._thread.join(PEER_TIMEOUT_S + 3 * _EVERY_S)
        self._closed.set()
        self._thread.join(2 * _EVERY_S)
        if self._seen:
            self._talker.join(2 * _EVERY_S)  # its word must not come behind the last
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                self._tell(end="" if error is None else one_line(error))

    def _watch(self) -> None:
        while not self._closed.wait(_EVERY_S):
            now = time.monotonic()
            if self._moved is not None and now - self._moved > self._hang_s:
                self._end(f"no step has ended for {duration(now - self._moved)}{self._slowest()}", stacks=True)
            if self._seen and now - self._reached > PEER_TIMEOUT_S:
                self._end(f"{processes.coordinator()} has not been reached for {now - self._reached:.0f} s")

    def _talk(self) -> None:
        while not self._closed.wait(_EVERY_S):
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # process 0 is gone; most often JAX ends us first
                self._tell()
                self._listen(time.monotonic())
                self._reached = time.monotonic()

    def _tell(self, end: str | None = None) -> None:
        self._beat += 1
        words = json.dumps({"beat": self._beat, "step": self._step, "end": end})
        processes.client().key_value_set(f"alive/{jax.process_index()}", words, allow_overwrite=True)

    def _listen(self, now: float) -> None:
        for key, text in processes.client().key_value_dir_get("alive/"):
            process, words = int(key.rpartition("/")[2]), json.loads(text)
            if process in self._seen and words != self._words.get(process):
                self._words[process], self._seen[process] = words, now
        for process, seen in self._seen.items():
            words, silent_s = self._words.get(process, {}), now - seen
            at = "" if words.get("step") is None else f"; its last step was {words['step']}"
            end = words.get("end")
            if end and silent_s > _GRACE_S:
                self._end(f"{processes.name(process)} has ended: {end}{at}")
            if end is None and silent_s > PEER_TIMEOUT_S:
                self._end(f"{processes.name(process)} has not been heard of for {silent_s:.0f} s: lost{at}")

    def _slowest(self) -> str:
        steps = {process: words["step"] for process, words in self._words.items() if words.get("step") is not None}
        behind = [process for process, step in steps.items() if step < (self._step or 0)]
        return f" ({', '.join(processes.name(p) for p in behind)} lags behind)" if behind else ""

    def _end(self, why: str, *, stacks: bool = False) -> None:
        try:
            if stacks:
                if self._stacks is not None:
                    with contextlib.suppress(OSError):
                        path = self._stacks / f"stacks-{jax.process_index()}.txt"
                        with path.open("w") as file:
                            faulthandler.dump_traceback(file, all_threads=True)
                faulthandler.dump_traceback(sys.stderr, all_threads=True)
            print(
                f"{processes.name()} stops: {why}. Start the run again: it resumes after its last checkpoint",
                file=sys.stderr,
                flush=True,
            )
        finally:  # whatever becomes of the words
            # Not sys.exit: the main thread may never come back from where it waits.
            os._exit(EXIT_CODE)


@contextlib.contextmanager
def watching(hang_s: float = math.inf, *, stacks: Path | None = None) -> Iterator[Watchdog]:
    """A watchdog around the work of a process; an error that leaves the block is told to the other processes."""
    if processes.several():
        faulthandler.enable()  # where JAX ends us by signal 6, the stacks say what was waited for
    watchdog = Watchdog(hang_s, stacks=stacks)
    watchdog.start()
    error: BaseException | None = None
    try:
        yield watchdog
    except BaseException as raised:
        error = raised
        raise
    finally:
        watchdog.close(error)
