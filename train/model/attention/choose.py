"""Chooses the path that computes a run's attention: fused on accelerators, where it proves itself; by rows on one CPU.

A fused kernel whose gradient of the bias is missing or wrong trains the wrong model without a word, and such kernels exist (jax's
binding of cuDNN has had one for a batch of one only, jax issue 30593). So `auto` runs the fused path once beside XLA's, on the
device and with the model's own heads, and takes it only if the value and all gradients agree.
"""

import functools
import importlib.util
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from train.log import say
from train.model.attention import Path, attention
from train.model.attention.mask import segment_mask

FUSED: dict[str, tuple[Path, ...]] = {"tpu": ("pallas",), "gpu": ("tokamax", "cudnn")}  # the fastest first


_LENGTHS = ((128, 128, False), (80, 80, True), (80, 128, False))  # encoder, decoder, cross-attention


# Of the difference's norm in XLA's: bfloat16 keeps 8 bits, and the paths round at different places.
TOLERANCE = {"float32": 1e-2, "bfloat16": 5e-2}  # float32: TPUs multiply it in bfloat16 by default


@functools.cache
def choose_path(wanted: Path | Literal["auto"], *, dtype: str, num_heads: int, head_dim: int) -> Path:
    """Resolves `model.attention` for the devices of this process.

    Args:
      wanted: `auto` or a path, which is then taken as it is.
      dtype: the compute type.
    """
    if wanted != "auto":
        return wanted
    backend = jax.default_backend()
    if backend not in FUSED:
        return "rows" if backend == "cpu" and jax.device_count() == 1 else "xla"
    for fused in FUSED[backend]:
        if backend == "gpu" and dtype != "bfloat16":
            continue
        if fused == "tokamax" and importlib.util.find_spec("tokamax") is None:
            continue  # an extra
        try:
            worst = largest_difference(fused, dtype=dtype, num_heads=num_heads, head_dim=head_dim)
        except Exception as error:  # whatever a kernel library raises where it does not work, XLA's path does
            say(f"attention: not {fused}, it fails here: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        if worst <= TOLERANCE[dtype]:
            return fused
        say(f"attention: not {fused}, it differs from xla here by {worst:.2g} of the value or a gradient")
    return "xla"


def largest_difference(path: Path, *, dtype: str, num_heads: int, head_dim: int) -> float:
    """Of value and gradients by `path` from XLA's, the largest `difference` of all; NaN if one is."""
    draw, cases = np.random.default_rng(0), []
    for q_length, k_length, _ in _LENGTHS:
        shapes = [(2, length, num_heads, head_dim) for length in (q_length, q_length, k_length, k_length)]
        weight, q, k, v = (draw.standard_normal(shape, np.float32) for shape in shapes)
        q *= head_dim**-0.5  # logits of unit variance, as an initialised model has
        inputs = [x.astype(jnp.dtype(dtype)) for x in (weight, q, k, v)]
        if q_length == k_length:  # cross-attention has no bias
            inputs.append(draw.standard_normal((1, num_heads, q_length, k_length), np.float32))
        ids = [
            np.stack([np.arange(n) // (n // 2), np.zeros(n, int)]).astype(np.int32) + 1 for n in (q_length, k_length)
        ]
        cases.append([*ids, *inputs])
    # All in one program, and on a GPU without trying which kernels are the fastest, for the start of a run waits for it.
    options = {"xla_gpu_autotune_level": 0} if jax.default_backend() == "gpu" else None
    compare = jax.jit(functools.partial(_largest_difference, path), compiler_options=options)
    return float(compare(cases))


def _largest_difference(path: Path, cases: list[list[jax.Array]]) -> jax.Array:
    differences = []
    for inputs, (_, _, causal) in zip(cases, _LENGTHS, strict=True):
        one, other = (value_and_gradients(by, *inputs, causal=causal) for by in ("xla", path))
        differences += [difference(a, b) for a, b in zip(one, other, strict=True)]
    return jnp.max(jnp.stack(differences))


@functools.partial(jax.jit, static_argnums=0, static_argnames="causal")
def value_and_gradients(
    path: Path, q_ids: jax.Array, k_ids: jax.Array, weight: jax.Array, *inputs: jax.Array, causal: bool
) -> list[jax.Array]:
    """Of queries, keys, values and, if there is one, bias, by a path: the value, and the gradients of its sum by `weight`."""

    def f(q: jax.Array, k: jax.Array, v: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        return attention(q, k, v, mask=segment_mask(q_ids, k_ids, causal=causal), bias=bias, path=path)

    y, pull = jax.vjp(f, *inputs)
    return [y, *pull(weight)]


def difference(expected: jax.Array, got: jax.Array) -> jax.Array:
    """Norm of the difference, in that of what is expected."""
    expected, got = expected.astype(jnp.float32), got.astype(jnp.float32)
    return jnp.linalg.norm((got - expected).ravel()) / jnp.linalg.norm(expected.ravel())
