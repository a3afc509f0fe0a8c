"""The files of a split: examples as records in shards, arrays of lengths and keys, ids."""

import errno
import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from t5x_tasks.cache.manifest import sha256
from t5x_tasks.common.hashing import example_key

_CHUNK = 512  # examples encoded at once
# One record a group, so that reading an example reads nothing else. Not compressed: token ids gain only 20% from zstd,
# and reading them without is twice as fast.
_WRITER_OPTIONS = "group_size:1,uncompressed"


@dataclass(frozen=True)
class Example:
    """One example to write. Token ids are 1-D integers *without* end-of-sequence: `write_split` appends it."""

    id: str
    inputs_ids: np.ndarray
    targets_ids: np.ndarray
    json: dict[str, Any] | None = None


@dataclass
class Contents:
    """The manifest's entry for the files.

    Attributes:
      sha256: of each file but the shards, whose records carry checksums.
      tokens: see `TokensDigest`.
    """

    shards: list[dict[str, Any]]
    counts: dict[str, Any]
    sha256: dict[str, str]
    tokens: str


class TokensDigest:
    """A hash of all that a split gives to training: its examples' tokens and keys, in order. Whatever made them, and however
    they are cut into shards, equal ones make equal batches.
    """

    def __init__(self, dtype: np.dtype):
        self._hash = hashlib.sha256(dtype.str.encode())

    def add(self, records: Iterable[bytes]) -> None:
        for record in records:
            self._hash.update(record)

    def finish(self, lengths: np.ndarray, keys: np.ndarray) -> str:
        for array in (lengths, keys):
            self._hash.update(array.tobytes())
        return self._hash.hexdigest()[:16]


def write_files(
    folder: Path,
    examples: Iterable[Example],
    *,
    vocabulary_size: int,
    text: bool,
    eos_id: int,
    unk_id: int,
    shard_bytes: int,
) -> Contents:
    """Writes the shards and arrays and returns what was counted on the way."""
    writer = _ShardWriter(folder, shard_bytes)
    digest = TokensDigest(token_dtype(vocabulary_size))
    all_lengths: list[np.ndarray] = [np.empty((0, 2), np.int32)]
    keys: list[int] = []
    ids = io.StringIO()
    unknown = np.zeros(2, np.int64)
    iterator = iter(examples)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        encoded = _encode(chunk, vocabulary_size, text, eos_id, unk_id)
        for record in encoded.records:
            writer.write(record)
        digest.add(encoded.records)
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
    all_keys = np.array(keys, np.uint64)
    contents = {
        "lengths.npy": _npy(lengths),
        "keys.npy": _npy(all_keys),
        "ids.txt": ids.getvalue().encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        fsync(folder / name)
    checksums = {name: sha256(content) for name, content in contents.items()}
    return Contents(writer.finish(), counts, checksums, digest.finish(lengths, all_keys))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


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
            fsync(path)
            entries.append({"name": path.name, "records": records, "bytes": path.stat().st_size})
        return entries

    def _close(self) -> None:
        if self._writer is not None:
            try:
                self._writer.close()
            except RuntimeError as error:
                raise OSError(errno.EIO, str(error)) from error


@dataclass
class _Encoded:
    """A chunk of examples as bytes: 12,460 dialogues one by one take 0.5 s in numpy calls, by chunks 0.1 s."""

    records: list[bytes]
    lengths: np.ndarray  # [n, 2]
    unknown: np.ndarray  # [2]


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
    dtype = token_dtype(vocabulary_size)
    content = flat.astype(dtype).tobytes()
    bounds = np.concatenate([[0], np.cumsum(lengths)[1::2]]) * dtype.itemsize
    records = [content[a:b] for a, b in itertools.pairwise(bounds.tolist())]
    if text:
        jsons = [json.dumps({"id": e.id} | (e.json or {}), ensure_ascii=False).encode() for e in chunk]
        records = [record + more for record, more in zip(records, jsons, strict=True)]
    unknown = np.add.reduceat(flat == unk_id, np.cumsum(lengths) - lengths, dtype=np.int64)
    return _Encoded(records, lengths.reshape(-1, 2), unknown.reshape(-1, 2).sum(0))


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The narrowest type that holds every token id."""
    return np.dtype("<u2" if vocabulary_size <= 2**16 else "<u4")


def fsync(path: Path) -> None:
    """Returns when a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
