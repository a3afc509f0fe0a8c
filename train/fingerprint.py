"""Fingerprints of weights: a number for each tensor, the same wherever and however it is sharded."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from train.methods.base import flat
from train.model import Params


def fingerprint(params: Params) -> dict[str, str]:
    """Path of each parameter -> eight hexadecimal digits that change with any bit of it, or the place of any number."""
    return {path: f"{int(number):08x}" for path, number in _hashes(flat(params)).items()}


def different(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Paths of parameters that are not in both, or not the same."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


@jax.jit
def _hashes(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return jax.tree.map(_hash, params)


def _hash(x: jax.Array) -> Any:
    """Sum, modulo 2^32, of the bits of each number mixed with its place: no order of summing changes it.

    The mixing is the finaliser of MurmurHash3 (32 bits).
    """
    bits = jax.lax.bitcast_convert_type(x, {2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]).astype(jnp.uint32)
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis, size in enumerate(x.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    h = bits + place * jnp.uint32(0x9E3779B9)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = (h ^ (h >> shift)) * jnp.uint32(factor)
    return jnp.sum(h ^ (h >> 16), dtype=jnp.uint32)
