"""Standard output and error of a command, which may break while it works: a reader that is gone, a full disk, a closed terminal.

A command trains, evaluates, writes files, and its messages are not its product. So what cannot be written to these streams is
dropped, whoever writes it: `print`, rich, logging, warnings. Only a command whose product is its text (`list`, `--dry-run`) ends.
"""

import contextlib
import errno
import io
import os
import sys
from typing import Any


class ReaderGone(Exception):
    """Nobody reads a command's product any more, as in `list | head`: it is done."""


class _Stream(io.FileIO):
    """A standard stream, below its buffer and its encoding.

    Attributes:
      required: what cannot be written is an error, once; else it is dropped.
    """

    required = False

    def write(self, data: Any, /) -> int:
        written = None
        try:
            written = super().write(data)
        except OSError as error:
            if self.required:
                self.required = False  # Python flushes again when it ends
                if error.errno == errno.EPIPE:
                    raise ReaderGone from None
                raise
        return memoryview(data).nbytes if written is None else written  # None: it would block


_output: _Stream | None = None


def make_lasting() -> None:
    """From now on what this process cannot write to its standard output and error is dropped."""
    global _output
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get this number, and what libraries write to it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        before = getattr(sys, name)
        if before is not getattr(sys, f"__{name}__"):
            continue  # somebody's own, as in tests
        stream = _Stream(number, "wb", closefd=False)
        if before is None:
            after = io.TextIOWrapper(io.BufferedWriter(stream), encoding="utf-8", errors="backslashreplace")
        else:
            with contextlib.suppress(OSError):
                before.flush()
            unbuffered = isinstance(before.buffer, io.RawIOBase)  # python -u
            after = io.TextIOWrapper(
                stream if unbuffered else io.BufferedWriter(stream),  # pyright: ignore[reportArgumentType]
                encoding=before.encoding,
                errors=before.errors,
                line_buffering=before.line_buffering,
                write_through=before.write_through,
            )
        setattr(sys, name, after)
        setattr(sys, f"__{name}__", after)
        if number == 1:
            _output = stream


def require_output() -> None:
    """The text on standard output is this command's product: writing it raises ReaderGone where nobody reads it, or OSError."""
    if _output is not None:
        _output.required = True
