"""Programs that some tests need and not every machine has."""

import os
import shutil
import sys
from pathlib import Path


def find(*names: str) -> str | None:
    """The path of the first that is there, beside Python or on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)
