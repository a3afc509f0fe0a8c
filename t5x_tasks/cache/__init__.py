"""The token cache: one folder for each (task, split), written once, read at random by training and evaluation.

    CACHE/<task>/<split>-<fingerprint[:16]>[-text]/
        shard-00000-of-0000N.array_record   records in order: input tokens, target tokens and, in text splits, a JSON
        lengths.npy                         [n, 2] int32: tokens of inputs and of targets, end-of-sequence included
        keys.npy                            [n] uint64: `example_key` of every example's id
        ids.txt                             a line each: the id as JSON, for people
        manifest.json                       what the writer says of itself, dtype, shards with their sizes, counts, checksums of
                                            the other files and of itself, a digest of all tokens

A folder appears by one atomic rename, so one that is there is whole, whatever kills its writer. Writers of one task
hold one lock; the kernel frees it when a process dies, and what a dead writer left behind goes at the next writing.
Knows nothing about cards, and imports neither JAX nor TensorFlow.

    files.py    records, shards and arrays
    manifest.py what is said of them
    writer.py   a split under its task's lock, whole or not at all
    reader.py   a split read at random
"""

from t5x_tasks.cache.files import Example
from t5x_tasks.cache.manifest import DAMAGE, FORMAT, manifest_of, sealed, unsealed
from t5x_tasks.cache.reader import CachedSplit, damaged, is_prepared
from t5x_tasks.cache.writer import task_lock, write_split

__all__ = [
    "DAMAGE", "FORMAT", "CachedSplit", "Example", "damaged", "is_prepared", "manifest_of", "sealed", "task_lock", "unsealed",
    "write_split",
]  # fmt: skip
