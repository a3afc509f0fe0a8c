"""What a run says: metrics.jsonl (always), TensorBoard, and a progress line on the terminal."""

import contextlib
import errno
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, Self


class MetricsLog:
    """RUN_DIR/metrics.jsonl, one JSON object a logged step, and the same scalars for TensorBoard.

    Opening it at step n (a run that goes on) first drops what is later than n, and a last line that a crash left
    unfinished, so that no step stands there twice. Each line is one write: a reader sees it whole or not at all.
    """

    def __init__(self, run_dir: Path, *, step: int, tensorboard: bool):
        self._path = run_dir / "metrics.jsonl"
        keep_until(self._path, step)
        self._file = self._path.open("ab", buffering=0)
        self._board: Any = None
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1, flush_secs=10)

    def write(self, row: dict[str, Any]) -> None:
        """Writes a row as one line in one call; NaN and infinities, which JSON does not know, become null."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        line = (json.dumps(clean, allow_nan=False) + "\n").encode()
        size = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        except OSError:  # a full disk may take a part
            self._file.truncate(size)
            raise
        if self._board is not None:
            for name, value in row.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, row["step"])

    def sync(self) -> None:
        """Puts the rows on the disk. Before a checkpoint is: of a step that counts, no row is lost with the power."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def keep_until(path: Path, step: int) -> None:
    """Drops the lines of a JSON lines file that are of later steps or no JSON, atomically."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Progress:
    """The line of progress: a bar that stays in place on a terminal, plain lines elsewhere."""

    def __init__(self, *, step: int, total: int):
        self._total, self._bar = total, None
        self._first, self._start = step, time.perf_counter()
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, transient=False)
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
            print(f"step {row['step']}/{self._total} | {text}", file=sys.stderr, flush=True)

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


def say(message: str) -> None:
    """A line for the person who watches; standard output stays free for results."""
    if _speaks:
        print(message, file=sys.stderr, flush=True)
