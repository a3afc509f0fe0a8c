"""Which path computes a run's attention (train/attention.py): fused on accelerators, where it proves itself there.

A fused kernel whose gradient of the bias is missing or wrong trains the wrong model without a word: jax's binding of cuDNN was
long right for a batch of one only (jax issue 30593), and kernels that give none exist. So `auto` runs the fused path once
beside XLA's, on the device and with the model's own heads, and takes it only if the value and all four gradients agree.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from train.attention import Path, attention, segment_mask
from train.log import say

_FUSED: dict[str, Path] = {"tpu": "pallas", "gpu": "cudnn"}
_LENGTHS = ((128, 128, False), (128, 128, True), (64, 128, False))  # encoder, decoder, cross-attention
# Of the difference's norm in XLA's: bfloat16 keeps 8 bits, and the paths round at different places.
_TOLERANCE = {"float32": 1e-2, "bfloat16": 5e-2}  # float32: TPUs multiply it in bfloat16 by default


@functools.cache
def choose_path(wanted: str, *, dtype: str, num_heads: int, head_dim: int) -> Path:
    """Resolves `model.attention` for the devices of this process.

    Args:
      wanted: `auto` or a path, which is then taken as it is.
      dtype: the compute type.
    """
    if wanted != "auto":
        path: Any = wanted
        return path
    fused = _FUSED.get(jax.default_backend())
    if fused is None or (fused == "cudnn" and dtype != "bfloat16"):
        return "xla"
    try:
        worst = largest_difference(fused, dtype=dtype, num_heads=num_heads, head_dim=head_dim)
    except Exception as error:  # whatever a kernel library raises where it does not work, XLA's path does
        say(f"attention: xla, for {fused} fails here: {str(error).strip().splitlines()[0]}")
        return "xla"
    if not worst <= _TOLERANCE[dtype]:
        say(f"attention: xla, for {fused} differs from it here by {worst:.2g} of the value or a gradient")
        return "xla"
    return fused


def largest_difference(path: Path, *, dtype: str, num_heads: int, head_dim: int) -> float:
    """Of value and gradients by `path` from XLA's: the norm of the difference in XLA's norm, the largest of all."""
    differences = []
    for q_length, k_length, causal in _LENGTHS:
        results = [
            _value_and_gradients(one, dtype, num_heads, head_dim, q_length, k_length, causal) for one in ("xla", path)
        ]
        for expected, got in zip(*results, strict=True):
            norm = jnp.linalg.norm(expected.ravel())
            differences.append(jnp.linalg.norm((got - expected).ravel()) / norm)
    return float(jnp.max(jnp.stack(differences)))  # NaN if one is


def _value_and_gradients(
    path: Path, dtype: str, num_heads: int, head_dim: int, q_length: int, k_length: int, causal: bool
) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), 5)
    shapes = [(2, length, num_heads, head_dim) for length in (q_length, k_length, k_length, q_length)]
    # Logits of unit variance, as an initialised model has.
    q, k, v, weight = (jax.random.normal(key, s).astype(dtype) for key, s in zip(keys, shapes, strict=False))
    q *= jnp.asarray(head_dim**-0.5, dtype)
    bias = jax.random.normal(keys[4], (1, num_heads, q_length, k_length))
    q_ids, k_ids = (jnp.stack([jnp.arange(n) // (n // 2) + 1, jnp.ones(n, jnp.int32)]) for n in (q_length, k_length))
    with_bias = q_length == k_length

    @jax.jit
    def run(q: jax.Array, k: jax.Array, v: jax.Array, bias: jax.Array) -> Any:
        mask = segment_mask(q_ids, k_ids, causal=causal)

        def f(q: jax.Array, k: jax.Array, v: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = attention(q, k, v, mask=mask, bias=bias if with_bias else None, path=path)
            return jnp.sum((y * weight).astype(jnp.float32)), y

        gradients, y = jax.grad(f, argnums=(0, 1, 2, 3), has_aux=True)(q, k, v, bias)
        return y, *gradients[: 4 if with_bias else 3]

    return [x.astype(jnp.float32) for x in run(q, k, v, bias)]
