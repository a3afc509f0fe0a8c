"""Sampling: temperature, then top-k, then top-p, with the meaning that Hugging Face gives them.

An example's random numbers depend on the seed, its id, the number of the sample and the position in the output, and on
nothing else: neither its neighbours nor its place in the batch nor the mesh change what is drawn.
"""

import jax
import jax.numpy as jnp
import numpy as np

from eval.decoding.beam import best_continuations
from t5x_tasks.common.hashing import example_key
from train.config import SampleConfig


def id_words(example_id: str) -> np.ndarray:
    """The hash of an id as uint32 `[2]`."""
    return np.array([example_key(example_id)], np.uint64).view(np.uint32)


def row_keys(ids: jax.Array, settings: SampleConfig) -> jax.Array:
    """Random keys `[batch, samples]` of ids' hashes, uint32 `[batch, 2]`."""
    root = jax.random.key(settings.seed, impl="threefry2x32")  # the same numbers whatever JAX's default is

    def of_sample(words: jax.Array, number: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(root, words[0]), words[1])
        return jax.random.fold_in(key, number)

    numbers = jnp.arange(settings.samples)
    return jax.vmap(lambda words: jax.vmap(lambda number: of_sample(words, number))(numbers))(ids)


def draw(logits: jax.Array, keys: jax.Array, settings: SampleConfig) -> jax.Array:
    """Draws a token from each distribution.

    Args:
      logits: float32 `[batch, samples, vocab]`.
      keys: of random numbers, `[batch, samples]`.

    Returns:
      int32 `[batch, samples]`.
    """
    scores, tokens = candidates(logits, settings)
    chosen = jax.vmap(jax.vmap(jax.random.categorical))(keys, scores)
    if tokens is not None:
        chosen = jnp.take_along_axis(tokens, chosen[..., None], axis=-1)[..., 0]
    return chosen.astype(jnp.int32)


def candidates(logits: jax.Array, settings: SampleConfig) -> tuple[jax.Array, jax.Array | None]:
    """The tokens that may be drawn: their logits, -inf where they may not, and which they are (None: all, in order)."""
    logits = logits / settings.temperature
    tokens = None
    if 0 < settings.top_k < logits.shape[-1]:
        *rows, vocab = logits.shape
        flat = logits.reshape(-1, 1, vocab)
        logits, _, tokens = best_continuations(flat, jnp.zeros(flat.shape[:2]), settings.top_k)
        logits, tokens = (x.reshape(*rows, settings.top_k) for x in (logits, tokens))
    if settings.top_p == 1:
        return logits, tokens
    if tokens is None:
        tokens = jnp.argsort(logits, axis=-1, descending=True)
        logits = jnp.take_along_axis(logits, tokens, axis=-1)
    # a token stays when it and all less likely ones together have more than 1 - top_p (Holtzman et al. 2020, section 3.1)
    tail = jnp.cumsum(jax.nn.softmax(logits, axis=-1)[..., ::-1], axis=-1)[..., ::-1]
    stays = (tail > 1 - settings.top_p).at[..., 0].set(True)
    return jnp.where(stays, logits, -jnp.inf), tokens
