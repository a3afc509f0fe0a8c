"""Beam search with the meaning that Hugging Face's `generate` gives to num_beams, length_penalty and early_stopping.

At each step the best `2 * beams` continuations of an example are looked at (twice as many, so that `beams` of them do not end
even if every beam could end). Those among the first `beams` that end become finished hypotheses, scored by the sum
of their log-probabilities / (number of tokens ** length_penalty); the best `beams` of the others go on. An example is closed when
no running beam can, at its present length, beat the worst of `beams` finished hypotheses; with early_stopping "never", when none
can at the longest length either (where length_penalty is positive); with early_stopping true, when there are that many.

Reference: transformers 5, `generation/utils.py`, `_beam_search`.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eval.decoding.kv_cache import EOS, PAD, CachedDecoder, LayerCache
from train.model.t5 import T5

NEVER = -1.0e9  # a score that no hypothesis reaches


# (log-probabilities [batch, beams, vocab], tokens so far [batch, beams, max_tokens], position) -> log-probabilities
Restrict = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class BeamOutput(NamedTuple):
    """The best hypothesis of each example."""

    tokens: jax.Array  # int32 [batch, max_tokens]; padding 0 after the end
    scores: jax.Array  # float32 [batch]: sum of log-probabilities / length ** length_penalty


class _State(NamedTuple):
    position: jax.Array  # int32 scalar: tokens decoded so far
    sequences: jax.Array  # int32 [batch, beams, max_tokens], running
    scores: jax.Array  # float32 [batch, beams], their sums of log-probabilities, best first
    ancestry: jax.Array  # int32 [batch, beams, max_tokens]: slot of the cache in which a beam finds a position
    finished: jax.Array  # int32 [batch, beams, max_tokens], best first
    finished_scores: jax.Array  # float32 [batch, beams], with length penalty; NEVER where there is none yet
    open: jax.Array  # bool [batch]: a running beam may still enter `finished`
    cache: list[LayerCache]


def beam_search(
    model: T5,
    inputs: jax.Array,
    *,
    beams: int,
    max_tokens: int,
    length_penalty: float,
    early_stopping: bool | Literal["never"],
    restrict: Restrict | None = None,
) -> BeamOutput:
    """Decodes a batch and returns the best hypothesis of each example; arguments as of `beam_hypotheses`."""
    tokens, scores = beam_hypotheses(
        model,
        inputs,
        beams=beams,
        max_tokens=max_tokens,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        restrict=restrict,
    )
    return BeamOutput(tokens[:, 0], scores[:, 0])


def beam_hypotheses(
    model: T5,
    inputs: jax.Array,
    *,
    beams: int,
    max_tokens: int,
    length_penalty: float,
    early_stopping: bool | Literal["never"],
    restrict: Restrict | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Decodes a batch; ends as soon as every example is closed.

    Returns tokens `[batch, beams, max_tokens]` and scores `[batch, beams]`, best first; NEVER where there are fewer.

    Args:
      inputs: int32 `[batch, length]`, each row with its end-of-sequence token, then padding 0. A row of padding only
        is closed from the start.
      beams: running and finished hypotheses an example.
      max_tokens: new tokens, with the end-of-sequence token; what runs on is cut there and then counts as finished.
      restrict: lowers the log-probability of tokens that may not come next.
    """
    decoder = CachedDecoder(model, inputs, beams=beams, max_tokens=max_tokens)
    batch = inputs.shape[0]
    own_slot = jnp.broadcast_to(jnp.arange(beams, dtype=jnp.int32), (batch, beams))
    penalties = jnp.asarray((np.arange(1, max_tokens + 1) ** length_penalty).astype(np.float32))

    def unfinished(state: _State) -> jax.Array:
        return (state.position < max_tokens) & jnp.any(state.open)

    def step(state: _State) -> _State:
        position = state.position
        previous = jax.lax.dynamic_index_in_dim(state.sequences, position - 1, axis=2, keepdims=False)
        tokens = jnp.where(position == 0, PAD, previous)
        ancestry = _put(state.ancestry, own_slot, position)
        cache, logits = decoder.step(state.cache, tokens, position, ancestry)

        if restrict is None:
            offsets = state.scores - jax.nn.logsumexp(logits, axis=-1)
        else:
            logits, offsets = restrict(jax.nn.log_softmax(logits), state.sequences, position), state.scores
        scores, parents, tokens = best_continuations(logits, offsets, 2 * beams)
        sequences = _put(_take_beams(state.sequences, parents), tokens, position)
        ended = (tokens == EOS) | (position == max_tokens - 1)

        # Hypotheses that end now, and are among the first `beams`, compete with those that ended before.
        penalty = penalties[position]
        may_end = ended & (jnp.arange(2 * beams) < beams) & state.open[:, None]
        ended_scores = jnp.where(may_end, scores / penalty, NEVER)
        merged_scores = jnp.concatenate([state.finished_scores, ended_scores], axis=1)
        finished_scores, best = jax.lax.top_k(merged_scores, beams)
        finished = _take_beams(jnp.concatenate([state.finished, sequences], axis=1), best)

        # The others run on.
        running_scores, best = jax.lax.top_k(scores + jnp.where(ended, NEVER, 0.0), beams)
        parents = jnp.take_along_axis(parents, best, axis=1)

        full = finished_scores[:, -1] > NEVER
        longest = penalties[-1] if early_stopping == "never" and length_penalty > 0 else penalty
        hopeless = running_scores[:, 0] / longest <= finished_scores[:, -1]
        closed = full if early_stopping is True else full & hopeless
        return _State(
            position + 1,
            _take_beams(sequences, best),
            running_scores,
            _take_beams(ancestry, parents),
            finished,
            finished_scores,
            state.open & ~closed,
            cache,
        )

    nothing = jnp.full((batch, beams, max_tokens), PAD, jnp.int32)
    start = _State(
        jnp.zeros((), jnp.int32),
        nothing,
        # All beams start alike: only the first may be continued at the first step.
        jnp.broadcast_to(jnp.where(jnp.arange(beams) == 0, 0.0, NEVER), (batch, beams)),
        jnp.zeros((batch, beams, max_tokens), jnp.int32),
        nothing,
        jnp.full((batch, beams), NEVER, jnp.float32),
        jnp.any(inputs != PAD, axis=1),
        decoder.empty_cache(),
    )
    end = jax.lax.while_loop(unfinished, step, start)
    return end.finished, end.finished_scores


def best_continuations(logits: jax.Array, offsets: jax.Array, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The highest of `logits + offsets` over all beams of an example, best first.

    Looks at the maxima of blocks of the vocabulary first: the best `count` are in the `count` blocks with the highest maxima. The
    sums of the others are never formed, and top-k runs over some thousand values instead of beams x vocabulary.

    Args:
      logits: float32 `[batch, beams, vocab]`.
      offsets: float32 `[batch, beams]`: sums of log-probabilities so far, less the normaliser where `logits` lack it.

    Returns:
      the sums, the beam continued, and the token: each `[batch, count]`.
    """
    batch, beams, vocab = logits.shape
    block = math.gcd(vocab, 128)
    blocks = vocab // block
    by_block = logits.reshape(batch, beams, blocks, block)
    maxima = (jnp.max(by_block, axis=-1) + offsets[..., None]).reshape(batch, beams * blocks)
    # in the vocabulary's order, so that of equal scores the first token wins
    chosen = jnp.sort(jax.lax.top_k(maxima, min(count, beams * blocks))[1], axis=-1)  # [batch, count]
    candidates = jnp.take_along_axis(by_block.reshape(batch, beams * blocks, block), chosen[..., None], axis=1)
    candidates += jnp.take_along_axis(offsets, chosen // blocks, axis=1)[..., None]
    best, index = jax.lax.top_k(candidates.reshape(batch, -1), count)
    where = jnp.take_along_axis(chosen, index // block, axis=1)
    return best, where // blocks, (where % blocks) * block + index % block


def _take_beams(x: jax.Array, beams: jax.Array) -> jax.Array:
    """`[batch, beams, time]` by `[batch, count]` -> `[batch, count, time]`."""
    return jnp.take_along_axis(x, beams[..., None], axis=1)


def _put(x: jax.Array, values: jax.Array, position: jax.Array) -> jax.Array:
    """Writes `[batch, beams]` at a position of `[batch, beams, time]`."""
    return jax.lax.dynamic_update_slice_in_dim(x, values[..., None], position, axis=2)
