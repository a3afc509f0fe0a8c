"""The order of examples: which example of which data set, under which template, comes when. A pure function of
(sources, seed, position), so that any position is reached without what lies before it.

An *epoch* holds c_d = min(n_d, cap) examples of each data set d, shuffled together. A data set goes through its own
permutations, one after the other, over the epochs: a capped one continues where the last epoch left it, so that all
its examples come equally often. Epochs are cut into equal *blocks* of at most 16,384 examples. A block is packed as a
whole, then its rows are shuffled.

Permutations are keyed Feistel networks over splitmix64 (below), not numpy's generators: position i is found without
the others, which makes a block cost the same however large the data are, and the order cannot change with a version of
numpy (`Generator.permutation` is explicitly free to). Imports neither JAX nor TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t5x_tasks.cache import CachedSplit, example_key
from t5x_tasks.errors import UserError
from train.packing import Plan, plan

MAX_BLOCK = 16_384

# What a hash is for, so that no two uses of one seed are alike.
_EPOCH, _DATASET, _TEMPLATE, _ROWS = range(4)


@dataclass(frozen=True)
class Source:
    """One data set of the mixture.

    Attributes:
      dataset: its name; with the seed it fixes the order of its examples and their templates, whatever else is mixed.
      templates: (template id, split), one or more. Index i must be the same example in each.
      max_examples: the most it brings to an epoch (a card's `max_examples`); None for all.
    """

    dataset: str
    templates: Sequence[tuple[str, CachedSplit]]
    max_examples: int | None = None

    def __len__(self) -> int:
        return len(self.templates[0][1])


@dataclass(frozen=True)
class Block:
    """The examples of one block and the rows they are packed into.

    Attributes:
      splits: [n] which of `Stream.splits` holds the example.
      indices: [n] its index there.
      lengths: [n, 2] int32 its tokens, whole (not cut to a row).
      plan: over these examples.
      rows: [rows] the plan's rows in the order they are served.
    """

    splits: np.ndarray
    indices: np.ndarray
    lengths: np.ndarray
    plan: Plan
    rows: np.ndarray


class Stream:
    """The endless (or `epochs` long) sequence of blocks.

    Args:
      sources: the mixture; at least one, all prepared with one vocabulary.
      row_lengths: (inputs, targets) tokens of a row.
      seed: of everything random here.
      pack: several examples a row.
      rate_cap: the most examples of any data set in an epoch, beside its own `max_examples`; None takes all of each.
      epochs: where the stream ends; None never.

    Raises:
      UserError: no data, or templates of a data set that were not prepared from the same rows.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        row_lengths: tuple[int, int],
        seed: int,
        pack: bool = True,
        rate_cap: int | None = None,
        epochs: int | None = None,
    ):
        _check(sources)
        self.row_lengths = row_lengths
        self.splits = [split for source in sources for _, split in source.templates]
        self._sources = sources
        self._seed = seed
        self._pack = pack
        self._shares = [_share(source, rate_cap) for source in sources]
        self.examples_per_epoch = sum(self._shares)
        self.blocks_per_epoch = -(-self.examples_per_epoch // MAX_BLOCK)
        self.num_blocks = None if epochs is None else epochs * self.blocks_per_epoch

    def block(self, number: int) -> Block:
        """Plans block `number`. About 0.06 s for 12,460 examples, nearly all of it the packing."""
        splits, indices = self.order(number)
        lengths = self.lengths(splits, indices)
        planned = plan(lengths, self.row_lengths, pack=self._pack)
        rows = permute(np.arange(planned.num_rows), planned.num_rows, (self._seed, _ROWS, number))
        return Block(splits, indices, lengths, planned, rows)

    def num_rows(self, number: int) -> int:
        """Returns the rows of block `number`, which takes its plan when packing."""
        if self._pack:
            return self.block(number).plan.num_rows
        first, last = self._bounds(number)
        return last - first

    def order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (splits, indices) of the examples of block `number`, each [n]; see `Block`."""
        epoch = number // self.blocks_per_epoch
        slots = permute(np.arange(*self._bounds(number)), self.examples_per_epoch, (self._seed, _EPOCH, epoch))
        starts = np.cumsum([0, *self._shares])
        which = np.searchsorted(starts, slots, side="right") - 1
        splits, indices = np.empty(len(slots), np.int32), np.empty(len(slots), np.int64)
        first_split = 0
        for d, source in enumerate(self._sources):
            chosen = np.flatnonzero(which == d)
            draws = epoch * self._shares[d] + (slots[chosen] - starts[d])
            templates, indices[chosen] = _draw(source, draws, self._seed)
            splits[chosen] = first_split + templates
            first_split += len(source.templates)
        return splits, indices

    def lengths(self, splits: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Returns [n, 2] int32, the tokens of the given examples."""
        lengths = np.empty((len(indices), 2), np.int32)
        for s in np.unique(splits).tolist():
            chosen = splits == s
            lengths[chosen] = self.splits[s].lengths[indices[chosen]]
        return lengths

    def _bounds(self, number: int) -> tuple[int, int]:
        part, total = number % self.blocks_per_epoch, self.examples_per_epoch
        return total * part // self.blocks_per_epoch, total * (part + 1) // self.blocks_per_epoch


def _share(source: Source, rate_cap: int | None) -> int:
    caps = [cap for cap in (source.max_examples, rate_cap) if cap is not None]
    if any(cap < 1 for cap in caps):
        raise UserError(f"{source.dataset}: at most {min(caps)} examples an epoch; must be 1 or more")
    return min([len(source), *caps])


def _draw(source: Source, draws: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (templates, indices) of a data set's draws, numbered from 0 on over the whole run."""
    size, name = len(source), example_key(source.dataset)
    templates, indices = np.empty(len(draws), np.int32), np.empty(len(draws), np.int64)
    own_epochs = draws // size
    for epoch in np.unique(own_epochs).tolist():
        chosen = own_epochs == epoch
        found = permute(draws[chosen] % size, size, (seed, _DATASET, name, epoch))
        indices[chosen] = found
        # By the example, not by its position: what else is mixed in, or its order, changes no example's template.
        keys = source.templates[0][1].keys[found]
        hashes = _mix(keys ^ _fold((seed, _TEMPLATE, name, epoch)))
        templates[chosen] = hashes % np.uint64(len(source.templates))
    return templates, indices


def permute(positions: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
    """Maps positions in 0..size-1 by the permutation of 0..size-1 that `key` names. Costs O(len(positions)).

    A Feistel network over the next power of two; whatever leaves 0..size-1 goes through it again until it is back
    ("cycle walking", Black and Rogaway 2002), which keeps it a permutation.
    """
    bits = max(2, (size - 1).bit_length())
    low = bits // 2
    low_mask, high_mask = np.uint64(2**low - 1), np.uint64(2 ** (bits - low) - 1)
    shift = np.uint64(low)
    # Eight half-rounds: four mix well already (Luby and Rackoff 1988), small domains want more.
    round_keys = [_fold((*key, r)) for r in range(8)]
    result = np.array(positions, np.uint64)
    left = np.arange(len(result))
    while len(left):
        values = result[left]
        high, rest = values >> shift, values & low_mask
        for r in range(0, 8, 2):
            high ^= _mix(rest ^ round_keys[r]) & high_mask
            rest ^= _mix(high ^ round_keys[r + 1]) & low_mask
        values = (high << shift) | rest
        result[left] = values
        left = left[values >= size]
    return result.astype(np.int64)


def _mix(values: np.ndarray) -> np.ndarray:
    """splitmix64 (Steele, Lea and Flood 2014): a fixed bijection of uint64 in which every bit hangs on every other."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _fold(parts: tuple[int, ...]) -> np.ndarray:
    """Hashes integers into one uint64, shape [1] (numpy warns of the overflow of scalars, not of arrays)."""
    state = np.zeros(1, np.uint64)
    for part in parts:
        state = _mix(state ^ np.uint64(part % 2**64))
    return state


def _check(sources: Sequence[Source]) -> None:
    if not sources or not all(source.templates for source in sources):
        raise UserError("data.mixture: holds no data set, or one without templates")
    first = sources[0].templates[0][1]
    for source in sources:
        reference = source.templates[0][1]
        for template, split in source.templates:
            if len(split) == 0:
                raise UserError(f"{split.folder}: holds no examples")
            if any(
                split.manifest.get(key) != first.manifest.get(key) for key in ("vocabulary_size", "vocabulary_sha256")
            ):
                raise UserError(f"{split.folder}: another vocabulary than {first.folder}; prepare both with one")
            if not np.array_equal(split.keys, reference.keys):
                raise UserError(
                    f"{split.folder}: {source.dataset}.{template} does not hold the rows of {reference.folder}; "
                    "delete both, they are then prepared anew"
                )
