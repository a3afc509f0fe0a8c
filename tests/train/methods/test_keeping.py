"""Whole runs: those that keep to the model before training, with adapters, regulariser, replay and KL together; early ends."""

import errno
import json
import shutil

import numpy as np

from train.checkpoints.checkpointer import Checkpoints, seal
from train.data.open import open_training
from train.loop import train


def test_a_run_with_ewc_and_replay_goes_on_to_the_bit(make_config, tmp_path):
    def config(name: str):
        return make_config(
            tmp_path / name,
            {"type": "lora", "rank": 4},
            regularizer={"type": "ewc", "weight": 10.0, "examples": 12},
            replay={"mixture": "support_chats.inverted", "rate": 0.5, "kl_weight": 1.0},
            train={"steps": 4, "dropout": 0.0},
            checkpoint={"every_steps": 2},
        )

    assert train(config("whole")) == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "4")
    assert train(config("cut")) == 0
    whole, cut = (_learned(tmp_path / name / "metrics.jsonl") for name in ("whole", "cut"))
    assert whole == cut
    first, last = whole[0], whole[-1]
    assert first["penalty"] == 0 < last["penalty"]
    assert first["replay_kl"] < 1e-6 < last["replay_kl"]
    assert first["replay_loss"] != first["loss"]


def test_a_position_names_the_examples_of_the_task_and_those_replayed(make_config, vocabulary):
    replay = {"mixture": "support_chats.inverted", "rate": 0.5}
    batches = open_training(make_config("unused", {"type": "full"}, replay=replay), vocabulary).batches
    batch = next(iter(batches))
    again, names = batches.inspect({"main": {"block": 0, "row": 0}, "replay": {"block": 0, "row": 0}})
    assert again.stats == batch.stats
    np.testing.assert_array_equal(
        again.arrays["replay/decoder_target_tokens"], batch.arrays["replay"]["decoder_target_tokens"]
    )
    replayed = [task.startswith("support_chats.inverted.") for task, _ in names]
    assert len(replayed) == batch.stats["examples"] and 0 < sum(replayed) < len(replayed)


def test_a_run_that_no_longer_gets_better_ends_and_says_so_to_who_follows(make_config, tmp_path, capsys):
    config = make_config(
        tmp_path / "run",
        {"type": "lora", "rank": 4},
        optimizer={"learning_rate": 1e-30},
        train={"steps": 6, "validation_examples": 2},
        checkpoint={"every_steps": 1, "patience": 2},
    )
    assert train(config) == train(config) == 0
    assert "ends at step 3 of 6: validation_loss was best at step 1" in (said := capsys.readouterr().err)
    assert "is trained to step 3 already" in said
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.steps()[-1] == checkpoints.info(3).metadata["total_steps"] == 3


def test_a_run_does_not_wait_for_the_score_of_a_checkpoint_that_could_not_be_saved(
    make_config, tmp_path, capsys, monkeypatch
):
    config = make_config(
        tmp_path / "run",
        {"type": "lora", "rank": 4},
        train={"steps": 4},
        checkpoint={"every_steps": 2, "best": "support_chats/rougeL"},  # which nobody computes
    )
    write, written = seal.write, []

    def write_or_not(path):
        written.append(path.name)
        if len(written) == 1:
            raise OSError(errno.EIO, "Input/output error", str(path))
        write(path)

    monkeypatch.setattr(seal, "write", write_or_not)
    assert train(config) == 0
    assert written == ["2", "4"]
    assert "checkpoints/2: saving failed in the background ([Errno 5] Input/output error" in capsys.readouterr().err


def _learned(path):
    names = ("step", "loss", "grad_norm", "penalty", "replay_loss", "replay_kl", "tokens")
    return [{name: row[name] for name in names} for row in map(json.loads, path.read_text().splitlines())]
