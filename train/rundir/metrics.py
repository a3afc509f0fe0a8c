"""RUN_DIR/metrics.jsonl: whole lines, no step twice, whatever ends the run."""

import errno
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from train.log import say
from train.retry import retrying
from train.rundir.trackers import Tracker

METRICS = "metrics.jsonl"  # of a run directory


class MetricsLog:
    """RUN_DIR/metrics.jsonl, one JSON object a logged step, and the same scalars for the trackers.

    Opening it at step n (a resumed run) first drops what is later than n, and a last line that a crash left
    unfinished, so that no step is there twice. Each line is one write; who reads while a run writes may all the same
    see the last one in part (a file grows by pages), which `read_rows` passes over.
    """

    def __init__(self, run_dir: Path, *, step: int, trackers: Sequence[Tracker] = ()):
        self._path = run_dir / METRICS
        keep_until(self._path, step)
        self._file = self._path.open("ab", buffering=0)
        self._trackers = trackers

    def write(self, row: dict[str, Any]) -> None:
        """Writes a row as one line in one call; NaN and infinities, which JSON does not know, become null.

        Raises:
          Failure: it cannot be written, for half a minute.
        """
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        line = (json.dumps(clean, allow_nan=False) + "\n").encode()
        retrying(f"{self._path}: writing", lambda: self._append(line))
        scalars = {name: value for name, value in clean.items() if name != "step" and value is not None}
        for tracker in self._trackers:
            tracker.write(row["step"], scalars)

    def _append(self, line: bytes) -> None:
        size = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        except OSError:  # a full disk may take a part
            self._file.truncate(size)
            raise

    def sync(self) -> None:
        """Puts the rows on the disk. Before a checkpoint is: of a step that counts, no row is lost with the power."""
        retrying(f"{self._path}: writing", lambda: os.fsync(self._file.fileno()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        for tracker in self._trackers:
            tracker.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl, without lines that are damaged or that a crash cut off; none of a file that is not there."""
    return [row for _, row in _lines(path, of_numbers=True)]


def keep_until(path: Path, step: int, *, of_numbers: bool = True) -> None:
    """Drops the lines of a JSON lines file that are of later steps, and says which are damaged and dropped, too; atomically.

    Args:
      of_numbers: a row holds nothing but numbers and null.
    """
    if not path.exists():
        return
    kept = [line + b"\n" for line, row in _lines(path, of_numbers=of_numbers, report=True) if row["step"] <= step]
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _lines(path: Path, *, of_numbers: bool, report: bool = False) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Lines that are rows of a step, as they are there and read. `report`: says which others there are."""
    *lines, last = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    for number, line in enumerate([*lines, last], 1):
        if (row := _row(line, of_numbers)) is not None:
            yield line, row
        elif report and number <= len(lines):  # the last one, without its end, was being written
            say(f"{path}: line {number} is dropped: it is damaged, no row of a step ({line[:60]!r})")


def _row(line: bytes, of_numbers: bool) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    return row if not of_numbers or all(v is None or type(v) in (int, float) for v in row.values()) else None
