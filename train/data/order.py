"""The order of examples: which example of which data set, under which template, comes when. A pure function of
(sources, seed, position), so that any position is reached without what lies before it.

An *epoch* holds c_d examples of each data set d, as the mixture's rates say, shuffled together. A data set goes
through its own permutations, one after the other, over the epochs: one of which an epoch takes a part continues where
the last epoch left it, so that all its examples come equally often; of another an epoch may take more than all.
Epochs are cut into equal *blocks* of at most 16,384 examples. A block is packed as a whole, then its rows are
shuffled.

Permutations are keyed Feistel networks over splitmix64, not numpy's generators: position i is found without
the others, which makes a block cost the same however large the data are, and the order cannot change with a version of
numpy (`Generator.permutation` is explicitly free to). Imports neither JAX nor TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t5x_tasks.cache import CachedSplit
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.hashing import example_key, fold, mix
from train.data.packing import Plan, plan
from train.data.records import Records

MAX_BLOCK = 16_384


# What a hash is for, so that no two uses of one seed are alike.
_EPOCH, _DATASET, _TEMPLATE, _ROWS = range(4)


@dataclass(frozen=True)
class Source:
    """One data set of the mixture.

    Attributes:
      dataset: its name; with the seed it fixes the order of its examples and their templates, whatever else is mixed.
      templates: (template id, split), one or more. Index i must be the same example in each.
      examples: how many of them an epoch of the mixture holds; None for each once.
      prompt: tokens in front of the inputs of each; ids below 0 are virtual (train/methods/prompt_tuning.py).
      weights: of the templates, [templates]: how often an example is shown in each. None: in all equally often.
    """

    dataset: str
    templates: Sequence[tuple[str, CachedSplit]]
    examples: int | None = None
    prompt: Sequence[int] = ()
    weights: Sequence[float] | None = None

    def __len__(self) -> int:
        return len(self.templates[0][1])


@dataclass(frozen=True)
class Block:
    """The examples of one block and the rows they are packed into.

    Attributes:
      splits: [n] which split holds the example, counted over the templates of all sources.
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
      pack: several examples per row.
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
        epochs: int | None = None,
    ):
        _check(sources)
        self.row_lengths = row_lengths
        self.records = Records(
            [split for source in sources for _, split in source.templates],
            [source.prompt for source in sources for _ in source.templates],
        )
        self._templates = [(source.dataset, *template) for source in sources for template in source.templates]
        self._seed = seed
        self._pack = pack
        # Of each source, [sources].
        self._names = np.array([example_key(source.dataset) for source in sources], np.uint64)
        self._sizes = np.array([len(source) for source in sources])
        self._shares = np.array([_share(source) for source in sources])
        self._starts = np.cumsum(self._shares) - self._shares  # among the slots of an epoch
        templates = np.array([len(source.templates) for source in sources])
        self._first_split = np.cumsum(templates) - templates
        self._num_templates = templates.astype(np.uint64)
        self._cumulative = {n: _cumulative(s) for n, s in enumerate(sources) if s.weights is not None}
        self._first_key = np.cumsum(self._sizes) - self._sizes
        self._keys = np.concatenate([source.templates[0][1].keys for source in sources])
        self.examples_per_epoch = int(self._shares.sum())
        self.blocks_per_epoch = -(-self.examples_per_epoch // MAX_BLOCK)
        self.num_blocks = None if epochs is None else epochs * self.blocks_per_epoch

    def block(self, number: int) -> Block:
        """Plans block `number`. About 0.06 s for 12,460 examples, nearly all of it the packing."""
        splits, indices = self.order(number)
        lengths = self.records.lengths(splits, indices)
        planned = plan(lengths, self.row_lengths, pack=self._pack)
        rows = permute(np.arange(planned.num_rows), planned.num_rows, (self._seed, _ROWS, number))
        return Block(splits, indices, lengths, planned, rows)

    def names(self, block: Block, rows: np.ndarray) -> list[tuple[str, str]]:
        """Returns (task, id) of the examples in the given rows of a block's plan."""
        examples = np.concatenate([block.plan.examples[slice(*block.plan.row_starts[row : row + 2])] for row in rows])
        found = []
        for number, index in zip(block.splits[examples].tolist(), block.indices[examples].tolist(), strict=True):
            dataset, template, split = self._templates[number]
            found.append((f"{dataset}.{template}", split.id(index)))
        return found

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
        which = np.searchsorted(self._starts, slots, side="right") - 1  # source of each
        draws = epoch * self._shares[which] + (slots - self._starts[which])  # of the source, over the whole run
        # A domain is one permutation of one source. All are looked up together: a mixture has many sources.
        own_epochs = draws // self._sizes[which]
        codes, domain = np.unique(own_epochs * len(self._sizes) + which, return_inverse=True)
        sources, own_epochs = codes % len(self._sizes), (codes // len(self._sizes)).astype(np.uint64)
        names = self._names[sources]
        keys = fold((self._seed, _DATASET, names, own_epochs))
        indices = _permute(draws % self._sizes[which], self._sizes[sources], keys, domain)
        # By the example, not by its position: what else is mixed in, or its order, changes no example's template.
        seeds = fold((self._seed, _TEMPLATE, names, own_epochs))
        hashes = mix(self._keys[self._first_key[which] + indices] ^ seeds[domain])
        templates = (hashes % self._num_templates[which]).astype(np.int64)
        for source, cumulative in self._cumulative.items():
            mine = which == source
            # The upper 53 bits are a uniform number below 1, exactly.
            templates[mine] = np.searchsorted(cumulative, (hashes[mine] >> np.uint64(11)) * 2.0**-53, side="right")
        return self._first_split[which] + templates, indices

    def _bounds(self, number: int) -> tuple[int, int]:
        part, total = number % self.blocks_per_epoch, self.examples_per_epoch
        return total * part // self.blocks_per_epoch, total * (part + 1) // self.blocks_per_epoch


def _share(source: Source) -> int:
    if source.examples is not None and source.examples < 1:
        raise UserError(f"{source.dataset}: {source.examples} examples an epoch; must be 1 or more")
    return len(source) if source.examples is None else source.examples


def _cumulative(source: Source) -> np.ndarray:
    """Where the part of each template ends between 0 and 1, [templates]."""
    weights = np.asarray(source.weights, np.float64)
    if len(weights) != len(source.templates) or not np.all(weights > 0) or not np.all(np.isfinite(weights)):
        raise UserError(f"{source.dataset}: weights {source.weights}: must be one for each template, all above 0")
    ends = np.cumsum(weights)
    return np.append(ends[:-1] / ends[-1], 1.0)


def permute(positions: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
    """Maps positions in 0..size-1 by the permutation of 0..size-1 that `key` names. Costs O(len(positions))."""
    return _permute(np.asarray(positions), np.array([size]), fold(key), None)


def _permute(positions: np.ndarray, sizes: np.ndarray, keys: np.ndarray, domain: np.ndarray | None) -> np.ndarray:
    """Maps positions by the permutations of several domains at once.

    A Feistel network over the next power of two; whatever leaves 0..size-1 goes through it again until it is back
    ("cycle walking", Black and Rogaway 2002), which keeps it a permutation.

    Args:
      positions: [n] in 0..size-1 of their domain.
      sizes: [domains].
      keys: [domains] uint64.
      domain: [n] which each position is in; None if there is but one.
    """
    bits = np.array([max(2, (size - 1).bit_length()) for size in sizes.tolist()], np.uint64)
    low = bits // np.uint64(2)
    one = np.uint64(1)
    # Eight half-rounds: four mix well already (Luby and Rackoff 1988), small domains want more.
    rounds = [mix(keys ^ np.uint64(r)) for r in range(8)]
    table = [low, (one << low) - one, (one << (bits - low)) - one, sizes.astype(np.uint64), *rounds]
    result = positions.astype(np.uint64)
    left = np.arange(len(result))
    while len(left):
        shift, low_mask, high_mask, size, *round_keys = table if domain is None else [t[domain[left]] for t in table]
        values = result[left]
        high, rest = values >> shift, values & low_mask
        for r in range(0, 8, 2):
            high ^= mix(rest ^ round_keys[r]) & high_mask
            rest ^= mix(high ^ round_keys[r + 1]) & low_mask
        values = (high << shift) | rest
        result[left] = values
        left = left[values >= size]
    return result.astype(np.int64)


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
            split.keys = reference.keys  # held once, not once a template
