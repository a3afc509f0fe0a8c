"""Escapes what is printed: text of data, cards and file names cannot move a terminal's cursor or set its title."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any

# C0 without tab and line feed, DEL, C1, and halves of characters, which no stream can encode.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def escaped(text: str) -> str:
    r"""Returns a text with control characters, other than line break and tab, as the escapes `\x1b`, `\x9b`, `\udcff`."""
    return _CONTROLS.sub(lambda found: f"\\{'u' if (code := ord(found[0])) > 0xFF else 'x'}{code:02x}", text)


class _Escaping:
    """A stream that escapes what is written to it; everything else is the stream's own.

    Attributes:
      raw: the stream.
    """

    def __init__(self, raw: Any):
        self.raw = raw

    def write(self, text: str) -> int:
        self.raw.write(escaped(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextlib.contextmanager
def escaping_output() -> Iterator[None]:
    """Escapes all that is printed to standard output. Not standard error, where libraries draw their own bars of progress."""
    before = sys.stdout
    sys.stdout = _Escaping(before)
    try:
        yield
    finally:
        sys.stdout = before


def raw_output() -> Any:
    """Returns standard output for what draws on it, as rich does; whose texts are then to be `escaped`."""
    return sys.stdout.raw if isinstance(sys.stdout, _Escaping) else sys.stdout
