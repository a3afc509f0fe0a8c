import os
import shlex
import subprocess

import pytest

from launch import tpu_vm
from launch.__main__ import main
from t5x_tasks.errors import UserError

REVISION = "0123456789abcdef0123456789abcdef01234567"
STATE = r"queued-resources describe"
ENDED = r"cat \$HOME/flan-t5x/quickstart\.exit"
NOT_FOUND = (
    STATE,
    1,
    "",
    "ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: Resource quickstart was not found\n",
)
ACTIVE = (STATE, 0, "ACTIVE\n", "")
FOLLOW = r"--follow=name"
RUN = [
    "tpu-vm",
    "configs/quickstart.yaml",
    "run_dir=/mnt/runs/quickstart",
    "--accelerator",
    "v5litepod-16",
    "--zone",
    "us-west4-a",
]
RUN += ["--poll", "0", "--spot"]


@pytest.fixture(autouse=True)
def committed(monkeypatch):
    """The working tree of who runs the tests may hold changes; what is sent is tested in test_tools.py."""
    monkeypatch.setattr(tpu_vm, "revision", lambda: REVISION)
    monkeypatch.setattr(tpu_vm, "archive", lambda revision, path: path.touch())


def test_tpu_success_creates_waits_installs_runs_and_deletes(fakes, golden):
    fakes.answer(NOT_FOUND, (STATE, 0, "WAITING_FOR_RESOURCES\n", ""), ACTIVE, (ENDED, 0, "0\n0\n", ""))
    assert main(RUN) == 0
    golden(fakes.transcript)


def test_tpu_preemption_asks_for_the_slice_again_and_goes_on(fakes, golden, capsys):
    broken = (FOLLOW, 255, "", "Connection reset\n")
    fakes.answer(ACTIVE, broken, (STATE, 0, "SUSPENDED\n", ""), ACTIVE,
                 (FOLLOW, 0, "", ""), (ENDED, 0, "0\n0\n", ""))  # fmt: skip
    assert main(RUN) == 0
    golden(fakes.transcript)
    assert "restart 1 of 10" in capsys.readouterr().err


def test_a_run_that_saved_and_stopped_is_started_again_up_to_the_limit(fakes, capsys):
    fakes.answer(ACTIVE, (ENDED, 0, "143\n143\n", ""))
    assert main([*RUN, "--max-restarts", "2"]) == 143
    assert fakes.transcript.count("nohup") == 3 and "queued-resources delete" not in fakes.transcript
    assert "restarted 2 time(s): no more" in capsys.readouterr().err


def test_the_worst_exit_code_of_all_workers_is_that_of_the_command(fakes):
    fakes.answer(ACTIVE, (ENDED, 0, "0\n143\n1\n", ""))
    assert main(RUN) == 1


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("ERROR: (gcloud) PERMISSION_DENIED: Permission 'tpu.nodes.create' denied on 'projects/p'", "no permission"),
        ("ERROR: (gcloud) RESOURCE_EXHAUSTED: Quota limit 'TPUV5sLitepodPerProjectPerZone' has been exceeded.", "over the quota"),
        ("ERROR: (gcloud.auth) You do not currently have an active account selected: gcloud auth login", "not logged in"),
    ],
)  # fmt: skip
def test_refusals_are_one_line_and_leave_nothing_behind(fakes, said, meaning):
    fakes.answer(NOT_FOUND, ("queued-resources create", 1, "", f"{said}\n"))
    with pytest.raises(UserError, match=f"gcloud: {meaning}: ERROR"):
        main(RUN)
    assert [line.split()[4] for line in fakes.transcript.splitlines()] == ["describe", "create"]


def test_a_connection_that_breaks_is_made_again_and_the_run_not_started_twice(fakes, capsys):
    fakes.answer(ACTIVE, (FOLLOW, 255, "", ""), (FOLLOW, 0, "", ""), (ENDED, 0, "0\n", ""))
    assert main(RUN) == 0
    assert "queued-resources create" not in fakes.transcript and "restart 1 of 10" in capsys.readouterr().err


def test_what_workers_are_told_starts_the_run_once_and_keeps_its_exit_code(fakes, tmp_path):
    fakes.answer(ACTIVE, (ENDED, 0, "0\n", ""))
    assert main(RUN) == 0
    told = [
        shlex.split(line)[-1].removeprefix("--command=") for line in fakes.transcript.splitlines() if " ssh " in line
    ]
    start, follow, ended = told[1:]
    python = tmp_path / "home" / "flan-t5x" / REVISION[:12] / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho started with "$TOKEN"\nsleep 1\nexit 143\n')
    python.chmod(0o755)
    (tmp_path / "home" / ".quickstart.env").write_text("export TOKEN='a b'\n")
    environment = os.environ | {"HOME": str(tmp_path / "home")}

    def worker(command):
        return subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60
        ).stdout

    worker(start)
    worker(start)
    assert worker(follow) == "started with a b\n"
    assert worker(ended) == "143\n"


def test_tokens_stand_on_no_command_line_and_in_no_output(fakes, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", "hf_never_shown")
    fakes.answer(ACTIVE, (ENDED, 0, "0\n", ""))
    assert main(RUN) == 0
    shown = capfd.readouterr()
    assert "hf_never_shown" not in fakes.transcript + shown.out + shown.err
    assert ".quickstart.env" in fakes.transcript


def test_tpu_dry_run_prints_what_a_run_from_nothing_does_and_does_none_of_it(fakes, golden, capsys):
    assert main([*RUN, "--dry-run", "--slices", "2"]) == 0
    assert fakes.transcript == ""
    out = capsys.readouterr().out
    golden("".join(f"{line}\n" for line in out.splitlines()).replace(_temporary(out), "TEMPORARY"))


def _temporary(text: str) -> str:
    return next(
        word.rpartition("/")[0] for word in text.split() if word.endswith("0123456789ab.tar.gz") and "/" in word
    )
