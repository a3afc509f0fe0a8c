"""Logical axes: one table from the axes of parameters and activations to those of the mesh.

    data     copies of the model, each with its part of the batch
    fsdp     parts of parameters and optimizer state; each device of it also has its part of the batch
    tensor   parts of heads, MLP and vocabulary (Shoeybi et al. 2019, arXiv 1909.08053)

A parameter's or an activation's axes have names; the table says how each is sharded. Nothing else in the code names mesh axes.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import PartitionSpec

if TYPE_CHECKING:
    pass


RULES: dict[str, tuple[str, ...]] = {
    # of parameters
    "vocab": ("tensor",),
    "mlp": ("tensor",),
    "joined_kv": ("tensor",),  # heads x head_dim
    "heads": ("tensor",),
    "embed": ("fsdp",),
    "layers": (),
    "virtual": (),  # tokens of soft prompts
    "rank": (),  # of what a fine-tuning method adds: few
    "position_buckets": (),
    # of activations
    "batch": ("data", "fsdp"),
    "length": (),
}


def spec(axes: Sequence[str | None]) -> PartitionSpec:
    """Logical axes -> partition of an array, by the table."""
    return PartitionSpec(*(RULES[name] or None if name else None for name in axes))


def constrain(x: jax.Array, axes: Sequence[str | None]) -> jax.Array:
    """Pins an activation's layout by its logical axes. Does nothing where no mesh is set (a single device, a test)."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, spec(axes))


def shards(axis: str) -> int:
    """In how many parts the mesh that is set cuts a logical axis; 1 where none is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return math.prod(mesh.shape[name] for name in RULES[axis]) if not mesh.empty else 1


def on_each_device(
    function: Callable[..., jax.Array],
    *,
    arguments: Sequence[Sequence[str | None] | None],
    result: Sequence[str | None],
) -> Callable[..., jax.Array]:
    """`function` on each device of the mesh that is set, for its own part of each argument: for kernels, which XLA cannot cut up.

    Args:
      arguments: logical axes of each; None for one that is None. Rows that the devices along `batch` cannot share evenly (one
        example for the Fisher information) lie whole on each.
      result: its logical axes. What an argument has whole on several devices gets the sum of their gradients.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return function

    def run(*values: Any) -> jax.Array:
        rows = {
            x.shape[0] for x, axes in zip(values, arguments, strict=True) if axes is not None and axes[0] == "batch"
        }
        uneven = any(count % shards("batch") for count in rows)

        def place(axes: Sequence[str | None]) -> PartitionSpec:
            return spec([None if uneven and name == "batch" else name for name in axes])

        places = tuple(None if axes is None else place(axes) for axes in arguments)
        return jax.shard_map(function, in_specs=places, out_specs=place(result), check_vma=False)(*values)

    return run
