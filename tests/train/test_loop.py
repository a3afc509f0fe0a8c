"""Whole runs in processes of their own: killed and resumed bit for bit, on one device and on eight; free of TensorFlow."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
STEPS = 24
EIGHT = ("mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2")


def start(workplace: Path, run: str, *overrides: str, devices: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "train", str(workplace / "config.yaml"), f"run_dir={workplace / run}", *overrides]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, text=True, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    return errors


def read(workplace: Path, run: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (workplace / run / "metrics.jsonl").read_text().splitlines()]


def learned(rows: list[dict[str, float]]) -> list[tuple[float, ...]]:
    """The numbers that a run computed, without its times."""
    names = ("step", "loss", "accuracy", "grad_norm", "learning_rate", "tokens", "examples", "validation_loss")
    return [tuple(row.get(name, -1.0) for name in names) for row in rows]


@pytest.fixture(scope="module")
def whole(workplace: Path) -> Callable[[int], list[dict[str, float]]]:
    """Metrics of a run that nobody disturbs, on one device or eight."""
    found: dict[int, list[dict[str, float]]] = {}

    def run(devices: int) -> list[dict[str, float]]:
        if devices not in found:
            overrides = ["checkpoint.keep_latest=100", *(EIGHT if devices == 8 else ())]
            finish(start(workplace, f"whole{devices}", *overrides, devices=devices))
            found[devices] = read(workplace, f"whole{devices}")
        return found[devices]

    return run


def test_a_run_learns_and_logs_what_the_contract_says(whole):
    rows = whole(1)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    wanted = {"loss", "accuracy", "learning_rate", "grad_norm", "tokens", "tokens_per_s", "examples_per_s"}
    assert wanted | {"mfu", "step_time_s", "data_wait_s"} <= rows[0].keys()
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    assert [row["step"] for row in rows if "validation_loss" in row] == [5, 10, 15, 20, STEPS]


def test_a_run_killed_at_random_moments_ends_with_the_parameters_of_one_that_nobody_disturbed():
    command = [sys.executable, "-m", "bench.kill", "--runs=10", "--steps=8", "--kills=1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10 the same" in done.stdout


def test_killed_on_eight_devices_and_started_again_it_computes_the_same_to_the_bit(workplace, whole):
    undisturbed = whole(8)
    least = random.Random(8).randrange(6, 20)
    process = start(workplace, "killed", *EIGHT, devices=8)
    log = workplace / "killed" / "metrics.jsonl"
    saved = workplace / "killed" / "checkpoints"
    deadline = time.monotonic() + 240
    while process.poll() is None and (
        not log.exists() or log.read_text().count("\n") < least or not any(saved.glob("*/checksums.json"))
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    errors = finish(start(workplace, "killed", *EIGHT, devices=8))
    assert "resumes after step" in errors
    assert learned(read(workplace, "killed")) == learned(undisturbed)


def test_eight_devices_compute_the_losses_of_one(whole):
    one, eight = whole(1), whole(8)
    for a, b in zip(one, eight, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert (a["tokens"], a["examples"]) == (b["tokens"], b["examples"])


def test_a_run_goes_on_with_another_number_of_devices(workplace, whole):
    undisturbed = whole(1)
    shutil.copytree(workplace / "whole1", workplace / "moved")
    for path in (workplace / "moved" / "checkpoints").iterdir():
        if int(path.name) > 10:
            shutil.rmtree(path)
    assert "resumes after step 10" in finish(start(workplace, "moved", *EIGHT, devices=8))
    for a, b in zip(undisturbed, read(workplace, "moved"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)


def test_sigterm_saves_the_step_and_says_how_to_go_on(workplace, whole):
    process = start(workplace, "stopped")
    log = workplace / "stopped" / "metrics.jsonl"
    while not log.exists() or log.read_text().count("\n") < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert "start again to resume" in finish(process, code=143)
    saved = read(workplace, "stopped")[-1]["step"]
    assert (workplace / "stopped" / "checkpoints" / str(int(saved))).is_dir()
    finish(start(workplace, "stopped"))
    losses = [row["loss"] for row in read(workplace, "stopped")]
    assert losses == [row["loss"] for row in whole(1)]


def test_a_finished_run_started_again_changes_nothing(workplace, whole):
    whole(1)
    before = (workplace / "whole1" / "metrics.jsonl").read_bytes()
    assert "already" in finish(start(workplace, "whole1"))
    errors = finish(start(workplace, "whole1", f"train.steps={STEPS - 2}"))
    assert f"is trained to step {STEPS} already, and is to end at {STEPS - 2}" in errors
    assert "learning rate" not in errors
    assert (workplace / "whole1" / "metrics.jsonl").read_bytes() == before


def test_another_configuration_is_refused_and_nothing_is_touched(workplace, whole):
    whole(1)
    before = {p: p.read_bytes() for p in (workplace / "whole1").rglob("*") if p.is_file()}
    errors = finish(start(workplace, "whole1", "train.seed=1", "optimizer.learning_rate=0.1"), code=2)
    assert "optimizer.learning_rate: 0.05 -> 0.1; train.seed: 0 -> 1" in errors
    assert {p: p.read_bytes() for p in (workplace / "whole1").rglob("*") if p.is_file()} == before


def test_epochs_end_where_the_data_end(workplace):
    finish(start(workplace, "epochs", "train.steps=null", "train.epochs=3"))
    assert sum(row["examples"] for row in read(workplace, "epochs")) == 3 * 48


def test_a_training_process_with_a_prepared_cache_imports_no_tensorflow(workplace, whole):
    whole(1)  # prepares
    program = (
        "import sys\n"
        "from train import __main__ as command\n"
        "assert command.main(sys.argv[1:]) == 0\n"
        "heavy = {'tensorflow', 'seqio', 'tensorflow_text', 'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    arguments = [str(workplace / "config.yaml"), f"run_dir={workplace / 'lean'}", "train.steps=2"]
    subprocess.run([sys.executable, "-c", program, *arguments], cwd=REPOSITORY, check=True, timeout=300)


def test_a_run_does_not_go_on_with_other_data(workplace, tmp_path):
    for name in ("train.jsonl", "validation.jsonl", "notes.yaml", "config.yaml"):
        (tmp_path / name).write_text((workplace / name).read_text().replace(str(workplace), str(tmp_path)))
    finish(start(tmp_path, "run", "train.steps=1"))
    rows = (tmp_path / "train.jsonl").read_text().splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join(rows[1:]) + "\n")
    errors = finish(start(tmp_path, "run", "train.steps=2"), code=2)
    assert "its data changed since the run was interrupted: training: notes: examples per epoch 47, not 48; " in errors
    assert "training: notes.t00, notes.t01: other tokens (changed: source); bring back what it began with, or" in errors
    assert [row["step"] for row in read(tmp_path, "run")] == [1]
