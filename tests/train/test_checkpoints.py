import contextlib
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5x_tasks.common.errors import UserError
from train.checkpoints.checkpointer import Checkpoints, holds

REPOSITORY = Path(__file__).parents[2]


def make_state(*, seed: int = 0, width: int = 8, optimizer: optax.GradientTransformation | None = None) -> dict:
    params = {
        "encoder": {"layers": {"query": jax.random.normal(jax.random.key(seed), (2, 16, width))}},
        "norm": {"scale": jnp.full((16,), 0.1 * seed)},
    }
    if optimizer is None:
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.linear_schedule(1e-3, 0.0, 10)))
    _, opt_state = optimizer.update(params, optimizer.init(params), params)
    rng = jax.random.key_data(jax.random.key(seed + 7))
    return {"step": jnp.int32(seed), "params": params, "opt_state": opt_state, "rng": rng}


def like(state: dict) -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def save(checkpoints: Checkpoints, step: int, state: dict | None = None, **metrics: float) -> None:
    state = make_state(seed=step) if state is None else state
    checkpoints.save(step, state, position={"block": step, "row": 3}, metadata={"base": "abc"}, metrics=metrics)


def assert_same(tree: object, expected: object) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert (ours.dtype, ours.sharding) == (theirs.dtype, theirs.sharding)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_a_restored_state_has_the_values_structure_and_types_of_the_saved_one(tmp_path: Path, name: str) -> None:
    optimizer = optax.adafactor(1e-3, min_dim_size_to_factor=4) if name == "adafactor" else None
    state = make_state(seed=5, optimizer=optimizer)
    with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
        save(checkpoints, 5, state, loss=1.5)
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        restored = checkpoints.restore(5, like(state))
        assert checkpoints.info(5).metrics == {"loss": 1.5}
    assert_same(restored.state, state)
    assert (restored.position, restored.metadata) == ({"block": 5, "row": 3}, {"base": "abc"})


def test_a_save_returns_before_the_step_counts_and_wait_makes_it_count(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.latest_step(), checkpoints.best_step(), checkpoints.steps()) == (None, None, [])
        save(checkpoints, 1)
        assert set(checkpoints.steps()) <= {1}
        checkpoints.wait()
        assert (checkpoints.latest_step(), checkpoints.steps()) == (1, [1])


def test_a_state_may_be_donated_to_the_next_step_as_soon_as_save_returns(tmp_path: Path) -> None:
    @jax.jit
    def fresh(value: jax.Array) -> dict:
        return {"params": {"w": jnp.full((4 << 20,), value)}, "step": value}

    step = jax.jit(lambda state: jax.tree.map(lambda x: x * 1.5 - 7, state), donate_argnums=0)
    jax.block_until_ready(step(fresh(jnp.float32(0))))
    donated = fresh(jnp.float32(0))
    step(donated)
    assert donated["params"]["w"].is_deleted()  # else this test could not fail
    with Checkpoints(tmp_path, keep_latest=3) as checkpoints:
        for number in range(3):
            state = fresh(jnp.float32(number))
            expected = like(state)
            save(checkpoints, number, state)
            for _ in range(3):
                state = step(state)
            jax.block_until_ready(state)
            checkpoints.wait()
            restored = checkpoints.restore(number, expected).state
            assert float(restored["step"]) == number
            np.testing.assert_array_equal(restored["params"]["w"], np.float32(number))


MESHES = """
import sys
from pathlib import Path
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from train.checkpoints.checkpointer import Checkpoints

folder, save_on, restore_on = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
assert len(jax.devices()) == 8
specs = {"query": P(None, "fsdp", "tensor"), "norm": P(), "embedding": P("tensor", "fsdp")}
values = {
    name: np.random.default_rng(index).normal(size=shape).astype(np.float32)
    for index, (name, shape) in enumerate({"query": (2, 16, 8), "norm": (16,), "embedding": (12, 16)}.items())
}

def shardings(kind):
    devices = np.asarray(jax.devices() if kind == "mesh" else jax.devices()[:1])
    shape = (2, 2, 2) if kind == "mesh" else (1, 1, 1)
    mesh = jax.sharding.Mesh(devices.reshape(shape), ("data", "fsdp", "tensor"))
    params = {name: NamedSharding(mesh, spec) for name, spec in specs.items()}
    return {"params": params, "opt_state": (dict(params), ()), "step": NamedSharding(mesh, P())}

tree = {"params": values, "opt_state": ({k: v * 2 for k, v in values.items()}, ()), "step": np.int32(4)}
state = jax.device_put(tree, shardings(save_on))
target = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings(restore_on))
with Checkpoints(folder) as checkpoints:
    checkpoints.save(4, state, position={}, metadata={})
    checkpoints.wait()
    restored = checkpoints.restore(4, target).state
    params = checkpoints.restore_params(4, target["params"])
for got, expected, want in [(restored, tree, target), (params, tree["params"], target["params"])]:
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), y, strict=True), got, expected)
    assert jax.tree.all(jax.tree.map(lambda x, w: x.sharding == w.sharding, got, want))
print("same")
"""


@pytest.mark.parametrize(("save_on", "restore_on"), [("mesh", "one"), ("one", "mesh")])
def test_a_checkpoint_is_restored_on_another_mesh_bit_for_bit(tmp_path: Path, save_on: str, restore_on: str) -> None:
    process = run_python(MESHES, tmp_path, save_on, restore_on, JAX_NUM_CPU_DEVICES="8")
    output, errors = process.communicate(timeout=300)
    assert output == "same\n", errors


def test_the_latest_and_the_best_steps_are_kept(tmp_path: Path) -> None:
    losses = {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0, 50: 4.0, 60: 5.0}
    kept = {}
    with Checkpoints(tmp_path, keep_latest=2, keep_best=2, best_metric="loss") as checkpoints:
        for step, loss in losses.items():
            save(checkpoints, step, loss=loss)
            checkpoints.wait()
            kept[step] = checkpoints.steps()
        assert checkpoints.best_step() == 20
    assert kept == {
        10: [10],
        20: [10, 20],
        30: [20, 30],
        40: [20, 30, 40],  # the latest two, and 20 and 40: of equals the later one
        50: [20, 40, 50],
        60: [20, 40, 50, 60],
    }
    with Checkpoints(tmp_path, keep_latest=1, keep_best=1, best_metric="loss") as checkpoints:
        assert checkpoints.best_step() == 20  # read back from the folder
        save(checkpoints, 70, loss=6.0)
        checkpoints.wait()
        assert checkpoints.steps() == [20, 70]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20", "70"]


def test_a_step_without_the_metric_or_with_nan_is_never_the_best(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep_latest=1, keep_best=1, best_metric="loss") as checkpoints:
        save(checkpoints, 1, loss=2.0)
        save(checkpoints, 2, loss=float("nan"))
        save(checkpoints, 3, accuracy=0.0)
        checkpoints.wait()
        assert (checkpoints.steps(), checkpoints.best_step()) == ([1, 3], 1)
    with Checkpoints(tmp_path, keep_latest=2, best_metric="loss") as checkpoints:
        save(checkpoints, 4, loss=float("nan"))
    with Checkpoints(tmp_path, best_metric="loss", read_only=True) as checkpoints:
        assert (checkpoints.steps(), checkpoints.best_step()) == ([3, 4], None)
        assert math.isnan(checkpoints.info(4).metrics["loss"])


def test_evaluation_reads_the_parameters_without_the_optimizer(tmp_path: Path) -> None:
    state = make_state()
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, state)
        checkpoints.wait()
        shutil.rmtree(tmp_path / "1" / "train_state")
        assert_same(checkpoints.restore_params(1, like(state["params"])), state["params"])


def test_an_array_of_another_shape_is_named(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        with pytest.raises(UserError) as error:
            checkpoints.restore(1, like(make_state(width=4)))
        saved, wanted = "the checkpoint holds float32[2, 16, 8]", "this configuration needs float32[2, 16, 4]"
        assert f"params/encoder/layers/query: {saved}, {wanted};" in str(error.value)
        assert "\n" not in str(error.value)


def test_missing_left_over_and_differently_typed_arrays_are_named(tmp_path: Path) -> None:
    state = make_state()
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, state)
        checkpoints.wait()
        more = {**state, "params": {**state["params"], "adapter": jnp.zeros(3)}}
        with pytest.raises(UserError, match=r"params/adapter: the checkpoint holds nothing, .* needs float32\[3\];"):
            checkpoints.restore(1, like(more))
        fewer = {**state, "opt_state": optax.EmptyState()}
        with pytest.raises(
            UserError, match=r"opt_state/1/0/count: the checkpoint holds int32\[\], .* needs nothing \("
        ):
            checkpoints.restore(1, like(fewer))
        half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), state["params"])
        with pytest.raises(UserError, match=r"params/encoder/layers/query: .* float32\[.* needs bfloat16\["):
            checkpoints.restore_params(1, like(half))


def test_a_step_that_is_not_there_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        with pytest.raises(UserError, match="no checkpoint of step 7; there are: 1"):
            checkpoints.restore(7, like(make_state()))


def test_a_step_is_saved_once_and_only_with_what_json_can_hold(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        with pytest.raises(ValueError, match="saved already"):
            save(checkpoints, 1)
        with pytest.raises(TypeError):
            checkpoints.save(2, make_state(), position={"row": np.int32(3)}, metadata={})
        checkpoints.wait()
        assert checkpoints.steps() == [1]


FULL_DISK = """
import resource, sys
from pathlib import Path
import jax.numpy as jnp
from train.checkpoints.checkpointer import Checkpoints

with Checkpoints(Path(sys.argv[1])) as checkpoints:
    checkpoints.save(1, {"params": {"w": jnp.ones(3)}}, position={}, metadata={})
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    checkpoints.save(2, {"params": {"w": jnp.ones(4 << 20)}}, position={}, metadata={})
    print("goes on", flush=True)
    try:
        checkpoints.wait()
    except Exception as error:
        print(checkpoints.steps(), "too large" in str(error))
"""


def test_the_error_of_a_save_in_the_background_reaches_the_caller_and_the_step_before_stays(tmp_path: Path) -> None:
    output, errors = run_python(FULL_DISK, tmp_path).communicate(timeout=300)
    assert output == "goes on\n[1] True\n", errors
    Checkpoints(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.fixture
def killed_run(tmp_path: Path) -> Path:
    """A folder as kills may leave it: 1 whole, 2 with its deletion begun, 3 with its save unfinished."""
    with Checkpoints(tmp_path, keep_latest=2) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
    (tmp_path / "2" / "commit_success.txt").unlink()
    shutil.rmtree(tmp_path / "2" / "params")
    shutil.copytree(tmp_path / "1", tmp_path / "3.orbax-checkpoint-tmp")
    return tmp_path


def test_unfinished_steps_do_not_count_and_are_removed_by_the_next_start(killed_run: Path) -> None:
    with Checkpoints(killed_run) as checkpoints:
        assert (checkpoints.latest_step(), checkpoints.steps()) == (1, [1])
        assert [path.name for path in killed_run.iterdir()] == ["1"]
        save(checkpoints, 2)
        checkpoints.wait()
        assert_same(checkpoints.restore(2, like(make_state())).state, make_state(seed=2))


@pytest.mark.parametrize("before", ["2.orbax-checkpoint-tmp", "2.try2"])
def test_a_step_whose_renaming_was_cut_off_does_not_survive_the_next_start(tmp_path: Path, before: str) -> None:
    with Checkpoints(tmp_path, keep_latest=2) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
    (tmp_path / before).mkdir()  # as where folders are renamed file by file: the marker came first
    (tmp_path / "2" / "params").rename(tmp_path / before / "params")
    (tmp_path / "2" / "checksums.json").unlink()
    with Checkpoints(tmp_path, keep_latest=2) as checkpoints:
        assert checkpoints.steps() == [1]
        assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_reader_removes_nothing(killed_run: Path) -> None:
    before = sorted(killed_run.rglob("*"))
    with Checkpoints(killed_run, read_only=True) as checkpoints:
        assert checkpoints.steps() == [1]
        with pytest.raises(ValueError, match="read-only"):
            save(checkpoints, 5)
    assert sorted(killed_run.rglob("*")) == before


def test_a_step_that_is_read_is_not_pruned_until_its_reader_is_done_or_long_gone(tmp_path: Path) -> None:
    reader = Checkpoints(tmp_path, read_only=True)
    with Checkpoints(tmp_path, keep_latest=1) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        with reader.hold(1):
            save(checkpoints, 2)
            checkpoints.wait()
            assert checkpoints.steps() == [1, 2]
            reader.restore_params(1, like(make_state())["params"])
        save(checkpoints, 3)
        checkpoints.wait()
        assert checkpoints.steps() == [3]
        killed = tmp_path / holds.HOLDS / "3.elsewhere.17"
        killed.touch()
        os.utime(killed, (0.0, time.time() - holds.HOLD_EXPIRES_S - 1))
        save(checkpoints, 4)
        checkpoints.wait()
        assert checkpoints.steps() == [4] and not killed.exists()
    with pytest.raises(UserError, match="no checkpoint of step 3"), reader.hold(3):
        pass
    reader.close()


def test_a_hold_that_comes_between_the_look_and_the_deletion_keeps_the_step(tmp_path: Path, monkeypatch) -> None:
    reader, looks = Checkpoints(tmp_path, read_only=True), []
    with Checkpoints(tmp_path, keep_latest=1) as checkpoints, contextlib.ExitStack() as reading:
        save(checkpoints, 1)
        checkpoints.wait()
        held = holds.held

        def look(folder: Path) -> set[int]:
            found = held(folder)
            if not looks:
                reading.enter_context(reader.hold(1))
            looks.append(found)
            return found

        monkeypatch.setattr(holds, "held", look)
        save(checkpoints, 2)
        checkpoints.wait()
        assert looks == [set(), {1}]
        assert checkpoints.steps() == [1, 2]
    reader.close()


def test_pruning_takes_the_marker_away_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        raise InterruptedError(path)

    with Checkpoints(tmp_path, keep_latest=1) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        monkeypatch.setattr("train.checkpoints.checkpointer.shutil.rmtree", killed)
        save(checkpoints, 2)
        with pytest.raises(InterruptedError):
            checkpoints.wait()
        assert (tmp_path / "1").is_dir()
        assert checkpoints.steps() == [2]


TWO_HOSTS = """
import sys
from pathlib import Path
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from train.checkpoints.checkpointer import Checkpoints

folder, port, host = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=host)
mesh = jax.make_mesh((4, 2), ("fsdp", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
values = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)

def put(array, *spec):
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, P(*spec)), lambda index: array[index])

state = {"params": {"w": put(values, "fsdp", "tensor"), "b": put(values)}, "step": put(np.int32(1))}
like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
with Checkpoints(folder, keep_latest=1, keep_best=1, best_metric="loss") as checkpoints:
    for step in (1, 2, 3):
        checkpoints.save(step, state, position={"row": step}, metadata={}, metrics={"loss": float(step)})
    checkpoints.wait()
    restored = checkpoints.restore(3, like)
    for array in restored.state["params"].values():
        assert all(np.array_equal(shard.data, values[shard.index]) for shard in array.addressable_shards)
print(restored.position["row"])
"""


def test_two_hosts_save_prune_and_restore_together(tmp_path: Path) -> None:
    (tmp_path / "1.orbax-checkpoint-tmp").mkdir()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    settings = {"JAX_NUM_CPU_DEVICES": "4", "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    hosts = [run_python(TWO_HOSTS, tmp_path, port, host, **settings) for host in range(2)]
    results = [host.communicate(timeout=300) for host in hosts]
    for output, errors in results:
        assert output.splitlines()[-1:] == ["3"], errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3"]


SAVE_FOR_EVER = """
import sys
from pathlib import Path
import jax.numpy as jnp
from train.checkpoints.checkpointer import Checkpoints

checkpoints = Checkpoints(Path(sys.argv[1]), keep_latest=1, keep_best=1, best_metric="loss")
step = checkpoints.latest_step() or 0
while True:
    step += 1
    state = {"step": jnp.int32(step), "params": {f"w{i}": jnp.full((1 << 18,), float(step)) for i in range(4)}}
    checkpoints.save(step, state, position={"row": step}, metadata={}, metrics={"loss": -step % 3})
    print(step, flush=True)
"""


def test_a_run_killed_at_any_moment_can_be_restored(tmp_path: Path) -> None:
    moments = random.Random(0)
    state = {"step": jnp.int32(0), "params": {f"w{i}": jnp.zeros(1 << 18) for i in range(4)}}
    last = 0
    for _ in range(5):
        process = run_python(SAVE_FOR_EVER, tmp_path)
        assert process.stdout is not None
        reported = [int(process.stdout.readline()) for _ in range(2)]
        time.sleep(moments.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        reported += map(int, process.communicate()[0].split())
        with Checkpoints(tmp_path, best_metric="loss", read_only=True) as checkpoints:
            assert reported[0] == last + 1  # the restarted run saw the last committed step
            latest = checkpoints.latest_step()
            assert latest is not None and reported[-1] - 1 <= latest <= reported[-1] + 1
            for step in {latest, checkpoints.best_step()}:
                assert step is not None
                restored = checkpoints.restore(step, like(state))
                assert restored.position == {"row": step}
                assert restored.state["step"] == step
                for array in restored.state["params"].values():
                    np.testing.assert_array_equal(array, np.float32(step))
            last = latest
    Checkpoints(tmp_path).close()
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(str, checkpoints.steps()))


NOISE = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO)
import jax.numpy as jnp, jax
from train.checkpoints.checkpointer import Checkpoints
state = {"params": {"w": jnp.ones(3)}, "step": jnp.int32(1)}
with Checkpoints(Path(sys.argv[1])) as checkpoints:
    checkpoints.save(1, state, position={}, metadata={})
    checkpoints.wait()
    checkpoints.restore(1, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state))
"""


def test_saving_and_restoring_say_nothing_of_their_own(tmp_path: Path) -> None:
    output, errors = run_python(NOISE, tmp_path).communicate(timeout=300)
    assert (output, errors.count("absl"), errors.count("orbax")) == ("", 0, 0), errors
    assert (tmp_path / "1").is_dir()
