"""Progress of preparing: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

_LINE_EVERY_S = 15


class Progress:
    """Counts prepared templates. Prints nothing when there is nothing to do."""

    def __init__(self, total: int, *, enabled: bool):
        self._total = total
        self._done = 0
        self._enabled = enabled and total > 0
        self._bar: Any = None
        self._last = self._start = time.monotonic()

    def __enter__(self) -> "Progress":
        if self._enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("preparing templates", total=self._total)
        return self

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._bar:
            self._bar.advance(self._task)
        elif self._enabled and now - self._last > _LINE_EVERY_S and self._done < self._total:
            self._last = now
            left = (now - self._start) / self._done * (self._total - self._done)
            print(f"preparing: {self._done} of {self._total} templates, {left:.0f} s left", file=sys.stderr, flush=True)

    def leave_out(self, variants: int) -> None:
        """Counts on without templates that turn out not to be prepared: the time left is that of the others."""
        self._total -= variants
        if self._bar:
            self._bar.update(self._task, total=self._total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
