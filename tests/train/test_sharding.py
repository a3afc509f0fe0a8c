"""The table of rules: what lies where on a mesh, and what a mesh cannot take."""

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, AxisType

from t5x_tasks.common.errors import UserError
from train.config import AdafactorConfig, AdamWConfig, MeshConfig, TrainConfig
from train.methods import Method
from train.model.t5 import T5Config
from train.model_spec import ModelSpec
from train.optimizer import make_optimizer, make_schedule
from train.parallel.mesh import check_batch_fits, check_model_fits, make_mesh
from train.state import state_shapes
from train.trees import flat

REPOSITORY = Path(__file__).parent.parent.parent
SMALL = T5Config(
    vocab_size=128, emb_dim=16, mlp_dim=32, num_heads=2, head_dim=8, num_encoder_layers=2, num_decoder_layers=2
)

EIGHT_HEADS = dataclasses.replace(SMALL, vocab_size=512, emb_dim=64, mlp_dim=128, num_heads=8)
MESHES = [(d, f, t) for d in (1, 2, 4, 8) for f in (1, 2, 4, 8) for t in (1, 2, 4, 8) if d * f * t == 8]


def test_on_every_mesh_a_device_holds_its_share_of_parameters_and_optimizer_state():
    """Kernels, embedding and head are cut by fsdp and tensor, norms by fsdp, position biases by tensor."""
    for _, fsdp, tensor in MESHES:
        model = ModelSpec.on(abstract(8 // fsdp // tensor, fsdp, tensor), EIGHT_HEADS)
        share = 0.0
        for path, leaf in flat(model.shapes).items():
            share += 4 * leaf.size / (fsdp if "norm" in path else tensor if "bias" in path else fsdp * tensor)
        for optimizer, copies in ((AdamWConfig(), 3), (AdafactorConfig(), 2)):
            state = state_shapes(model, make_optimizer(optimizer, make_schedule(optimizer, 10), model.axes))
            leaves = jax.tree.leaves((state.params, state.opt_state))
            held = sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)
            assert held == pytest.approx(copies * share, rel=0.02)


def test_meshes_give_the_same_losses_with_remat_and_accumulation_and_hold_their_share():
    """In a process of its own, for the number of devices is fixed at its start."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.meshes", "--quick"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok\n") == 2


def test_a_mesh_that_does_not_fit_the_devices_is_an_error_that_counts_them():
    with pytest.raises(UserError, match=r"mesh: data 3 x fsdp 1 x tensor 1 does not fit the 2 device"):
        make_mesh(MeshConfig(data=3), [*jax.devices()[:1]] * 2)
    with pytest.raises(UserError, match=r"data -1 x fsdp 3 x tensor 1 does not fit the 2"):
        make_mesh(MeshConfig(fsdp=3), [*jax.devices()[:1]] * 2)


@pytest.mark.parametrize(
    ("axes", "batch", "message"),
    [
        ({"tensor": 4}, 8, r"mesh\.tensor=4: does not divide the model's num_heads=2"),
        ({"fsdp": 3}, 9, r"mesh\.fsdp=3: does not divide the model's emb_dim=16"),
        (
            {"data": 4},
            6,
            r"train\.batch_size: 6 rows in 1 part\(s\) give 6 rows a part, no multiple of mesh data x fsdp = 4",
        ),
    ],
)
def test_sizes_that_the_mesh_cannot_divide_are_named(axes, batch, message):
    class Mesh:
        shape = {"data": 1, "fsdp": 1, "tensor": 1} | axes

    with pytest.raises(UserError, match=message):
        check_model_fits(Mesh(), SMALL)  # pyright: ignore[reportArgumentType]
        check_batch_fits(Mesh(), TrainConfig(steps=1, batch_size=batch))  # pyright: ignore[reportArgumentType]


class WithTable(Method):
    """Adds a table of 4 MiB and one row more, whose axes the rules of this test name."""

    type: str = "with_table"
    axes: tuple[str, str] = ("virtual", "rank")

    def extend(self, model, rngs):
        table = nnx.Param(jnp.zeros((2**10 + 1, 2**10)), logical_axes=self.axes)
        setattr(model, "table", table)  # noqa: B010 (no attribute that pyright knows)


@pytest.mark.parametrize(
    ("axes", "mesh"),
    [(("virtual", "rank"), (8, 1, 1)), (("virtual", "embed"), (1, 8, 1)), (("virtual", "mlp"), (1, 4, 2))],
)
def test_what_is_cut_or_has_no_fsdp_to_cut_it_may_be_large(axes, mesh):
    ModelSpec.on(abstract(*mesh), SMALL, WithTable(axes=axes))


def test_a_large_parameter_that_fsdp_leaves_whole_is_named():
    with pytest.raises(UserError, match=r"mesh\.fsdp=8: table \[1025, 1024\], 4\.0 MiB: whole on each device"):
        ModelSpec.on(abstract(1, 8, 1), SMALL, WithTable())


def abstract(data: int, fsdp: int, tensor: int):
    mesh = AbstractMesh((data, fsdp, tensor), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    return jax.tree.map(lambda x: x, mesh)  # typed as any mesh


@dataclasses.dataclass(frozen=True)
class Device:
    """A device as `make_mesh` sees it: number, process, slice (as JAX says it of TPUs and GPUs)."""

    id: int
    process_index: int
    slice_index: int
    platform: str = "gpu"
    device_kind: str = "of a test"


SLICED = [Device(id=n, process_index=n // 2, slice_index=n // 4) for n in range(8)]


def test_only_copies_of_the_model_lie_in_several_slices():
    mesh = make_mesh(MeshConfig(data=-1, fsdp=2), SLICED[::-1])
    assert [{device.slice_index for device in row.flat} for row in mesh.devices] == [{0}, {0}, {1}, {1}]
    by_process = make_mesh(MeshConfig(data=4, tensor=2, slices=4), SLICED[::-1])
    assert [{device.process_index for device in row.flat} for row in by_process.devices] == [{0}, {1}, {2}, {3}]
    assert make_mesh(MeshConfig(data=1, fsdp=8, slices=1), SLICED).shape["fsdp"] == 8


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MeshConfig(data=1, fsdp=8), r"mesh: 2 slices, and data 1 is no multiple of that"),
        (MeshConfig(slices=8), r"mesh\.slices: 8, but the devices here are 2 slice\(s\), of 4 process\(es\)"),
    ],
)
def test_a_mesh_that_would_lay_a_copy_across_slices_is_an_error(config, message):
    with pytest.raises(UserError, match=message):
        make_mesh(config, SLICED)
