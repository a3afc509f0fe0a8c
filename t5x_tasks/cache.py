"""The token cache: one folder for each (task, split), written once, read at random by training and evaluation.

    CACHE/<task>/<split>-<fingerprint[:16]>[-text]/
        shard-00000-of-0000N.array_record   records in order: input tokens, target tokens and, in text splits, a JSON
        lengths.npy                         [n, 2] int32: tokens of inputs and of targets, end-of-sequence included
        keys.npy                            [n] uint64: `example_key` of every example's id
        ids.txt                             a line each: the id as JSON, for people; not in splits of older versions
        manifest.json                       what the writer says of itself, dtype, shards with their sizes, counts

A folder appears by one atomic rename, so one that is there is whole, whatever kills its writer. Writers of one task
hold one lock; the kernel frees it when a process dies, and what a dead writer left behind goes at the next writing.
Knows nothing about cards, and imports neither JAX nor TensorFlow.
"""

import contextlib
import errno
import io
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from t5x_tasks.errors import UserError
from t5x_tasks.hashing import example_key

FORMAT = 1
SHARD_BYTES = 256 * 2**20
_CHUNK = 512  # examples encoded at once

# One record a group, so that reading an example reads nothing else. Not compressed: token ids gain only 20% from zstd,
# and reading them without is twice as fast.
_WRITER_OPTIONS = "group_size:1,uncompressed"
# Without a pool and with a buffer of about a record, `read(i, i + 1)` takes 4 us. The batched `read([i, ...])` goes
# through a thread pool and takes 0.5 to 2 ms a call, which is too much for the 20 records a template has in a batch.
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
_READER_BUFFER_BYTES = 1024


@dataclass(frozen=True)
class Example:
    """One example to write. Token ids are 1-D integers *without* end-of-sequence: `write_split` appends it."""

    id: str
    inputs_ids: np.ndarray
    targets_ids: np.ndarray
    json: dict[str, Any] | None = None


@contextlib.contextmanager
def task_lock(task_folder: Path | str) -> Iterator[None]:
    """Holds the lock of all writers of CACHE/<task>; waits for another process. May be entered again by its holder.

    Raises:
      UserError: the cache folder cannot be created or written.
    """
    folder = Path(task_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A singleton, so that `write_split` inside a caller's `with task_lock(...)` does not wait for itself.
        lock = filelock.FileLock(folder.resolve() / ".lock", is_singleton=True)
        lock.acquire()
    except OSError as error:
        raise _not_writable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def is_prepared(folder: Path | str) -> bool:
    """Tells whether a split is there. It may still turn out to be damaged: `CachedSplit.open` says so."""
    return (Path(folder) / "manifest.json").is_file()


def write_split(
    folder: Path | str,
    examples: Iterable[Example],
    manifest: Mapping[str, Any],
    *,
    vocabulary_size: int,
    text: bool = False,
    overwrite: bool = False,
    eos_id: int = 1,
    unk_id: int = 2,
    shard_bytes: int = SHARD_BYTES,
) -> "CachedSplit":
    """Writes a split under its task's lock and returns it; if another process has written it meanwhile, returns that.

    Args:
      folder: CACHE/<task>/<split>-<fingerprint>[-text].
      examples: consumed once, and not at all when the split is already there. Their order is the split's.
      manifest: anything that JSON holds. It is read *after* the last example, so the generator of the examples may
        fill it in (`counts.skipped`). Added to it: format, dtype, text, vocabulary_size, shards and, under `counts`,
        examples, empty_inputs, empty_targets, unknown_tokens; a count that the caller gives wins.
      vocabulary_size: pieces and extra ids; decides the width of a token.
      text: also store each example's `json`, for evaluation.
      overwrite: replace the split if it is there (its source has changed).

    Raises:
      UserError: the folder cannot be written, the disk is full, or there was no example.
    """
    folder = Path(folder)
    with task_lock(folder.parent):
        _remove_leftovers(folder.parent)
        if is_prepared(folder) and not overwrite:
            return CachedSplit.open(folder)
        partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            partial.mkdir()
            written = _write_files(
                partial,
                examples,
                vocabulary_size=vocabulary_size,
                text=text,
                eos_id=eos_id,
                unk_id=unk_id,
                shard_bytes=shard_bytes,
            )
            if written.counts["examples"] == 0:
                raise UserError(f"{folder.parent.name}: no example is left to write into {folder}; look at its source")
            whole = {
                **manifest,
                "format": FORMAT,
                "dtype": _token_dtype(vocabulary_size).str,
                "text": text,
                "vocabulary_size": vocabulary_size,
                "shards": written.shards,
                "counts": written.counts | dict(manifest.get("counts", {})),
            }
            (partial / "manifest.json").write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
            _fsync(partial / "manifest.json")
            _publish(partial, folder)
        except OSError as error:
            raise _not_writable(folder, error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return CachedSplit.open(folder)


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
    def open(cls, folder: Path | str) -> "CachedSplit":
        """Opens a split and checks that its files are all there and whole (by their sizes; records carry checksums).

        Raises:
          UserError: the split is not there, or damaged.
        """
        folder = Path(folder)
        if not is_prepared(folder):
            raise UserError(f"{folder}: no prepared split here; run `python -m t5x_tasks prepare` with your config")
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            lengths = np.load(folder / "lengths.npy", allow_pickle=False)
            keys = np.load(folder / "keys.npy", allow_pickle=False)
            if manifest["format"] != FORMAT:
                raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
            num_examples = sum(shard["records"] for shard in manifest["shards"])
            if lengths.shape != (num_examples, 2) or keys.shape != (num_examples,):
                raise ValueError(f"lengths.npy or keys.npy do not fit the {num_examples} examples of the manifest")
            for shard in manifest["shards"]:
                size = (folder / shard["name"]).stat().st_size
                if size != shard["bytes"]:
                    raise ValueError(f"{shard['name']} has {size} bytes, not {shard['bytes']}")
            return cls(folder, manifest, lengths, keys)
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
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
        """Returns an example's id; where the split has none stored, its key."""
        if self._ids is None:
            path = self.folder / "ids.txt"
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            fits = len(lines) == len(self)
            self._ids = list(map(json.loads, lines)) if fits else [f"key {key:016x}" for key in self.keys.tolist()]
        return self._ids[index]

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


class _ShardWriter:
    """Writes records one after the other, and opens a new shard when the current one is full."""

    def __init__(self, folder: Path, shard_bytes: int):
        self.folder = folder
        self.records: list[int] = []  # of each shard
        self._shard_bytes = shard_bytes
        self._writer: Any = None
        self._filled = 0

    def write(self, record: bytes) -> None:
        if self._writer is None or self._filled + len(record) > self._shard_bytes:
            self._close()
            path = self.folder / f"shard-{len(self.records)}"
            self._writer = array_record_module.ArrayRecordWriter(str(path), _WRITER_OPTIONS)
            self._filled = 0
            self.records.append(0)
        try:
            self._writer.write(record)
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error)) from error
        self._filled += len(record)
        self.records[-1] += 1

    def finish(self) -> list[dict[str, Any]]:
        """Closes the last shard, gives all their final names and returns the manifest's entries."""
        self._close()
        entries = []
        for number, records in enumerate(self.records):
            path = self.folder / f"shard-{number:05d}-of-{len(self.records):05d}.array_record"
            (self.folder / f"shard-{number}").rename(path)
            _fsync(path)
            entries.append({"name": path.name, "records": records, "bytes": path.stat().st_size})
        return entries

    def _close(self) -> None:
        if self._writer is not None:
            try:
                self._writer.close()
            except RuntimeError as error:
                raise OSError(errno.EIO, str(error)) from error


@dataclass
class _Written:
    shards: list[dict[str, Any]]
    counts: dict[str, Any]


@dataclass
class _Encoded:
    """A chunk of examples as bytes: 12,460 dialogues one by one take 0.5 s in numpy calls, by chunks 0.1 s."""

    records: list[bytes]
    lengths: np.ndarray  # [n, 2]
    unknown: np.ndarray  # [2]


def _write_files(
    folder: Path,
    examples: Iterable[Example],
    *,
    vocabulary_size: int,
    text: bool,
    eos_id: int,
    unk_id: int,
    shard_bytes: int,
) -> _Written:
    """Writes the shards and arrays and returns what was counted on the way."""
    writer = _ShardWriter(folder, shard_bytes)
    all_lengths: list[np.ndarray] = [np.empty((0, 2), np.int32)]
    keys: list[int] = []
    ids = io.StringIO()
    unknown = np.zeros(2, np.int64)
    iterator = iter(examples)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        encoded = _encode(chunk, vocabulary_size, text, eos_id, unk_id)
        for record in encoded.records:
            writer.write(record)
        keys += [example_key(example.id) for example in chunk]
        ids.writelines(json.dumps(example.id) + "\n" for example in chunk)
        all_lengths.append(encoded.lengths)
        unknown += encoded.unknown
    lengths = np.concatenate(all_lengths).astype(np.int32)
    counts = {
        "examples": len(lengths),
        "empty_inputs": int(np.count_nonzero(lengths[:, 0] == 1)),
        "empty_targets": int(np.count_nonzero(lengths[:, 1] == 1)),
        "unknown_tokens": {"inputs": int(unknown[0]), "targets": int(unknown[1])},
    }
    for name, array in (("lengths.npy", lengths), ("keys.npy", np.array(keys, np.uint64))):
        np.save(folder / name, array, allow_pickle=False)
        _fsync(folder / name)
    (folder / "ids.txt").write_text(ids.getvalue(), encoding="utf-8")
    _fsync(folder / "ids.txt")
    return _Written(writer.finish(), counts)


def _encode(chunk: list[Example], vocabulary_size: int, text: bool, eos_id: int, unk_id: int) -> _Encoded:
    end = np.array([eos_id])
    sides = [ids for example in chunk for ids in (example.inputs_ids, example.targets_ids)]
    lengths = np.fromiter(map(len, sides), np.int64, len(sides)) + 1
    flat = np.concatenate([part for ids in sides for part in (ids, end)])
    wrong = (flat < 0) | (flat >= vocabulary_size)
    wrong |= flat == eos_id
    wrong[np.cumsum(lengths) - 1] = False  # the ones just appended
    if flat.dtype.kind not in "iu" or wrong.any():
        which = np.searchsorted(np.cumsum(lengths), np.argmax(wrong), side="right") // 2
        raise ValueError(
            f"example {chunk[which].id}: ids that are no integers, lie outside the vocabulary of {vocabulary_size}, "
            "or have end-of-sequence already"
        )
    dtype = _token_dtype(vocabulary_size)
    content = flat.astype(dtype).tobytes()
    bounds = np.concatenate([[0], np.cumsum(lengths)[1::2]]) * dtype.itemsize
    records = [content[a:b] for a, b in itertools.pairwise(bounds.tolist())]
    if text:
        jsons = [json.dumps({"id": e.id} | (e.json or {}), ensure_ascii=False).encode() for e in chunk]
        records = [record + more for record, more in zip(records, jsons, strict=True)]
    unknown = np.add.reduceat(flat == unk_id, np.cumsum(lengths) - lengths, dtype=np.int64)
    return _Encoded(records, lengths.reshape(-1, 2), unknown.reshape(-1, 2).sum(0))


def _token_dtype(vocabulary_size: int) -> np.dtype:
    return np.dtype("<u2" if vocabulary_size <= 2**16 else "<u4")


def _publish(partial: Path, folder: Path) -> None:
    """Renames a finished folder into place; an older one of that name steps aside first and is then removed."""
    _fsync(partial)
    old = partial.with_name(f".{folder.name}.partial-old-{secrets.token_hex(4)}")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    _fsync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(task_folder: Path) -> None:
    # Whoever holds the task's lock is its only writer, so every partial folder is a dead one's.
    for leftover in task_folder.glob(".*.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damaged(folder: Path, why: object) -> UserError:
    """Returns the error that a cache folder cannot be read."""
    return UserError(f"{folder}: damaged cache ({why}); delete this folder, it is then prepared anew")


def _not_writable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{folder}: cannot write the cache ({error.strerror or error}); "
        "make room there or name another folder by data.cache or $FLAN_T5X_CACHE"
    )
