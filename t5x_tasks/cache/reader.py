"""Reading a prepared split."""

import io
import json
import tokenize
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from t5x_tasks.cache.files import TokensDigest
from t5x_tasks.cache.manifest import DAMAGE, FORMAT, NAME, read_checked, read_manifest
from t5x_tasks.common.errors import UserError

# Without a pool and with a buffer of about a record, `read(i, i + 1)` takes 4 us. The batched `read([i, ...])` goes
# through a thread pool and takes 0.5 to 2 ms a call, which is too much for the 20 records a template has in a batch.
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
_READER_BUFFER_BYTES = 1024
_DIGESTED = 4096  # records read at once to compute a digest


def is_prepared(folder: Path | str) -> bool:
    """Tells whether a split is there. It may still turn out to be damaged: `CachedSplit.open` says so."""
    return (Path(folder) / NAME).is_file()


class CachedSplit:
    """A prepared split: `lengths` in memory, records read at random. Safe to read from several threads.

    Attributes:
      manifest: see `write_split`.
      lengths: [n, 2] int32, tokens of inputs and targets with end-of-sequence.
      keys: [n] uint64, `example_key` of the ids; equal over the templates of a data set.
      dtype: of the stored tokens, uint16 or uint32.
      shard_sizes: records in each shard.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], lengths: np.ndarray, keys: np.ndarray):
        self.folder = folder
        self.manifest = manifest
        self.lengths = lengths
        self.keys = keys
        self.dtype = np.dtype(manifest["dtype"])
        self.has_text: bool = manifest["text"]
        self.shard_sizes: list[int] = [shard["records"] for shard in manifest["shards"]]
        self._shard_starts = np.cumsum([0, *self.shard_sizes])
        self._readers: list[Any] = [None] * len(manifest["shards"])
        self._ids: list[str] | None = None

    @classmethod
    def open(cls, folder: Path | str, *, formats: Collection[int] = (FORMAT,)) -> "CachedSplit":
        """Opens a split and checks its files: arrays and manifest by their checksums, shards by their sizes (records carry
        checksums).

        Args:
          formats: 1, too, which nothing writes any more, to compare with what a run was trained on.

        Raises:
          UserError: the split is not there, or damaged.
        """
        folder = Path(folder)
        if not is_prepared(folder):
            raise UserError(f"{folder}: no prepared split here; run `python -m t5x_tasks prepare` with your config")
        try:
            manifest = read_manifest(folder, formats=formats)
            lengths, keys = (
                np.load(io.BytesIO(read_checked(folder, name, manifest)), allow_pickle=False)
                for name in ("lengths.npy", "keys.npy")
            )
            num_examples = sum(shard["records"] for shard in manifest["shards"])
            if lengths.shape != (num_examples, 2) or keys.shape != (num_examples,):
                raise ValueError(f"lengths.npy or keys.npy do not fit the {num_examples} examples of the manifest")
            for shard in manifest["shards"]:
                size = (folder / shard["name"]).stat().st_size
                if size != shard["bytes"]:
                    raise ValueError(f"{shard['name']} has {size} bytes, not {shard['bytes']}")
            return cls(folder, manifest, lengths, keys)
        except (*DAMAGE, SyntaxError, tokenize.TokenError) as error:  # the last two: NumPy's, of an array's header
            raise damaged(folder, error) from error

    def __len__(self) -> int:
        return len(self.lengths)

    def records(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Returns records as they are stored, in the order of `indices`. The fast way: 4 us a record.

        A record begins with the input tokens and then the target tokens, `self.dtype` each, as many as `lengths` says.
        """
        indices = np.asarray(indices, np.int64)
        if indices.size and not (indices.min() >= 0 and indices.max() < len(self)):
            raise IndexError(f"{self.folder}: index outside 0..{len(self) - 1}")
        shards = np.searchsorted(self._shard_starts, indices, side="right") - 1
        positions = (indices - self._shard_starts[shards]).tolist()
        readers = {shard: self.reader(shard) for shard in np.unique(shards).tolist()}
        try:
            found = [readers[s].read(p, p + 1)[0] for s, p in zip(shards.tolist(), positions, strict=True)]
        except RuntimeError as error:  # a checksum that does not fit
            raise damaged(self.folder, error) from error
        sizes = self.lengths[indices].sum(1) * self.dtype.itemsize
        stored = np.fromiter(map(len, found), np.int64, len(found))
        if not np.all(stored >= sizes if self.has_text else stored == sizes):
            raise damaged(self.folder, "records do not fit lengths.npy")
        return found

    def id(self, index: int) -> str:
        """Returns an example's id."""
        if self._ids is None:
            self._ids = self._read_ids()
        return self._ids[index]

    def _read_ids(self) -> list[str]:
        try:
            ids = [json.loads(line) for line in read_checked(self.folder, "ids.txt", self.manifest).splitlines()]
            if len(ids) != len(self):
                raise ValueError(f"ids.txt has {len(ids)} lines for {len(self)} examples")
            return ids
        except DAMAGE as error:
            raise damaged(self.folder, error) from error

    def tokens_digest(self) -> str:
        """Returns the hash of all tokens and keys; of an older format by reading it whole."""
        if "tokens" in self.manifest:
            return self.manifest["tokens"]
        digest = TokensDigest(self.dtype)
        for start in range(0, len(self), _DIGESTED):
            digest.add(self.records(range(start, min(start + _DIGESTED, len(self)))))
        return digest.finish(self.lengths, self.keys)

    def tokens(self, indices: Sequence[int] | np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns (inputs, targets) of each index: 1-D, `self.dtype`, whole, end-of-sequence included, read-only."""
        pairs = []
        for index, record in zip(indices, self.records(indices), strict=True):
            num_inputs, num_targets = self.lengths[index].tolist()
            ids = np.frombuffer(record, self.dtype, num_inputs + num_targets)
            pairs.append((ids[:num_inputs], ids[num_inputs:]))
        return pairs

    def example(self, index: int) -> dict[str, Any]:
        """Returns the JSON of an example of a text split, with its `id`."""
        if not self.has_text:
            raise ValueError(f"{self.folder}: a split without text; prepare it with text=True")
        (record,) = self.records([index])
        return json.loads(record[int(self.lengths[index].sum()) * self.dtype.itemsize :])

    def reader(self, shard: int) -> Any:
        """Returns the ArrayRecord reader of a shard; `read(i, i + 1)` is the fast way."""
        # Two threads may both open the reader; one of the two is dropped, which does no harm.
        reader = self._readers[shard]
        if reader is None:
            entry = self.manifest["shards"][shard]
            path = self.folder / entry["name"]
            # The reader opens a missing or cut-off file without a word, as if it were empty.
            reader = array_record_module.ArrayRecordReader(
                str(path), _READER_OPTIONS, file_reader_buffer_size=_READER_BUFFER_BYTES
            )
            if not path.is_file() or reader.num_records() != entry["records"]:
                raise damaged(self.folder, f"{entry['name']} does not hold {entry['records']} records")
            self._readers[shard] = reader
        return reader

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_readers": [None] * len(self._readers)}


def damaged(folder: Path, why: object) -> UserError:
    """Returns the error that a cache folder cannot be read."""
    return UserError(f"{folder}: damaged cache ({why}); delete this folder, it is then prepared anew")
