"""Whether a save can be written, which several processes ask before they start one together.

A save of several processes that fails in the midst of it cannot be tried again: some have written their parts, and wait for the
others. So each first sees whether there is room and whether a file can be written, and waits for it as long as one process
alone would; then all start, or all stop.
"""

import errno
import os
import shutil
from pathlib import Path

import jax

from t5x_tasks.errors import Failure
from train import distributed
from train.retry import retrying


def agree_on_room(folder: Path, step: int, size: int) -> None:
    """Returns when every process can write to the checkpoints' folder, and `size` bytes, those of all, have room there.

    Raises:
      Failure: in all processes alike, names the first that could not, and why.
    """
    what, trouble = f"{distributed.name()}: {folder / str(step)}: saving", None
    try:
        retrying(what, lambda: _probe(folder, size))
    except Failure as failure:
        trouble = str(failure)
    troubles = distributed.gather("room", trouble)
    if failed := [found for found in troubles if found]:
        raise Failure(f"{failed[0]} (all processes stop, step {step} is not saved)")


def _probe(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {size:,} bytes are needed, {free:,} are free")
    path = folder / f".room-{jax.process_index()}"
    try:
        with path.open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)
