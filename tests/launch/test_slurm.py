import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers import programs

from launch.__main__ import main
from t5x_tasks.common.errors import UserError

QUEUED = r"^squeue --me"
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    return [
        "slurm",
        "configs/quickstart.yaml",
        f"run_dir={tmp_path}/runs/q",
        "--nodes",
        "2",
        "--gpus",
        "4",
        "--time",
        "1:00:00",
    ]


def script(fakes, slurm, *more):
    fakes.answer((QUEUED, 0, "", ""), ("sbatch", 0, "4711\n", ""))
    assert main([*slurm, *more]) == 0
    return fakes.transcript.partition("sbatch --parsable\n")[2]


def test_slurm_success_submits_the_script(fakes, slurm, golden):
    script(fakes, slurm, "--partition", "gpu", "--account", "nlp")
    golden(fakes.transcript)


def test_slurm_apptainer_runs_in_the_image(fakes, slurm):
    text = script(fakes, slurm, "--apptainer", "flan-t5x.sif", "--bind", "/data")
    assert "apptainer exec --nv --bind=CODE --bind=/data flan-t5x.sif python -m train configs/quickstart.yaml" in text


def test_a_job_that_is_queued_is_found_and_not_submitted_again(fakes, slurm, capsys):
    fakes.answer((QUEUED, 0, "4711 RUNNING\n", ""))
    assert main(slurm) == 0
    assert "sbatch" not in fakes.transcript and "is job 4711 already, RUNNING" in capsys.readouterr().err


@pytest.mark.parametrize("bucket", ["run_dir=gs://bucket/q", "data.cache=s3://bucket/cache"])
def test_a_bucket_is_no_shared_folder(fakes, slurm, bucket):
    with pytest.raises(UserError, match=r"is a URL, and here a folder is needed: .* write /data/"):
        main([*slurm, bucket])
    assert fakes.transcript == ""


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("sbatch: error: Batch job submission failed: Access/permission denied", "no permission"),
        ("sbatch: error: Batch job submission failed: QOSMaxSubmitJobPerUserLimit", "over the quota"),
    ],
)
def test_refused_submissions_are_one_line(fakes, slurm, said, meaning):
    fakes.answer((QUEUED, 0, "", ""), ("sbatch", 1, "", f"{said}\n"))
    with pytest.raises(UserError, match=f"sbatch: {meaning}"):
        main(slurm)


@pytest.mark.needs_shellcheck
def test_the_script_passes_shellcheck(fakes, slurm):
    done = subprocess.run(
        [programs.find("shellcheck") or "", "-"], input=script(fakes, slurm), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("code", "state", "restarts", "requeued"),
    [(0, "RUNNING", 0, False), (143, "RUNNING", 0, True), (1, "RUNNING", 3, True), (2, "RUNNING", 0, False),
     (143, "RUNNING", 20, False), (143, "COMPLETING", 0, False)],
)  # fmt: skip
def test_the_job_goes_back_into_the_queue_unless_done_wrong_cancelled_or_too_often(
    fakes, slurm, tmp_path, code, state, restarts, requeued
):
    path = tmp_path / "job.sh"
    path.write_text(script(fakes, slurm).replace("CODE", str(REPOSITORY)))
    fakes.answer(("^srun", code, "", ""), ("^squeue", 0, f"{state}\n", ""))
    environment = os.environ | {"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": str(restarts)}
    assert subprocess.run(["bash", str(path)], env=environment, capture_output=True).returncode == code
    assert ("scontrol requeue 4711" in fakes.transcript) == requeued


def test_a_signal_to_the_batch_shell_reaches_the_step_whose_exit_code_counts(fakes, slurm, tmp_path):
    path = tmp_path / "job.sh"
    path.write_text(script(fakes, slurm).replace("CODE", str(REPOSITORY)))
    started = tmp_path / "started"
    (tmp_path / "bin" / "srun").write_text(
        f"#!/usr/bin/env bash\ntrap 'sleep 0.3; exit 143' TERM\ntouch {started}\nwhile :; do sleep 0.05; done\n"
    )
    fakes.answer(("^squeue", 0, "RUNNING\n", ""))
    process = subprocess.Popen(["bash", str(path)], env=os.environ | {"SLURM_JOB_ID": "1"}, stdout=subprocess.DEVNULL)
    while not started.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert "scontrol requeue 1" in fakes.transcript
