"""Soft prompts in the model: embeddings of virtual tokens, and keys and values in front of an example's own in attention.

Virtual tokens are ids below 0 in the encoder's inputs (train/methods/prompt_tuning.py); a `Prompt` puts trained embeddings in
their places.

A `Prefix` (train/methods/prefix_tuning.py) is no tokens: it takes no room in a row, and each example of a packed row has it at
the distances that it would have alone. Where data sets have prefixes of their own, an example's first token of the inputs is a
mark that says which: a virtual one, -1 for the first prefix. Nothing attends to it.
"""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from train.model.attention.mask import MASKED, Front
from train.model.layers import RelativePositionBias


class Prompt(nnx.Module):
    """Embeddings of virtual tokens, ids below 0: -1 is the first."""

    @abc.abstractmethod
    def table(self) -> jax.Array:
        """Float32 `[virtual tokens, embed]`."""

    def __call__(self, tokens: jax.Array, embedded: jax.Array) -> jax.Array:
        """`[batch, length]`, their embeddings `[batch, length, embed]` -> those with the virtual tokens' in their places."""
        virtual = jnp.take(self.table(), jnp.maximum(-1 - tokens, 0), axis=0, mode="clip")
        return jnp.where((tokens < 0)[..., None], virtual.astype(embedded.dtype), embedded)


class Inputs(NamedTuple):
    """The encoder's tokens, which say whose prefix an example has, and their segments: int `[batch, length]` each."""

    tokens: jax.Array
    segment_ids: jax.Array


class Fronts(NamedTuple):
    """The fronts of all layers of a stack.

    Attributes:
      keys: `[layers, slots, heads, head_dim]` in the compute type.
      values: like `keys`.
      bias: float32, broadcastable to `[batch, heads, length, slots]`, of every layer.
    """

    keys: jax.Array
    values: jax.Array
    bias: jax.Array

    def of(self, keys_values: tuple[jax.Array, jax.Array]) -> Front:
        """The front of a layer, from its keys and values."""
        return Front(*keys_values, self.bias)


class Prefix(nnx.Module):
    """Keys and values in front of those of an attention, in all layers of a stack.

    Attributes:
      length: slots of a prefix.
      prefixes: how many there are; of more than one, examples are marked with theirs.
    """

    def __init__(self, length: int, prefixes: int):
        self.length, self.prefixes = length, prefixes

    @abc.abstractmethod
    def table(self) -> tuple[jax.Array, jax.Array]:
        """Float32 keys and values, `[layers, prefixes x length, heads, head_dim]` each."""

    def fronts(
        self,
        inputs: Inputs,
        segment_ids: jax.Array,
        dtype: jax.typing.DTypeLike,
        *,
        relative_bias: RelativePositionBias | None = None,
        positions: jax.Array | None = None,
    ) -> Fronts:
        """The keys and values in front, of all layers.

        Args:
          segment_ids: int `[batch, length]` of the positions that attend.
          relative_bias: of self-attention; `positions` are then those of the tokens in their examples, without the mark:
            int, broadcastable to `[batch, length]`. The slots of a prefix of n have the positions -n to -1.
        """
        keys, values = (table.astype(dtype) for table in self.table())
        bias = jnp.zeros((1, 1, 1, 1), jnp.float32)
        if relative_bias is not None and positions is not None:
            slots = jnp.arange(self.prefixes * self.length) % self.length - self.length
            bias = relative_bias.of_distances(slots - positions[..., None])
        if self.prefixes > 1:
            bias = jnp.where(self._own(inputs, segment_ids), bias, MASKED)
        return Fronts(keys, values, bias)

    def _own(self, inputs: Inputs, segment_ids: jax.Array) -> jax.Array:
        """Bool `[batch, 1, length, slots]`: slots of the prefix that the position's example has."""
        same = segment_ids[:, :, None] == inputs.segment_ids[:, None, :]
        marks = inputs.tokens[:, :, None] == -1 - jnp.arange(self.prefixes)
        owned = jnp.einsum("bqk,bkn->bqn", same.astype(jnp.float32), marks.astype(jnp.float32)) > 0
        return jnp.repeat(owned, self.length, axis=2)[:, None]


def positions_in_segments(segment_ids: jax.Array) -> jax.Array:
    """Positions from 0 in each segment: int `[batch, length]` -> the same."""
    index = jnp.arange(segment_ids.shape[1])
    before = jnp.pad(segment_ids, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    return index - jax.lax.cummax(jnp.where(segment_ids != before, index, 0), axis=1)
