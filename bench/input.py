"""How fast prepared examples become batches on one core, how full the rows are, and how fast a run resumes.

    python -m bench.input
    python -m bench.input --mixture dialogsum --root ../shared/data --vocabulary ../shared/data/t5_vocab/spiece.model

Beside our packing stands what a user would pick instead: the same pipeline with one example a row, grain's own
first-fit and best-fit packing over the same cache, padding to the longest of eight, and grouping by length. Rates are
taken in turns, the best of three of each, so compare the ratios of one run, not rates of different runs. The process
pins itself to one core, prefetching threads included. Rates are in examples per second of processor time, because
other work on the machine would make the clock's meaningless; the clock's are beside them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grain
import numpy as np
from grain.experimental import BestFitPackIterDataset, FirstFitPackIterDataset

from t5x_tasks.common.errors import run_cli
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import Prepared, ensure_prepared
from train.data.batches import Batches, Source, open_input
from train.data.packing import auto_lengths, fill, plan

BATCH = 64
ROW = (512, 128)
GRAIN_EXAMPLES = 3000  # grain's packers take a while: a part of the epoch is enough to time them


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.input", description="Speed of the input pipeline.")
    parser.add_argument("--mixture", default="support_chats", help="a data set's mixture (default: %(default)s)")
    parser.add_argument("--root", help="folder that mirrors data sets")
    shipped = Path(__file__).parents[1] / "t5x_tasks" / "vocabularies" / "support_chats.model"
    parser.add_argument("--vocabulary", default=str(shipped), help="a SentencePiece model (default: the shipped one)")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = DataConfig.model_validate({"root": chosen.root, "cache": folder})
        vocabulary = Vocabulary.load(chosen.vocabulary)
        prepared = ensure_prepared(chosen.mixture, "train", data=data, vocabulary=vocabulary, progress=False)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        source = open_source(prepared)
        lengths = source.templates[0][1].lengths
        print(
            f"{chosen.mixture}: {len(lengths):,} examples, {len(source.templates)} templates, one core, batch {BATCH}"
        )
        print_fills(lengths)
        print_rates(source)
        print_resume(prepared)


def open_source(prepared: list[Prepared]) -> Source:
    return Source(prepared[0].dataset, [(task.variant, task.open()) for task in prepared])


def print_fills(lengths: np.ndarray) -> None:
    """Shares of positions with real tokens, of one template's examples; and how long planning took."""
    print(f"\n{'fill, %':<44}{'encoder':>9}{'decoder':>9}{'both':>9}{'shapes':>9}{'plan, s':>9}")
    auto = auto_lengths(lengths)
    for name, row_lengths in ((f"packed {ROW[0]}/{ROW[1]}", ROW), (f"packed, auto = {auto[0]}/{auto[1]}", auto)):
        start = time.process_time()
        rows = plan(lengths, row_lengths).num_rows
        _line(name, fill(lengths, row_lengths, rows), 1, time.process_time() - start)
    _line(f"padded to {ROW[0]}/{ROW[1]}", fill(lengths, ROW, len(lengths)), 1)
    shuffled = lengths[np.random.default_rng(0).permutation(len(lengths))]
    by_length = lengths[np.lexsort((lengths[:, 1], lengths[:, 0]))]
    for name, ordered in (("padded to the longest of 8", shuffled), ("grouped by length in eights", by_length)):
        eights = ordered[: len(ordered) // 8 * 8].reshape(-1, 8, 2)
        longest = eights.max(1)
        encoder, decoder = eights.sum((0, 1)) / (8 * longest.sum(0))
        both = eights.sum() / (8 * longest.sum())
        _line(name, (encoder, decoder, both), len(np.unique(longest, axis=0)))


def _line(name: str, shares: tuple[float, float, float], shapes: int, seconds: float | None = None) -> None:
    columns = "".join(f"{100 * share:>9.1f}" for share in shares)
    print(f"{name:<44}{columns}{shapes:>9,}{'' if seconds is None else f'{seconds:>9.3f}'}")


def print_rates(source: Source) -> None:
    """Examples per second from the cache to numpy batches."""

    def ours(**kwargs) -> Callable[[], int]:
        def run() -> int:
            batches: Batches = open_input([source], batch_size=BATCH, seed=0, epochs=1, **kwargs)
            return sum(batch.stats["examples"] for batch in batches)

        return run

    entrants: dict[str, Callable[[], int]] = {
        f"packed {ROW[0]}/{ROW[1]}": ours(row_lengths=ROW),
        "packed, auto lengths": ours(row_lengths="auto"),
        f"packed {ROW[0]}/{ROW[1]}, no prefetching thread": ours(row_lengths=ROW, prefetch=0),
        f"one a row {ROW[0]}/{ROW[1]}": ours(row_lengths=ROW, pack=False),
        "grain first-fit, 128 bins": lambda: _grain(source, FirstFitPackIterDataset),
        "grain best-fit, 128 bins": lambda: _grain(source, BestFitPackIterDataset),
    }
    best: dict[str, tuple[float, float]] = {}
    for _ in range(3):
        for name, run in entrants.items():
            wall, processor = time.perf_counter(), time.process_time()
            count = run()
            rates = count / (time.process_time() - processor), count / (time.perf_counter() - wall)
            best[name] = max(best.get(name, (0.0, 0.0)), rates)
    first = next(iter(best.values()))[0]
    print(f"\n{'examples a second':<44}{'processor':>11}{'clock':>9}{'ratio':>9}")
    for name, (processor, wall) in best.items():
        print(f"{name:<44}{processor:>11,.0f}{wall:>9,.0f}{processor / first:>9.2f}")


def _grain(source: Source, packer: type[FirstFitPackIterDataset] | type[BestFitPackIterDataset]) -> int:
    """Packs with grain what `Source.templates[0]` holds, in batches; returns the number of examples."""
    split = source.templates[0][1]
    count = min(GRAIN_EXAMPLES, len(split))

    def read(index: int) -> dict[str, np.ndarray]:
        ((inputs, targets),) = split.tokens([index])
        return {"inputs": inputs[: ROW[0]].astype(np.int32), "targets": targets[: ROW[1]].astype(np.int32)}

    examples = grain.MapDataset.range(count).seed(0).shuffle().map(read).to_iter_dataset()
    packed = packer(examples, length_struct={"inputs": ROW[0], "targets": ROW[1]}, num_packing_bins=128)
    for _ in packed.batch(BATCH):
        pass
    return count


def print_resume(prepared: list[Prepared]) -> None:
    """Seconds from opening the cache to the first batch, at step 10,000."""
    stream = open_input([open_source(prepared)], row_lengths=ROW, batch_size=BATCH, seed=0).stream
    block, row = divmod(10_000 * BATCH, stream.num_rows(0))
    taken = []
    for _ in range(5):
        wall, processor = time.perf_counter(), time.process_time()
        iterator = iter(open_input([open_source(prepared)], row_lengths=ROW, batch_size=BATCH, seed=0))
        iterator.set_state({"block": block, "row": row})
        next(iterator)
        taken.append((time.process_time() - processor, time.perf_counter() - wall))
        iterator.close()
        time.sleep(2)  # so that what it was reading ahead is not measured with the next one
    processor, wall = np.median(taken, 0)
    print(f"\nresume at step 10,000 to the first batch: {processor:.3f} s of processor time, {wall:.3f} s by the clock")


if __name__ == "__main__":
    run_cli(main)
