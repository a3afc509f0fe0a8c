"""Real examples a second in an epoch of DialogSum: ours, packed, beside PyTorch fed in the three ways of its users.

    python -m bench.epoch --root ../shared/data --vocabulary ../shared/data/t5_vocab/spiece.model

    python -m bench.epoch ... --preset flan-t5-base --rows 32 --dtype bfloat16               # on a GPU

    packed     ours: 8 rows (`--rows`) of 512/128 with as many examples as go in
    full       PyTorch: 8 examples, each padded to 512/128
    longest    PyTorch: 8 examples, padded to the longest of them
    grouped    the same of examples of like length: sorted within 50 batches, as transformers' `group_by_length` does

Same random weights of flan-t5-small's shape (`--preset`), dropout 0.1, float32; see bench/entrants.py. Texts are tokens before,
inputs cut to 512, targets to 128. An epoch has 1,558 batches of eight; each turn steps on one of each kind (twice, see there),
and the turns' batches stand at even distances in the order of their lengths, so that their mean is the epoch's. Exits with 1
below 2.5, 1.7, 1.1.
"""

import argparse
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.entrants import DTYPES, ENTRANTS, Batch, Taken, check_pytorch, serve, start_both
from bench.pytorch import write_random
from t5x_tasks.common.errors import UserError, run_cli
from t5x_tasks.common.vocabulary import Vocabulary
from train.data import packing
from train.model.presets import PRESETS

LENGTHS, DROPOUT = (512, 128), 0.1
AIMS = {"full": 2.5, "longest": 1.7, "grouped": 1.1}  # times as many examples a second
_MEGABATCH = 50  # batches that `group_by_length` sorts together
Examples = list[tuple[np.ndarray, np.ndarray]]  # tokens of input and target


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.epoch", description="Examples a second beside PyTorch's.")
    parser.add_argument("--root", required=True, help="folder that mirrors data sets: holds dialogsum/train.jsonl.gz")
    parser.add_argument("--vocabulary", required=True, help="T5's SentencePiece model")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--rows", type=int, default=8, help="of a step, or examples (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--preset", choices=PRESETS, default="flan-t5-small", help="default: %(default)s")
    parser.add_argument("--entrant", nargs=2, help=argparse.SUPPRESS)  # name, weights
    chosen = parser.parse_args(arguments)
    batches = Batches(read(chosen.root, chosen.vocabulary), chosen.turns, chosen.rows)
    if chosen.entrant:
        name, weights = chosen.entrant
        serve(ENTRANTS[name](Path(weights), chosen.dtype, DROPOUT), batches.make)
        return 0
    check_pytorch()
    shared = [
        "--root", chosen.root, "--vocabulary", chosen.vocabulary, "--dtype", chosen.dtype, "--turns", str(chosen.turns),
        "--rows", str(chosen.rows),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_random(Path(folder), PRESETS[chosen.preset])
        entrants = start_both(lambda name: ["bench.epoch", *shared, "--entrant", name, folder])
        taken: dict[str, list[Taken]] = {kind: [] for kind in ("packed", *AIMS)}
        for kind in taken:  # compile and warm up
            entrants[_entrant(kind)].step(f"{kind} 0")
        for turn in range(chosen.turns):
            for kind, steps in taken.items():
                steps.append(entrants[_entrant(kind)].turn(f"{kind} {turn}"))
        for entrant in entrants.values():
            entrant.close()
    return report(chosen, batches, taken)


def _entrant(kind: str) -> str:
    return "ours" if kind == "packed" else "pytorch"


def report(chosen: argparse.Namespace, batches: "Batches", taken: dict[str, list[Taken]]) -> int:
    print(f"{chosen.preset}, {chosen.dtype}, {chosen.rows} rows of at most {LENGTHS}, {chosen.turns} turns")
    print(f"{'':<10}{'examples/s':>12}{'of processor':>14}{'ratio':>8}{'of processor':>14}{'peak, GB':>10}{'aim':>6}")
    rates = {}
    for kind, steps in taken.items():
        examples = sum(batches.count(f"{kind} {turn}") for turn in range(chosen.turns))
        rates[kind] = examples / sum(s.clock_s for s in steps), examples / sum(s.processor_s for s in steps)
    reached = True
    for kind, (clock, processor) in rates.items():
        ratio, of_processor = rates["packed"][0] / clock, rates["packed"][1] / processor
        aim = f"{AIMS[kind]:>6.1f}" if kind in AIMS else ""
        reached &= ratio >= AIMS.get(kind, 0)
        peak = max(s.peak_gb for s in taken[kind])
        print(f"{kind:<10}{clock:>12.2f}{processor:>14.2f}{ratio:>7.2f}x{of_processor:>13.2f}x{peak:>10.2f}{aim}")
    return int(not reached)


def read(root: str, vocabulary: str) -> Examples:
    """All of DialogSum's train split."""
    path = Path(root) / "dialogsum" / "train.jsonl.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows: list[dict[str, Any]] = [json.loads(line) for line in file]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; --root is the folder that holds dialogsum") from None
    pieces = Vocabulary.load(vocabulary)
    texts = [f"Summarize the following dialogue.\n\n{row['dialogue']}\n\nSummary:" for row in rows]
    sides = []
    for side, length in zip((texts, [row["summary"] for row in rows]), LENGTHS, strict=True):
        sides.append(
            [np.append(ids[: length - 1], pieces.eos_id).astype(np.int32) for ids in pieces.encode_batch(side)]
        )
    return list(zip(*sides, strict=True))


class Batches:
    """The batches of each turn by their names, `packed 0`, ...: rows of indices of examples."""

    def __init__(self, examples: Examples, turns: int, size: int):
        self._examples = examples
        lengths = np.array([[len(side) for side in example] for example in examples])
        shuffled = np.random.default_rng(0).permutation(len(examples))
        shuffled = shuffled[: len(shuffled) // size * size]
        mega = [shuffled[i : i + size * _MEGABATCH] for i in range(0, len(shuffled), size * _MEGABATCH)]
        grouped = np.concatenate([part[np.argsort(-lengths[part, 0], kind="stable")] for part in mega])
        plan = packing.plan(lengths, LENGTHS)
        rows = [plan.examples[a:b] for a, b in zip(plan.row_starts[:-1], plan.row_starts[1:], strict=True)]
        rows = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
        self._rows: dict[str, list[np.ndarray]] = {}
        for turn in range(turns):
            self._rows[f"packed {turn}"] = rows[turn * size : (turn + 1) * size]
        for kind, order in (("full", shuffled), ("longest", shuffled), ("grouped", grouped)):
            all_of = order.reshape(-1, size)
            by_length = all_of[np.argsort(lengths[all_of, 0].max(1), kind="stable")]
            for turn in range(turns):
                batch = by_length[int((turn + 0.5) / turns * len(by_length))]
                self._rows[f"{kind} {turn}"] = [batch[i : i + 1] for i in range(size)]

    def count(self, name: str) -> int:
        return sum(map(len, self._rows[name]))

    def make(self, name: str) -> Batch:
        rows = [[self._examples[i] for i in row] for row in self._rows[name]]
        batch: Batch = {}
        for side, (prefix, tokens) in enumerate(
            (("encoder", "encoder_input_tokens"), ("decoder", "decoder_target_tokens"))
        ):
            longest = max(sum(len(example[side]) for example in row) for row in rows)
            shape = (len(rows), LENGTHS[side] if name.startswith(("packed", "full")) else longest)
            batch[tokens], segments, shifted = (np.zeros(shape, np.int32) for _ in range(3))
            for number, row in enumerate(rows):
                start = 0
                for segment, example in enumerate(row, start=1):
                    end = start + len(example[side])
                    batch[tokens][number, start:end] = example[side]
                    shifted[number, start + 1 : end] = example[side][:-1]
                    segments[number, start:end] = segment
                    start = end
            batch[f"{prefix}_segment_ids"] = segments
            if prefix == "decoder":
                batch["decoder_input_tokens"] = shifted
        return batch


if __name__ == "__main__":
    run_cli(main)
