"""Teacher-forced log-likelihood of given targets: how probable a model finds a text, without decoding.

    log_likelihood = LogLikelihood(graphdef, mesh=mesh, batch_size=32)
    sums, lengths = log_likelihood(params, inputs, targets)

Targets of the same input stand together and its encoder runs once for them, so many targets an input cost little more
than their decoding. Examples are batched by length into few shapes.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from eval.decoding.kv_cache import PAD
from train.model.axes import constrain, spec
from train.model.soft_prompts import Inputs
from train.model.t5 import T5, Params
from train.parallel.mesh import replicated

_SHORTEST_INPUT, _SHORTEST_TARGET = 64, 16  # tokens; below, padding costs less than another compilation


class Likelihoods(NamedTuple):
    """Of each target, in the order given.

    Attributes:
      sums: float64 [n], log-probability of all its tokens, nats.
      lengths: int64 [n], its tokens, end of sequence included. `sums / lengths` is the length-normalised likelihood.
    """

    sums: np.ndarray
    lengths: np.ndarray


class _Group(NamedTuple):
    """An input and which targets it has."""

    tokens: np.ndarray
    targets: list[int]


class LogLikelihood:
    """Compiles once a bucket of lengths; parameters are an argument, so one serves all checkpoints of a model."""

    def __init__(self, graphdef: nnx.GraphDef, *, mesh: Mesh, batch_size: int):
        """`batch_size` targets are scored at once, over all devices; rounded up to a multiple of the batch's shards."""
        self._mesh, self._batch_size = mesh, batch_size
        self._shards = mesh.shape["data"] * mesh.shape["fsdp"]
        self._batch_sharding = NamedSharding(mesh, spec(("batch",)))

        def score(params: Params, inputs: jax.Array, targets: jax.Array) -> jax.Array:
            return target_log_likelihood(nnx.merge(graphdef, params), inputs, targets)

        self._score = jax.jit(score, out_shardings=replicated(mesh))

    def __call__(self, params: Params, inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> Likelihoods:
        """Scores `targets[i]` after `inputs[i]`, both token ids with end of sequence, already cut to the lengths wanted.

        Args:
          params: placed on the mesh.
          inputs: one for each target; equal ones are encoded once.
        """
        sums = np.zeros(len(targets))
        for groups, rows, slots in self._batches(inputs, targets):
            longest = max(len(targets[index]) for group in groups for index in group.targets)
            input_tokens = np.full((rows, _bucket(len(groups[0].tokens), _SHORTEST_INPUT)), PAD, np.int32)
            target_tokens = np.full((rows, slots, _bucket(longest, _SHORTEST_TARGET)), PAD, np.int32)
            for row, group in enumerate(groups):
                input_tokens[row, : len(group.tokens)] = group.tokens
                for slot, index in enumerate(group.targets):
                    target_tokens[row, slot, : len(targets[index])] = targets[index]
            with jax.set_mesh(self._mesh):
                # every host has all examples and gives its devices their rows
                placed = [
                    jax.make_array_from_callback(x.shape, self._batch_sharding, x.__getitem__)
                    for x in (input_tokens, target_tokens)
                ]
                scores = np.asarray(jax.block_until_ready(self._score(params, *placed)))
            for row, group in enumerate(groups):
                sums[group.targets] = scores[row, : len(group.targets)]
        return Likelihoods(sums, np.array([len(ids) for ids in targets], np.int64))

    def _batches(
        self, inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray]
    ) -> Iterator[tuple[list[_Group], int, int]]:
        """Groups by input, longest input first; rows of the batch and targets a row (the same for all: fewer shapes)."""
        by_input: dict[bytes, list[int]] = {}
        for index, (ids, _) in enumerate(zip(inputs, targets, strict=True)):
            by_input.setdefault(np.asarray(ids, np.int32).tobytes(), []).append(index)
        slots = min(max(map(len, by_input.values()), default=1), self._batch_size)
        groups = [
            _Group(inputs[found[0]], found[start : start + slots])
            for found in by_input.values()
            for start in range(0, len(found), slots)
        ]
        groups.sort(key=lambda group: -len(group.tokens))
        rows = min(max(1, self._batch_size // slots), len(groups))  # of few examples no batch is mostly padding
        rows = math.ceil(rows / self._shards) * self._shards
        for start in range(0, len(groups), rows or 1):
            yield groups[start : start + rows], rows, slots


def target_log_likelihood(model: T5, inputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Sums of log-probabilities of the target tokens that are no padding.

    Args:
      inputs: int32 `[batch, length]`, padding 0.
      targets: int32 `[batch, targets, target_length]`, padding 0.

    Returns:
      float32 `[batch, targets]`, nats; 0 for a target of padding only.
    """
    batch, slots, length = targets.shape
    inputs = constrain(inputs, ("batch", "length"))
    source = Inputs(inputs, (inputs != PAD).astype(jnp.int32))
    encoded = model.encode(*source)
    # each row's targets follow one another, so no shard needs another's encoding
    encoded, source = jax.tree.map(lambda x: jnp.repeat(x, slots, axis=0), (encoded, source))
    flat = targets.reshape(batch * slots, length)
    shifted = jnp.pad(flat, ((0, 0), (1, 0)), constant_values=PAD)[:, :-1]
    hidden = model.decode(encoded, source, shifted, jnp.ones_like(flat))
    logits = constrain(model.logits(hidden), ("batch", "length", "vocab"))
    of_tokens = jnp.take_along_axis(logits, flat[..., None], axis=-1)[..., 0] - jax.nn.logsumexp(logits, axis=-1)
    return jnp.sum(jnp.where(flat != PAD, of_tokens, 0.0), axis=-1).reshape(batch, slots)


def _bucket(length: int, shortest: int) -> int:
    """The next power of two."""
    return 1 << (max(length, shortest) - 1).bit_length()
