"""Templates that the model writes: T5 fills the blanks around the fields of several training examples at once.

LM-BFF's generation of templates (Gao, Fisch and Chen 2021, arXiv 2012.15723, section 5.2): each example is read as
`<extra_id_0> {fields} <extra_id_1> {answer} <extra_id_2>`, and one wide beam search finds what may be in the blanks before and
behind the fields, by the sum of the log-probabilities under all examples. The search ends where `<extra_id_2>` would begin.
"""

import jax
import jax.numpy as jnp
import numpy as np

from eval.decoding.beam import NEVER, beam_hypotheses
from eval.decoding.kv_cache import EOS, PAD
from t5x_tasks.common.vocabulary import Vocabulary
from train.model.t5 import T5

BLANKS = 2  # before and behind the fields


def blank_input(vocabulary: Vocabulary, fields: np.ndarray, answer: np.ndarray, length: int) -> np.ndarray:
    """Returns an example's ids with blanks around its fields, which are cut so that all fit into `length`."""
    first, second, third = (sentinel(vocabulary, number) for number in range(BLANKS + 1))
    answer = answer[: max(1, length // 2 - 4)]
    fields = fields[: max(1, length - len(answer) - 4)]
    return np.concatenate([[first], fields, [second], answer, [third, vocabulary.eos_id]]).astype(np.int32)


def sentinel(vocabulary: Vocabulary, number: int) -> int:
    return vocabulary.size - 1 - number


def joint_search(
    model: T5, inputs: jax.Array, *, size: int, beams: int, max_tokens: int
) -> tuple[jax.Array, jax.Array]:
    """Searches one text for all examples together.

    Args:
      inputs: int32 `[examples, length]`, of `blank_input`, padding 0; rows of padding only do not count.
      size: of the vocabulary, sentinels included.

    Returns:
      int32 `[beams, max_tokens]`: `<extra_id_0> text <extra_id_1> text`, then end of sequence in the place of `<extra_id_2>`; and
      float32 `[beams]`, the sums of log-probabilities over tokens and examples, best first.
    """
    counts = jnp.any(inputs != PAD, axis=1)[:, None, None]
    ids = jnp.arange(model.config.vocab_size)
    words = (ids > 2) & (ids < size - 100)  # neither padding, end, unknown, nor a sentinel

    def joint(log_probabilities: jax.Array, sequences: jax.Array, position: jax.Array) -> jax.Array:
        total = jnp.sum(jnp.where(counts, log_probabilities, 0.0), axis=0)  # [beams, vocab]
        written = jnp.arange(sequences.shape[2]) < position
        filled = jnp.sum((sequences[0] >= size - BLANKS) & written, axis=1)[:, None]  # [beams, 1]
        room = sequences.shape[2] - position > BLANKS - filled + 1  # else the blanks have to be closed now
        allowed = (words & (filled > 0) & room) | ((ids == size - 1 - filled) & (filled < BLANKS))
        end = jnp.where(filled[:, 0] == BLANKS, total[:, size - 1 - BLANKS], NEVER)
        total = jnp.where(allowed, total, NEVER).at[:, EOS].set(end)
        return jnp.broadcast_to(total, log_probabilities.shape)  # the same for all: all examples keep the same beams

    tokens, scores = beam_hypotheses(
        model, inputs, beams=beams, max_tokens=max_tokens, length_penalty=0.0, early_stopping=False, restrict=joint
    )
    return tokens[0], scores[0]


def texts_of(vocabulary: Vocabulary, tokens: np.ndarray) -> tuple[str, str] | None:
    """Returns what stands before and behind the fields, each on one line; None where a blank was not closed."""
    ids = [int(i) for i in tokens]
    second = sentinel(vocabulary, 1)
    if EOS not in ids or second not in ids:
        return None
    middle, end = ids.index(second), ids.index(EOS)
    before, behind = (" ".join(vocabulary.decode(part).split()) for part in (ids[1:middle], ids[middle + 1 : end]))
    return before, behind
