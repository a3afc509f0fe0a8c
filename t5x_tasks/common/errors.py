"""Errors: a mistake of the user's in one line, and the exit codes of every command."""

import contextlib
import difflib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import NoReturn

from t5x_tasks.common import streams
from t5x_tasks.common.terminal import escaped, escaping_output


class UserError(Exception):
    """Something that the user can put right: a key, a file, a row.

    The message is one line, `where: what; what to do`. Commands print it and exit with code 2, without a traceback.
    """


class Failure(Exception):
    """A failure that is no mistake of the user's; one line says more than a traceback. Commands exit with code 1."""


def one_line(error: BaseException, *, most: int = 300) -> str:
    """Another's error in one line of at most so many characters; with its class, where its words alone would say little."""
    words = str(error).split()
    return " ".join(words)[:most] if len(words) > 1 else f"{type(error).__name__} {''.join(words)}".strip()[:most]


# What is in the way of a path is the user's to change. Not ENOENT: a file that nobody looked for first may be one we forgot.
_USERS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
# A disk or a mount may come back, and then the same command works: 1, after which launchers start a run again.
_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE}


def is_disk_fault(error: BaseException | None) -> bool:
    """Tells whether a disk or a mount failed, perhaps behind the error of a library, or of ours, that tells of it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISKS:
            return True
        error = error.__cause__ or error.__context__
    return False


def explained(error: Exception) -> Exception:
    """Returns the UserError or Failure of the system's or a device's error that says all in a line; any other error as it is.

    A UserError about a file is a Failure where it was raised because a disk or a mount failed: nothing is the user's to change.
    """
    if isinstance(error, UserError) and is_disk_fault(error):
        return Failure(str(error))
    if isinstance(error, OSError) and error.errno in _USERS and error.filename is not None:
        return UserError(f"{error.filename}: {error.strerror}; choose another, or change what is there")
    if isinstance(error, OSError) and error.errno in _DISKS:
        where = "" if error.filename is None else f"{error.filename}: "
        return Failure(f"{where}{error.strerror}; make room, or mend the file system, and start the command again")
    if isinstance(error, RuntimeError) and str(error) == "Could not determine home directory.":  # pathlib's expanduser
        return UserError("a path begins with ~, and there is no home folder; set HOME, or write the path out")
    if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error):  # JAX's; it is not imported here
        return UserError(
            f"the device's memory is full ({one_line(error, most=120)}); training takes less with model.remat=layer, a larger "
            "train.grad_accumulation or mesh.fsdp, evaluation with a smaller eval.batch_size; `python -m launch plan CONFIG "
            "--devices ...` says what fits"
        )
    return error


def error_of_process(code: int, said: str, what: str) -> Exception:
    """Returns the error that a process of ours ended with: the other side of `run_cli`.

    Args:
      code: its exit code, not 0.
      said: on standard error.
      what: it was to do, for an error that nobody understood.
    """
    lines = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
    if lines and code == 2:
        return UserError(lines[-1])
    if lines and code == 1 and "Traceback (most recent call last)" not in said:
        return Failure(lines[-1])
    return RuntimeError(f"{what} failed with {code}:\n{said}")


def suggest(word: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Returns `, did you mean CHOICE?` when a choice looks like the word, else an empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=cutoff)
    return f", did you mean {visible(close[0])}?" if close else ""


def visible(name: str) -> str:
    """Returns a name, in quotation marks where white space stands before or behind it, which is not seen otherwise."""
    return name if name == name.strip() else repr(name)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Ctrl-C: KeyboardInterrupt, but within an import the end at once: libraries catch it there and go on."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            with contextlib.suppress(OSError):
                os.write(2, b"interrupted\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


def run_cli(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Runs a command and exits: 0 success, 2 the user's mistake in one line, 130 Ctrl-C, 1 our own, mostly with a traceback.

    It works on where its output breaks, unless that is its product (t5x_tasks/common/streams.py).
    """
    streams.make_lasting()
    # Not where Ctrl-C is ignored, as it is for what a script starts in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        with escaping_output():
            code = main(sys.argv[1:]) or 0
        sys.stdout.flush()
    except streams.ReaderGone:
        code = 0
    except Exception as error:
        known = explained(error)
        if not isinstance(known, UserError | Failure):
            raise
        with contextlib.suppress(OSError, streams.ReaderGone):  # standard output may be what is full
            sys.stdout.flush()
        print(escaped(f"error: {' '.join(str(known).split())}"), file=sys.stderr)
        code = 2 if isinstance(known, UserError) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError, streams.ReaderGone):
            sys.stdout.flush()
        # Not sys.exit: the interpreter's end waits for what XLA's threads still compute, or crashes meanwhile.
        os._exit(130)
    sys.exit(code)
