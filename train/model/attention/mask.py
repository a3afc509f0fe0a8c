"""Attention masks of packed rows, and prefixes of keys and values."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MASKED = -1e9  # finite, so that a row with nothing to attend to (padding) gives finite values and zero gradients


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
    """Keys and values in front of those of every row; see train/model/soft_prompts.py.

    Attributes:
      keys: `[slots, heads, head_dim]`.
      values: like `keys`.
      bias: float32, broadcastable to `[batch, heads, q_length, slots]`; MASKED where attention is not allowed.
    """

    keys: jax.Array
    values: jax.Array
    bias: jax.Array


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
