"""Word-embedding tuning: only the embeddings of some tokens, by default those of the templates' own words."""

from typing import TYPE_CHECKING, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import Field

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.template import parse
from t5x_tasks.common.errors import UserError
from t5x_tasks.prepare.data_config import DataConfig
from train.methods.base import Method
from train.model.adapters import EmbeddingAdapter
from train.model.t5 import T5

if TYPE_CHECKING:
    from t5x_tasks.common.vocabulary import Vocabulary


class WordEmbeddings(Method):
    """Trains the rows of the embedding that belong to some tokens; the instruction is learned in the place of its own words.

    Trains n d parameters: n tokens, d = emb_dim. They are learned in both places where the embedding is read, encoder and
    decoder. The nearest relative is prompt tuning that starts from a given text, but without positions of its own.
    """

    starts_as_base: ClassVar[bool] = True
    type: Literal["word_embeddings"] = "word_embeddings"
    tokens: tuple[int, ...] | Literal["templates"] = Field(
        default="templates",
        description="ids; templates: those of the words that the mixture's templates put around their fields",
    )

    def resolve(self, data: DataConfig, vocabulary: "Vocabulary") -> "WordEmbeddings":
        if self.tokens != "templates":
            return self
        pairs = load_catalog(data.cards).resolve(data.mixture)
        words = {text for _, variant in pairs for text, is_field in parse(variant.inputs) if not is_field}
        tokens = {int(token) for ids in vocabulary.encode_batch(sorted(words)) for token in ids}
        return self.model_copy(update={"tokens": tuple(sorted(tokens - {vocabulary.unk_id}))})

    def extend(self, model: T5, rngs: nnx.Rngs) -> None:
        assert self.tokens != "templates", "`resolve` comes first"
        tokens, size = tuple(sorted(set(self.tokens))), model.config.vocab_size
        if not tokens or tokens[0] < 0 or tokens[-1] >= size:
            raise UserError(f"method.tokens: must be ids from 0 to {size - 1}, one or more")
        model.adapters["embedding"] = Rows(tokens, model.embedding)


class Rows(EmbeddingAdapter):
    """Rows of their own for some tokens. They start as the base's."""

    def __init__(self, tokens: tuple[int, ...], embedding: nnx.Param):
        self.tokens = tokens  # ascending
        self.rows = nnx.Param(embedding[...][np.array(tokens)], logical_axes=("rank", "embed"))

    def __call__(self, tokens: jax.Array, embedded: jax.Array) -> jax.Array:
        known = jnp.asarray(self.tokens, jnp.int32)
        index = jnp.minimum(jnp.searchsorted(known, tokens), len(self.tokens) - 1)
        rows = jnp.take(self.rows[...], index, axis=0).astype(embedded.dtype)
        return jnp.where((known[index] == tokens)[..., None], rows, embedded)

    def merged(self, embedding: jax.Array) -> jax.Array:
        return embedding.at[np.array(self.tokens)].set(self.rows[...])
