"""The folder that an export makes: it appears at once and whole, or not at all."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.output import check_writable


def check_free(folder: Path) -> None:
    """Raises UserError when there is something at `folder` other than an empty folder, or it cannot be made."""
    try:
        parent = folder.resolve().parent
    except RuntimeError:
        raise UserError(f"{folder}: is a link to itself; choose another name") from None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists and is not an empty folder; remove it or choose another name")
    check_writable(parent, "OUT")


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into, renamed to it at the end; removed if anything fails."""
    folder = folder.resolve()  # a link stays one
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(folder)  # takes the place of an empty folder, too
    except BaseException as error:
        shutil.rmtree(partial)
        if (full := os.strerror(errno.ENOSPC)) in str(error):  # safetensors and TensorStore raise no OSError
            raise OSError(errno.ENOSPC, full, str(folder)) from error
        raise


def write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
