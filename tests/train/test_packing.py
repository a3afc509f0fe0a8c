import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train.data.packing import auto_lengths, fill, plan

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def dialogue_lengths(count: int, seed: int = 0) -> np.ndarray:
    """Lengths like those of DialogSum: skewed, a target of about a sixth of its input."""
    rng = np.random.default_rng(seed)
    inputs = rng.lognormal(5.3, 0.5, count)
    targets = inputs * 0.17 * rng.lognormal(0, 0.4, count)
    return np.maximum(np.stack([inputs, targets], 1).astype(np.int32), 2)


LENGTHS = {
    "dialogues": (dialogue_lengths(3000), (512, 128)),
    "tight targets": (dialogue_lengths(3000), (512, 80)),
    "long targets": (dialogue_lengths(1000)[:, ::-1], (64, 512)),
    "equal": (np.full((1000, 2), (100, 20)), (512, 128)),
    "longer than a row": (np.array([[600, 5], [5, 200], [700, 300], [12, 3]]), (512, 128)),
    "exactly a row": (np.array([[512, 128]] * 3), (512, 128)),
    "one": (np.array([[1, 1]]), (16, 16)),
    "tiny rows": (dialogue_lengths(200), (1, 1)),
}


def row_sums(lengths: np.ndarray, row_lengths: tuple[int, int], **kwargs) -> tuple[np.ndarray, np.ndarray]:
    planned = plan(lengths, row_lengths, **kwargs)
    cut = np.minimum(lengths, row_lengths)[planned.examples]
    return planned.examples, np.add.reduceat(cut, planned.row_starts[:-1], axis=0)


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("pack", [True, False])
def test_every_example_is_in_one_row_and_no_row_overflows(name: str, pack: bool):
    lengths, row_lengths = LENGTHS[name]
    members, sums = row_sums(lengths, row_lengths, pack=pack)
    assert sorted(members) == list(range(len(lengths)))
    assert (sums <= row_lengths).all()
    assert (sums > 0).all()  # no row is empty
    assert pack or len(sums) == len(lengths)


def test_it_is_as_good_as_trying_every_open_row():
    """The bit sets find the row that a plain search over all open rows finds: the least input room that fits."""
    lengths, row_lengths = dialogue_lengths(1500, seed=3), (512, 80)
    cut = np.minimum(lengths, row_lengths)
    rooms: list[list[int]] = []
    for x, y in sorted(cut.tolist(), key=lambda e: -(e[0] * row_lengths[1] + e[1] * row_lengths[0])):
        fitting = [room for room in rooms if room[0] >= x and room[1] >= y]
        if not fitting:
            rooms.append(list(row_lengths))
            fitting = rooms[-1:]
        chosen = min(fitting, key=lambda room: room[0])
        chosen[0] -= x
        chosen[1] -= y
    num_rows = plan(lengths, row_lengths).num_rows
    # Ties between rows of one input room are broken differently, nothing else is.
    assert abs(num_rows - len(rooms)) <= 0.005 * len(rooms)


def test_rows_are_nearly_full():
    lengths = dialogue_lengths(12_000)
    inputs, _, _ = fill(lengths, (512, 128), plan(lengths, (512, 128)).num_rows)
    assert inputs > 0.98
    row_lengths = auto_lengths(lengths)
    _, _, both = fill(lengths, row_lengths, plan(lengths, row_lengths).num_rows)
    assert both > 0.94


@pytest.mark.needs_shared
def test_rows_of_dialogsum_are_as_full_as_promised():
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(SHARED / "t5_vocab" / "spiece.model"))
    with gzip.open(SHARED / "dialogsum" / "train.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    prompts = [f"Summarize the following conversation.\n\n{row['dialogue']}\n\nSummary:" for row in rows]
    sides = [processor.encode(texts, num_threads=2) for texts in (prompts, [row["summary"] for row in rows])]
    lengths = np.array([[len(ids) + 1 for ids in side] for side in sides]).T
    assert len(lengths) == 12_460
    assert fill(lengths, (512, 128), plan(lengths, (512, 128)).num_rows)[0] >= 0.97
    row_lengths = auto_lengths(lengths)
    assert ((lengths > row_lengths).mean(0) <= 0.005).all()
    assert fill(lengths, row_lengths, plan(lengths, row_lengths).num_rows)[2] >= 0.94


def test_a_plan_depends_on_nothing_but_the_lengths():
    lengths = dialogue_lengths(500)
    first, second = plan(lengths, (512, 128)), plan(lengths.astype(np.int64), (512, 128))
    assert first.examples.tolist() == second.examples.tolist()
    assert first.row_starts.tolist() == second.row_starts.tolist()


def test_fill_counts_both_sides():
    assert fill(np.array([[8, 2], [20, 2]]), (10, 4), 2) == (18 / 20, 4 / 8, 22 / 28)


@pytest.mark.parametrize("seed", range(3))
def test_auto_lengths_cut_at_most_half_a_percent(seed: int):
    lengths = dialogue_lengths(5000, seed)
    row_inputs, row_targets = auto_lengths(lengths)
    assert row_inputs % 128 == 0 and row_targets % 16 == 0
    assert ((lengths > (row_inputs, row_targets)).mean(0) <= 0.005).all()
    assert auto_lengths(lengths) == (row_inputs, row_targets)


def test_auto_lengths_are_no_longer_than_the_data_needs():
    inputs = np.arange(6, 606)
    row_inputs, row_targets = auto_lengths(np.stack([inputs, inputs // 6], 1))
    assert row_inputs == 640
    assert row_targets in (112, 128)  # 640 / 6 = 107


def test_auto_lengths_make_rows_longer_when_rare_long_targets_would_leave_them_empty():
    lengths = np.full((4000, 2), (150, 8))
    lengths[::50, 1] = 100
    row_inputs, row_targets = auto_lengths(lengths)
    chosen, short = ((row_inputs, row_targets), (256, 112))
    shares = [fill(lengths, r, plan(lengths, r).num_rows)[2] for r in (chosen, short)]
    assert row_targets >= 100
    assert shares[0] > shares[1] + 0.02


def test_auto_lengths_of_one_example():
    assert auto_lengths(np.array([[5, 1]])) == (128, 32)


def test_neither_jax_nor_tensorflow_is_needed_to_plan_and_read():
    code = "import sys, t5x_tasks.cache, train.data.layout; print({'jax', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
