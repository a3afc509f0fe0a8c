"""The device mesh: building it, placing parameters, optimizer state and batches on it, and checks that all fit."""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from t5x_tasks.common.errors import UserError
from train.config import MeshConfig, TrainConfig

if TYPE_CHECKING:
    from train.model.t5 import T5Config
from train.model.axes import spec

REPLICATED_LIMIT = 4 * 2**20  # bytes on a device, of what need not be cut by fsdp


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Makes the mesh (data, fsdp, tensor) over all devices; over several slices, with each of these whole inside `data`.

    Raises:
      UserError: the axes do not multiply to the number of devices, or `data` not to slices.
    """
    devices = jax.devices() if devices is None else devices
    axes = {"data": config.data, "fsdp": config.fsdp, "tensor": config.tensor}
    known = math.prod(size for size in axes.values() if size > 0)
    sizes = [size if size > 0 else len(devices) // known for size in axes.values()]
    if math.prod(sizes) != len(devices):
        asked = " x ".join(f"{name} {size}" for name, size in axes.items())
        raise UserError(
            f"mesh: {asked} does not fit the {len(devices)} device(s) here; the three must multiply to {len(devices)}"
        )
    # Auto axes: with explicit ones (the default of jax.make_mesh) a gather of the sharded embedding is an error.
    types = (AxisType.Auto,) * len(axes)
    seen = len({getattr(device, "slice_index", 0) for device in devices})
    slices = seen if config.slices == "auto" else config.slices
    if seen == slices == 1:
        return jax.make_mesh(tuple(sizes), tuple(axes), axis_types=types, devices=devices)
    if slices == 1:  # as the user wants it: jax.make_mesh refuses several slices
        return Mesh(np.array(devices, object).reshape(sizes), tuple(axes), axis_types=types)
    processes = len({device.process_index for device in devices})
    if slices not in (seen, processes):
        raise UserError(
            f"mesh.slices: {slices}, but the devices here are {seen} slice(s), of {processes} process(es); say auto"
        )
    data, *inside = sizes
    if data % slices:
        raise UserError(
            f"mesh: {slices} slices, and data {data} is no multiple of that; only copies of the model go across slices, as the "
            f"links between them are slow: choose mesh.data={slices} or a multiple (mesh.slices=1: as if there were one)"
        )
    laid_out = mesh_utils.create_hybrid_device_mesh(
        (data // slices, *inside), (slices, 1, 1), devices,
        # JAX numbers TPU slices, and GPUs by the links that join them; where it sees one, a process's devices are one.
        process_is_granule=slices != seen,
        allow_split_physical_axes=devices[0].platform == "tpu",
    )  # fmt: skip
    return Mesh(laid_out, tuple(axes), axis_types=types)


def check_model_fits(mesh: Mesh, model: "T5Config") -> None:
    """Raises UserError when the mesh cannot divide the model evenly, before anything is compiled."""
    tensor, fsdp = mesh.shape["tensor"], mesh.shape["fsdp"]
    for axis, size, of in (
        ("tensor", tensor, "num_heads"),
        ("tensor", tensor, "mlp_dim"),
        ("tensor", tensor, "vocab_size"),
        ("fsdp", fsdp, "emb_dim"),
    ):
        if (whole := getattr(model, of)) % size:
            raise UserError(f"mesh.{axis}={size}: does not divide the model's {of}={whole}; choose a divisor of it")


def check_cut(mesh: Mesh, shapes: Any) -> None:
    """Raises UserError when something large lies whole on every device of `fsdp`, which is there to cut it.

    Args:
      shapes: tree of arrays' shapes with their shardings: parameters, optimizer state.
    """
    if mesh.shape["fsdp"] == 1:
        return
    whole = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        here = math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        cut_by = {axis for part in leaf.sharding.spec for axis in (part if isinstance(part, tuple) else (part,))}
        if here > REPLICATED_LIMIT and "fsdp" not in cut_by:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            whole.append(f"{name} {list(leaf.shape)}, {here / 2**20:.1f} MiB")
    if whole:
        raise UserError(
            f"mesh.fsdp={mesh.shape['fsdp']}: {'; '.join(whole)}: whole on each device; name one of its axes `embed` in its "
            "logical_axes (the table is RULES in train/parallel/mesh.py)"
        )


def check_batch_fits(mesh: Mesh, config: TrainConfig, *, replayed: int = 0) -> None:
    """Raises UserError when a part of the batch, or its `replayed` rows, cannot be dealt evenly to the devices."""
    rows, parts = mesh.shape["data"] * mesh.shape["fsdp"], config.grad_accumulation
    if replayed % (rows * parts):
        raise UserError(
            f"replay.rate: {replayed} of train.batch_size={config.batch_size} rows are replayed, no multiple of mesh data x "
            f"fsdp x train.grad_accumulation = {rows * parts}; take {rows * parts / config.batch_size:g} or a multiple of it"
        )
    if (microbatch := config.batch_size // parts) % rows:
        raise UserError(
            f"train.batch_size: {config.batch_size} rows in {parts} part(s) give {microbatch} rows a part, no multiple of "
            f"mesh data x fsdp = {rows}; choose a multiple of {rows * parts}"
        )


def param_shardings(mesh: Mesh, axes: Any) -> Any:
    """Tree of logical axes -> tree of shardings."""
    return jax.tree.map(lambda a: NamedSharding(mesh, spec(a)), axes, is_leaf=lambda a: isinstance(a, tuple))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def optimizer_shardings(mesh: Mesh, opt_state: Any, params: Any, shardings: Any) -> Any:
    """Shardings of an optimizer's state: what has the name and shape of a parameter lies where the parameter lies.

    Optax keeps trees of the parameters' structure inside its state, so a leaf's path ends with its parameter's path.
    Adafactor's row and column statistics keep the axes of the parameter that they still have.
    """
    known = {}
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    for (path, leaf), sharding in zip(leaves, jax.tree.leaves(shardings), strict=True):
        known[tuple(str(k) for k in path)] = (leaf.shape, sharding)
    longest = max(len(path) for path in known)

    def place(path: Any, leaf: Any) -> NamedSharding:
        names = tuple(str(k) for k in path)
        for start in range(max(0, len(names) - longest), len(names)):
            if names[start:] in known:
                shape, sharding = known[names[start:]]
                return NamedSharding(mesh, _reduced_spec(leaf.shape, shape, sharding.spec))
        return replicated(mesh)

    return jax.tree_util.tree_map_with_path(place, opt_state)


def _reduced_spec(shape: tuple[int, ...], full: tuple[int, ...], full_spec: PartitionSpec) -> PartitionSpec:
    """Partition of an array whose shape is that of a parameter, or the parameter's without one axis."""
    parts = tuple(full_spec) + (None,) * (len(full) - len(full_spec))
    if shape == full:
        return PartitionSpec(*parts)
    dropped = [i for i in range(len(full)) if full[:i] + full[i + 1 :] == shape]
    if len(dropped) == 1:
        return PartitionSpec(*(parts[: dropped[0]] + parts[dropped[0] + 1 :]))
    return PartitionSpec()


class Share(NamedTuple):
    """The part of a global batch that a process reads: slice `index` of `count` equal ones."""

    index: int
    count: int


WHOLE = Share(0, 1)


@functools.lru_cache
def batch_share(mesh: Mesh) -> Share:
    """The rows that this process's devices compute on.

    Processes that share the rows' devices only along `tensor` read the same rows; one whose devices are here and there in the
    batch reads all of it.
    """
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    mine = NamedSharding(mesh, spec(("batch",))).addressable_devices_indices_map((shards,))
    starts = sorted({index[0].indices(shards)[0] for index in mine.values() if index is not None})
    here = len(starts)
    if starts[-1] - starts[0] + 1 == here and starts[0] % here == 0 and shards % here == 0:
        return Share(starts[0] // here, shards // here)
    return Share(0, 1)


def global_batch(mesh: Mesh, batch: dict[str, Any], *, parts: int) -> dict[str, Any]:
    """This process's rows, its `batch_share`, -> global arrays `[parts, rows / parts, length]`, cut over the mesh's batch axes.

    A batch may hold another, of other rows, under a key (train/data/replay.py).

    `parts` is the number of gradient-accumulation steps. Row r of the global batch is row r // parts of part r % parts,
    whatever the number of processes: a process's contiguous rows then are a contiguous slice of each part.
    """
    sharding, share = NamedSharding(mesh, PartitionSpec(None, *spec(("batch",)))), batch_share(mesh)

    def place(rows: np.ndarray) -> jax.Array:
        mine = rows.reshape(-1, parts, *rows.shape[1:]).swapaxes(0, 1)
        shape = (parts, mine.shape[1] * share.count, *mine.shape[2:])
        first = mine.shape[1] * share.index

        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            start, stop, _ = index[1].indices(shape[1])
            return mine[:, start - first : stop - first]

        return jax.make_array_from_callback(shape, sharding, part)

    return jax.tree.map(place, batch)
