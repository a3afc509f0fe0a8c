"""How fast cards become tokens in the cache, how much room they take, and what that comes to for a collection like FLAN's.

    python -m bench.prepare --mixture multitask --root ../shared/data --vocabulary ../shared/data/t5_vocab/spiece.model
    python -m bench.prepare ... --limit-templates 4          # of each data set: a minute instead of several

Prepares the training split of a mixture into a temporary folder, as a run does that has no cache yet. An example is a
row in one template: templated, tokenised, and written with its lengths. Start-up is what happens before the first
template is begun: reading the cards and hashing the source files; that each process imports and reads its rows is not
in it. Rates are by the clock, over all cores this process may use; processor time of all processes is beside it,
because on a machine that does other work the clock says little. The estimate takes the rate and the bytes per example
measured here, and counts a core there as a core here.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import run_cli
from t5x_tasks.common.vocabulary import Vocabulary, num_cores
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import Prepared, ensure_prepared

COLLECTION = 15_000_000  # examples, about those of the whole FLAN collection
LARGE = 64  # cores of the larger machine in the estimate


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.prepare", description="Speed of preparing.")
    parser.add_argument("--mixture", default="support_chats", help="default: %(default)s")
    parser.add_argument("--root", help="folder that mirrors data sets")
    shipped = Path(__file__).parents[1] / "t5x_tasks" / "vocabularies" / "support_chats.model"
    parser.add_argument("--vocabulary", default=str(shipped), help="a SentencePiece model (default: the shipped one)")
    parser.add_argument("--limit-templates", type=int, metavar="N", help="so many of each data set")
    chosen = parser.parse_args(arguments)
    vocabulary = Vocabulary.load(chosen.vocabulary)
    names = limited(chosen.mixture, chosen.limit_variants)
    with tempfile.TemporaryDirectory() as folder:
        data = DataConfig.model_validate({"root": chosen.root, "cache": folder, "skip_missing": True})
        before, start, began = _processor(), time.perf_counter(), time.time()
        prepared = ensure_prepared(names, "train", data=data, vocabulary=vocabulary, progress=False)
        wall, processor = time.perf_counter() - start, _processor() - before
        report(chosen.mixture, prepared, wall=wall, processor=processor, start_up=first_written(prepared) - began)


def limited(mixture: str, most: int | None) -> list[str]:
    """Returns the tasks behind a mixture, `most` of each data set."""
    counts: dict[str, int] = {}
    names = []
    for card, variant in load_catalog().resolve(mixture):
        counts[card.name] = counts.get(card.name, 0) + 1
        if most is None or counts[card.name] <= most:
            names.append(card.task_name(variant))
    return names


def first_written(prepared: list[Prepared]) -> float:
    """Returns when (time.time) the first template was begun: then its task's lock was taken, a file that stays as it is."""
    return min((entry.folder.parent / ".lock").stat().st_ctime for entry in prepared)


def report(mixture: str, prepared: list[Prepared], *, wall: float, processor: float, start_up: float) -> None:
    splits = [entry.open() for entry in prepared]
    examples = sum(map(len, splits))
    tokens = sum(int(split.lengths.sum()) for split in splits)
    size = sum(file.stat().st_size for split in splits for file in split.folder.iterdir())
    cores = num_cores()
    rate = examples / (wall - start_up)
    print(f"{mixture}: {len(splits)} tasks of {len({p.dataset for p in prepared})} data sets, {examples:,} examples,")
    print(f"{tokens / examples:.0f} tokens each; {cores} cores, load of the machine {os.getloadavg()[0]:.1f}")
    print(f"{'':<34}{'seconds':>10}{'examples/s':>12}{'a core':>10}")
    for name, seconds in (("after start-up", wall - start_up), ("in all", wall)):
        print(f"{name:<34}{seconds:>10.1f}{examples / seconds:>12,.0f}{examples / seconds / cores:>10,.0f}")
    print(f"{'processor time, all processes':<34}{processor:>10.1f}{'':>12}{examples / processor:>10,.0f}")
    print(f"start-up {start_up:.1f} s; {size / examples:,.0f} bytes of cache an example")
    hours, own = COLLECTION / rate / 3600, COLLECTION / examples * processor / 3600
    print(f"{COLLECTION:,} such examples take {COLLECTION * size / examples / 1e9:.1f} GB, and")
    for of, many in ((f"{cores} cores", cores), (f"{LARGE} cores", LARGE)):
        print(f"  on {of} {hours * cores / many:.2f} hours at this rate, {own / many:.2f} with the cores to themselves")


def _processor() -> float:
    """Returns the seconds of processor time of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    run_cli(main)
