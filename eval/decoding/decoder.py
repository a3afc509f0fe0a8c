"""Decodes many examples: batches by length, few shapes to compile, results in the order of the examples."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence, Set
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from eval.decoding.beam import beam_search
from eval.decoding.greedy import most_likely, one_by_one
from eval.decoding.kv_cache import EOS, PAD
from eval.decoding.logits_processors import Forbidden, restrict
from eval.decoding.sample import draw, id_words, row_keys
from train.config import BeamConfig, DecodeConfig, GreedyConfig, SampleConfig
from train.model.axes import constrain, spec
from train.model.t5 import Params
from train.parallel.mesh import replicated

SHORTEST_BUCKET = 64  # input tokens; below that, padding costs less than another compilation


class Batch(NamedTuple):
    """A decoded batch.

    Attributes:
      indices: of its examples.
      outputs: of each of them its outputs (one, or `samples` of them), each the tokens up to and with the end-of-sequence
        token, which is missing where `max_tokens` cut it.
    """

    indices: list[int]
    outputs: list[list[np.ndarray]]


class Decoder:
    """`tokens = Decoder(graphdef, settings, mesh=mesh, batch_size=32)(params, inputs)`.

    Compiles once a bucket of input lengths; parameters are an argument, so one decoder serves all checkpoints of a model.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        settings: DecodeConfig,
        *,
        mesh: Mesh,
        batch_size: int,
        forbidden: Forbidden = (),
    ):
        """Makes a decoder.

        Args:
          batch_size: examples decoded at once, over all devices; rounded up to a multiple of the batch's shards.
          forbidden: token ids of `settings.forbidden` (see eval/decoding/logits_processors.py).
        """
        self.settings = settings
        self.mesh = mesh
        self._batch_sharding = NamedSharding(mesh, spec(("batch",)))
        self._rows_multiple = mesh.shape["data"] * mesh.shape["fsdp"]
        self._batch_size = batch_size
        search = functools.partial(_search, graphdef, settings, tuple(forbidden))
        self._search = jax.jit(search, out_shardings=replicated(mesh))

    def __call__(
        self,
        params: Params,
        inputs: Sequence[np.ndarray],
        *,
        ids: Sequence[str] | None = None,
        report: Callable[[int], None] = lambda examples: None,
    ) -> list[np.ndarray]:
        """Decodes examples and returns the (first) output of each; see `stream` for the arguments.

        `report` is called with the number of examples done, after each batch.
        """
        outputs: list[np.ndarray] = [np.zeros(0, np.int32)] * len(inputs)
        done = 0
        for batch in self.stream(params, inputs, ids=ids):
            for index, (first, *_) in zip(batch.indices, batch.outputs, strict=True):
                outputs[index] = first
            done += len(batch.indices)
            report(done)
        return outputs

    def stream(
        self,
        params: Params,
        inputs: Sequence[np.ndarray],
        *,
        ids: Sequence[str] | None = None,
        done: Set[int] = frozenset(),
    ) -> Iterator[Batch]:
        """Decodes examples and yields batch by batch, the longest inputs first.

        Args:
          params: placed on the mesh.
          inputs: token ids of each example with its end-of-sequence token, already cut to the length that is wanted.
          ids: of the examples; sampling needs them, they seed its random numbers.
          done: examples that need no decoding. Batches are cut as if they did, and left out when all of theirs are
            done: what is decoded is decoded beside the same neighbours, bit for bit.
        """
        if isinstance(self.settings, SampleConfig) and ids is None:
            raise ValueError("sampling is seeded by the examples' ids")
        words = np.stack([id_words(i) for i in ids]) if ids else np.zeros((len(inputs), 2), np.uint32)
        rows = min(self._batch_size, len(inputs))  # of few examples no batch is mostly padding
        rows = math.ceil(rows / self._rows_multiple) * self._rows_multiple
        for indices, length in batches([len(x) for x in inputs], self._batch_size):
            if done >= set(indices):
                continue
            tokens = np.full((rows, length), PAD, np.int32)
            for row, index in enumerate(indices):
                tokens[row, : len(inputs[index])] = inputs[index]
            seeds = np.zeros((rows, 2), np.uint32)
            seeds[: len(indices)] = words[indices]
            with jax.set_mesh(self.mesh):
                decoded = np.asarray(
                    jax.block_until_ready(self._search(params, self._place(tokens), self._place(seeds)))
                )
            yield Batch(
                indices,
                [[until_end(output) for output in outputs] for outputs in decoded[: len(indices)]],
            )

    def _place(self, rows: np.ndarray) -> jax.Array:
        """Every host has all examples and gives its devices their rows."""
        return jax.make_array_from_callback(rows.shape, self._batch_sharding, rows.__getitem__)


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[tuple[list[int], int]]:
    """Cuts examples, sorted by length, into batches: (indices of examples, padded length), longest first.

    The longest first, so that what does not fit into memory is known at once; the partial batch is that of the shortest.
    """
    order = np.argsort(lengths, kind="stable")[::-1].tolist()
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        yield indices, bucket(lengths[indices[0]])


def bucket(length: int) -> int:
    """Pads to 64, 96, 128, 192, 256, 384, ...: with powers of two alone padding is a quarter of the work, not an eighth."""
    power = 1 << (max(length, SHORTEST_BUCKET) - 1).bit_length()
    return power * 3 // 4 if power > SHORTEST_BUCKET and length <= power * 3 // 4 else power


def until_end(tokens: np.ndarray) -> np.ndarray:
    """Cuts a row of tokens behind its first end-of-sequence token."""
    ends = np.flatnonzero(tokens == EOS)
    return tokens[: ends[0] + 1] if len(ends) else tokens


def _search(
    graphdef: nnx.GraphDef,
    settings: DecodeConfig,
    forbidden: Forbidden,
    params: Params,
    inputs: jax.Array,
    ids: jax.Array,
) -> jax.Array:
    """int32 `[batch, length]`, hashes of ids uint32 `[batch, 2]` -> int32 `[batch, outputs, max_tokens]`."""
    model = nnx.merge(graphdef, params)
    inputs = constrain(inputs, ("batch", "length"))
    max_tokens = settings.max_tokens

    def restricted(logits: jax.Array, tokens: jax.Array, position: jax.Array) -> jax.Array:
        return restrict(logits, tokens, position, settings, forbidden)

    if isinstance(settings, GreedyConfig):
        return one_by_one(
            model, inputs, rows=1, max_tokens=max_tokens, choose=lambda *state: most_likely(restricted(*state))
        )
    if isinstance(settings, BeamConfig):
        return beam_search(
            model,
            inputs,
            beams=settings.beams,
            max_tokens=max_tokens,
            length_penalty=settings.length_penalty,
            early_stopping=settings.early_stopping,
            restrict=restricted if settings.restricts() else None,
        ).tokens[:, None]
    keys = row_keys(ids, settings)

    def choose(logits: jax.Array, tokens: jax.Array, position: jax.Array) -> jax.Array:
        at_position = jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, position)))(keys)
        return draw(restricted(logits, tokens, position), at_position, settings)

    return one_by_one(model, inputs, rows=settings.samples, max_tokens=max_tokens, choose=choose)
