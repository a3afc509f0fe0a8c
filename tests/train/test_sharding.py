"""The table of rules on eight simulated devices (a process of its own: the number of devices is fixed at its start)."""

import dataclasses
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, AxisType

from t5x_tasks.errors import UserError
from train.config import MeshConfig, TrainConfig
from train.methods import Method
from train.model import T5Config
from train.sharding import check_batch_fits, check_model_fits, make_mesh
from train.state import Model

REPOSITORY = Path(__file__).parent.parent.parent
SMALL = T5Config(
    vocab_size=128, emb_dim=16, mlp_dim=32, num_heads=2, head_dim=8, num_encoder_layers=2, num_decoder_layers=2
)

ON_EIGHT = """
import jax, optax
from tests_support import SMALL
from train.config import AdafactorConfig, MeshConfig
from train.optimizer import make_optimizer, make_schedule
from train.sharding import make_mesh
from train.state import Model, state_shapes
from train.config import AdamWConfig

mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
model = Model.on(mesh, SMALL)
for config in (AdamWConfig(), AdafactorConfig()):
    shapes = state_shapes(model, make_optimizer(config, make_schedule(config, 10), model.axes))
    shares = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path((shapes["params"], shapes["opt_state"]))[0]:
        part = leaf.sharding.shard_shape(leaf.shape)
        shares[jax.tree_util.keystr(path)] = (leaf.size, leaf.size // max(1, __import__("math").prod(part)))
    kernels = {name: share for name, (size, share) in shares.items() if size >= 16 * 16}
    assert kernels and all(share == 4 for share in kernels.values()), kernels
print("ok")
"""


def test_parameters_and_optimizer_state_are_cut_by_fsdp_and_tensor(tmp_path):
    (tmp_path / "tests_support.py").write_text(
        textwrap.dedent(f"""
        from train.model import T5Config
        SMALL = T5Config(**{ {k: v for k, v in SMALL.__dict__.items() if isinstance(v, int) and not isinstance(v, bool)} })
        """)
    )
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": f"{REPOSITORY}:{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "ok", done.stderr


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
    Model.on(abstract(*mesh), SMALL, WithTable(axes=axes))


def test_a_large_parameter_that_fsdp_leaves_whole_is_named():
    with pytest.raises(UserError, match=r"mesh\.fsdp=8: table \[1025, 1024\], 4\.0 MiB: whole on each device"):
        Model.on(abstract(1, 8, 1), SMALL, WithTable())


def abstract(data: int, fsdp: int, tensor: int):
    mesh = AbstractMesh((data, fsdp, tensor), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    return jax.tree.map(lambda x: x, mesh)  # typed as any mesh


@dataclasses.dataclass(frozen=True)
class Device:
    """What `make_mesh` asks of a device: number, process, slice (as JAX says it of TPUs and GPUs)."""

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
