"""Attention by JAX's own operations, with a hand-written backward pass, and by cuDNN's fused kernel."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from train.model.attention.mask import MASKED, Front, Mask
from train.model.dense import PRODUCT


def cudnn_attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask, bias: jax.Array | None) -> jax.Array:
    """cuDNN's fused kernel, for bfloat16. JAX adds the mask into the bias: one `[batch, heads, q_length, k_length]` exists."""
    whole = (*mask.allowed.shape[:1], 1, q.shape[1], k.shape[1])
    allowed = jnp.broadcast_to(mask.allowed, whole)  # it takes no mask that is to be broadcast along lengths
    narrow = None if bias is None else bias.astype(q.dtype)  # one type for all
    return jax.nn.dot_product_attention(q, k, v, narrow, allowed, scale=1.0, implementation="cudnn")


# As `attend`, it keeps nothing of the size `[q_length, k_length]`.
@functools.partial(jax.checkpoint, prevent_cse=False)
def attend_with_front(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None, front: Front
) -> jax.Array:
    """One softmax over the front and the row's own keys. Theirs is another bias in each row, so they are not put together."""
    front_logits = jnp.einsum("bqhd,khd->bhqk", q, front.keys, preferred_element_type=jnp.float32) + front.bias
    own = _logits(_swap(q), _swap(k), mask, bias)
    weights = jax.nn.softmax(jnp.concatenate([front_logits, own], axis=-1), axis=-1).astype(v.dtype)
    slots = front_logits.shape[-1]
    return jnp.einsum("bhqk,khd->bqhd", weights[..., :slots], front.values) + jnp.einsum(
        "bhqk,bkhd->bqhd", weights[..., slots:], v
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None, by_row: bool
) -> jax.Array:
    """XLA's attention. Nothing of the size `[q_length, k_length]` is kept for the backward pass: it is computed anew.

    What is kept besides are the result and, of each query, the largest logit and the sum that its weights are divided by (Dao
    et al. 2022, arXiv 2205.14135, section 3.1): neither maximum, sum nor quotient is taken of the whole again.

    With `by_row` one row of the batch comes after the other. On a CPU the logits of a whole batch go to memory and come back for
    each of some ten operations, and what XLA frees after a step costs page faults in the next; those of one row stay in the
    cache. On several devices a loop over rows would gather them.
    """
    return _attend_forward(q, k, v, mask, bias, by_row)[0]


def _logits(q: jax.Array, k: jax.Array, mask: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Float32 `[..., heads, q_length, k_length]` before the softmax, of `[..., heads, length, head_dim]`."""
    logits = jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=jnp.float32)
    if bias is not None:
        logits += bias
    return jnp.where(mask, logits, MASKED)


def _swap(x: jax.Array) -> jax.Array:
    """`[..., length, heads, head_dim]` <-> `[..., heads, length, head_dim]`, as the products want it."""
    return x.swapaxes(-3, -2)


def _of_all(bias: jax.Array | None) -> jax.Array | None:
    """`[1, heads, q_length, k_length]` -> `[heads, q_length, k_length]`, for one row as for a batch."""
    return None if bias is None else bias[0]


def _attend_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None, by_row: bool
) -> tuple[jax.Array, Any]:
    def rows(arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        q, k, v = map(_swap, arrays[:3])
        mask = arrays[3]
        logits = _logits(q, k, mask, _of_all(bias))
        highest = jnp.max(logits, axis=-1)
        weights = jnp.exp(logits - highest[..., None])
        share = 1 / jnp.sum(weights, axis=-1)
        y = jnp.einsum("...qk,...kd->...qd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
        return _swap((y * share[..., None]).astype(v.dtype)), highest, share

    arrays = q, k, v, mask
    kept = jax.lax.map(rows, arrays) if by_row else rows(arrays)
    y, highest, share = (checkpoint_name(x, PRODUCT) for x in kept)
    return y, (q, k, v, mask, bias, y, highest, share)


def _attend_backward(
    by_row: bool, saved: Any, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None, jax.Array | None]:
    q, k, v, mask, bias, y, highest, share = saved

    def rows(arrays: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], jax.Array]:
        q, k, v, y, gradient = map(_swap, arrays[:5])
        mask, highest, share = arrays[5:]
        # Not divided by their sum: what they are multiplied with is.
        weights = jnp.exp(_logits(q, k, mask, _of_all(bias)) - highest[..., None])
        gradient *= share[..., None].astype(gradient.dtype)
        d_v = jnp.einsum("...qk,...qd->...kd", weights.astype(v.dtype), gradient)
        d_weights = jnp.einsum("...qd,...kd->...qk", gradient, v, preferred_element_type=jnp.float32)
        inner = jnp.sum(gradient.astype(jnp.float32) * y, axis=-1, keepdims=True)
        d_logits = jnp.where(mask, weights * (d_weights - inner), 0.0)
        narrow = d_logits.astype(q.dtype)
        d_q = jnp.einsum("...qk,...kd->...qd", narrow, k)
        d_k = jnp.einsum("...qk,...qd->...kd", narrow, q)
        return (_swap(d_q), _swap(d_k), _swap(d_v)), d_logits

    def add_row(d_bias: jax.Array, arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        grads, d_logits = rows(arrays)
        return d_bias + d_logits, grads

    arrays = q, k, v, y, gradient, mask, highest, share
    d_bias = None
    if by_row and bias is not None:
        total, grads = jax.lax.scan(add_row, jnp.zeros(bias.shape[1:], jnp.float32), arrays)
        d_bias = total[None].astype(bias.dtype)
    elif by_row:
        grads = jax.lax.map(lambda row: rows(row)[0], arrays)
    else:
        grads, d_logits = rows(arrays)
        d_bias = None if bias is None else _sum_of_rows(d_logits).astype(bias.dtype)
    d_q, d_k, d_v = grads
    return d_q, d_k, d_v, None, d_bias


def _sum_of_rows(x: jax.Array) -> jax.Array:
    """`[batch, ...]` -> `[1, ...]`. On a CPU as a product: XLA's reduction over the outermost axis takes 100 times as long."""
    return jax.lax.platform_dependent(
        x,
        cpu=lambda x: jnp.einsum("b,b...->...", jnp.ones(x.shape[0], x.dtype), x)[None],
        default=lambda x: jnp.sum(x, axis=0, keepdims=True),
    )


attend.defvjp(_attend_forward, _attend_backward)
