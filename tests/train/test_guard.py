"""Steps with a non-finite loss, or that spikes: not applied, named with their examples, few."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_tasks.common.errors import Failure
from t5x_tasks.common.vocabulary import Vocabulary
from train import config as configuration
from train import loop
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config, SkipConfig
from train.data import batches as input_batches
from train.data.layout import Batch
from train.data.open import open_training
from train.skip_rule import first_statistics, judge

STEPS = 12
Rows = list[dict[str, Any]]


@pytest.fixture
def configure(workplace: Path) -> Callable[..., Config]:
    def configure(run: str, steps: int = STEPS) -> Config:
        return configuration.load(workplace / "config.yaml", [f"run_dir={workplace / run}", f"train.steps={steps}"])

    return configure


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch, configure) -> Callable[..., dict[int, Batch]]:
    """Puts a token that the embedding has no row for into the batches of the given steps; returns them as they were."""

    def poison(*steps: int) -> dict[int, Batch]:
        config = configure("unused")
        batches = iter(open_training(config, Vocabulary.load(config.model.vocabulary)).batches)
        whole = {step: next(batches) for step in range(1, max(steps) + 1)}
        bad = {whole[step].arrays["encoder_input_tokens"].tobytes() for step in steps}
        make = input_batches.make_batch

        def make_poisoned(*arguments: Any) -> Batch:
            batch = make(*arguments)
            if batch.arrays["encoder_input_tokens"].tobytes() in bad:
                batch.arrays["encoder_input_tokens"][0, 0] = 1 << 20
            return batch

        monkeypatch.setattr(input_batches, "make_batch", make_poisoned)
        return {step: whole[step] for step in steps}

    return poison


def lines(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()]


def texts(batch: Batch, vocabulary: Vocabulary) -> list[str]:
    tokens, segments = batch.arrays["encoder_input_tokens"], batch.arrays["encoder_segment_ids"]
    return [
        vocabulary.decode(row[ids == segment].tolist())
        for row, ids in zip(tokens, segments, strict=True)
        for segment in range(1, ids.max() + 1)
    ]


def test_a_poisoned_batch_is_skipped_and_its_examples_are_in_the_log_resumed_or_not(
    workplace, configure, poison, vocabulary
):
    batch = poison(7)[7]
    assert loop.train(configure("poisoned")) == 0
    rows = lines(workplace / "poisoned" / "metrics.jsonl")
    assert [row["step"] for row in rows if row["loss"] is None] == [7]
    assert math.isfinite(rows[-1]["loss"]) and rows[-1]["loss"] < rows[0]["loss"]
    assert [row["skipped_steps"] for row in rows] == [0] * 6 + [1] * 6

    (skipped,) = lines(workplace / "poisoned" / "skipped.jsonl")
    assert (skipped["step"], skipped["loss"], skipped["why"]) == (7, None, "the loss or a gradient is not finite")
    chats = {row["id"]: row["chat"] for row in lines(workplace / "train.jsonl")}
    named = sorted(
        (f"Sum up: {chats[id]}" if task == "notes.t00" else f"{chats[id]} Who wants what?").replace("\n", " ")
        for task, id in skipped["examples"]
    )
    assert named == sorted(text.replace("\n", " ") for text in texts(batch, vocabulary))
    dump = np.load(workplace / "poisoned" / skipped["dump"])
    assert dump["encoder_input_tokens"][0, 0] == 1 << 20
    np.testing.assert_array_equal(dump["decoder_target_tokens"], batch.arrays["decoder_target_tokens"])

    for steps in (9, STEPS):
        loop.train(configure("in_parts", steps))
    again = lines(workplace / "in_parts" / "metrics.jsonl")
    assert [(row["loss"], row["grad_norm"]) for row in again] == [(row["loss"], row["grad_norm"]) for row in rows]
    assert lines(workplace / "in_parts" / "skipped.jsonl") == [skipped]


def test_five_poisoned_batches_in_a_row_end_the_run_and_are_not_saved(workplace, configure, poison):
    poison(6, 7, 8, 9, 10)
    with pytest.raises(
        Failure, match=r"step 10: 5 steps in a row .* not applied; the last checkpoint is that of step 5\."
    ):
        loop.train(configure("too_many"))
    assert [row["step"] for row in lines(workplace / "too_many" / "skipped.jsonl")] == [6, 7, 8, 9, 10]
    with Checkpoints(workplace / "too_many" / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.steps() == [5]


def test_a_loss_far_above_the_others_is_a_spike_once_there_are_enough_of_them():
    decide = jax.jit(lambda guard, loss: judge(guard, loss, jnp.float32(1.0), SkipConfig()))
    draw = np.random.default_rng(0)
    guard = first_statistics()
    for number, loss in enumerate(draw.normal(2.0, 0.1, 60)):
        good, guard = decide(guard, 50.0 if number == 20 else loss)
        assert good, "a loss among the first fifty is no spike"
    for _ in range(300):
        good, guard = decide(guard, draw.normal(2.0, 0.1))
        assert good
    assert float(guard.mean) == pytest.approx(2.0, abs=0.1)
    before = guard
    good, guard = decide(guard, 3.0)
    assert good
    good, guard = decide(before, 9.0)
    assert not good
    assert (guard.mean, guard.skipped, guard.in_a_row) == (before.mean, 1, 1)
