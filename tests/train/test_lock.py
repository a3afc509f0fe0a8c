import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from t5x_tasks.common.errors import Failure, UserError
from train.rundir.lock import locked
from train.rundir.metrics import MetricsLog

REPOSITORY = Path(__file__).parents[2]

HOLD = """
import sys, time
from pathlib import Path
from train.rundir.lock import locked
with locked(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "config.yaml").touch()
    print("held", flush=True)
    time.sleep(300)
"""


def test_a_second_trainer_is_told_who_holds_the_run_and_kill_9_gives_it_back(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"run: is being trained by process {holder.pid} on .* since .*choose another"):
        locked(tmp_path / "run").__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / ".lock-holder.json").read_text())["process"] == os.getpid()


def test_a_run_that_could_not_start_leaves_no_directory(tmp_path):
    with pytest.raises(UserError, match="weights"), locked(tmp_path / "run"):
        raise UserError("weights do not fit")
    assert not (tmp_path / "run").exists()


def test_a_row_that_a_full_disk_cut_off_is_taken_back(tmp_path, monkeypatch):
    monkeypatch.setattr("train.retry.PAUSES_S", ())
    with MetricsLog(tmp_path, step=0) as log:
        log.write({"step": 1, "loss": 2.0})
        log._file = _Full(log._file)  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(Failure, match=r"metrics\.jsonl: writing: .*No space"):
            log.write({"step": 2, "loss": 1.0})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 2.0}\n'


class _Full:
    """A file on a disk that has room for eight more bytes."""

    def __init__(self, file):
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data[:8])

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_file_system_without_locks_is_said_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with locked(tmp_path / "run"):
        assert "knows no locks" in capsys.readouterr().err
