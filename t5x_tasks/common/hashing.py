"""Hashes that decide what is drawn: the same on every machine, for every version of numpy. Arrays in, arrays out."""

import hashlib

import numpy as np


def example_key(example_id: str) -> int:
    """Returns the 64-bit hash that stands for an example's id wherever it is hashed on."""
    return int.from_bytes(hashlib.blake2b(example_id.encode(), digest_size=8).digest(), "little")


def mix(values: np.ndarray) -> np.ndarray:
    """splitmix64 (Steele, Lea and Flood 2014): a fixed bijection of uint64 in which every bit depends on every other."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def fold(parts: tuple[int | np.ndarray, ...]) -> np.ndarray:
    """Hashes integers into one uint64, shape [1] (numpy warns of the overflow of scalars, not of arrays).

    Parts that are arrays of uint64, all of one shape, give a hash for each of their elements.
    """
    state = np.zeros(1, np.uint64)
    for part in parts:
        state = mix(state ^ (part if isinstance(part, np.ndarray) else np.uint64(part % 2**64)))
    return state
