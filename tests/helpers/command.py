"""A command of the project run in the process of the test: what starting Python and importing JAX again would cost is saved."""

import contextlib
import importlib
import io
import subprocess
import sys
from unittest import mock

from t5x_tasks.common.errors import run_cli


def command(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs `python -m MODULE ARGUMENTS ...` as that would: exit code, standard output and error."""
    main = importlib.import_module(f"{module}.__main__").main
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", [module, *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run_cli(main)
        except SystemExit as ended:
            return subprocess.CompletedProcess(sys.argv, int(ended.code or 0), out.getvalue(), err.getvalue())
