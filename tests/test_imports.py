"""Every module of train and eval can be the first that a program imports: none needs another to have been imported before."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
EXTRAS = ("tokamax",)  # what a module may need that is not installed

# What takes long and is not ours is imported once; each module then in a process of its own.
PROGRAM = """
import importlib, os, sys
import array_record.python.array_record_module, flax.nnx, grain, jax, numpy, optax, pyarrow, pydantic, sentencepiece, yaml
from orbax.checkpoint import v1
extras, modules = sys.argv[1].split(","), sys.argv[2:]
for module in modules:
    if (child := os.fork()) == 0:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in extras:
                print(f"{module}: {error}", flush=True)
        except ImportError as error:
            print(f"{module}: {error}", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, module
"""


def test_each_module_can_be_imported_first():
    files = [path for room in ("train", "eval") for path in (REPOSITORY / room).rglob("*.py")]
    names = [path.relative_to(REPOSITORY).with_suffix("").parts for path in sorted(files)]
    modules = [".".join(name[: -1 if name[-1] == "__init__" else None]) for name in names]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, ",".join(EXTRAS), *modules],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
