"""Parameters kept in bfloat16: the optimizer works in float32, and what it gives is rounded up or down by chance.

An update is often smaller than the distance to the next bfloat16, a 256th: rounded to the nearest, the parameter would never
move. Rounded up with the probability of how far it is on the way up, it moves on average as it should (Gupta et al. 2015,
arXiv 1502.02551; for bfloat16 training: Zamirai et al. 2020, arXiv 2010.06192).
"""

from typing import Any

import jax
import jax.numpy as jnp

_CUT = 16  # bits of a float32's mantissa that bfloat16 lacks


def widened(tree: Any) -> Any:
    """Arrays or shapes of a tree in float32; shapes keep their shardings."""

    def widen(x: Any) -> Any:
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(x.shape, jnp.promote_types(x.dtype, jnp.float32), sharding=x.sharding)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    return jax.tree.map(widen, tree)


def narrowed(tree: Any, like: Any, key: jax.Array) -> Any:
    """Float32 arrays in the types of `like`'s, those in bfloat16 rounded by chance. For jit: drawing is not free."""
    leaves, structure = jax.tree.flatten(tree)
    narrow = [
        stochastic_round(x, jax.random.fold_in(key, number)) if old.dtype == jnp.bfloat16 else x.astype(old.dtype)
        for number, (x, old) in enumerate(zip(leaves, jax.tree.leaves(like), strict=True))
    ]
    return jax.tree.unflatten(structure, narrow)


def stochastic_round(x: jax.Array, key: jax.Array) -> jax.Array:
    """Float32 -> bfloat16, one of the two neighbours, with the mean of `x`; what is no number stays none."""
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) + noise
    # The upper half of a float32's bits is the bfloat16 towards zero.
    rounded = jax.lax.bitcast_convert_type((bits >> _CUT).astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), rounded, x.astype(jnp.bfloat16))
