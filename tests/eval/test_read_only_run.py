"""A run that is mounted read-only is evaluated all the same, into another folder."""

import contextlib
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.checkpoint import evaluate_run, save_checkpoint


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A read-only mount of the folder in its place, where one may be mounted; else its folders cannot be written into."""
    bind = subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True)
    mounted = bind.returncode == 0
    if mounted:
        mounted = subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], capture_output=True).returncode == 0
    if not mounted and os.geteuid() == 0:
        pytest.skip("root may write everywhere, and nothing may be mounted")
    folders = [] if mounted else [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    try:
        for path in folders:
            path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        yield
    finally:
        for path in folders:
            path.chmod(stat.S_IRWXU)
        if bind.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("held_before", [False, True])
def test_a_read_only_run_is_evaluated_whether_it_was_read_before_or_not(run_dir, tmp_path, held_before):
    save_checkpoint(run_dir, 3, seed=7)
    if held_before:
        (run_dir / "checkpoints" / ".holds").mkdir()
    with read_only(run_dir):
        assert evaluate_run(run_dir, f"eval.output={tmp_path / 'out'}", "eval.steps=[latest]") == 0
    assert json.loads((tmp_path / "out" / "3" / "metrics.json").read_text())["tasks"].keys() == {"tiny"}
