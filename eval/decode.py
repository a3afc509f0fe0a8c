"""Decodes many examples: batches by length, few shapes to compile, results in the order of the examples."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from eval.beam import beam_search
from eval.cached import EOS, PAD
from eval.greedy import greedy_search
from train import sharding
from train.config import BeamConfig, GreedyConfig
from train.model import Params

SHORTEST_BUCKET = 64  # input tokens; below that, padding costs less than another compilation


class Decoder:
    """`tokens = Decoder(graphdef, settings, mesh=mesh, batch_size=32)(params, inputs)`.

    Compiles once a bucket of input lengths; parameters are an argument, so one decoder serves all checkpoints of a model.
    """

    def __init__(self, graphdef: nnx.GraphDef, settings: GreedyConfig | BeamConfig, *, mesh: Mesh, batch_size: int):
        """`batch_size` examples are decoded at once, over all devices; rounded up to a multiple of the batch's shards."""
        self.mesh = mesh
        self._batch_sharding = NamedSharding(mesh, sharding.spec(("batch",)))
        self._rows_multiple = mesh.shape["data"] * mesh.shape["fsdp"]
        self._batch_size = batch_size
        self._search = jax.jit(functools.partial(_search, graphdef, settings), out_shardings=sharding.replicated(mesh))

    def __call__(
        self,
        params: Params,
        inputs: Sequence[np.ndarray],
        *,
        report: Callable[[int], None] = lambda examples: None,
    ) -> list[np.ndarray]:
        """Decodes examples.

        Args:
          params: placed on the mesh.
          inputs: token ids of each example with its end-of-sequence token, already cut to the length that is wanted.
          report: called with the number of examples done, after each batch.

        Returns:
          for each example its tokens up to and with the end-of-sequence token, which is missing where `max_tokens` cut it.
        """
        outputs: list[np.ndarray] = [np.zeros(0, np.int32)] * len(inputs)
        done = 0
        for indices, length in batches([len(x) for x in inputs], self._batch_size):
            rows = min(self._batch_size, len(inputs))  # of few examples no batch is mostly padding
            rows = math.ceil(rows / self._rows_multiple) * self._rows_multiple
            tokens = np.full((rows, length), PAD, np.int32)
            for row, index in enumerate(indices):
                tokens[row, : len(inputs[index])] = inputs[index]
            with jax.set_mesh(self.mesh):
                # every host has all examples and gives its devices their rows
                batch = jax.make_array_from_callback(tokens.shape, self._batch_sharding, tokens.__getitem__)
                decoded = np.asarray(self._search(params, batch))
            for row, index in enumerate(indices):
                outputs[index] = until_end(decoded[row])
            done += len(indices)
            report(done)
        return outputs


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cuts examples, sorted by length, into batches: (indices of examples, padded length), longest first.

    The longest first, so that what does not fit into memory is known at once; the partial batch is that of the shortest.
    Padded lengths are powers of two from 64 on.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        longest = max(lengths[indices[0]], SHORTEST_BUCKET)
        yield indices, 1 << (longest - 1).bit_length()


def until_end(tokens: np.ndarray) -> np.ndarray:
    """Cuts a row of tokens behind its first end-of-sequence token."""
    ends = np.flatnonzero(tokens == EOS)
    return tokens[: ends[0] + 1] if len(ends) else tokens


def _search(
    graphdef: nnx.GraphDef, settings: GreedyConfig | BeamConfig, params: Params, inputs: jax.Array
) -> jax.Array:
    """int32 `[batch, length]` -> int32 `[batch, max_tokens]`."""
    model = nnx.merge(graphdef, params)
    inputs = sharding.constrain(inputs, ("batch", "length"))
    if isinstance(settings, GreedyConfig):
        return greedy_search(model, inputs, max_tokens=settings.max_tokens)
    return beam_search(
        model,
        inputs,
        beams=settings.beams,
        max_tokens=settings.max_tokens,
        length_penalty=settings.length_penalty,
        early_stopping=settings.early_stopping,
    ).tokens
