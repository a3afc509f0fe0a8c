"""Greedy search: the most likely token at each step, as `generate(num_beams=1, do_sample=False)` of Hugging Face."""

import math

import jax
import jax.numpy as jnp

from eval.cached import EOS, PAD, CachedDecoder
from train.model import T5


def most_likely(logits: jax.Array) -> jax.Array:
    """Argmax of float32 `[batch, vocab]`: int32 `[batch]`, of equal logits the first.

    Maxima of blocks first: on CPU that is a vectorised pass, where an argmax over all goes number by number.
    """
    block = math.gcd(logits.shape[1], 128)
    blocks = logits.reshape(logits.shape[0], -1, block)
    best = jnp.argmax(jnp.max(blocks, axis=-1), axis=-1)
    inside = jnp.argmax(jnp.take_along_axis(blocks, best[:, None, None], axis=1)[:, 0], axis=-1)
    return (best * block + inside).astype(jnp.int32)


def greedy_search(model: T5, inputs: jax.Array, *, max_tokens: int) -> jax.Array:
    """Decodes a batch; ends as soon as every row has ended.

    Args:
      inputs: int32 `[batch, length]`, each row with its end-of-sequence token, then padding 0. A row of padding only
        counts as ended from the start.
      max_tokens: new tokens, with the end-of-sequence token.

    Returns:
      int32 `[batch, max_tokens]`; padding 0 after the end.
    """
    decoder = CachedDecoder(model, inputs, beams=1, max_tokens=max_tokens)

    def unfinished(state):
        position, _, _, done, _ = state
        return (position < max_tokens) & ~jnp.all(done)

    def step(state):
        position, tokens, output, done, cache = state
        cache, logits = decoder.step(cache, tokens[:, None], position, None)
        tokens = jnp.where(done, PAD, most_likely(logits[:, 0]))
        output = jax.lax.dynamic_update_slice_in_dim(output, tokens[:, None], position, axis=1)
        return position + 1, tokens, output, done | (tokens == EOS), cache

    batch = inputs.shape[0]
    start = (
        jnp.zeros((), jnp.int32),
        jnp.full((batch,), PAD, jnp.int32),
        jnp.full((batch, max_tokens), PAD, jnp.int32),
        jnp.all(inputs == PAD, axis=1),
        decoder.empty_cache(),
    )
    return jax.lax.while_loop(unfinished, step, start)[2]
