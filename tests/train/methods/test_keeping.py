"""Whole runs that keep to the model before training: with adapters, regulariser, replay and KL together."""

import json
import shutil

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


def _learned(path):
    names = ("step", "loss", "grad_norm", "penalty", "replay_loss", "replay_kl", "tokens")
    return [{name: row[name] for name in names} for row in map(json.loads, path.read_text().splitlines())]
