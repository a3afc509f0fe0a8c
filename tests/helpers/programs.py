"""Programs that some tests need and not every machine has."""

import os
import shutil
import sys
from pathlib import Path


def find(*names: str) -> str | None:
    """The path of the first that is there, beside Python or on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def libtpu() -> Path | None:
    """The folder to be put on PYTHONPATH for the package libtpu: the TPU's compiler, which runs without one.

    Not installed beside JAX, which would look for a TPU at each start.
    """
    folder = Path(__file__).parent.parent.parent / ".libtpu"
    return folder if (folder / "libtpu").is_dir() else None


def cuda_compiler() -> Path | None:
    """The folder to be put on PYTHONPATH for JAX's CUDA plugin and tokamax: what compiles for GPUs, and runs without one."""
    folder = Path(__file__).parent.parent.parent / ".libcuda"
    return folder if (folder / "jax_plugins").is_dir() else None
