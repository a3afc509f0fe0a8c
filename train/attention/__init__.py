"""Attention as T5 does it: no scaling by sqrt(head_dim), one learned bias by relative position a stack, softmax in float32.

`attention` is the one entrance; what computes it is a *path*: XLA's products everywhere, one row of the batch after the other on
a single CPU, and

    pallas.py    our kernel for TPUs
    tokamax.py   tokamax's for GPUs, beside cuDNN's, which JAX has
    path.py      chooses one for a run
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from train.adapters import PRODUCT

MASKED = -1e9  # finite, so that a row with nothing to attend to (padding) gives finite values and zero gradients
# The last: the Pallas kernel in plain JAX, for tests.
Path = Literal["xla", "rows", "cudnn", "tokamax", "pallas", "interpreted"]
LEAST_LOGITS = 128 * 128 + 1  # of a head, for which rows are worth it: fewer are faster all at once


class Mask(NamedTuple):
    """Where attention is allowed: inside a segment, and with `causal` not to later positions. Made by `segment_mask`.

    Attributes:
      allowed: bool `[batch, 1, q_length, k_length]`. A path that compares segments itself does not use it: then, under
        jit, it is never computed.
      q_segment_ids: int32 `[batch, q_length]`.
      k_segment_ids: int32 `[batch, k_length]`.
      first_key: int32 `[batch, q_length]`: with `end_key`, not included, the range of keys that a query sees. A segment's keys
        lie next to each other. A query that sees none, which is padding, has the first one here.
      end_key: like `first_key`.
    """

    allowed: jax.Array
    q_segment_ids: jax.Array
    k_segment_ids: jax.Array
    causal: bool
    first_key: jax.Array
    end_key: jax.Array


class Front(NamedTuple):
    """Keys and values in front of those of every row; see train/soft_prompts.py.

    Attributes:
      keys: `[slots, heads, head_dim]`.
      values: like `keys`.
      bias: float32, broadcastable to `[batch, heads, q_length, slots]`; MASKED where attention is not allowed.
    """

    keys: jax.Array
    values: jax.Array
    bias: jax.Array


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    mask: Mask,
    bias: jax.Array | None = None,
    key_dropout: jax.Array | None = None,
    front: Front | None = None,
    path: Path = "xla",
) -> jax.Array:
    """Computes softmax(q k^T + bias) v, and the gradients of all four.

    Args:
      q: `[batch, q_length, heads, head_dim]`.
      k: `[batch, k_length, heads, head_dim]`.
      v: like `k`.
      mask: where attention is allowed.
      bias: float32 `[1, heads, q_length, k_length]`, shared by all rows. Within a packed segment i - j is the distance in
        the row, so one bias serves every segment.
      key_dropout: float `[batch, k_length, heads, 1]`, a mask over keys already scaled by 1 / keep. T5 drops attention
        weights with one mask for all queries (as T5X, `broadcast_dropout`), which is the same as scaling the values: no random
        bits for `[q_length, k_length]`, and it holds for any fused kernel.
      front: what stands in front of the keys; nothing of it is dropped. It goes by XLA's path, whatever `path` says.
      path: what computes it. Lengths that the Pallas kernel has no blocks for go by XLA's path, too, and so do few logits where
        rows were wanted.

    Returns:
      `[batch, q_length, heads, head_dim]`, of the type of `v`; named for what remat=selected keeps.
    """
    if key_dropout is not None:
        v = checkpoint_name(v * key_dropout.astype(v.dtype), PRODUCT)  # kept instead of what it is made from
    # What a path keeps for its own backward pass it names itself: named again, it would be kept twice.
    if front is not None:
        return checkpoint_name(_attend_with_front(q, k, v, mask.allowed, bias, front), PRODUCT)
    if path == "cudnn":
        return checkpoint_name(_cudnn(q, k, v, mask, bias), PRODUCT)
    if path == "tokamax":
        from train.attention.tokamax import tokamax_attention  # an extra; importing it takes a second

        return tokamax_attention(q, k, v, mask, bias)
    if path in ("pallas", "interpreted"):
        from train.attention import pallas  # imports this module; and where it is not used, Pallas takes 0.4 s

        if pallas.block_of_queries(q.shape[1], k.shape[1]) is not None:
            y = pallas.pallas_attention(q, k, v, mask, bias, interpret=path == "interpreted")
            return checkpoint_name(y, PRODUCT)
    by_row = path == "rows" and q.shape[1] * k.shape[1] >= LEAST_LOGITS
    return _attend(q, k, v, mask.allowed, bias, by_row)


def _cudnn(q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask, bias: jax.Array | None) -> jax.Array:
    """cuDNN's fused kernel, for bfloat16. JAX adds the mask into the bias: one `[batch, heads, q_length, k_length]` exists."""
    whole = (*mask.allowed.shape[:1], 1, q.shape[1], k.shape[1])
    allowed = jnp.broadcast_to(mask.allowed, whole)  # it takes no mask that is to be broadcast along lengths
    narrow = None if bias is None else bias.astype(q.dtype)  # one type for all
    return jax.nn.dot_product_attention(q, k, v, narrow, allowed, scale=1.0, implementation="cudnn")


# As `_attend`, it keeps nothing of the size `[q_length, k_length]`.
@functools.partial(jax.checkpoint, prevent_cse=False)
def _attend_with_front(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None, front: Front
) -> jax.Array:
    """One softmax over the front and the row's own keys. Theirs is another bias in each row, so they are not put together."""
    of_front = jnp.einsum("bqhd,khd->bhqk", q, front.keys, preferred_element_type=jnp.float32) + front.bias
    own = _logits(_swap(q), _swap(k), mask, bias)
    weights = jax.nn.softmax(jnp.concatenate([of_front, own], axis=-1), axis=-1).astype(v.dtype)
    slots = of_front.shape[-1]
    return jnp.einsum("bhqk,khd->bqhd", weights[..., :slots], front.values) + jnp.einsum(
        "bhqk,bkhd->bqhd", weights[..., slots:], v
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _attend(
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
        of_v = jnp.einsum("...qk,...qd->...kd", weights.astype(v.dtype), gradient)
        of_weights = jnp.einsum("...qd,...kd->...qk", gradient, v, preferred_element_type=jnp.float32)
        inner = jnp.sum(gradient.astype(jnp.float32) * y, axis=-1, keepdims=True)
        of_logits = jnp.where(mask, weights * (of_weights - inner), 0.0)
        narrow = of_logits.astype(q.dtype)
        of_q = jnp.einsum("...qk,...kd->...qd", narrow, k)
        of_k = jnp.einsum("...qk,...qd->...kd", narrow, q)
        return (_swap(of_q), _swap(of_k), _swap(of_v)), of_logits

    def add_row(of_bias: jax.Array, arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        grads, of_logits = rows(arrays)
        return of_bias + of_logits, grads

    arrays = q, k, v, y, gradient, mask, highest, share
    of_bias = None
    if by_row and bias is not None:
        total, grads = jax.lax.scan(add_row, jnp.zeros(bias.shape[1:], jnp.float32), arrays)
        of_bias = total[None].astype(bias.dtype)
    elif by_row:
        grads = jax.lax.map(lambda row: rows(row)[0], arrays)
    else:
        grads, of_logits = rows(arrays)
        of_bias = None if bias is None else _sum_of_rows(of_logits).astype(bias.dtype)
    of_q, of_k, of_v = grads
    return of_q, of_k, of_v, None, of_bias


def _sum_of_rows(x: jax.Array) -> jax.Array:
    """`[batch, ...]` -> `[1, ...]`. On a CPU as a product: XLA's reduction over the outermost axis takes 100 times as long."""
    return jax.lax.platform_dependent(
        x,
        cpu=lambda x: jnp.einsum("b,b...->...", jnp.ones(x.shape[0], x.dtype), x)[None],
        default=lambda x: jnp.sum(x, axis=0, keepdims=True),
    )


_attend.defvjp(_attend_forward, _attend_backward)


def segment_mask(q_segment_ids: jax.Array, k_segment_ids: jax.Array, *, causal: bool = False) -> Mask:
    """Allows attention inside a segment: int `[batch, q_length]`, `[batch, k_length]`.

    Padding (segment 0) attends to padding: its values are never used, and they stay finite.
    """
    mask = q_segment_ids[:, :, None] == k_segment_ids[:, None, :]
    if causal:
        mask &= jnp.tril(jnp.ones(mask.shape[1:], bool))
    first = jnp.argmax(mask, axis=-1)
    end = jnp.maximum(first + jnp.sum(mask, axis=-1), first + 1)
    return Mask(mask[:, None], q_segment_ids, k_segment_ids, causal, first, end)


def relative_position_bucket(
    relative_position: jax.Array, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> jax.Array:
    """Maps key position - query position to a bucket: exact when near, logarithmic up to `max_distance`, then one.

    Raffel et al. 2020, section 2.1. The arithmetic follows Hugging Face's `T5Attention._relative_position_bucket`, so
    that borders between buckets fall on the same distances.
    """
    buckets = jnp.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        buckets += (relative_position > 0) * num_buckets
        distance = jnp.abs(relative_position)
    else:
        distance = -jnp.minimum(relative_position, 0)
    max_exact = num_buckets // 2
    # log of at least 1: distances below max_exact take the exact branch
    ratio = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / max_exact) / jnp.log(max_distance / max_exact)
    far = max_exact + (ratio * (num_buckets - max_exact)).astype(jnp.int32)
    return buckets + jnp.where(distance < max_exact, distance, jnp.minimum(far, num_buckets - 1))
