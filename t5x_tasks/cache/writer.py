"""Writing a split: whole or not at all, by one process at a time."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from t5x_tasks.cache.files import Example, fsync, token_dtype, write_files
from t5x_tasks.cache.manifest import FORMAT, NAME, sealed
from t5x_tasks.cache.reader import CachedSplit, is_prepared
from t5x_tasks.common.errors import Failure, UserError, is_disk_fault

SHARD_BYTES = 256 * 2**20


@contextlib.contextmanager
def task_lock(task_folder: Path | str) -> Iterator[None]:
    """Holds the lock of all writers of CACHE/<task>; waits for another process. May be entered again by its holder.

    Raises:
      UserError: the cache folder cannot be created or written.
      Failure: its disk is full or fails.
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
) -> CachedSplit:
    """Writes a split under its task's lock and returns it; if another process has written it meanwhile, returns that.

    Args:
      folder: CACHE/<task>/<split>-<fingerprint>[-text].
      examples: consumed once, and not at all when the split is already there. Their order is the split's.
      manifest: anything that JSON holds. It is read *after* the last example, so the generator of the examples may
        fill it in (`counts.skipped`). Added to it: format, dtype, text, vocabulary_size, shards, sha256 (of the other
        files), tokens (their digest) and, under `counts`, examples, empty_inputs, empty_targets, unknown_tokens; a count
        that the caller gives wins.
      vocabulary_size: pieces and extra ids; decides the width of a token.
      text: also store each example's `json`, for evaluation.
      overwrite: replace the split if it is there (its source has changed).

    Raises:
      UserError: the folder cannot be written, or there was no example.
      Failure: the disk is full or fails.
    """
    folder = Path(folder)
    with task_lock(folder.parent):
        _remove_leftovers(folder.parent)
        if is_prepared(folder) and not overwrite:
            return CachedSplit.open(folder)
        partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            partial.mkdir()
            written = write_files(
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
                "dtype": token_dtype(vocabulary_size).str,
                "text": text,
                "vocabulary_size": vocabulary_size,
                "shards": written.shards,
                "sha256": written.sha256,
                "tokens": written.tokens,
                "counts": written.counts | dict(manifest.get("counts", {})),
            }
            (partial / NAME).write_text(sealed(whole), encoding="utf-8")
            fsync(partial / NAME)
            _publish(partial, folder)
        except OSError as error:
            raise _not_writable(folder, error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return CachedSplit.open(folder)


def _publish(partial: Path, folder: Path) -> None:
    """Renames a finished folder into place; an older one of that name steps aside first and is then removed."""
    fsync(partial)
    old = partial.with_name(f".{folder.name}.partial-old-{secrets.token_hex(4)}")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    fsync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(task_folder: Path) -> None:
    # Whoever holds the task's lock is its only writer, so every partial folder is a dead one's.
    for leftover in task_folder.glob(".*.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _not_writable(folder: Path, error: OSError) -> UserError | Failure:
    kind = Failure if is_disk_fault(error) else UserError
    return kind(
        f"{folder}: cannot write the cache ({error.strerror or error}); "
        "make room there or name another folder by data.cache or $FLAN_T5X_CACHE"
    )
