"""How devices are named: on the command line, by the compilers, and where more of them are offered."""

import pytest

from launch.plan.accelerators import gpu_topology, more_of, parse_devices, topology_chips, tpu_topology
from t5x_tasks.common.errors import UserError


@pytest.mark.parametrize(
    ("name", "count", "more", "slices"),
    [("8xh100", 64, "64xh100", 8), ("v5e-16", 64, "v5e-64", 1), ("v5e-16", 2048, "8xv5e-256", 8),
     ("3xv5e-64", 384, "3xv5e-128", 3), ("4xv5e-64", 512, "2xv5e-256", 2),
     ("v5p-16", 32, "v5p-64", 1), ("v4-8", 4096, "2xv4-4096", 2)],
)  # fmt: skip
def test_more_devices_are_named_as_they_are_planned_and_booked(name, count, more, slices):
    found = more_of(parse_devices(name), count)
    assert (found.name, found.count, found.slices) == (more, count, slices)
    assert parse_devices(found.name) == found


@pytest.mark.parametrize(
    ("name", "topology"),
    [
        ("v5e-1", "v5e:1x1"),
        ("v5e-8", "v5e:2x4"),
        ("v6e-64", "v6e:8x8"),
        ("v5p-16", "v5p:2x2x2"),
        ("v5p-32", "v5p:2x2x4"),
        ("2xv5e-8", "2xv5e:2x4"),
        ("4xv5p-16", "4xv5p:2x2x2"),
    ],
)
def test_slices_have_the_shape_that_the_compiler_knows_them_by(name, topology):
    assert tpu_topology(parse_devices(name)) == topology


def test_gpus_have_the_name_that_the_compiler_knows_them_by():
    assert gpu_topology(parse_devices("16xh200")) == "h200:16"


@pytest.mark.parametrize(
    ("text", "count", "kind"),
    [
        ("8xh100", 8, "NVIDIA H100"),
        ("v5e-64", 64, "TPU v5e"),
        ("v5litepod-16", 16, "TPU v5e"),
        ("v5p-16", 8, "TPU v5p"),
        ("v4-384", 192, "TPU v4"),
        ("8xv6e", 8, "TPU v6"),
        ("cpu-8", 8, "cpu"),
    ],
)
def test_devices_are_named_as_people_name_them(text, count, kind):
    devices = parse_devices(text)
    assert (devices.count, devices.accelerator.kind) == (count, kind)


@pytest.mark.parametrize(
    ("text", "count", "slices", "launcher"),
    [
        ("4xv5e-64", 256, 4, "tpu-vm --accelerator v5litepod-64 --slices 4"),
        ("2xv5litepod-16", 32, 2, "tpu-vm --accelerator v5litepod-16 --slices 2"),
        ("2xv5p-16", 16, 2, "tpu-vm --accelerator v5p-16 --slices 2"),
        ("1xv5e-8", 8, 1, None),
        ("8xv5e", 8, 1, None),
        ("8xh100", 8, 1, None),
        ("16xh100", 16, 2, "slurm --nodes 2 --gpus 8"),
        ("12xa100", 12, 2, "slurm --nodes 2 --gpus 6"),
        ("cpu-16", 16, 1, None),
    ],
)
def test_slices_and_nodes_are_told_apart_and_launched_as_they_were_planned(text, count, slices, launcher):
    devices = parse_devices(text)
    assert (devices.count, devices.slices, devices.launcher) == (count, slices, launcher)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8xh1000", "did you mean h100"),
        ("h100", r"write 8xh100, v5e-64, 4xv5e-64 \(slices\) or cpu-8"),
        (
            "v5p-3",
            r"there is no such slice; there are v5p-8, v5p-16, v5p-32, v5p-64 and multiples of 128 up to v5p-12288 \(2 ",
        ),
        ("v5p-24", "no such slice"),
        ("v4-8192", "multiples of 128 up to v4-6144"),
        ("v5e-7", "there are v5e-1, v5e-4, v5e-8, v5e-16, v5e-32, v5e-64, v5e-128, v5e-256\\."),
        ("v6e-512", "no such slice; .*Several slices are written 2xv6e-256$"),
        ("v5e-1024", "Several slices are written 4xv5e-256$"),
        ("4xv5e-7", "no such slice"),
        ("0xv5e-64", "there must be 1 slice or more, as in 4xv5e-64"),
        ("2xh100-8", "only TPUs are in slices; write 16xh100 for two nodes"),
        ("2xcpu-8", "only TPUs are in slices"),
        ("v6e-0", "no such slice"),
        ("3xv5e", "no such slice"),
        ("0xh100", "there must be 1 or more, as in 1xh100, 8xh100"),
        ("cpu-0", "there must be 1 or more"),
    ],
)
def test_unknown_devices_are_an_error_that_says_which_there_are(text, message):
    with pytest.raises(UserError, match=message):
        parse_devices(text)


@pytest.mark.parametrize(
    ("tpu", "topology", "chips"),
    [("v5e", "1x1", 1), ("v6e", "16x16", 256), ("v4", "2x2x1", 4), ("v5p", "2x4x4", 32), ("v5p", "4x4x12", 192),
     ("v4", "12x16x16", 3072), ("v5p", "16x16x24", 6144)],
)  # fmt: skip
def test_topologies_that_a_tpu_has(tpu, topology, chips):
    assert topology_chips(tpu, topology) == chips


@pytest.mark.parametrize(
    ("tpu", "topology"),
    [("v5e", "5x5"), ("v5e", "4x2"), ("v5e", "2x2x2"), ("v6e", "16x32"), ("v5p", "4x4"), ("v5p", "1x1x1"), ("v5p", "4x2x2"),
     ("v5p", "8x4x4"), ("v5p", "4x4x6"), ("v4", "16x16x16"), ("v5p", "0x0x0"), ("v5p", "16x16x28")],
)  # fmt: skip
def test_topologies_that_a_tpu_has_not_are_refused_with_those_that_it_has(tpu, topology):
    known = "1x1, 2x2, 2x4, 4x4" if tpu in ("v5e", "v6e") else "2x2x1, 2x2x2, 2x2x4, 2x4x4 and AxBxC of multiples of 4"
    with pytest.raises(
        UserError, match=f"^--topology: {topology}: {tpu} has no such slice; its topologies are {known}"
    ):
        topology_chips(tpu, topology)
