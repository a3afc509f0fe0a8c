"""Reads examples of many prepared splits at once: a block of a mixture takes some records each of hundreds of them.

Split by split, that is hundreds of times the same handful of numpy calls on a few numbers. Here all splits follow each
other, so that the calls are as few as for one.
"""

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from t5x_tasks.cache import CachedSplit, damaged

_OTHER_FILES = 256  # that a process has open beside the readers


class Records:
    """The records of several splits. Safe to use from several threads.

    Args:
      splits: prepared with one vocabulary.
      prompts: of each split, the tokens that are in front of the inputs of all its examples, virtual ones (train/methods)
        among them; they count as the examples' own.

    Attributes:
      dtype: of the stored tokens.
    """

    def __init__(self, splits: Sequence[CachedSplit], prompts: Sequence[Sequence[int]] = ()):
        self._splits = splits
        self._prompts = [np.asarray(prompt, np.int32) for prompt in prompts] if any(prompts) else None
        self._prompt_sizes = np.array([len(prompt) for prompt in prompts], np.int32)
        self.dtype = splits[0].dtype
        self._first = np.cumsum([0, *map(len, splits)])[:-1]  # of each split's examples, among all
        # Each split's own array becomes a part of the one for all: a large collection would not want to hold them twice.
        self._lengths = np.concatenate([split.lengths for split in splits])
        for split, first in zip(splits, self._first.tolist(), strict=True):
            split.lengths = self._lengths[first : first + len(split)]
        self._shards = [(split, n) for split in splits for n in range(len(split.shard_sizes))]
        self._shard_first = np.cumsum([0, *(size for split in splits for size in split.shard_sizes)])[:-1]
        self._readers: list[Any] = [_Unopened(self, shard) for shard in range(len(self._shards))]
        self._has_text = np.array([split.has_text for split in splits])
        self._any_text = bool(self._has_text.any())
        _allow_open_files(len(self._shards) + _OTHER_FILES)

    def lengths(self, splits: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Returns [n, 2] int32, the tokens of the given examples; see `CachedSplit.lengths`, with their prompts."""
        lengths = self._lengths[self._first[splits] + indices]
        if self._prompts is not None:
            lengths[:, 0] += self._prompt_sizes[splits]
        return lengths

    def tokens(self, splits: np.ndarray, indices: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (all tokens of the examples in one array; where in it each example starts).

        Each example's prompt, inputs and targets lie together, the examples in no order that means anything: they are
        read as they lie on the disk, file by file.

        Args:
          lengths: [n, 2] of these examples.

        Raises:
          UserError: a split is damaged.
        """
        where = self._first[splits] + indices
        order = np.argsort(where)
        splits, indices, where = splits[order], indices[order], where[order]
        shards = np.searchsorted(self._shard_first, where, side="right") - 1
        positions = (where - self._shard_first[shards]).tolist()
        readers = self._readers
        try:
            found = [readers[s].read(p, p + 1)[0] for s, p in zip(shards.tolist(), positions, strict=True)]
        except RuntimeError as error:  # a checksum that does not fit; which one, a second look says
            for split, index in zip(splits.tolist(), indices.tolist(), strict=True):
                self._splits[split].records([index])
            raise AssertionError("reads now what could not be read before") from error
        sizes = lengths[order].sum(1, dtype=np.int64)
        stored_sizes = sizes if self._prompts is None else sizes - self._prompt_sizes[splits]
        size_bytes = stored_sizes * self.dtype.itemsize
        stored = np.fromiter(map(len, found), np.int64, len(found))
        with_text = self._has_text[splits] if self._any_text else False
        if wrong := np.flatnonzero(np.where(with_text, stored < size_bytes, stored != size_bytes)).tolist():
            raise damaged(self._splits[splits[wrong[0]]].folder, "records do not fit lengths.npy")
        if self._any_text:  # a JSON may follow the tokens
            found = [record[:size] for record, size in zip(found, size_bytes.tolist(), strict=True)]
        starts = np.empty_like(sizes)
        starts[order] = np.cumsum(sizes) - sizes
        if self._prompts is None:
            return np.frombuffer(b"".join(found), self.dtype), starts
        parts: list[np.ndarray] = []
        for split, record in zip(splits.tolist(), found, strict=True):
            parts += (self._prompts[split], np.frombuffer(record, self.dtype))
        return np.concatenate(parts, dtype=np.int32), starts

    def open_reader(self, shard: int) -> Any:
        """Opens the reader of a shard, numbered over all splits, for this and later reads."""
        split, number = self._shards[shard]
        self._readers[shard] = split.reader(number)
        return self._readers[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_readers": [_Unopened(self, shard) for shard in range(len(self._shards))]}


class _Unopened:
    """Stands for a reader until its first read: asking each of a hundred readers in a batch whether it is there takes longer."""

    def __init__(self, records: Records, shard: int):
        self._records = records
        self._shard = shard

    def read(self, start: int, stop: int) -> list[bytes]:
        return self._records.open_reader(self._shard).read(start, stop)


def _allow_open_files(count: int) -> None:
    """Raises this process's own limit of open files, often 1,024, as far as it may be."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
