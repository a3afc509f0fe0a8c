"""Systems are told apart by what they are: two models never become one, and one never becomes two."""

import json
from pathlib import Path

import pytest
import yaml
from helpers import evaluated
from helpers.checkpoint import evaluate_run, save_checkpoint

from eval.commands import compare, score

ROWS = [{"id": f"r{i}", "dialogue": f"Ann: {i}?\nBob: Yes.", "summary": f"Bob says yes to {i}."} for i in range(6)]


def right(example):
    return example.references[0]


def wrong(example):
    return "Nobody says anything."


@pytest.fixture
def card(make_card):
    return make_card(test_rows=ROWS)


def gather(*folders):
    return compare.gather([str(folder) for folder in folders], samples=50)


def names(*folders):
    return [system.name for system in gather(*folders).systems]


def test_predictions_of_one_name_in_two_folders_are_two_systems(card, tmp_path, monkeypatch):
    for model, split, ids in (("modelA", "test", [row["id"] for row in ROWS]), ("modelB", "train", ["a", "b", "c"])):
        (tmp_path / model).mkdir()
        monkeypatch.chdir(tmp_path / model)
        Path("preds.jsonl").write_text("".join(json.dumps({"id": i, "prediction": model}) + "\n" for i in ids))
        of_tiny = ["--task", "tiny", "--predictions", "preds.jsonl", "--cards", str(card)]
        assert score.main([*of_tiny, "--split", split]) == 0
    assert names(tmp_path / "modelA" / "preds", tmp_path / "modelB" / "preds") == ["modelA/preds", "modelB/preds"]


def test_checkpoints_at_the_same_relative_path_in_two_projects_are_two_systems(card, tmp_path):
    folders = []
    for project, split in (("A", "test"), ("B", "train")):
        run = evaluated.make_run(tmp_path / project / "runs" / "x", mixture="tiny", cards=[card])
        weights = "runs/x/checkpoints/9"
        folders.append(evaluated.evaluate(run / "eval" / "9", {"tiny": right}, cards=[card], split=split, step=9,
                                          weights=weights))  # fmt: skip
    assert names(*folders) == ["A/runs/x, step 9", "B/runs/x, step 9"]
    assert names(*(folder.rename(folder.parents[3] / "scored") for folder in folders)) == ["A, step 9", "B, step 9"]


def test_curves_of_two_runs_of_one_name_stay_two(card, tmp_path):
    for project in ("A", "B"):
        run = evaluated.make_run(tmp_path / project / "x", mixture="tiny", cards=[card])
        for step in (1, 2, 3):
            evaluated.evaluate(run / "eval" / str(step), {"tiny": right}, cards=[card], step=step)
    (curves,) = gather(tmp_path / "A" / "x", tmp_path / "B" / "x").over_steps.values()
    assert {run: len(points) for run, points in curves.items()} == {"A/x": 3, "B/x": 3}


def test_random_weights_of_two_sizes_are_two_systems(run_dir, tmp_path):
    outputs = [tmp_path / name for name in ("narrow", "wide", "narrow_train")]
    for output, other in zip(outputs, ("eval.split=test", "model.mlp_dim=32", "eval.split=train"), strict=True):
        assert evaluate_run(run_dir, f"eval.output={output}", "eval.steps=[0]", other) == 0
    narrow, wide, narrow_train = (output / "0" for output in outputs)
    assert len(names(narrow, wide)) == 2
    assert names(narrow, narrow_train) == ["before training"]


def test_what_is_named_apart_is_never_merged(card, tmp_path):
    folders = [
        evaluated.evaluate(tmp_path / split, {"tiny": right}, cards=[card], split=split, fingerprint="one")
        for split in ("test", "train")
    ]
    assert names(*folders) == ["test"]
    assert names(f"a={folders[0]}", f"b={folders[1]}") == ["a", "b"]
    assert names(f"a={folders[0]}", folders[1]) == ["a"]


def test_a_checkpoint_that_another_run_started_from_is_one_system(run_dir, tmp_path):
    save_checkpoint(run_dir, 3, seed=7)
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    for name, weights in (("two", str(run_dir)), ("three", f"{run_dir}/checkpoints/3")):
        config["run_dir"], config["model"]["weights"] = str(tmp_path / name), weights
        config["method"] = {"type": "lora"} if name == "three" else {"type": "full"}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config))
        assert evaluate_run(tmp_path / name, "eval.steps=[0]") == 0
    assert evaluate_run(run_dir, "eval.steps=[0, 3]") == 0
    assert names(run_dir, tmp_path / "two", tmp_path / "three") == ["before training", "step 3"]
    assert names(tmp_path / "three", tmp_path / "two") == ["before training"]
    prompted = ["method.type=prompt_tuning", "method.length=2", f"eval.output={tmp_path / 'prompted'}"]
    assert evaluate_run(tmp_path / "two", "eval.steps=[0]", *prompted) == 0  # it reads a prompt before it is trained
    assert len(names(tmp_path / "two", tmp_path / "prompted")) == 2
