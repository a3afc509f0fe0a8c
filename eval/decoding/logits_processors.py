"""Logits processors with Hugging Face's semantics and order: minimum length, repetitions, forbidden texts.

The meaning, and the order in which they apply, are those of Hugging Face's logits processors (transformers 5,
`generation/logits_process.py`): RepetitionPenalty, NoRepeatNGram, NoBadWords, MinNewTokensLength. What they look at starts
with the token that decoding starts with (padding), so that counts as said.
"""

from collections import defaultdict
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from eval.decoding.kv_cache import EOS, PAD
from train.config import DecodeConfig

Forbidden = Sequence[tuple[int, ...]]


def restrict(
    logits: jax.Array, tokens: jax.Array, position: jax.Array, settings: DecodeConfig, forbidden: Forbidden
) -> jax.Array:
    """Lowers the scores of tokens that may not come next, to -inf where they may not come at all.

    Args:
      logits: float32 `[..., vocab]`; for beams, log-probabilities.
      tokens: int32 `[..., max_tokens]`, decoded so far.
      position: int32 scalar, the number of tokens decoded so far.
      forbidden: sequences of token ids. The end of sequence alone cannot be forbidden.
    """
    if not settings.restricts():
        return logits

    def of_row(scores: jax.Array, said: jax.Array) -> jax.Array:
        history = jnp.concatenate([jnp.full((1,), PAD, said.dtype), said])
        scores = _penalise(scores, history, position, settings.repetition_penalty)
        scores = _ban_ngrams(scores, history, position, settings.no_repeat_ngram)
        scores = _ban_sequences(scores, history, position, forbidden)
        return scores.at[EOS].add(jnp.where(position < settings.min_tokens, -jnp.inf, 0.0))

    for _ in range(logits.ndim - 1):
        of_row = jax.vmap(of_row)
    return of_row(logits, tokens)


def _penalise(scores: jax.Array, history: jax.Array, position: jax.Array, penalty: float) -> jax.Array:
    """Keskar et al. 2019 (arXiv 1909.05858), section 4.1. `scores` `[vocab]`, `history` `[max_tokens + 1]`."""
    if penalty == 1:
        return scores
    said = _at(scores, history, jnp.arange(history.size) <= position)
    return jnp.where(said, jnp.where(scores < 0, scores * penalty, scores / penalty), scores)


def _ban_ngrams(scores: jax.Array, history: jax.Array, position: jax.Array, n: int) -> jax.Array:
    """Bans the tokens that followed earlier what has been said last."""
    if n == 0 or history.size < n:
        return scores
    windows = history[np.arange(history.size - n + 1)[:, None] + np.arange(n)]  # [windows, n]
    complete = jnp.arange(len(windows)) + n - 1 <= position
    prefix = jax.lax.dynamic_slice_in_dim(history, position + 2 - n, n - 1)
    same = jnp.all(windows[:, :-1] == prefix, axis=1)
    return jnp.where(_at(scores, windows[:, -1], same & complete), -jnp.inf, scores)


def _ban_sequences(scores: jax.Array, history: jax.Array, position: jax.Array, forbidden: Forbidden) -> jax.Array:
    """Bans the last token of each sequence whose other tokens have been said last."""
    by_length = defaultdict(list)
    for sequence in forbidden:
        if sequence != (EOS,):
            by_length[len(sequence) - 1].append(sequence)
    for length, sequences in by_length.items():
        table = jnp.array(sequences)  # [sequences, length + 1]
        if length >= history.size:
            continue
        prefix = jax.lax.dynamic_slice_in_dim(history, position + 1 - length, length)
        matches = jnp.all(table[:, :-1] == prefix, axis=1) & (position + 1 >= length)
        scores = jnp.where(_at(scores, table[:, -1], matches), -jnp.inf, scores)
    return scores


def _at(scores: jax.Array, tokens: jax.Array, where: jax.Array) -> jax.Array:
    """bool `[vocab]`: the tokens for which `where` holds."""
    outside = scores.size  # dropped by the scatter
    return jnp.zeros(scores.shape, bool).at[jnp.where(where, tokens, outside)].set(True, mode="drop")
