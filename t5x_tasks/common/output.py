"""Results are written where they are wanted, or an error says where they could not be."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from t5x_tasks.common.errors import UserError


def check_writable(folder: Path, key: str) -> None:
    """Checks that files can be written into a folder, before time is spent; what of it is made for that is taken away again.

    Args:
      key: names it in the message, as `--output`.

    Raises:
      UserError: they cannot.
    """
    new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        lost = next((path for path in (folder, *folder.parents) if os.path.lexists(path) and not path.exists()), None)
        why = f"{lost} is a link to nothing" if lost else error.strerror or error
        raise UserError(f"{key}: {folder}: cannot be written ({why}); choose another") from None
    finally:
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Lets an operating system's error name a path: that of a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
