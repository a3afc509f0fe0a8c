"""Attention on GPUs by tokamax's kernels (pip install tokamax), written by Google DeepMind in Pallas. Hopper's were run here.

The bias `[1, heads, q_length, k_length]` is read as it is for every row; JAX's binding of cuDNN wants a copy for each row. The
gradient of the logits is written once, in bfloat16, and summed over the rows.

tokamax's public function has its own rule for what the backward pass keeps. Here it is written anew around the same kernels,
from its inner modules, so pyproject.toml bounds its version. For three things:

- The keys that a query sees are a range. So no mask of `[q_length, k_length]` is read, the forward pass skips blocks of other
  segments, and no query is left without a key.
- What is kept has names, so that `remat=selected` keeps it.
- XLA would run the kernel twice to write its own output into a scan's stack. So of the softmax one number a query is kept,
  which is made outside of the kernel, and the output goes through a barrier first.
"""

import logging
import sys
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from jax.ad_checkpoint import checkpoint_name
from tokamax._src.ops.attention import base, pallas_mosaic_gpu  # pyright: ignore[reportMissingImports]

from train.model.attention.mask import Mask
from train.model.axes import on_each_device
from train.model.dense import PRODUCT

if not flags.FLAGS.is_parsed():
    flags.FLAGS(sys.argv[:1])  # else tokamax 0.0.12 takes this program's arguments for its own


_TILE = 128  # positions: what the kernels divide lengths into


_KERNEL = pallas_mosaic_gpu.PallasMosaicGpuFlashAttention()


# It says for each new shape that nobody has tuned its blocks on this device: it then takes some that it knows to be good.
logging.getLogger("absl").addFilter(lambda record: "Autotuning cache miss" not in record.getMessage())


def tokamax_attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask, bias: jax.Array | None) -> jax.Array:
    """`train.model.attention.attention` on GPUs, in bfloat16, on each device of the current mesh for its own rows and heads."""
    length, more, more_keys = q.shape[1], -q.shape[1] % _TILE, -k.shape[1] % _TILE
    q, k, v = _longer(q, more), _longer(k, more_keys), _longer(v, more_keys)
    # What is added sees one key and is seen by none.
    first_key, end_key = _longer(mask.first_key, more), _longer(mask.end_key, more, 1)
    narrow = None if bias is None else jnp.pad(bias.astype(q.dtype), ((0, 0), (0, 0), (0, more), (0, more_keys)))
    heads, segments, bias_axes = ("batch", None, "heads", None), ("batch", None), (None, "heads", None, None)
    places = (heads, heads, heads, segments, segments, None if bias is None else bias_axes)
    run = on_each_device(_attend, arguments=places, result=heads)
    return run(q, k, v, first_key, end_key, narrow)[:, :length]


def _longer(x: jax.Array, positions: int, value: int = 0) -> jax.Array:
    """`[batch, length, ...]` with so many more positions."""
    return jnp.pad(x, [(0, 0), (0, positions), *[(0, 0)] * (x.ndim - 2)], constant_values=value)


@jax.custom_vjp
def _attend(
    q: jax.Array, k: jax.Array, v: jax.Array, first_key: jax.Array, end_key: jax.Array, bias: jax.Array | None
) -> jax.Array:
    return _forward(q, k, v, first_key, end_key, bias)[0]


def _bound(
    q: jax.Array, k: jax.Array, v: jax.Array, first_key: jax.Array, end_key: jax.Array, bias: jax.Array | None
) -> Any:
    mask = base.Mask(k_start=first_key[:, None], k_end=end_key[:, None])
    return _KERNEL.bind(q, k, v, bias=bias, mask=mask, logits_scale=1.0, return_residuals=True)


def _forward(*inputs: Any) -> tuple[jax.Array, Any]:
    bound = _bound(*inputs)
    out, (largest, total) = _KERNEL(*bound.args, **bound.kwargs)
    out = checkpoint_name(jax.lax.optimization_barrier(out), PRODUCT)
    return out, (*inputs, out, checkpoint_name(largest + jnp.log(total), PRODUCT))


def _backward(saved: Any, gradient: jax.Array) -> tuple[Any, ...]:
    *inputs, out, log_total = saved
    bound = _bound(*inputs)
    options = {name: value for name, value in bound.kwargs.items() if name != "return_residuals"}
    softmax = log_total, jnp.ones_like(log_total)
    grads = _KERNEL.vjp(softmax, out, gradient, *bound.args, **options)
    return grads["q"], grads["k"], grads["v"], None, None, grads.get("bias")


_attend.defvjp(_forward, _backward)
