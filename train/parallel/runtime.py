"""Settings of a process, made once before JAX computes anything."""

import gc
import os
from pathlib import Path

import jax

from train import log
from train.parallel import processes


def set_up(cache: Path) -> None:
    """Call it first. `cache` is the folder of caches; JAX keeps its compiled programs in its `xla`.

    Several processes are joined here, see train/parallel/processes.py; lines for the person who watches then come from the first.

    A second start then reads its programs instead of compiling them (JAX_COMPILATION_CACHE_DIR overrides the place).
    """
    # Tracing makes hundreds of thousands of objects that stay. To look for garbage among them after every 700 new ones takes a
    # tenth of a start.
    gc.set_threshold(100_000, 50, 100)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(cache / "xla"))
    processes.initialize()
    log.speak(processes.is_first())
