"""Where the time of a run goes: steps, and all that is not steps. Kept over restarts by metrics.jsonl alone.

Every moment since the first start of the run belongs to exactly one account, so they add up to its age:

    setup       data, weights, restoring, up to the first step; the first start's imports are not seen
    compile     the first call of each program
    input_wait  waiting for the next batch while the devices have nothing to do
    steps       training; goodput is its share
    checkpoint  what saving held up the steps
    validation  the loss on the validation split, and waiting for a task's score (train/selection.py)
    lost        steps that were done again: from the checkpoint that a restart went back to, to the last sign of life
    down        from there to the restart

Each logged row carries them in seconds (`wall_s/steps`, ...), with the time of day. A run that resumes after step n takes the
accounts of row n; what the last row says more is lost, and since then it was down.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from train.log import duration
from train.rundir.metrics import read_rows

ACCOUNTS = ("setup", "compile", "input_wait", "steps", "checkpoint", "validation", "lost", "down")


_PREFIX = "wall_s/"


class Clock:
    """Books time to accounts, by a clock that is never set back. It begins at the time of day, which alone goes on over restarts.

    Attributes:
      seconds: of each account, up to the last change.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(ACCOUNTS, 0.0)
        self._account = "setup"
        self._began = self._since = time.time()
        self._offset_s = self._began - time.monotonic()
        self._called: set[str] = set()

    def go_on(self, metrics: Path, *, step: int) -> None:
        """Adds what an earlier process of this run booked up to the step that this one resumes after (0: none)."""
        rows = _timed_rows(metrics)
        if not rows:
            return
        last = rows[-1]
        began = last["time"] - sum(last[_PREFIX + name] for name in ACCOUNTS)
        at_step: dict[str, float] = next((row for row in reversed(rows) if row["step"] == step), {})
        for name in ACCOUNTS:
            self.seconds[name] += at_step.get(_PREFIX + name, 0.0)
        left_at = at_step.get("time", began)
        self.seconds["lost"] += max(0.0, last["time"] - left_at)
        self.seconds["down"] += max(0.0, self._began - last["time"])

    def switch(self, account: str) -> None:
        """From now on time belongs to this account."""
        now = self._offset_s + time.monotonic()
        self.seconds[self._account] += now - self._since
        self._account, self._since = account, now

    @contextlib.contextmanager
    def on(self, account: str) -> Iterator[None]:
        """Books the block to an account, then goes on with the one before."""
        before = self._account
        self.switch(account)
        try:
            yield
        finally:
            self.switch(before)

    @contextlib.contextmanager
    def waiting(self, results: Mapping[str, Any]) -> Iterator[None]:
        """Books the block to `input_wait`; to the account before where the devices are busy to its end: nothing waited then.

        Args:
          results: arrays of the last step; when one is not there yet, the devices are at work on it.
        """
        before = self._account
        self.switch("input_wait")
        yield
        if not all(result.is_ready() for result in results.values()):
            self._account = before  # of the time since the switch, too
        self.switch(before)

    @contextlib.contextmanager
    def calling(self, program: str, account: str) -> Iterator[None]:
        """Books a call of a jitted function: the first is `compile`, for it returns when it is compiled."""
        with self.on(account if program in self._called else "compile"):
            yield
        self._called.add(program)

    def row(self) -> dict[str, float]:
        """The clock's part of a logged row: `time`, `goodput` (share of the run's age that went into steps), `wall_s/...`."""
        self.switch(self._account)
        age = sum(self.seconds.values())
        seconds = {_PREFIX + name: round(value, 3) for name, value in self.seconds.items()}
        return {"time": round(self._since, 3), "goodput": self.seconds["steps"] / age if age else 0.0, **seconds}

    def shares(self) -> str:
        """`steps 91.2%, compile 5.0%, ...`, of those that are anything, the largest first."""
        self.switch(self._account)
        age = sum(self.seconds.values()) or 1.0
        shares = sorted(((value / age, name) for name, value in self.seconds.items()), reverse=True)
        return ", ".join(f"{name.replace('_', ' ')} {100 * share:.1f}%" for share, name in shares if share >= 0.0005)


def summary(metrics: Path, clock: Clock) -> str:
    """Lines for the end of a run, from its metrics.jsonl."""
    rows = read_rows(metrics)
    losses = [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]
    validated = [(row["validation_loss"], row["step"]) for row in rows if row.get("validation_loss") is not None]
    examples, tokens = (sum(row.get(name, 0) for row in rows) for name in ("examples", "tokens"))
    parts = [f"{examples:,} examples, {tokens:,} tokens"]
    if losses:
        parts.append(f"loss {losses[0][1]:.4g} at step {losses[0][0]}, {losses[-1][1]:.4g} at step {losses[-1][0]}")
    if validated:
        parts.append("validation loss {:.4g} at step {}, the best".format(*min(validated)))
    if rows and rows[-1].get("skipped_steps"):
        parts.append(f"{rows[-1]['skipped_steps']:.0f} steps skipped")
    if peaks := [row["device_memory_peak_gib"] for row in rows if "device_memory_peak_gib" in row]:
        parts.append(f"{max(peaks):.1f} GiB of a device's memory at most")
    time_s = sum(clock.seconds.values())
    return f"  {' | '.join(parts)}\n  {duration(time_s)} in all: {clock.shares()}"


def _timed_rows(metrics: Path) -> list[dict[str, Any]]:
    """Rows that carry accounts, which those of older versions do not."""
    names = ("time", *(_PREFIX + name for name in ACCOUNTS))
    return [row for row in read_rows(metrics) if all(row.get(name) is not None for name in names)]
