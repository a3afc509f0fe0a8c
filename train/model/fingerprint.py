"""Fingerprints of weights: a number for each tensor, the same wherever and however it is sharded.

They are taken of what is read, before anything is computed from it: the last bits of a sum depend on how it is sharded.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from train.model.t5 import Params
from train.trees import flat

Prints = dict[str, str]  # name of what was read, as the path of a parameter -> eight hexadecimal digits


def fingerprint(params: Params) -> Prints:
    """Path of each parameter -> eight hexadecimal digits that change with any bit of it, or the place of any number."""
    return {path: f"{int(number):08x}" for path, number in _hashes(flat(params)).items()}


def different(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Paths of parameters that are not in both, or not the same."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def named(changed: list[str]) -> str:
    """The first of the tensors that `different` found, and how many more."""
    more = f" and {len(changed) - 1} more tensors" if len(changed) > 1 else ""
    return f"{changed[0]}{more} differ(s)"


def digest(*contents: bytes) -> str:
    """Eight hexadecimal digits that change with any bit of the contents, or where one ends."""
    found = hashlib.sha256()
    for content in contents:
        found.update(len(content).to_bytes(8, "little") + content)
    return found.hexdigest()[:8]


def note(read: Prints | None, found: Mapping[str, str]) -> None:
    """Adds fingerprints to those of what was read before. A name that is there already stands for both from now on."""
    if read is not None:
        for name, number in found.items():
            read[name] = digest(read[name].encode(), number.encode()) if name in read else number


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
