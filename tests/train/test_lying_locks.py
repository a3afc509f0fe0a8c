"""A file system whose locks always succeed: a second trainer is refused all the same, or the first one stops for it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t5x_tasks.common.errors import UserError
from train.rundir.lock import HOLDER, locked

REPOSITORY = Path(__file__).parents[2]

HOLD = """
import fcntl, sys, time
from pathlib import Path
fcntl.flock = lambda *_: None
from train.rundir.lock import locked
with locked(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "config.yaml").touch()
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.fixture(autouse=True)
def lying(monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda *_: None)


def hold(run_dir: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run_dir)], cwd=REPOSITORY, env=os.environ | {"JAX_PLATFORMS": "cpu"},
        text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def test_a_second_trainer_on_this_host_is_refused_until_the_first_is_killed(tmp_path):
    run_dir = tmp_path / "run"
    holder = hold(run_dir)
    try:
        with pytest.raises(UserError, match=rf"run: is being trained by process {holder.pid} on .* since "):
            locked(run_dir).__enter__()
        assert json.loads((run_dir / HOLDER).read_text())["process"] == holder.pid
        holder.send_signal(signal.SIGKILL)
        while (state := Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z":
            assert state
            time.sleep(0.01)
        with locked(run_dir):  # nobody has waited for it yet: it is dead all the same
            assert json.loads((run_dir / HOLDER).read_text())["process"] == os.getpid()
    finally:
        holder.kill()
        holder.wait()
    with locked(run_dir), pytest.raises(UserError, match="is being trained by process"):
        locked(run_dir).__enter__()


def test_the_trainer_on_another_host_stops_for_the_one_that_started_later(tmp_path, capsys):
    run_dir = tmp_path / "run"
    with locked(run_dir) as check:
        check()
        ours = (run_dir / HOLDER).read_text()
        theirs = json.loads(ours) | {"host": "node7", "process": 42, "machine": "another", "id": "other"}
        (run_dir / HOLDER).write_text(json.dumps(theirs))
        with pytest.raises(UserError, match=r"run: is being trained by process 42 on node7 since .*; this one stops"):
            check()
        for harmless in ("", "{", "[]"):
            (run_dir / HOLDER).write_text(harmless)
            check()
        (run_dir / HOLDER).write_text(json.dumps(theirs))
    assert json.loads((run_dir / HOLDER).read_text()) == theirs, "it is theirs"
    with locked(run_dir) as check:  # a killed one's, or one that lives: it will see this one
        check()
        assert "process 42 on node7" in capsys.readouterr().err


def test_a_run_that_another_has_taken_over_stops_before_it_logs_or_saves(workplace):
    run_dir = workplace / "taken"
    command = [
        sys.executable,
        "-m",
        "train",
        str(workplace / "config.yaml"),
        f"run_dir={run_dir}",
        "train.steps=1000000",
    ]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}, text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    log = run_dir / "metrics.jsonl"
    try:
        while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") > 5):
            time.sleep(0.05)
        taken = {"process": 42, "host": "node7", "since": "now", "id": "other"}
        (run_dir / "other.json").write_text(json.dumps(taken))
        (run_dir / "other.json").replace(run_dir / HOLDER)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 2, said
    assert "error: " in said and "is being trained by process 42 on node7" in said and "Traceback" not in said
