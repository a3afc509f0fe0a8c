"""Attention as T5 does it: no scaling by sqrt(head_dim), one learned bias by relative position a stack, softmax in float32.

`attention` is the one entrance; what computes it is a *path*: XLA's products everywhere, one row of the batch after the other on
a single CPU, and

    pallas.py    our kernel for TPUs
    tokamax.py   tokamax's for GPUs, beside cuDNN's, which JAX has
    choose.py    chooses one for a run
"""

from typing import Literal

import jax
from jax.ad_checkpoint import checkpoint_name

from train.model.attention.mask import Front, Mask
from train.model.attention.xla import attend, attend_with_front, cudnn_attention
from train.model.dense import PRODUCT

# The last: the Pallas kernel in plain JAX, for tests.
Path = Literal["xla", "rows", "cudnn", "tokamax", "pallas", "interpreted"]


LEAST_LOGITS = 128 * 128 + 1  # of a head, for which rows are worth it: fewer are faster all at once


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
      front: what is in front of the keys; nothing of it is dropped. It goes by XLA's path, whatever `path` says.
      path: what computes it. Lengths that the Pallas kernel has no blocks for go by XLA's path, too, and so do few logits where
        rows were wanted.

    Returns:
      `[batch, q_length, heads, head_dim]`, of the type of `v`; named for what remat=selected keeps.
    """
    if key_dropout is not None:
        v = checkpoint_name(v * key_dropout.astype(v.dtype), PRODUCT)  # kept instead of what it is made from
    # What a path keeps for its own backward pass it names itself: named again, it would be kept twice.
    if front is not None:
        return checkpoint_name(attend_with_front(q, k, v, mask.allowed, bias, front), PRODUCT)
    if path == "cudnn":
        return checkpoint_name(cudnn_attention(q, k, v, mask, bias), PRODUCT)
    if path == "tokamax":
        from train.model.attention.tokamax import tokamax_attention  # an extra; importing it takes a second

        return tokamax_attention(q, k, v, mask, bias)
    if path in ("pallas", "interpreted"):
        from train.model.attention import pallas  # imports this module; and where it is not used, Pallas takes 0.4 s

        if pallas.block_of_queries(q.shape[1], k.shape[1]) is not None:
            y = pallas.pallas_attention(q, k, v, mask, bias, interpret=path == "interpreted")
            return checkpoint_name(y, PRODUCT)
    by_row = path == "rows" and q.shape[1] * k.shape[1] >= LEAST_LOGITS
    return attend(q, k, v, mask.allowed, bias, by_row)
