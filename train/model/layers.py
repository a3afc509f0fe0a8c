"""The layers of T5 1.1, and the shape and numerics that they are made for.

Norms, softmax and, unless `param_dtype` says otherwise, parameters are float32; matrix products run in `compute_dtype`.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from train.model.adapters import Projections
from train.model.attention import Path, attention
from train.model.attention.mask import Front, Mask
from train.model.axes import constrain
from train.model.dense import NO_DROPOUT, Dropout
from train.model.presets import Remat


def relative_position_bucket(
    relative_position: jax.Array, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> jax.Array:
    """Maps key position - query position to a bucket: exact when near, logarithmic up to `max_distance`, then one.

    Raffel et al. 2020, section 2.1. The arithmetic follows Hugging Face's `T5Attention._relative_position_bucket`, so
    that borders between buckets fall on the same distances.
    """
    buckets = jnp.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        buckets += (relative_position > 0) * num_buckets
        distance = jnp.abs(relative_position)
    else:
        distance = -jnp.minimum(relative_position, 0)
    max_exact = num_buckets // 2
    # log of at least 1: distances below max_exact take the exact branch
    ratio = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / max_exact) / jnp.log(max_distance / max_exact)
    far = max_exact + (ratio * (num_buckets - max_exact)).astype(jnp.int32)
    return buckets + jnp.where(distance < max_exact, distance, jnp.minimum(far, num_buckets - 1))


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Shape and numerics. FLAN-T5's own values: see `train.model.presets.PRESETS`."""

    vocab_size: int
    emb_dim: int
    mlp_dim: int
    num_heads: int
    head_dim: int
    num_encoder_layers: int
    num_decoder_layers: int
    relative_position_buckets: int = 32
    relative_position_max_distance: int = 128
    norm_epsilon: float = 1e-6
    dropout: float = 0.0
    compute_dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32  # of kernels, embedding and head; norms' scales and position biases are float32
    remat: Remat = "none"
    scan_layers: bool = True
    attention: Path = "xla"


def param(
    rngs: nnx.Rngs, shape: tuple[int, ...], axes: tuple[str, ...], stddev: float, dtype: Any = jnp.float32
) -> nnx.Param:
    """A parameter that is drawn from a normal distribution, with its logical axes."""
    values = stddev * jax.random.normal(rngs.params(), shape, jnp.float32)
    return nnx.Param(values.astype(dtype), logical_axes=axes)


class RMSNorm(nnx.Module):
    """Root-mean-square layer norm (Zhang & Sennrich 2019, arXiv 1910.07467), in float32."""

    def __init__(self, config: T5Config, layers: tuple[int, ...]):
        self.epsilon, self.dtype = config.norm_epsilon, config.compute_dtype
        axes = ("layers", "embed") if layers else ("embed",)
        self.scale = nnx.Param(jnp.ones((*layers, config.emb_dim), jnp.float32), logical_axes=axes)

    def __call__(self, x: jax.Array) -> jax.Array:
        @functools.partial(jax.checkpoint, prevent_cse=False)
        def norm(x: jax.Array, scale: jax.Array) -> jax.Array:
            x = x.astype(jnp.float32)
            x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
            return (x * scale).astype(self.dtype)

        return norm(x, self.scale[...])


class Attention(Projections):
    """Multi-head attention, T5's: no bias in the projections, no scaling of the logits (it is in the initialisation of q)."""

    def __init__(self, config: T5Config, layers: int, rngs: nnx.Rngs):
        super().__init__()
        self.config = config
        emb, inner = config.emb_dim, config.num_heads * config.head_dim
        into = ("layers", "embed", "joined_kv")
        self.query = param(rngs, (layers, emb, inner), into, (emb * config.head_dim) ** -0.5, config.param_dtype)
        self.key = param(rngs, (layers, emb, inner), into, emb**-0.5, config.param_dtype)
        self.value = param(rngs, (layers, emb, inner), into, emb**-0.5, config.param_dtype)
        back = ("layers", "joined_kv", "embed")
        self.out = param(rngs, (layers, inner, emb), back, inner**-0.5, config.param_dtype)

    def _heads(self, y: jax.Array) -> jax.Array:
        """`[..., length, heads x head_dim]` -> `[..., length, heads, head_dim]`."""
        return y.reshape(*y.shape[:-1], self.config.num_heads, self.config.head_dim)

    def queries(self, x: jax.Array, dropout: Dropout = NO_DROPOUT) -> jax.Array:
        """`[..., length, embed]` -> `[..., length, heads, head_dim]`."""
        return self._heads(self.project(x, "query", dropout))

    def keys_values(self, x: jax.Array, dropout: Dropout = NO_DROPOUT) -> tuple[jax.Array, jax.Array]:
        """`[..., length, embed]` -> `[..., length, heads, head_dim]` twice."""
        return self._heads(self.project(x, "key", dropout)), self._heads(self.project(x, "value", dropout))

    def project_out(self, x: jax.Array, dropout: Dropout = NO_DROPOUT) -> jax.Array:
        """`[..., length, heads, head_dim]` -> `[..., length, embed]`."""
        return self.project_joined(x, "out", dropout)

    def __call__(
        self,
        x: jax.Array,
        memory: jax.Array,
        mask: Mask,
        bias: jax.Array | None,
        dropout: Dropout,
        front: Front | None = None,
    ) -> jax.Array:
        """Attends from `x` `[batch, q_length, embed]` to `memory` `[batch, k_length, embed]`, and what is in front of it."""
        heads = ("batch", "length", "heads", None)
        q = constrain(self.queries(x, dropout), heads)
        k, v = (constrain(y, heads) for y in self.keys_values(memory, dropout))
        dropped, path = dropout.mask((*k.shape[:3], 1)), self.config.attention
        y = attention(q, k, v, mask=mask, bias=bias, key_dropout=dropped, front=front, path=path)
        return self.project_out(y, dropout)


class MLP(Projections):
    """Gated GELU (tanh form) feed-forward layer (Shazeer 2020)."""

    def __init__(self, config: T5Config, layers: int, rngs: nnx.Rngs):
        super().__init__()
        emb, mlp = config.emb_dim, config.mlp_dim
        into, back = ("layers", "embed", "mlp"), ("layers", "mlp", "embed")
        self.gate = param(rngs, (layers, emb, mlp), into, emb**-0.5, config.param_dtype)
        self.up = param(rngs, (layers, emb, mlp), into, emb**-0.5, config.param_dtype)
        self.down = param(rngs, (layers, mlp, emb), back, mlp**-0.5, config.param_dtype)

    def __call__(self, x: jax.Array, dropout: Dropout) -> jax.Array:
        gate, up = self.project(x, "gate", dropout), self.project(x, "up", dropout)
        return self.project_gated(gate, up, "down", dropout)


class RelativePositionBias(nnx.Module):
    """The learned bias that a stack's self-attention layers share."""

    def __init__(self, config: T5Config, *, bidirectional: bool, rngs: nnx.Rngs):
        self.config, self.bidirectional = config, bidirectional
        shape = (config.relative_position_buckets, config.num_heads)
        self.embedding = param(rngs, shape, ("position_buckets", "heads"), config.emb_dim**-0.5)

    def __call__(self, query_positions: jax.Array, key_positions: jax.Array) -> jax.Array:
        """`[q_length]`, `[k_length]` -> float32 `[1, heads, q_length, k_length]`."""
        return self.of_distances((key_positions[None, :] - query_positions[:, None])[None])

    def of_distances(self, distances: jax.Array) -> jax.Array:
        """Positions of keys less those of queries `[rows, q_length, k_length]` -> float32 `[rows, heads, q_length, k_length]`."""
        buckets = relative_position_bucket(
            distances,
            bidirectional=self.bidirectional,
            num_buckets=self.config.relative_position_buckets,
            max_distance=self.config.relative_position_max_distance,
        )
        return jnp.take(self.embedding[...], buckets, axis=0).transpose(0, 3, 1, 2)
