"""The plan against the program that it plans, and against what a run really takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.plan.accelerators import parse_devices
from launch.plan.cost import candidates
from launch.plan.memory import describe
from launch.plan.topologies import needed_memory
from t5x_tasks.common.errors import UserError
from tests.helpers import programs
from train import config as configuration

REPOSITORY = Path(__file__).parent.parent.parent
SHAPE = """
run_dir: nowhere/at_all
model: {preset: flan-t5-small, emb_dim: 64, mlp_dim: 128, num_heads: 4, num_encoder_layers: 2, num_decoder_layers: 3}
data: {lengths: {inputs: 64, targets: 32}}
optimizer: {type: %s}
train: {steps: 3600, batch_size: 16}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)

    def write(optimizer="adamw", text=SHAPE):
        path = tmp_path / "config.yaml"
        path.write_text(text % optimizer)
        return str(path)

    return write


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "config.yaml"
    path.write_text(SHAPE % "adamw")
    overrides = ["mesh.data=2", "mesh.fsdp=2", "model.remat=true", "--devices", "8xh100", "mesh.tensor=2"]
    command = [sys.executable, "-m", "launch", "plan", str(path), *overrides]
    command += ["--mfu", "0.5", "--price-per-device-hour", "2.5", "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_planned_bytes_of_parameters_and_optimizer_are_those_of_the_compiled_program(plan):
    option = plan["configured"]
    assert (option["data"], option["fsdp"], option["tensor"]) == (2, 2, 2)
    program = option["compiled"]
    assert (option["params"], option["opt_state"]) == (program["params"], program["opt_state"])
    # What the program itself says it takes: those, the batch, the step's number, the random key and the guard's five numbers.
    assert program["arguments"] == program["params"] + program["opt_state"] + program["batch"] + 4 + 8 + 5 * 4


def test_a_plan_touches_nothing(plan):
    assert plan["fits"] and not (REPOSITORY / "nowhere").exists()


def test_time_is_the_longest_of_computing_memory_and_links_and_money_follows(plan):
    best = plan["best"]
    assert best["compute_s"] == pytest.approx(
        plan["model"]["flops"] / 8 / (989e12 * 0.5) * (4 / 3 if best["remat"] == "layer" else 1)
    )
    assert best["step_s"] == max(best["compute_s"], best["memory_s"], best["link_s"])
    from launch.plan.text import render

    text = render(plan)
    hours = best["step_s"] * 3600 / 3600 * 8
    assert f"{hours:,.2f} device-hours, {hours * 2.5:,.2f} at 2.5 a device-hour" in text
    assert "as configured: data 2 x fsdp 2 x tensor 2 remat layer, 4 row(s) a device at once: fits" in text


def test_among_meshes_as_fast_the_simplest_comes_first(config):
    """Nearly FLAN-T5 base, on rows so short that computing alone limits each mesh."""
    parameters, axes = 247_577_856, [(d, f, 8 // (d * f)) for d in (1, 2, 4, 8) for f in (1, 2, 4, 8) if d * f <= 8]
    sizes = {"emb_dim": 768, "mlp_dim": 2048, "num_heads": 12, "head_dim": 64, "vocab_size": 32128}
    facts = {
        "parameters": parameters, "trained": parameters, "embedding": 32128 * 768, "compute_dtype": "bfloat16",
        "lengths": (64, 16), "sizes": sizes | {"num_encoder_layers": 12, "num_decoder_layers": 12},
        "flops": 14e12, "forward_flops": 5e12, "peak_flops": {"NVIDIA H100": 989e12},
        "kept": {"selected": {"per_row": 26e6, "per_row_cut": 134e6, "weights": 0.0, "widest_row": 12.6e6}},
        "meshes": [
            {"data": d, "fsdp": f, "tensor": t, "frozen": 0, "opt_state": 2 * 10**6}
            | {"params": 2 * parameters // (f * t), "summed": 4 * parameters // (f * t)}  # bfloat16, and sums in float32
            for d, f, t in axes
        ],
    }  # fmt: skip
    found = candidates(configuration.load(config(), ["train.batch_size=64"]), facts, parse_devices("8xh100"), 0.4)
    assert [(o.data, o.fsdp, o.tensor) for o in found if o.parts == 1 and o.step_s == found[0].step_s] == [
        (8, 1, 1), (1, 8, 1), (1, 1, 8),
        (4, 2, 1), (2, 4, 1), (4, 1, 2), (1, 4, 2), (2, 1, 4), (1, 2, 4),
        (2, 2, 2),
    ]  # fmt: skip
    for o in found:
        assert o.gradients == (2 if o.parts == 1 else 2 + 4) * parameters // (o.fsdp * o.tensor)


def test_a_mesh_that_a_run_would_refuse_is_not_considered(config):
    """Adafactor keeps one number a column: 6 MiB of the three decoder layers' MLP, which `tensor` alone cuts."""
    wide = configuration.load(config("adafactor"), ["model.emb_dim=128", "model.mlp_dim=524288"])
    found = describe(wide, devices=4, vocabulary_size=0)["meshes"]
    assert {(m["fsdp"], m["tensor"]) for m in found} == {(1, 1), (1, 2), (1, 4), (2, 2)}


def test_what_does_not_fit_says_how_many_devices_would_do(config, capsys):
    wide = ["model.emb_dim=16384", "model.mlp_dim=65536", "model.num_heads=64", "model.head_dim=128"]
    deep = ["model.num_encoder_layers=8", "model.num_decoder_layers=8", "model.remat=true"]
    assert main(["plan", config(), *wide, *deep, "--devices", "2xa100"]) == 1
    text = capsys.readouterr().out
    # 61.7e9 parameters: 4 bytes each, 8 more for AdamW and 4 for the gradient, on devices of 72 usable GB
    assert "Nothing fits 2xa100" in text and "By shapes, 16xa100 would do" in text


MEASURE = """
import ctypes, sys
import jax, numpy as np
from pathlib import Path
from launch.plan import memory
from train import config as configuration
from train.parallel.mesh import make_mesh
from train.params import load_params
from train.state import first_state

def status(key):
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(key)) * 1024

config = configuration.load(sys.argv[1], sys.argv[2:])
mesh = make_mesh(config.mesh)
with jax.set_mesh(mesh):
    p, arguments = memory.step_program(config, mesh, vocabulary_size=0)
    update = p.update.lower(*arguments).compile()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = status("VmRSS")
    params, frozen = p.model.split(load_params(config, p.model))
    current = first_state(params, p.optimizer, 0, p.state)
    del params
    rng = np.random.default_rng(0)
    batch = {k: jax.device_put(rng.integers(1, 9, v.shape, np.int32), v.sharding) for k, v in arguments[2].items()}
    jax.block_until_ready(current)
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on: not that of making random numbers
    for _ in range(2):
        current, metrics = update(current, frozen, batch, None)
        float(metrics["loss"])
print(status("VmHWM") - before)
"""


@pytest.mark.parametrize(
    ("topology", "compiler", "dropout"),
    [
        pytest.param("v5e:2x4", programs.libtpu, 0.05, marks=pytest.mark.needs_libtpu),
        # Random bits go into every other fusion and double the time; no kernel of attention knows of them.
        pytest.param("h100:8", programs.cuda_compiler, 0, marks=pytest.mark.needs_cuda_compiler),
    ],
)
def test_the_devices_own_compiler_takes_the_step_with_its_fused_attention(topology, compiler, dropout, config):
    """For 2 x 2 x 2 devices; what the program takes is what the plan counts."""
    shape = ["mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2", "model.head_dim=64", "model.remat=selected"]
    shape += ["data.lengths={inputs: 128, targets: 64}", f"train.dropout={dropout}"]
    command = [
        sys.executable,
        "-m",
        "launch.plan.aot",
        "compile",
        config(),
        *shape,
        "--devices",
        "8",
        "--topology",
        topology,
    ]
    environment = os.environ | {"PYTHONPATH": str(compiler())}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    program = json.loads(done.stdout.splitlines()[-1])
    planned = program["params"] + program["opt_state"] + program["batch"]
    assert planned <= program["arguments"] <= 1.05 * planned, "small arrays are rounded up to whole tiles"
    assert 0 < program["temporary"] < program["peak"]


def test_what_a_chip_has_not_enough_memory_for_is_read_off_the_compilers_words():
    """As two versions of libtpu put it."""
    older = (
        "RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (297.97G) exceeds available HBM (15.75G)."
    )
    newer = "Ran out of memory in memory space hbm. Used 23.87G of 15.75G hbm. Exceeded hbm capacity by 8.12G."
    assert (needed_memory(older), needed_memory(newer)) == (round(297.97 * 2**30), round(23.87 * 2**30))
    assert needed_memory("INTERNAL: Mosaic failed to compile TPU kernel") is None


@pytest.mark.parametrize(
    ("name", "compiler", "known"),
    [
        ("8xh100", "tpu", "v5e, v5p, v6e"),
        ("v4-16", "tpu", "v5e, v5p, v6e"),
        ("cpu-8", "tpu", "v5e, v5p, v6e"),
        ("v5e-8", "gpu", "a100, h100, h200"),
        ("cpu-8", "gpu", "a100, h100, h200"),
    ],
)
def test_a_compiler_is_refused_for_other_devices(name, compiler, known, config):
    with pytest.raises(
        UserError, match=f"--compiler {compiler}: {name} is none that it compiles for; those are {known}"
    ):
        main(["plan", config(), "--devices", name, "--compiler", compiler])


def test_peak_of_small_on_this_cpu_is_what_its_steps_really_take(config):
    small = ["model.weights=random", "train.batch_size=2", "data.lengths={inputs: 256, targets: 64}", "mesh.data=1"]
    path = config(text="run_dir: x\nmodel: {preset: flan-t5-small}\noptimizer: {type: %s}\ntrain: {steps: 3}\n")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    measured = subprocess.Popen(
        [sys.executable, "-c", MEASURE, path, *small], env=environment, stdout=subprocess.PIPE, text=True
    )
    planned = subprocess.run(
        [sys.executable, "-m", "launch.plan.aot", "compile", path, *small, "--devices", "1", "--cpu"],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    peak = json.loads(planned.stdout)["peak"]
    assert int(measured.communicate()[0]) == pytest.approx(peak, rel=0.2)


@pytest.mark.parametrize("price", ["-1", "nan", "inf"])
def test_what_is_no_price_is_refused(config, price):
    with pytest.raises(UserError, match=f"^--price-per-device-hour: .*{price}.* is no price; give a number, 0 or more"):
        main(["plan", config(), "--devices", "8xh100", f"--price-per-device-hour={price}"])


def test_what_a_plan_needs_and_does_not_know_is_an_error_of_one_line(config):
    with pytest.raises(UserError, match=r"data\.lengths: auto needs the data"):
        main(["plan", config(), "data.lengths=auto", "--devices", "cpu-1"])
