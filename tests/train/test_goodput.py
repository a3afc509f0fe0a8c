"""Where the time of a run went, over restarts too; its summary; a profiled window."""

import json
import time
from pathlib import Path

import pytest

from train import config as configuration
from train import loop
from train.rundir import goodput
from train.rundir.goodput import ACCOUNTS, Clock


@pytest.fixture
def clock_time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day, in the hands of the test."""
    now = [1000.0]
    monkeypatch.setattr(goodput.time, "time", lambda: now[0])
    monkeypatch.setattr(goodput.time, "monotonic", lambda: now[0])
    return now


def write(path: Path, step: int, clock: Clock) -> None:
    with path.open("a") as file:
        file.write(json.dumps({"step": step, **clock.row()}) + "\n")


def test_every_second_belongs_to_one_account_over_a_crash_and_a_restart(tmp_path, clock_time):
    metrics, clock = tmp_path / "metrics.jsonl", Clock()
    clock_time[0] += 10  # setup
    clock.switch("steps")
    for step in (1, 2, 3):
        with clock.on("input_wait"):
            clock_time[0] += 1
        with clock.calling("update", "steps"):
            clock_time[0] += 20 if step == 1 else 3
        write(metrics, step, clock)
        if step == 2:
            with clock.on("checkpoint"):
                clock_time[0] += 2
    clock_time[0] += 100  # the process is dead

    again = Clock()
    clock_time[0] += 5
    again.go_on(metrics, step=2)
    again.switch("steps")
    with again.calling("update", "steps"):
        clock_time[0] += 4
    row = again.row()
    seconds = {name: row[f"wall_s/{name}"] for name in ACCOUNTS}
    # The save of step 2 came behind its row: lost, as step 3 is.
    assert seconds == {
        "setup": 15, "compile": 24, "input_wait": 2, "steps": 3, "checkpoint": 0, "validation": 0, "lost": 6, "down": 100,
    }  # fmt: skip
    assert sum(seconds.values()) == clock_time[0] - 1000
    assert row["goodput"] == pytest.approx(3 / 150)


class Result:
    def __init__(self, ready: bool):
        self.is_ready = lambda: ready


def test_fetching_a_batch_is_waiting_only_where_the_devices_have_nothing_to_do(clock_time):
    clock = Clock()
    clock.switch("steps")
    for results in (
        {},
        {"loss": Result(True), "grad_norm": Result(True)},
        {"loss": Result(True), "grad_norm": Result(False)},
    ):
        with clock.waiting(results):
            clock_time[0] += 1
    clock.switch("steps")
    assert (clock.seconds["input_wait"], clock.seconds["steps"]) == (2, 1)


def test_a_clock_that_is_set_back_makes_no_time_negative_and_loses_none(monkeypatch, tmp_path):
    elapsed, day = [50.0], [10_000.0]
    monkeypatch.setattr(goodput.time, "monotonic", lambda: elapsed[0])
    monkeypatch.setattr(goodput.time, "time", lambda: day[0] + elapsed[0])
    clock, metrics = Clock(), tmp_path / "metrics.jsonl"
    clock.switch("steps")
    for step in (1, 2):
        elapsed[0] += 10
        day[0] -= 3600  # set back an hour
        write(metrics, step, clock)
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["wall_s/steps"] for row in rows] == [10, 20] and [row["goodput"] for row in rows] == [1, 1]
    assert rows[1]["time"] - rows[0]["time"] == 10
    again = Clock()
    again.go_on(metrics, step=1)
    assert all(seconds >= 0 for seconds in again.seconds.values()) and again.seconds["lost"] == 10


def test_a_run_says_where_its_time_went_and_records_the_steps_asked_for(workplace, capsys):
    overrides = [f"run_dir={workplace / 'run'}", "train.steps=8", "profile={start: 4, steps: 2}"]
    start = time.time()
    assert loop.train(configuration.load(workplace / "config.yaml", overrides)) == 0
    said = capsys.readouterr().err
    rows = [json.loads(line) for line in (workplace / "run" / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert sum(row[f"wall_s/{name}"] for name in ACCOUNTS) == pytest.approx(row["time"] - start, rel=0.01)
    assert rows[-1]["wall_s/compile"] > rows[-1]["wall_s/steps"] > 0
    assert "examples" in said and "validation loss" in said and "in all: compile" in said
    assert sum(float(share.split()[-1][:-1]) for share in said.rpartition("in all: ")[2].split(",")) == pytest.approx(
        100, abs=0.5
    )
    assert list((workplace / "run" / "profile").rglob("perfetto_trace.json.gz"))
    assert list((workplace / "run" / "profile").rglob("*.xplane.pb"))
