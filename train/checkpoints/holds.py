"""Steps that somebody reads now: a file in `.holds/` beside a run's checkpoints, which pruning respects.

A hold whose holder was killed expires.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

HOLDS = ".holds"  # a folder: <step>.<host>.<process> is a reader of a step
HOLD_EXPIRES_S = 3600  # of a hold that nobody took away: no step takes as long to read


@contextlib.contextmanager
def holding(folder: Path, step: int) -> Iterator[None]:
    """Holds a step of the checkpoints in `folder` as long as the context lasts. Whether it is there is the caller's to look,
    inside the context: it may have gone before the hold was there."""
    path = folder / HOLDS / f"{step}.{socket.gethostname()}.{os.getpid()}"
    with contextlib.suppress(OSError):  # where nothing can be written, pruning is not ours to stop
        path.parent.mkdir(exist_ok=True)
        path.touch()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def held(folder: Path) -> set[int]:
    """Steps that somebody reads now; removes what killed readers left."""
    steps = set()
    for path in (folder / HOLDS).glob("*.*"):
        with contextlib.suppress(OSError, ValueError):  # its holder has let it go
            # One from the future, written before a clock was set back, would else stay for as long.
            if abs(time.time() - path.stat().st_mtime) < HOLD_EXPIRES_S:
                steps.add(int(path.name.partition(".")[0]))
            else:
                path.unlink()
    return steps
