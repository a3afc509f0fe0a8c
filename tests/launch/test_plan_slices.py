"""Plans for several TPU slices and several nodes of GPUs, between which links are slow."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.plan.accelerators import parse_devices
from launch.plan.cost import candidates, make_option
from launch.plan.text import render
from t5x_tasks.common.errors import UserError
from tests.helpers import programs
from train import config as configuration

REPOSITORY = Path(__file__).parent.parent.parent
SHAPE = """
run_dir: nowhere/at_all
model:
  {preset: flan-t5-small, vocab_size: 8192, emb_dim: 128, mlp_dim: 256, num_heads: 4, head_dim: 64, num_encoder_layers: 1,
   num_decoder_layers: 1, attention: xla, remat: none}
data: {lengths: {inputs: 128, targets: 64}}
optimizer: {type: adamw}
train: {steps: 3600, batch_size: 16, dropout: 0}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "config.yaml"
    path.write_text(SHAPE)
    return str(path)


@pytest.fixture(scope="module")
def plan(path):
    command = [sys.executable, "-m", "launch", "plan", path, "mesh.fsdp=2", "--devices", "2xv5e-4", "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PARAMETERS, EMBEDDING = 11_000_000_000, 32128 * 4096
MESHES = [(d, f, 16 // (d * f)) for d in (1, 2, 4, 8, 16) for f in (1, 2, 4, 8, 16) if 16 % (d * f) == 0]


def mesh(data, fsdp, tensor):
    axes = {"data": data, "fsdp": fsdp, "tensor": tensor}
    share = 4 * PARAMETERS // (fsdp * tensor)
    return axes | {"params": share, "summed": share, "frozen": 0, "opt_state": 2 * 10**6}


FACTS = {
    "parameters": PARAMETERS, "trained": PARAMETERS, "embedding": EMBEDDING, "compute_dtype": "bfloat16", "lengths": (512, 128),
    "sizes": {"emb_dim": 4096, "mlp_dim": 10240, "num_heads": 64, "head_dim": 64, "vocab_size": 32128,
              "num_encoder_layers": 24, "num_decoder_layers": 24},
    "flops": 2e15, "forward_flops": 7e14,
    "peak_flops": {"NVIDIA H100": 989e12, "TPU v5e": 197e12, "TPU v5p": 459e12, "TPU v4": 275e12},
    "kept": {"selected": {"per_row": 26e6, "per_row_cut": 134e6, "weights": 0.0, "widest_row": 12.6e6}},
    "meshes": [mesh(*axes) for axes in MESHES],
}  # fmt: skip


def found(path, devices, *overrides):
    return candidates(configuration.load(path, ["train.batch_size=64", *overrides]), FACTS, parse_devices(devices), 0.4)


def option(path, devices, axes, parts=1):
    config = configuration.load(path, ["train.batch_size=64"])
    made = make_option(config, FACTS, parse_devices(devices), 0.4, mesh(*axes), "selected", parts)
    assert made is not None
    return made


def test_a_copy_of_the_model_stays_in_one_slice(path):
    assert {(o.data, o.fsdp, o.tensor) for o in found(path, "v5e-16")} == set(MESHES)
    assert {(o.data, o.fsdp, o.tensor) for o in found(path, "2xv5e-8")} == {axes for axes in MESHES if axes[0] > 1}
    assert {o.data for o in found(path, "4xv5e-4")} == {4, 8, 16}
    assert {(o.data, o.fsdp, o.tensor) for o in found(path, "2xv5e-8", "mesh.slices=1")} == set(MESHES)


def test_a_mesh_that_cuts_a_copy_across_nodes_says_what_a_run_needs_for_it(path):
    options = found(path, "16xh100")
    assert {(o.data, o.fsdp, o.tensor) for o in options} == set(MESHES)
    for o in options:
        assert o.across == (o.data == 1) == ("mesh.slices=1" in o.overrides)


def test_what_crosses_slices_is_the_part_of_the_gradients_that_a_device_has_summed(path):
    """Of 2 slices of 8, data 8 x fsdp 2: each device sums a quarter of its half, and sends that part on."""
    one, two, many = (option(path, devices, (8, 2, 1)) for devices in ("v5p-32", "2xv5p-16", "4xv5p-8"))
    crossing = 2 * 4 * (PARAMETERS + EMBEDDING) / 2 / 4 * (1 - 1 / 2)
    assert (one.crossing, two.crossing) == (0, pytest.approx(crossing))
    # Inside a ring of 4 in place of one of 8.
    gradients = 2 * 4 * (PARAMETERS + EMBEDDING) / 2
    assert two.link_s - one.link_s == pytest.approx(crossing / 6.25e9 - gradients * (7 / 8 - 3 / 4) / 300e9)
    assert many.crossing == pytest.approx(2 * 4 * (PARAMETERS + EMBEDDING) / 2 / 2 * (1 - 1 / 4))
    assert one.link_s < two.link_s < many.link_s
    assert (two.compute_s, two.memory_s, two.total) == (one.compute_s, one.memory_s, one.total)
    assert option(path, "2xv5p-16", (8, 2, 1), parts=2).crossing == 2 * two.crossing, "in each part of a batch"


def test_nodes_send_through_the_network_cards_of_all_their_gpus(path):
    gradients = 2 * 4 * (PARAMETERS + EMBEDDING)
    assert option(path, "16xh100", (16, 1, 1)).link_s == pytest.approx(
        gradients * 7 / 8 / 450e9 + gradients / 8 / 2 / 50e9
    )


def test_planned_bytes_of_two_slices_are_those_of_the_compiled_program(plan):
    configured = plan["configured"]
    program = configured["compiled"]
    assert (configured["data"], configured["fsdp"], configured["tensor"]) == (4, 2, 1)
    assert (configured["params"], configured["opt_state"]) == (program["params"], program["opt_state"])


def test_a_plan_says_what_crosses_and_what_starts_it(plan):
    text = render(plan)
    assert "2xv5e-4: 8 device(s) of 16 GB in 2 slices, " in text
    sent = plan["best"]["crossing"]
    assert (
        f"between    the 2 slices each device sends {sent / 1e6:.4g} MB a step, " in text and " at 3.125 GB/s" in text
    )
    assert "with       mesh.data=" in text and text.endswith("by         tpu-vm --accelerator v5litepod-4 --slices 2")


def test_where_the_speed_between_slices_is_not_published_the_plan_says_that_the_time_is_without(plan, path):
    v4 = option(path, "2xv4-16", (16, 1, 1))
    near = 2 * 4 * (PARAMETERS + EMBEDDING) * 7 / 8 / 150e9
    assert v4.crossing > 0 and v4.link_s == pytest.approx(near)
    unknown = copy.deepcopy(plan)
    unknown["devices"]["accelerator"] |= {"node_link": None, "kind": "TPU v4"}
    assert "MB a step, at a speed that is not published for TPU v4: the time is WITHOUT it" in render(unknown)


def test_a_number_of_slices_that_is_not_that_of_the_devices_is_refused(path):
    with pytest.raises(UserError, match=r"^mesh\.slices: 3, but 2xv5e-8 are 2 slices; say auto$"):
        main(["plan", path, "mesh.slices=3", "--devices", "2xv5e-8"])


SENDS = """
import math, re, sys
import jax
from launch.plan import memory, topologies
from train import config as configuration
from train.parallel.mesh import make_mesh

jax.config.update("jax_platforms", "cpu")
config = configuration.load(sys.argv[1], ["model.compute_dtype=bfloat16", "mesh.data=4", "mesh.fsdp=2"])
devices = topologies.devices("2xv5e:2x2")
mesh = make_mesh(config.mesh, devices)
with jax.default_device(devices[0]), jax.set_mesh(mesh):
    program, arguments = memory.step_program(config, mesh, vocabulary_size=0)
    text = program.update.trace(*arguments).lower(lowering_platforms=("tpu",)).compile().as_text()
sends = re.findall(r"= \\((?:f32|s32)\\[([\\d,]+)\\][^=]* send\\(.*megascale", text)
print(sum(4 * math.prod(map(int, shape.split(","))) for shape in sends))
"""


@pytest.mark.needs_libtpu
def test_what_is_planned_to_cross_slices_is_what_a_tpus_program_sends(plan, path):
    environment = os.environ | {"PYTHONPATH": f"{programs.libtpu()}:{REPOSITORY}"}
    done = subprocess.run([sys.executable, "-c", SENDS, path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    planned = plan["configured"]["crossing"]
    assert planned <= int(done.stdout) <= 1.05 * planned, "small arrays are rounded up to whole tiles"
