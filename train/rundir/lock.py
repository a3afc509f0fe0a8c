"""One trainer a run directory: a lock that the kernel gives back however its holder ends, kill -9 included.

On some network file systems every lock succeeds, or there are none. So the holder also writes down who it is: where that is a
live process of this host, a second trainer is refused; of trainers on several hosts the one that started last stays, and the
others see it before they log or save, and stop.
"""

import contextlib
import errno
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock

from t5x_tasks.common.errors import UserError
from train.log import say
from train.parallel import processes

LOCK, HOLDER = ".lock", ".lock-holder.json"


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[Callable[[], None]]:
    """Holds the lock of a run directory; of several processes the first does for all.

    A directory that was made for the lock and then got no run is taken away again.

    Yields:
      A function that raises UserError in all processes when another trainer has taken the directory over; call it before
      anything is written there.

    Raises:
      UserError: another trainer holds it; the message names process and host.
    """
    # Not by the file's mere existence where the kernel has no lock: that of a killed trainer would stay.
    lock = filelock.FileLock(run_dir / LOCK, blocking=False, fallback_to_soft=False)
    me = processes.from_first("lock", lambda: _acquire(lock, run_dir))
    try:
        yield lambda: processes.from_first("holder", lambda: _check_holder(run_dir, me))
    finally:
        if processes.is_first():
            if _holder(run_dir).get("id") == me:
                (run_dir / HOLDER).unlink(missing_ok=True)
            lock.release()
            if {path.name for path in run_dir.iterdir()} <= {LOCK}:
                (run_dir / LOCK).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    run_dir.rmdir()


def _acquire(lock: filelock.BaseFileLock, run_dir: Path) -> str:
    """Returns what tells this holder from all others."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise UserError(
            f"{run_dir}: is being trained by {_name(_holder(run_dir))}; wait for it, or choose another run_dir"
        ) from None
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise UserError(
                f"run_dir: {run_dir}: cannot be written ({error.strerror or error}); choose another"
            ) from None
        say(f"{run_dir}: this file system knows no locks; make sure that no other trainer uses the directory")
    before, me = _holder(run_dir), secrets.token_hex(8)
    if before.get("machine") == _machine() != "":
        if _began(before.get("process")) == before.get("began") != "":
            lock.release()
            raise UserError(f"{run_dir}: is being trained by {_name(before)}; wait for it, or choose another run_dir")
    elif before:
        say(f"{run_dir}: was left by {_name(before)}; should it still live, it stops when it next logs a step")
    holder = {"process": os.getpid(), "host": processes.host(), "since": time.strftime("%Y-%m-%d %H:%M:%S"), "id": me}
    holder |= {"machine": _machine(), "began": _began(os.getpid())}
    temporary = run_dir / f"{HOLDER}.tmp"
    temporary.write_text(json.dumps(holder) + "\n")
    temporary.replace(run_dir / HOLDER)
    return me


def _check_holder(run_dir: Path, me: str) -> None:
    holder = _holder(run_dir)
    if holder and holder.get("id") != me:
        raise UserError(f"{run_dir}: is being trained by {_name(holder)}, which started later; this one stops")


def _holder(run_dir: Path) -> dict[str, Any]:
    """The note that the last holder wrote and did not remove; nothing where that cannot be read."""
    try:
        holder = json.loads((run_dir / HOLDER).read_text())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _name(holder: dict[str, Any]) -> str:
    """Who holds the lock. What the file says may be a moment old: where there are locks, they decide, not the file."""
    if not {"process", "host", "since"} <= holder.keys():
        return "another process"
    return f"process {holder['process']} on {holder['host']} since {holder['since']}"


def _machine() -> str:
    """Where a number names one process: this boot of this host, this container. Empty where that is not known."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _began(process: Any) -> str:
    """When a process of this machine began, which tells it from a later one with its number; empty if it is dead."""
    try:
        state, *others = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else others[18]
    except (OSError, ValueError, IndexError):
        return ""
