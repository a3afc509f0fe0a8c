"""The memory that a train step needs, before there are devices: from shapes, and from compiling it for simulated ones.

Nothing is allocated, no weights or data are read.

What is exact: parameters, optimizer state and gradients. They are the arrays that the train step is given, on the shardings
that a run uses. What is kept for the backward pass is read off the traced program, as JAX decides it (`jax.checkpoint`
included). The compiled program's temporary memory is exact for what it was compiled for: CPUs, or TPUs and GPUs where their
compilers are installed (launch/plan/topologies.py). XLA lays memory out and fuses otherwise on GPUs and TPUs, and a CPU computes
bfloat16 products through float32 copies, so a program for CPUs gives for those a figure of the right size that is mostly too
high.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from launch.plan import topologies
from t5x_tasks.common.errors import UserError
from t5x_tasks.prepare.data_config import Lengths
from train.anchor import anchor_shapes
from train.config import Config, MeshConfig
from train.hardware import PEAK_FLOPS
from train.model.axes import spec
from train.model_spec import open_model, t5_config
from train.optimizer import make_optimizer, make_schedule, widened
from train.parallel.mesh import check_cut, check_model_fits, make_mesh
from train.program import Program
from train.state import state_shapes

_ENCODER = ("encoder_input_tokens", "encoder_segment_ids", "encoder_positions")


_DECODER = ("decoder_input_tokens", "decoder_target_tokens", "decoder_segment_ids", "decoder_positions")


# Rows of the traced batch: a number that no other axis has, so that arrays with a row for each example are known by it.
_ROWS = 1009


def step_program(config: Config, mesh: Mesh, *, vocabulary_size: int) -> tuple[Program, tuple[Any, ...]]:
    """The program that a run compiles, and the shapes that its update is called with. Use it under `jax.set_mesh(mesh)`.

    Raises:
      UserError: the mesh cannot divide the model or the batch, or the lengths are not known without the data.
    """
    program = Program.of(config, open_model(config, vocabulary_size, mesh), total_steps=config.train.steps or 1)
    return program, (program.state, program.frozen, _batch_shapes(config, mesh), program.anchor)


def _batch_shapes(config: Config, mesh: Mesh) -> dict[str, Any]:
    lengths, parts = _lengths(config), config.train.grad_accumulation
    place = NamedSharding(mesh, PartitionSpec(None, *spec(("batch",))))
    sizes = dict.fromkeys(_ENCODER, lengths.inputs) | dict.fromkeys(_DECODER, lengths.targets)

    def of(rows: int) -> dict[str, Any]:
        shapes = {name: (parts, rows // parts, length) for name, length in sizes.items()}
        return {name: jax.ShapeDtypeStruct(shape, jnp.int32, sharding=place) for name, shape in shapes.items()}

    replayed = config.replay.rows(config.train.batch_size)
    return of(config.train.batch_size - replayed) | ({"replay": of(replayed)} if replayed else {})


def _lengths(config: Config) -> Lengths:
    if config.data.lengths == "auto":
        raise UserError("data.lengths: auto needs the data; say data.lengths='{inputs: 512, targets: 128}'")
    return config.data.lengths


def compile_step(config: Config, mesh: Mesh, *, vocabulary_size: int) -> dict[str, int]:
    """Compiles the train step for a mesh and returns bytes per device.

    `params`, `frozen` (with a regulariser's anchor), `opt_state` and `batch` are what the compiled program takes of each, by
    the shardings that it was compiled with; `arguments` is what it says itself, `temporary` what it needs besides while it
    runs, `peak` all together.
    """
    with jax.set_mesh(mesh):
        program, arguments = step_program(config, mesh, vocabulary_size=vocabulary_size)
        platform = mesh.devices.flat[0].platform
        platforms = ("cuda" if platform == "gpu" else platform,)
        compiled = program.update.trace(*arguments).lower(lowering_platforms=platforms).compile()
    memory = compiled.memory_analysis()
    places, frozen, batch, anchor = compiled.input_shardings[0]
    _, _, rows, _ = arguments
    sizes = {
        "params": _bytes(program.state.params, places.params),
        "opt_state": _bytes(program.state.opt_state, places.opt_state),
        "frozen": _bytes(program.frozen, frozen) + _bytes(program.anchor, anchor),
        "batch": _bytes(rows, batch),
    }
    taken = memory.argument_size_in_bytes
    new = memory.output_size_in_bytes - memory.alias_size_in_bytes  # the state's memory is given to the new state
    return sizes | {
        "arguments": taken,
        "temporary": memory.temp_size_in_bytes,
        "peak": taken + new + memory.temp_size_in_bytes,
    }


def compile_for(config: Config, topology: str, *, vocabulary_size: int) -> dict[str, int]:
    """`compile_step` by the own compiler of devices that are not here (launch/plan/topologies.py), with their fused attention.

    What does not fit a TPU's memory does not compile: then `peak` alone is known, as the compiler tells it.

    Raises:
      UserError: see `topologies.devices`.
    """
    devices = topologies.devices(topology)
    path = topologies.fused_path(devices) if config.model.attention == "auto" else config.model.attention
    config = config.model_copy(update={"model": config.model.model_copy(update={"attention": path})})
    slices = 1 if config.mesh.slices == 1 else "auto"  # a number may mean processes, and those of a run are others
    mesh = make_mesh(config.mesh.model_copy(update={"slices": slices}), devices)
    try:
        with jax.default_device(devices[0]):  # kernels ask it what they are for
            return compile_step(config, mesh, vocabulary_size=vocabulary_size)
    except jax.errors.JaxRuntimeError as error:
        if (needed := topologies.needed_memory(str(error))) is None:
            raise
        return {"peak": needed}


def _bytes(shapes: Any, places: Any) -> int:
    """Bytes on one device. Where the program does not use an argument, it has no sharding and takes no memory."""
    if shapes is None:  # an argument that this program has not
        return 0
    leaves = jax.tree.leaves(shapes)
    found = jax.tree.leaves(places, is_leaf=lambda place: place is None)
    return sum(
        math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf, place in zip(leaves, found, strict=True)
        if place is not None
    )


@dataclasses.dataclass(frozen=True)
class Kept:
    """Bytes that a device keeps from the forward for the backward pass, by how they shrink.

    Attributes:
      per_row: of a row, whatever the mesh.
      per_row_cut: of a row, cut by `tensor`.
      weights: copies of the weights in the compute type, cut like the weights.
      widest_row: of a row, the largest array in the program (logits, attention's matrix), cut by `tensor`.
    """

    per_row: float
    per_row_cut: float
    weights: float
    widest_row: float


def trace_kept(config: Config, *, vocabulary_size: int) -> Kept:
    """Reads off the traced train step what its scans over layers stack for their backward passes.

    Two traces with other numbers of rows, and one with the heads, MLP and vocabulary of one of two `tensor` parts, give the
    three terms.
    """
    one, widest = _stacked(config, rows=_ROWS, tensor=1, vocabulary_size=vocabulary_size)
    two, _ = _stacked(config, rows=2 * _ROWS, tensor=1, vocabulary_size=vocabulary_size)
    per_row = (two - one) / _ROWS
    weights = one - per_row * _ROWS
    whole = per_row
    if config.model.sizes()["num_heads"] % 2 == 0:
        half, _ = _stacked(config, rows=_ROWS, tensor=2, vocabulary_size=vocabulary_size)
        whole = max(0.0, min(per_row, (2 * half - one) / _ROWS))
    return Kept(whole, per_row - whole, weights, widest / _ROWS)


def _stacked(config: Config, *, rows: int, tensor: int, vocabulary_size: int) -> tuple[int, int]:
    sizes = config.model.sizes()
    vocab = t5_config(config, vocabulary_size).vocab_size
    cut = {name: sizes[name] // tensor for name in ("num_heads", "mlp_dim")} | {"vocab_size": vocab // tensor}
    # The other paths have loops of their own, which are none over layers.
    local = config.model_copy(
        update={
            "model": config.model.model_copy(update=cut | {"attention": "xla", "scan_layers": True}),
            "train": config.train.model_copy(update={"batch_size": rows, "grad_accumulation": 1}),
        }
    )
    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    with jax.set_mesh(mesh):
        program, arguments = step_program(local, mesh, vocabulary_size=0)
        jaxpr = jax.make_jaxpr(program.update)(*arguments)
    stacked = widest = 0
    for equation in _equations(jaxpr.jaxpr):
        if equation.primitive.name == "scan" and not equation.params["reverse"]:
            stacked += sum(_size(v) for v in equation.outvars[equation.params["num_carry"] :])
        elif equation.primitive.name != "scan":
            widest = max([widest, *(_size(v) for v in equation.outvars if rows in getattr(v.aval, "shape", ())[:2])])
    return stacked, widest


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)


def _size(variable: Any) -> int:
    aval = variable.aval
    return (
        math.prod(aval.shape) * aval.dtype.itemsize if hasattr(aval, "shape") and hasattr(aval.dtype, "itemsize") else 0
    )


def describe(config: Config, *, devices: int, vocabulary_size: int) -> dict[str, Any]:
    """Everything about a configuration that follows from shapes: sizes, FLOPs, and the bytes per device on each mesh."""
    whole = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    with jax.set_mesh(whole):
        model = open_model(config, vocabulary_size, whole)
        model_config = model.config
        optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, 1), model.split(model.axes)[0])
        shapes = state_shapes(model, optimizer)
    frozen, anchor = model.split(model.shapes)[1], anchor_shapes(config, shapes.params)
    embedding = shapes.params.get("embedding")
    lengths = _lengths(config)
    rows = config.train.batch_size
    # Every row full, of one example: no more can be in a batch.
    stats = {"input_tokens": rows * lengths.inputs, "target_tokens": rows * lengths.targets}
    stats |= {"encoder_pairs": rows * lengths.inputs**2, "decoder_pairs": rows * lengths.targets**2}
    stats |= {"cross_pairs": rows * lengths.inputs * lengths.targets}

    def place(mesh: AbstractMesh, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.update(sharding=NamedSharding(mesh, leaf.sharding.spec)), tree)

    def on(mesh: AbstractMesh, tree: Any) -> int:
        return _bytes(tree, jax.tree.map(lambda leaf: leaf.sharding, place(mesh, tree)))

    flops = model.flops()
    held = {"params": shapes.params, "frozen": (frozen, anchor or {}), "opt_state": shapes.opt_state}
    held["summed"] = widened(shapes.params)  # the sum of several parts' gradients
    meshes = []
    for axes in _meshes(devices):
        mesh: Any = _abstract(*axes)
        if config.mesh.slices != "auto" and axes[0] % config.mesh.slices:
            continue
        try:
            check_model_fits(mesh, model_config)
            check_cut(mesh, place(mesh, (shapes, frozen)))
        except UserError:
            continue
        sizes = {name: on(mesh, tree) for name, tree in held.items()}
        meshes.append(dict(zip(("data", "fsdp", "tensor"), axes, strict=True)) | sizes)
    kept = {}
    for remat in sorted({config.model.remat, "layer"}):
        model_section = config.model.model_copy(update={"remat": remat})
        traced = trace_kept(config.model_copy(update={"model": model_section}), vocabulary_size=vocabulary_size)
        kept[remat] = dataclasses.asdict(traced)
    return {
        "parameters": sum(x.size for x in jax.tree.leaves(model.shapes)),
        "trained": sum(x.size for x in jax.tree.leaves(shapes.params)),
        "embedding": 0 if embedding is None else embedding.size,  # of what is trained
        "compute_dtype": model_config.compute_dtype.name,
        "sizes": {**config.model.sizes(), "vocab_size": model_config.vocab_size},
        "lengths": [lengths.inputs, lengths.targets],
        "flops": flops.update(stats),
        "forward_flops": flops.forward(stats),
        "peak_flops": PEAK_FLOPS,
        "meshes": meshes,
        "kept": kept,
    }


def _abstract(data: int, fsdp: int, tensor: int) -> Any:
    return AbstractMesh((data, fsdp, tensor), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def _meshes(devices: int) -> Iterator[tuple[int, int, int]]:
    for tensor in (n for n in range(1, devices + 1) if devices % n == 0):
        for fsdp in (n for n in range(1, devices // tensor + 1) if devices // tensor % n == 0):
            yield devices // tensor // fsdp, fsdp, tensor
