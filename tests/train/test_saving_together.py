"""A save that fails in one of two processes: both try again, and both go on or both stop."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from helpers.processes import finish, finish_both, launch, rows

from t5x_tasks.common.vocabulary import Vocabulary
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.model_spec import open_model
from train.optimizer import make_optimizer, make_schedule
from train.parallel.mesh import make_mesh
from train.state import state_shapes

# What goes wrong after step 1, and goes away with the pause number `mended` (never: a large number).
SAVING = """
import json, resource, sys
from pathlib import Path
from types import SimpleNamespace
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from t5x_tasks.common.errors import Failure
from orbax.checkpoint.experimental.v1._src.handlers.pytree_handler import PyTreeHandler
from train import retry
from train.parallel import processes, runtime
from train.checkpoints.checkpointer import seal
from train.checkpoints.checkpointer import Checkpoints

folder, fault, mended = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
runtime.set_up(folder.parent)
me = jax.process_index()
mesh = Mesh(np.asarray(jax.devices()), "x")

def state(step):
    large = np.random.default_rng(step).normal(size=(2, 1 << 18)).astype(np.float32)
    put = lambda x: jax.make_array_from_callback(x.shape, NamedSharding(mesh, P("x")), lambda index: x[index])
    return {"params": {"w": put(large)}, "opt_state": put(large * 2)}

def small_files(processes):
    if me in processes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, unlimited[1]))

def unsealed(path):
    raise OSError(5, "Input/output error", str(path / seal.SEAL))

async def unwritten(handler, directory, **options):
    if directory.path.name == ("train_state", "params")[me]:
        raise OSError(5, "Input/output error", str(directory.path))
    await written(handler, directory, **options)

def harm():
    match fault:
        case "a write of the second": small_files([1])
        case "a write of the second, and of its log":
            small_files([1])
            if me == 1: sys.stderr = Path("/dev/full").open("w")
        case "a write of the first": small_files([0])
        case "a write of both": small_files([0, 1])
        case "another part in each": PyTreeHandler._background_save = unwritten
        case "no folder" if me == 0:
            folder.rename(folder.with_name("aside"))
            folder.touch()
        case "no checksums" if me == 0: seal.write = unsealed

def mend():
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    seal.write, PyTreeHandler._background_save, sys.stderr = sealed, written, log
    if me == 0 and folder.is_file():
        folder.unlink()
        folder.with_name("aside").rename(folder)

def pause(seconds):
    pauses.append(seconds)
    if len(pauses) == mended:
        mend()

unlimited, sealed, written = resource.getrlimit(resource.RLIMIT_FSIZE), seal.write, PyTreeHandler._background_save
log, pauses, ends = sys.stderr, [], ""
retry.time = SimpleNamespace(sleep=pause)  # not sleep itself, which other threads use
with Checkpoints(folder, keep_latest=2) as checkpoints:
    def save(step, wait):
        checkpoints.save(step, state(step), position={"row": step}, metadata={}, wait=wait)

    save(1, True)
    processes.gather("saved", None)
    harm()
    processes.gather("harmed", None)
    try:
        save(2, wait=fault != "a write of both")
        save(3, True)
    except Failure as error:
        ends = str(error)
    processes.gather("ended", None)
    mend()
    processes.gather("mended", None)
    steps = checkpoints.steps()
    wanted = state(steps[-1])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), wanted)
    restored = checkpoints.restore(steps[-1], like).state
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(wanted), strict=True):
        for a, b in zip(ours.addressable_shards, theirs.addressable_shards, strict=True):
            np.testing.assert_array_equal(a.data, b.data)
print(json.dumps({"pauses": pauses, "steps": steps, "ends": ends}))
"""

FAULTS = {  # and whom the first process's line names
    "a write of the second": "process 1 on [^ ]+: .*File too large",
    "a write of the second, and of its log": "process 1 on [^ ]+: .*File too large",
    "a write of the first": "process 0 on [^ ]+: .*File too large",
    "a write of both": "process 0 on [^ ]+ and 1 other: .*File too large",
    "another part in each": "process 0 on [^ ]+ and 1 other: .*Input/output error",
    "no folder": "process 0 on [^ ]+: .*Not a directory",
    "no checksums": "process 0 on [^ ]+: .*Input/output error",
}
NEVER = 100


def save_with(fault: str, mended: int, tmp_path: Path) -> list[tuple[dict[str, Any], str]]:
    """The result and the output of each process."""
    program = tmp_path / "saving.py"
    program.write_text(textwrap.dedent(SAVING))
    ended = finish_both(launch([str(program), str(tmp_path / "run"), fault, str(mended)], processes=2, devices=2))
    return [(json.loads(output.splitlines()[-1]), errors) for output, errors in ended]


@pytest.mark.parametrize("fault", FAULTS)
def test_both_try_again_until_the_fault_of_either_is_gone(tmp_path, fault):
    (first, said), (second, said_too) = save_with(fault, 2, tmp_path)
    assert first == second
    assert (first["pauses"], first["ends"]) == ([1, 2], ""), said
    # A save in the background is not tried again; the next one is.
    step, steps = (3, [1, 3]) if fault == "a write of both" else (2, [2, 3])
    assert first["steps"] == steps
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [str(step) for step in steps]
    lines = re.findall(rf"run/{step}: saving: ({FAULTS[fault]}.*); tries again in (\d) s", said)
    assert [int(pause) for _, pause in lines] == [1, 2], said
    alone = re.findall(r"^process 1 on [^ ]+: .*saving: .*", said_too, re.MULTILINE)
    in_background = fault == "a write of both"
    says = "log" not in fault and ("process 1" in FAULTS[fault] or "1 other" in FAULTS[fault])
    assert len(alone) == (2 + in_background if says else 0), said_too


def test_both_stop_with_the_same_words_where_the_fault_stays_and_the_step_before_is_whole(tmp_path):
    (first, _), (second, _) = save_with("a write of the second", NEVER, tmp_path)
    assert first == second
    assert (first["pauses"], first["steps"]) == ([1, 2, 4, 8, 16], [1])
    assert re.search(r"run/2: saving: process 1 on [^ ]+: .*File too large.*; tried 6 times over 31 s\.", first["ends"])
    assert "start the run again: it resumes after its last checkpoint" in first["ends"]


# `python -m train`, but the second process can write no large file from the save of a step on, up to a pause.
TRAINING = """
import resource, sys
from types import SimpleNamespace
import jax
from t5x_tasks.common.errors import run_cli
from train import retry
from train.__main__ import main
from train.checkpoints.checkpointer import Checkpoints

bad_step, mended, pauses = int(sys.argv.pop(1)), int(sys.argv.pop(1)), []
unlimited, save = resource.getrlimit(resource.RLIMIT_FSIZE), Checkpoints.save

def save_or_not(self, step, *arguments, **options):
    if step == bad_step and jax.process_index() == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, unlimited[1]))
    save(self, step, *arguments, **options)

def pause(seconds):
    pauses.append(seconds)
    if len(pauses) == mended:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

Checkpoints.save, retry.time = save_or_not, SimpleNamespace(sleep=pause)
run_cli(main)
"""
STEPS = 15


def train_with_a_fault(workplace: Path, run: str, *, bad_step: int, mended: int, code: int = 0) -> list[str]:
    program = workplace / "training.py"
    program.write_text(textwrap.dedent(TRAINING))
    overrides = [f"run_dir={workplace / run}", f"train.steps={STEPS}"]
    command = [str(program), str(bad_step), str(mended), str(workplace / "config.yaml"), *overrides]
    return finish(launch(command, processes=2, devices=2), code)


@pytest.fixture(scope="module")
def undisturbed(workplace: Path) -> tuple[Any, list[tuple[float, ...]]]:
    train_with_a_fault(workplace, "undisturbed", bad_step=0, mended=NEVER)
    return outcome(workplace, "undisturbed")


def outcome(workplace: Path, run: str) -> tuple[Any, list[tuple[float, ...]]]:
    """Parameters, optimizer and random state after the last step; step, losses and examples of each row."""
    config = configuration.load(workplace / run, ["mesh.data=1"])
    mesh = make_mesh(config.mesh)
    model = open_model(config, Vocabulary.load(config.model.vocabulary).size, mesh)
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, STEPS), model.axes)
    with Checkpoints(workplace / run / "checkpoints", read_only=True) as checkpoints:
        restored = checkpoints.restore(STEPS, state_shapes(model, optimizer)).state
    found = rows(workplace, run)
    names = ("step", "loss", "grad_norm", "tokens", "examples")
    return jax.device_get(restored), [tuple(row[name] for name in names) for row in found]


def assert_same(ours: tuple[Any, list[tuple[float, ...]]], theirs: tuple[Any, list[tuple[float, ...]]]) -> None:
    assert ours[1] == theirs[1]
    assert [row[0] for row in ours[1]] == list(range(1, STEPS + 1))
    jax.tree.map(np.testing.assert_array_equal, ours[0], theirs[0])


def test_a_run_whose_second_process_cannot_write_for_a_while_ends_as_an_undisturbed_one(workplace, undisturbed):
    errors = train_with_a_fault(workplace, "disturbed", bad_step=10, mended=2)
    assert re.search(r"checkpoints/10: saving failed in the background \(process 1 on .*\); the next step's", errors[0])
    assert len(re.findall(r"15: saving: process 1 on .*; tries again in", errors[0])) == 2
    assert_same(outcome(workplace, "disturbed"), undisturbed)


def test_a_run_whose_second_process_can_never_write_again_stops_and_goes_on_to_the_same_end(workplace, undisturbed):
    errors = train_with_a_fault(workplace, "stopped", bad_step=10, mended=NEVER, code=1)
    ends = [re.findall(r"^error: .*", text, re.MULTILINE) for text in errors]
    assert len(ends[0]) == 1 and ends[0] == ends[1], errors
    assert "15: saving: process 1 on " in ends[0][0] and "tried 6 times" in ends[0][0]
    errors = train_with_a_fault(workplace, "stopped", bad_step=0, mended=NEVER)
    assert "resumes after step 5" in errors[0]
    assert_same(outcome(workplace, "stopped"), undisturbed)
