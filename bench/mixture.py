"""The cost of a mixture of everything beside a single task: seconds until the first batch, and batches a second.

    python -m bench.mixture --root ../shared/data --vocabulary ../shared/data/t5_vocab/spiece.model --cache /tmp/cache

Opens all data sets in all their templates from the cache, as `train` does (what is missing is prepared first and not
timed). The single task is the same examples, an epoch of the mixture, written as one task: then the two differ in
nothing but the number of tasks. Beside them stands the largest data set in one template, whose examples are longer or
shorter: how many share a row says how much of its ratio is due to that. What the ratio then says is mostly memory: the
mixture's examples lie anywhere in all templates of all data sets (1.4 GB), those of one task in a few MB that the
processor's caches hold. Each makes a block of batches in turn, planning included, in one thread and its processor time,
for other work on the machine would make the clock's meaningless. The ratios are medians over the turns: compare these,
not rates of different runs.
"""

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from t5x_tasks.cache import Example, write_split
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import run_cli
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import Prepared, ensure_prepared
from train.data.batches import Batches, Source, open_input
from train.data.layout import load, make_batch
from train.data.open import sources
from train.data.order import Stream

BATCH = 64
ROW = (512, 128)
TURNS = 15


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.mixture", description="Cost of a mixture of everything.")
    parser.add_argument("--mixture", default="flan_mini", help="default: %(default)s")
    parser.add_argument("--root", help="folder that mirrors data sets")
    shipped = Path(__file__).parents[1] / "t5x_tasks" / "vocabularies" / "support_chats.model"
    parser.add_argument("--vocabulary", default=str(shipped), help="a SentencePiece model (default: the shipped one)")
    parser.add_argument("--cache", help="folder of prepared tokens (default: a temporary one)")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = DataConfig.model_validate(
            {"root": chosen.root, "cache": chosen.cache or folder, "skip_missing": True, "mixture": chosen.mixture}
        )
        vocabulary = Vocabulary.load(chosen.vocabulary)
        ensure_prepared(data.mixture, "train", data=data, vocabulary=vocabulary)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        mixed = print_opening(data, vocabulary)
        print_rates(mixed, Path(folder))


def print_opening(data: DataConfig, vocabulary: Vocabulary) -> list[Source]:
    """Seconds from the configuration to the first batch."""
    start, processor = time.perf_counter(), time.process_time()
    catalog = load_catalog(data.cards)
    prepared: list[Prepared] = ensure_prepared(
        data.mixture, "train", data=data, vocabulary=vocabulary, catalog=catalog, progress=False
    )
    found = time.perf_counter()
    opened = sources(prepared, catalog, data.mixture)
    read = time.perf_counter()
    iterator = iter(_batches(opened))
    next(iterator)
    end = time.perf_counter()
    iterator.close()
    tasks = sum(len(source.templates) for source in opened)
    print(f"{data.mixture}: {tasks} tasks of {len(opened)} data sets; first batch after {end - start:.2f} s ", end="")
    print(f"({time.process_time() - processor:.2f} s of processor time):")
    print(f"  cards and fingerprints {found - start:.2f} s, opening {read - found:.2f} s, batch {end - read:.2f} s")
    return opened


def print_rates(mixed: list[Source], folder: Path) -> None:
    largest = max(mixed, key=len)
    entrants = {
        "mixture": mixed,
        "the same examples as one task": [single_task(mixed, folder)],
        f"{largest.dataset}.{largest.templates[0][0]} alone": [Source(largest.dataset, largest.templates[:1])],
    }
    streams = {name: _batches(opened).stream for name, opened in entrants.items()}
    costs: dict[str, list[float]] = {name: [] for name in streams}  # seconds a batch, [turns]
    rows = dict.fromkeys(streams, 0.0)
    for number in range(-1, TURNS):
        for name, stream in streams.items():
            seconds, batches, examples = turn(stream, number + 1)
            if number >= 0:  # before that, readers are opened and files read for the first time
                costs[name].append(seconds / batches)
                rows[name] = examples / batches / BATCH
    first = np.array(costs["mixture"])
    print(f"{'':<34}{'batches/s':>10}{'examples/s':>12}{'in a row':>10}{'mixture costs':>15}{'quartiles':>13}")
    for name, found in costs.items():
        rate, (low, middle, high) = 1 / np.median(found), np.percentile(first / np.array(found), [25, 50, 75])
        print(
            f"{name:<34}{rate:>10.1f}{rate * rows[name] * BATCH:>12,.0f}{rows[name]:>10.2f}{middle:>14.2f}x"
            f"{low:>8.2f}-{high:.2f}"
        )


def turn(stream: Stream, number: int) -> tuple[float, int, int]:
    """Makes the batches of one block; returns (seconds of processor time with its planning, batches, examples)."""
    gc.collect()  # what others have left behind
    start = time.thread_time()
    block = stream.block(number)
    loaded = load(stream, block, block.rows)
    examples = batches = 0
    for first in range(0, len(block.rows) - BATCH + 1, BATCH):
        batch = make_batch([(loaded, block.rows[first : first + BATCH])], ROW, slice(0, BATCH))
        examples += batch.stats["examples"]
        batches += 1
    return time.thread_time() - start, batches, examples


def single_task(mixed: list[Source], folder: Path) -> Source:
    """Writes an epoch of the mixture as one task."""
    stream = open_input(mixed, row_lengths=ROW, batch_size=BATCH, seed=0).stream
    splits = [split for source in mixed for _, split in source.templates]

    def examples() -> Iterator[Example]:
        for number in range(stream.blocks_per_epoch):
            for where, index in zip(*(part.tolist() for part in stream.order(number)), strict=True):
                ((inputs, targets),) = splits[where].tokens([index])
                yield Example(f"{where} {index}", inputs[:-1], targets[:-1])

    manifest = {key: splits[0].manifest[key] for key in ("vocabulary_size", "vocabulary_sha256")}
    written = write_split(folder / "one" / "train-0", examples(), manifest, vocabulary_size=manifest["vocabulary_size"])
    return Source("one", [("t00", written)])


def _batches(opened: list[Source]) -> Batches:
    return open_input(opened, row_lengths=ROW, batch_size=BATCH, seed=0)


if __name__ == "__main__":
    run_cli(main)
