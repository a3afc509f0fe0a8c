"""Attention of one row of the batch after the other, for a single CPU: XLA's products, on what its caches hold.

The logits of a whole batch, `[batch, heads, q_length, k_length]`, go to memory and come back for each of some ten operations,
and what XLA frees after each step costs page faults in the next. Those of one row stay in the cache, and no array of the step
grows with the batch times the square of the length. Heads come before lengths, as the products want them, once for all rows.
On several devices a loop over rows would gather them: not for those.
"""

from typing import Any

import jax
import jax.numpy as jnp

from train.attention import MASKED

LEAST_LOGITS = 128 * 128 + 1  # of a head: what is shorter is faster all at once


@jax.custom_vjp
def attend_by_row(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None) -> jax.Array:
    """softmax(q k^T + bias) v with train.attention's arguments, `mask` bool `[batch or 1, 1, q_length, k_length]`."""

    def row(arrays: tuple[jax.Array, ...]) -> jax.Array:
        q, k, v, mask = arrays
        return jnp.einsum("hqk,hkd->hqd", _weights(q, k, mask, bias).astype(v.dtype), v)

    return _swap(jax.lax.map(row, (*map(_swap, (q, k, v)), _for_each(mask, q))))


def _forward(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None
) -> tuple[jax.Array, Any]:
    return attend_by_row(q, k, v, mask, bias), (q, k, v, mask, bias)


def _backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, None, jax.Array | None]:
    q, k, v, mask, bias = saved

    def row(of_bias: jax.Array | None, arrays: tuple[jax.Array, ...]) -> Any:
        q, k, v, gradient, mask = arrays
        weights = _weights(q, k, mask, bias)
        of_v = jnp.einsum("hqk,hqd->hkd", weights.astype(v.dtype), gradient)
        of_weights = jnp.einsum("hqd,hkd->hqk", gradient, v, preferred_element_type=jnp.float32)
        inner = jnp.sum(weights * of_weights, axis=-1, keepdims=True)
        of_logits = jnp.where(mask, weights * (of_weights - inner), 0.0)
        narrow = of_logits.astype(q.dtype)
        of_q = jnp.einsum("hqk,hkd->hqd", narrow, k)
        of_k = jnp.einsum("hqk,hqd->hkd", narrow, q)
        return None if of_bias is None else of_bias + of_logits, (of_q, of_k, of_v)

    start = None if bias is None else jnp.zeros(bias.shape[1:], jnp.float32)
    of_bias, grads = jax.lax.scan(row, start, (*map(_swap, (q, k, v, gradient)), _for_each(mask, q)))
    of_q, of_k, of_v = map(_swap, grads)
    return of_q, of_k, of_v, None, None if of_bias is None or bias is None else of_bias[None].astype(bias.dtype)


attend_by_row.defvjp(_forward, _backward)


def _weights(q: jax.Array, k: jax.Array, mask: jax.Array, bias: jax.Array | None) -> jax.Array:
    """`[heads, q_length, head_dim]`, `[heads, k_length, head_dim]` -> float32 `[heads, q_length, k_length]`."""
    logits = jnp.einsum("hqd,hkd->hqk", q, k, preferred_element_type=jnp.float32)
    if bias is not None:
        logits += bias[0]
    return jax.nn.softmax(jnp.where(mask, logits, MASKED), axis=-1)


def _swap(x: jax.Array) -> jax.Array:
    """`[batch, length, heads, head_dim]` <-> `[batch, heads, length, head_dim]`."""
    return x.swapaxes(1, 2)


def _for_each(mask: jax.Array, q: jax.Array) -> jax.Array:
    return jnp.broadcast_to(mask, (q.shape[0], *mask.shape[1:]))
