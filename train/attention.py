"""Attention as T5 does it: no scaling by sqrt(head_dim), one learned bias by relative position a stack, softmax in float32."""

import jax
import jax.numpy as jnp

MASKED = -1e9  # finite, so that a row with nothing to attend to (padding) gives finite values and zero gradients


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    mask: jax.Array,
    bias: jax.Array | None = None,
    key_dropout: jax.Array | None = None,
) -> jax.Array:
    """Computes softmax(q k^T + bias) v.

    Args:
      q: `[batch, q_length, heads, head_dim]`.
      k: `[batch, k_length, heads, head_dim]`.
      v: like `k`.
      mask: bool, broadcastable to `[batch, 1, q_length, k_length]`; True where attention is allowed.
      bias: float32 `[1, heads, q_length, k_length]`, shared by all rows. Within a packed segment i - j is the distance in
        the row, so one bias serves every segment.
      key_dropout: float `[batch, k_length, heads, 1]`, a mask over keys already scaled by 1 / keep. T5 drops attention
        weights with one mask for all queries (as T5X, `broadcast_dropout`), which is the same as scaling the values: no random
        bits for `[q_length, k_length]`, and it holds for any fused kernel.

    Returns:
      `[batch, q_length, heads, head_dim]`, of the type of `v`.
    """
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32)
    if bias is not None:
        logits += bias
    weights = jax.nn.softmax(jnp.where(mask, logits, MASKED), axis=-1)
    if key_dropout is not None:
        v = v * key_dropout.astype(v.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(v.dtype), v)


def segment_mask(q_segment_ids: jax.Array, k_segment_ids: jax.Array, *, causal: bool = False) -> jax.Array:
    """Allows attention inside a segment: `[batch, q_length]`, `[batch, k_length]` -> bool `[batch, 1, q_length, k_length]`.

    Padding (segment 0) attends to padding: its values are never used, and they stay finite.
    """
    mask = q_segment_ids[:, :, None] == k_segment_ids[:, None, :]
    if causal:
        mask &= jnp.tril(jnp.ones(mask.shape[1:], bool))
    return mask[:, None]


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
