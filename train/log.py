"""A run's messages on the terminal: lines, and one of progress. Its figures: train/rundir/metrics.py."""

import contextlib
import math
import sys
import time
from typing import Any, Self

from t5x_tasks.common.terminal import escaped


class Progress:
    """The line of progress: a bar that stays in place on a terminal, plain lines elsewhere."""

    def __init__(self, *, step: int, total: int):
        self._total, self._bar = total, None
        self._first, self._start = step, time.perf_counter()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=False)
            self._bar.start()
            self._task = self._bar.add_task("compiling", total=total, completed=step)

    def step(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def report(self, row: dict[str, Any]) -> None:
        """Shows a row of metrics.jsonl."""
        done = row["step"] - self._first
        eta_s = (time.perf_counter() - self._start) / max(1, done) * (self._total - row["step"])
        parts = [
            f"loss {row['loss']:.3f}",
            f"{row['tokens_per_s']:,.0f} tokens/s",
            f"{row['examples_per_s']:,.1f} examples/s",
            f"MFU {100 * row['mfu']:.1f}%" if math.isfinite(row["mfu"]) else "MFU ?",
            f"data wait {100 * row['data_wait_s'] / row['step_time_s']:.1f}%" if row["step_time_s"] else "",
            f"ETA {duration(eta_s)}",
        ]
        if "validation_loss" in row:
            parts.insert(1, f"validation {row['validation_loss']:.3f}")
        text = " | ".join(part for part in parts if part)
        if self._bar is not None:
            self._bar.update(self._task, completed=row["step"], description=text)
        else:
            say(f"step {row['step']}/{self._total} | {text}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def duration(seconds: float) -> str:
    """`42s`, `3m05s`, `2h10m`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


_speaks = True


def speak(speaks: bool) -> None:
    """Whether `say` says anything in this process: of several that do the same, one is enough."""
    global _speaks
    _speaks = speaks


def say(message: str, *, of_one: bool = False) -> None:
    """A line for the person who watches; standard output stays free for results.

    Args:
      of_one: about what one of several processes may meet alone, so that each says it.
    """
    if _speaks or of_one:
        with contextlib.suppress(OSError):  # a log on a full disk is no reason to end
            print(escaped(message), file=sys.stderr, flush=True)
