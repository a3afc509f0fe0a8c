"""One token after the other: greedy search, as `generate(num_beams=1, do_sample=False)` of Hugging Face, and its loop."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from eval.decoding.kv_cache import EOS, PAD, CachedDecoder
from train.model.t5 import T5

# (logits [batch, rows, vocab], tokens so far [batch, rows, max_tokens], position) -> tokens [batch, rows]
Choose = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def most_likely(logits: jax.Array) -> jax.Array:
    """Argmax of float32 `[..., vocab]`: int32 `[...]`, of equal logits the first.

    Maxima of blocks first: on CPU that is a vectorised pass, where an argmax over all goes number by number.
    """
    block = math.gcd(logits.shape[-1], 128)
    blocks = logits.reshape(*logits.shape[:-1], -1, block)
    best = jnp.argmax(jnp.max(blocks, axis=-1), axis=-1)
    inside = jnp.argmax(jnp.take_along_axis(blocks, best[..., None, None], axis=-2)[..., 0, :], axis=-1)
    return (best * block + inside).astype(jnp.int32)


def one_by_one(model: T5, inputs: jax.Array, *, rows: int, max_tokens: int, choose: Choose) -> jax.Array:
    """Decodes `rows` outputs of each example of a batch; ends as soon as all have ended.

    Args:
      inputs: int32 `[batch, length]`, each row with its end-of-sequence token, then padding 0. A row of padding only
        counts as ended from the start.
      max_tokens: new tokens, with the end-of-sequence token.
      choose: picks the next token of each output.

    Returns:
      int32 `[batch, rows, max_tokens]`; padding 0 after the end.
    """
    decoder = CachedDecoder(model, inputs, beams=rows, max_tokens=max_tokens)
    batch = inputs.shape[0]
    ancestry = None
    if rows > 1:  # each output has its own slot of the cache at every position
        own = jnp.arange(rows, dtype=jnp.int32)[None, :, None]
        ancestry = jnp.broadcast_to(own, (batch, rows, max_tokens))

    def unfinished(state):
        position, _, _, done, _ = state
        return (position < max_tokens) & ~jnp.all(done)

    def step(state):
        position, tokens, output, done, cache = state
        cache, logits = decoder.step(cache, tokens, position, ancestry)
        tokens = jnp.where(done, PAD, choose(logits, output, position))
        output = jax.lax.dynamic_update_slice_in_dim(output, tokens[..., None], position, axis=2)
        return position + 1, tokens, output, done | (tokens == EOS), cache

    start = (
        jnp.zeros((), jnp.int32),
        jnp.full((batch, rows), PAD, jnp.int32),
        jnp.full((batch, rows, max_tokens), PAD, jnp.int32),
        jnp.broadcast_to(jnp.all(inputs == PAD, axis=1)[:, None], (batch, rows)),
        decoder.empty_cache(),
    )
    return jax.lax.while_loop(unfinished, step, start)[2]
