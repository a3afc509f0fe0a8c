"""One trainer a run directory: a lock that the kernel gives back however its holder ends, kill -9 included."""

import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from t5x_tasks.errors import UserError
from train import distributed
from train.log import say

LOCK, HOLDER = ".lock", ".lock-holder.json"


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds the lock of a run directory; of several processes the first does for all.

    A directory that was made for the lock and then got no run is taken away again.

    Raises:
      UserError: another trainer holds it; the message names process and host.
    """
    # Not by the file's mere existence where the kernel has no lock: that of a killed trainer would stay.
    lock = filelock.FileLock(run_dir / LOCK, blocking=False, fallback_to_soft=False)
    distributed.from_first("lock", lambda: _acquire(lock, run_dir))
    try:
        yield
    finally:
        if distributed.is_first():
            lock.release()
            if {path.name for path in run_dir.iterdir()} <= {LOCK, HOLDER}:
                for name in (LOCK, HOLDER):
                    (run_dir / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    run_dir.rmdir()


def _acquire(lock: filelock.BaseFileLock, run_dir: Path) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise UserError(
            f"{run_dir}: is being trained by {_holder(run_dir)}; wait for it, or choose another run_dir"
        ) from None
    except OSError as error:
        if error.errno == errno.ENOSYS:
            say(f"{run_dir}: this file system knows no locks; make sure that no other trainer uses the directory")
            return
        raise UserError(f"run_dir: {run_dir}: cannot be written ({error.strerror or error}); choose another") from None
    holder = {"process": os.getpid(), "host": distributed.host(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    (run_dir / HOLDER).write_text(json.dumps(holder) + "\n")


def _holder(run_dir: Path) -> str:
    """Who holds the lock. What the file says may be a moment old: the lock decides, not the file."""
    try:
        holder = json.loads((run_dir / HOLDER).read_text())
        return f"process {holder['process']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"
