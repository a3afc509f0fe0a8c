"""Runs of two processes with four simulated devices each: the losses of one process, agreed ends, nobody left hanging."""

import re
import shutil
import signal
import socket
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.processes import MESH, finish, finish_both, launch, rows, train, wait_for_rows

REFERENCE_STEPS = 40
ENDLESS = "train.steps=1000000"


@pytest.fixture(scope="module")
def alone(workplace: Path) -> Callable[[], list[dict[str, float]]]:
    """Metrics of a run of one process with all eight devices; its checkpoints of every fifth step are in `alone`."""

    def run() -> list[dict[str, float]]:
        if not rows(workplace, "alone"):
            steps = (f"train.steps={REFERENCE_STEPS}", "checkpoint.keep_latest=100")
            finish(train(workplace, "alone", *steps, processes=1))
        return rows(workplace, "alone")

    return run


def assert_same_course(ours: list[dict[str, float]], theirs: list[dict[str, float]], *, beyond: float) -> None:
    """Both have the same losses for the steps that both have, up to a step behind `beyond`."""
    common = min(len(ours), len(theirs))
    assert common > beyond
    for a, b in zip(ours[:common], theirs[:common], strict=True):
        assert a["step"] == b["step"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        if (
            "validation_loss" in a and "validation_loss" in b
        ):  # a run that is stopped measures it at its last step besides
            assert a["validation_loss"] == pytest.approx(b["validation_loss"], rel=1e-5)
        assert (a["tokens"], a["examples"]) == (b["tokens"], b["examples"])


def test_one_of_two_is_killed_and_the_other_names_it_and_one_process_goes_on(workplace, alone):
    reference = alone()
    both = train(workplace, "killed", ENDLESS, processes=2)
    wait_for_rows(workplace, "killed", 22, both)  # not while it saves
    both[1].kill()
    start = time.monotonic()
    errors = both[0].communicate(timeout=120)[1]
    assert time.monotonic() - start < 60
    # By our watchdog; or, where the main thread waits with the interpreter's lock held, by JAX's own a little later.
    assert both[0].returncode in (1, -signal.SIGABRT), errors
    assert f"process 1 on {socket.gethostname()} has not been heard of" in errors or "unhealthy" in errors, errors
    saved = max(int(path.name) for path in (workplace / "killed" / "checkpoints").iterdir() if path.name.isdecimal())
    steps = saved + 5
    assert "resumes after step" in finish(train(workplace, "killed", f"train.steps={steps}", processes=1))[0]
    assert_same_course(rows(workplace, "killed"), reference, beyond=saved)


def test_two_processes_go_on_where_one_was_and_sigterm_for_one_stops_both_even_where_they_wait(workplace, alone):
    reference = alone()
    shutil.copytree(workplace / "alone", workplace / "moved")
    for path in (workplace / "moved" / "checkpoints").iterdir():
        if int(path.name) > 5:
            shutil.rmtree(path)
    best = "checkpoint.best=notes/rougeL"  # a score that nobody computes: they wait for it at step 10
    both = train(workplace, "moved", ENDLESS, best, "mesh.slices=2", processes=2)
    assert both[0].stderr
    assert any("waits for notes/rougeL of step 5" in line for line in both[0].stderr)
    both[1].send_signal(signal.SIGTERM)
    errors = finish(both, code=128 + signal.SIGTERM)
    step = int(rows(workplace, "moved")[-1]["step"])
    assert 10 < step < 15
    assert f"stopped by SIGTERM at step {step}, which is saved" in errors[0]
    assert (workplace / "moved" / "checkpoints" / str(step) / "commit_success.txt").exists()
    assert_same_course(rows(workplace, "moved"), reference, beyond=9)


OUT_OF_STEP = """
from train.parallel import processes
processes.initialize()
try:
    processes.gather("breakfast" if processes.is_first() else "dinner", None)
except processes.OutOfStep as error:
    print(error)
"""


def test_processes_that_are_not_at_the_same_place_say_so_and_do_not_wait_for_ever(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(OUT_OF_STEP)
    (first, _), (second, _) = finish_both(launch([str(program)], processes=2, devices=2))
    assert "out of step: process 0 on " in first and "at `breakfast`, process 1 on " in first
    assert "out of step: process 1 on " in second and "at `dinner`, process 0 on " in second


def test_an_evaluation_by_two_processes_writes_the_same_bytes_as_by_one(workplace, alone):
    alone()
    written = {}
    for processes in (1, 2):
        output = workplace / f"eval{processes}"
        command = ["-m", "eval", str(workplace / "alone"), *MESH, f"eval.output={output}", "eval.steps=[latest]"]
        finish(launch([*command, "eval.decode={type: beam, beams: 2, max_tokens: 8}"], processes=processes))
        files = [path for path in output.rglob("*") if path.is_file()]
        written[processes] = {path.relative_to(output): path.read_bytes() for path in files}
    names = {re.sub(r"scores-\w+", "scores", path.name) for path in written[1]}
    assert names == {"metrics.json", "scores.json", "predictions.jsonl", "answers.jsonl", "made.json"}
    # made.json says when they were made, and how fast.
    one, two = ({path: data for path, data in files.items() if path.name != "made.json"} for files in written.values())
    assert one == two


AGREEING = """
import sys
from pathlib import Path
import jax
from t5x_tasks.common.errors import Failure, UserError
from train.parallel import processes
from train.config import MeshConfig
from train.parallel.mesh import batch_share, make_mesh

processes._SHARED_FOLDER_S = 1.0
processes.initialize()
me, folder = jax.process_index(), Path(sys.argv[1])

def message(function):
    try:
        return function()
    except UserError as error:
        return str(error)

def fails():
    raise UserError("first says no")

assert processes.from_first("step", lambda: 7 + me) == 7
assert message(lambda: processes.from_first("lock", fails)) == "first says no"

def disk_is_full():
    try:
        raise OSError(28, "No space left on device")
    except OSError as error:
        raise UserError("cannot be written") from error

for fault in (disk_is_full, lambda: processes._raise(Failure("cannot be written"))):
    try:
        processes.from_first("prepare", fault)
    except Failure as error:
        assert str(error) == "cannot be written"
    except UserError:
        assert me == 0, "who is not first ends with 1, too"

assert "data: not the same in process 1 on" in message(lambda: processes.check_equal("data", {"a": me}))
with processes.first_alone("prepare"):
    assert (folder / "prepared").exists() == (me == 1)
    (folder / "prepared").touch()
processes.check_shared(folder / "new" / "run", "run_dir")
assert not (folder / "new").exists()
apart = message(lambda: processes.check_shared(folder / f"own{me}", "run_dir"))
assert "does not see what process 0 on" in apart and "process 1 on" in apart, apart
shares = {axes: batch_share(make_mesh(MeshConfig(data=axes[0], fsdp=axes[1], tensor=axes[2]))) for axes in
          ((8, 1, 1), (1, 8, 1), (2, 2, 2), (1, 2, 4), (1, 1, 8))}
hybrid = make_mesh(MeshConfig(data=4, fsdp=2, slices=2))
assert [{d.process_index for d in row.flat} for row in hybrid.devices] == [{0}, {0}, {1}, {1}]
assert set(shares.values()) == {(me, 2), (0, 1)} and shares[1, 1, 8] == (0, 1) and shares[2, 2, 2] == (me, 2), shares
"""


def test_processes_agree_and_say_who_differs(tmp_path):
    program = tmp_path / "agreeing.py"
    program.write_text(textwrap.dedent(AGREEING))
    finish(launch([str(program), str(tmp_path)], processes=2))


def test_variables_that_say_half_of_who_a_process_is_are_an_error(monkeypatch):
    from t5x_tasks.common.errors import UserError
    from train.parallel import processes

    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    with pytest.raises(UserError, match=r"JAX_PROCESS_ID without JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES"):
        processes.initialize()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "n1"}, None),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, {"local_device_ids": []}),
        ({"SLURM_NTASKS": "16", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, {}),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, {}),
    ],
)  # fmt: skip
def test_a_launcher_of_several_processes_is_recognised(environment, expected):
    from train.parallel import processes

    assert processes._from_cluster(environment) == expected
