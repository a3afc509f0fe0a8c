"""Nobody reads what a command says: its pipe is broken, its log's disk full, its terminal closed. It finishes its files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
STEPS = 6


def start(command: Sequence[object], broken: str) -> subprocess.Popen[Any]:
    """Starts `python -m COMMAND` with both outputs broken: a reader that goes away, none at all, a full disk, or closed."""
    words = [sys.executable, "-m", *map(str, command)]
    options: Any = {"cwd": REPOSITORY, "env": os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}}
    if broken == "closed":
        return subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words], **options)
    if broken == "full disk":
        with Path("/dev/full").open("wb") as full:
            return subprocess.Popen(words, stdout=full, stderr=full, **options)
    read, write = os.pipe()
    process = subprocess.Popen(words, stdout=write, stderr=write, **options)
    os.close(write)
    if broken == "reader goes":
        os.read(read, 1)
    os.close(read)
    return process


def run(*command: object, broken: str = "no reader") -> int:
    process = start(command, broken)
    try:
        return process.wait(timeout=240)
    finally:
        process.kill()


def training(workplace: Path, name: str, steps: int = STEPS) -> list[object]:
    return ["train", workplace / "config.yaml", f"run_dir={workplace / name}", f"train.steps={steps}"]


def saved(workplace: Path, name: str) -> list[int]:
    return sorted(int(path.parent.name) for path in (workplace / name / "checkpoints").glob("*/commit_success.txt"))


def logged(workplace: Path, name: str) -> list[int]:
    lines = (workplace / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize("broken", ["reader goes", "full disk", "closed"])
def test_training_whose_log_nobody_reads_ends_saved(workplace, broken):
    assert run(*training(workplace, broken), broken=broken) == 0
    assert saved(workplace, broken)[-1] == STEPS
    assert logged(workplace, broken) == list(range(1, STEPS + 1))


def test_evaluation_prediction_export_and_preparing_finish_their_files_though_nobody_reads_what_they_say(workplace):
    config, folder = workplace / "config.yaml", workplace / "used"
    cache = workplace / "cache"
    assert run("t5x_tasks", "prepare", config, f"data.cache={cache}") == 0
    assert list(cache.rglob("manifest.json"))
    assert run(*training(workplace, "used", 2)) == 0
    greedy = "eval.decode={type: greedy, max_tokens: 4}"
    assert run("eval", folder, greedy) == 0
    assert {path.parent.name for path in folder.glob("eval/*/metrics.json")} == {"0", "2"}
    answers = workplace / "answers.jsonl"
    assert run("eval", "predict", folder, greedy, "--input", workplace / "validation.jsonl", "--output", answers) == 0
    assert len(answers.read_text().splitlines()) == 12
    assert run("eval", "compare", folder) == 0
    assert (folder / "report.html").is_file()
    assert run("train.export", folder, "--to", "hf", workplace / "out") == 0
    assert (workplace / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize("ignored", [False, True], ids=["closed terminal", "nohup"])
def test_a_closed_terminal_saves_as_sigterm_does_and_nohup_goes_on(workplace, ignored):
    name = f"hangup-{ignored}"
    steps = STEPS if ignored else 1_000_000
    command = [sys.executable, "-m", *map(str, training(workplace, name, steps))]
    # A session of its own with a terminal, as `ssh` gives one.
    ours, theirs = os.openpty()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"},
    )  # fmt: skip
    signal.signal(signal.SIGHUP, before)
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        log = workplace / name / "metrics.jsonl"
        while process.poll() is None and not (log.exists() and log.read_bytes()):  # until the first step is logged
            _drain(ours)
            time.sleep(0.05)
        os.close(ours)
        for _ in range(2):  # the kernel's, and that of a shell that hands it on
            process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=240) == (0 if ignored else 128 + signal.SIGHUP)
    finally:
        process.kill()
    assert saved(workplace, name)[-1] == logged(workplace, name)[-1]
    assert not ignored or saved(workplace, name)[-1] == STEPS


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass
