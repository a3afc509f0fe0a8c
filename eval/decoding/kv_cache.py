"""One decoder step with a key-value cache, for all beams of all examples: what greedy and beam search are built on.

Layout, chosen so that a step moves as few bytes as it can:

- The keys and values of the encoder's output are computed once an *example*. The beams of an example are the rows of one
  matrix product against them.
- All keys lie as `[batch, heads, head_dim, slots]` and all values as `[batch, heads, slots, head_dim]`, as they are multiplied:
  from any other layout the compiler copies them at each step.
- The decoder's own keys and values stay in the slot where they were written, number `position x beams + beam`. When beams
  are reordered nothing is copied either: `ancestry[b, k, t]` says in which slot beam k finds its position t, and becomes
  the mask of one matrix product of all beams against all slots. That computes `beams` times the attention logits, which
  are few; gathering the cache by parent would read and write all of it at each step.
- The layers are unrolled: a scan would copy each layer's weights and cache out of their stacks at each step.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from train.model.attention.mask import MASKED, Front
from train.model.axes import constrain
from train.model.dense import NO_DROPOUT
from train.model.soft_prompts import Fronts, Inputs
from train.model.t5 import T5, DecoderBlock, blocks

PAD, EOS = 0, 1  # T5's ids; decoding starts with PAD


CACHE_AXES = ("batch", "heads", None, None)


LayerCache = tuple[jax.Array, jax.Array]


class Source(NamedTuple):
    """An encoded batch as decoding reads it: keys and values for each layer, and which positions hold tokens."""

    keys_values: list[LayerCache]  # [batch, heads, head_dim, length], [batch, heads, length, head_dim]
    bias: jax.Array  # float32 [batch, 1, 1, length]: MASKED where there is nothing to attend to, else 0


class CachedDecoder:
    """The decoder of a model, its layers apart and in the compute type, with the source that it reads.

    Made and used inside one jitted function; holds no state: caches go in and come out.
    """

    def __init__(self, model: T5, inputs: jax.Array, *, beams: int, max_tokens: int):
        """Encodes `inputs` `[batch, length]` (0 = padding) and prepares the weights for the loop."""
        self.model, self.beams, self.max_tokens, self.batch = model, beams, max_tokens, inputs.shape[0]
        dtype = model.config.compute_dtype
        self.layers = [layer for block in blocks(model.decoder) for layer in _unstack(block, dtype)]
        positions = jnp.arange(max_tokens)
        self.bias = model.decoder_bias(positions, positions)[0]  # [heads, max_tokens (query), max_tokens (key)]
        source_inputs = Inputs(inputs, (inputs != PAD).astype(jnp.int32))
        encoded = model.encode(*source_inputs)
        source = []
        for layer in self.layers:
            keys, values = layer.cross_attention.keys_values(encoded)  # [batch, length, heads, head_dim]
            source.append((keys.transpose(0, 2, 3, 1), values.transpose(0, 2, 1, 3)))
        is_source = model.attended(source_inputs) > 0
        self.source = Source(source, jnp.where(is_source, 0.0, MASKED)[:, None, None, :])
        self.fronts = model.decoder_fronts(source_inputs, jnp.ones((1, max_tokens), jnp.int32))
        self.cross_fronts = model.cross_fronts(source_inputs, jnp.ones((1, 1), jnp.int32))

    def empty_cache(self) -> list[LayerCache]:
        """A cache without a position: for each layer keys and values of `max_tokens x beams` slots."""
        config, slots = self.model.config, self.max_tokens * self.beams

        def zeros(*shape: int) -> jax.Array:
            return constrain(jnp.zeros((self.batch, config.num_heads, *shape), config.compute_dtype), CACHE_AXES)

        return [(zeros(config.head_dim, slots), zeros(slots, config.head_dim)) for _ in self.layers]

    def step(
        self, cache: list[LayerCache], tokens: jax.Array, position: jax.Array, ancestry: jax.Array | None
    ) -> tuple[list[LayerCache], jax.Array]:
        """Runs the decoder on one token a beam.

        Args:
          cache: of the positions before `position`.
          tokens: int32 `[batch, beams]`, the input at `position`.
          position: int32 scalar.
          ancestry: int32 `[batch, beams, max_tokens]`; None with one beam, which is its own ancestor.

        Returns:
          the cache with this position, and float32 logits `[batch, beams, vocab]`.
        """
        written = jnp.arange(self.max_tokens) <= position
        if ancestry is None:
            mask = written[None, None, :, None]
        else:
            mask = (ancestry[..., None] == jnp.arange(self.beams)) & written[:, None]  # [batch, beams, time, beams]
        bias = jax.lax.dynamic_index_in_dim(self.bias, position, axis=1, keepdims=False)[None, :, None, :, None]
        bias = jnp.where(mask[:, None], bias, MASKED)  # [batch or 1, heads, beams, time, beams]
        bias = bias.reshape(*bias.shape[:3], -1)
        slot = position * self.beams
        fronts = self.fronts
        if fronts is not None:
            fronts = fronts._replace(bias=jax.lax.dynamic_slice_in_dim(fronts.bias, position, 1, axis=2))
        x = self.model.embed(tokens)  # [batch, beams, embed]
        new_cache = []
        for index, (layer, (keys, values), (source_keys, source_values)) in enumerate(
            zip(self.layers, cache, self.source.keys_values, strict=True)
        ):
            y = layer.self_norm(x)
            queries = layer.self_attention.queries(y)  # [batch, beams, heads, head_dim]
            key, value = layer.self_attention.keys_values(y)
            keys = jax.lax.dynamic_update_slice_in_dim(keys, key.transpose(0, 2, 3, 1), slot, axis=3)
            values = jax.lax.dynamic_update_slice_in_dim(values, value.transpose(0, 2, 1, 3), slot, axis=2)
            keys, values = constrain(keys, CACHE_AXES), constrain(values, CACHE_AXES)
            new_cache.append((keys, values))
            x += layer.self_attention.project_out(_attend(queries, keys, values, bias, _of_layer(fronts, index)))
            queries = layer.cross_attention.queries(layer.cross_norm(x))
            front = _of_layer(self.cross_fronts, index)
            x += layer.cross_attention.project_out(
                _attend(queries, source_keys, source_values, self.source.bias, front)
            )
            x += layer.mlp(layer.mlp_norm(x), NO_DROPOUT)
        logits = self.model.logits(self.model.decoder_norm(x))
        return new_cache, constrain(logits, ("batch", None, "vocab"))


def _unstack(block: DecoderBlock, dtype: Any) -> list[DecoderBlock]:
    """The stacked decoder block -> one block a layer; kernels in the compute type, so that the loop does not cast them."""
    graphdef, stacked = nnx.split(block)
    layers = jax.tree.leaves(stacked)[0].shape[0]

    def layer(index: int) -> DecoderBlock:
        def take(x: jax.Array) -> jax.Array:
            kernel = x.ndim == 3  # norms' scales stay float32
            return x[index].astype(dtype) if kernel else x[index]

        return nnx.merge(graphdef, jax.tree.map(take, nnx.to_pure_dict(stacked)))

    return [layer(i) for i in range(layers)]


def _of_layer(fronts: Fronts | None, index: int) -> Front | None:
    return fronts and fronts.of((fronts.keys[index], fronts.values[index]))


def _attend(queries: jax.Array, keys: jax.Array, values: jax.Array, bias: jax.Array, front: Front | None) -> jax.Array:
    """Attends from all beams of an example.

    Args:
      queries: `[batch, beams, heads, head_dim]`.
      keys: `[batch, heads, head_dim, slots]`, of the example's source or of all its beams.
      values: `[batch, heads, slots, head_dim]`.
      bias: float32, broadcastable to `[batch, heads, beams, slots]`; MASKED where attention is not allowed.
      front: the same keys and values in front of those of all examples.

    Returns:
      `[batch, beams, heads, head_dim]`.
    """
    logits = jnp.matmul(queries.transpose(0, 2, 1, 3), keys, preferred_element_type=jnp.float32) + bias
    if front is None:
        return jnp.matmul(jax.nn.softmax(logits, axis=-1).astype(values.dtype), values).transpose(0, 2, 1, 3)
    of_front = jnp.einsum("bkhd,shd->bhks", queries, front.keys, preferred_element_type=jnp.float32) + front.bias
    weights = jax.nn.softmax(jnp.concatenate([of_front, logits], axis=-1), axis=-1).astype(values.dtype)
    slots = of_front.shape[-1]
    y = jnp.matmul(weights[..., slots:], values).transpose(0, 2, 1, 3)
    return y + jnp.einsum("bhks,shd->bkhd", weights[..., :slots], front.values)
