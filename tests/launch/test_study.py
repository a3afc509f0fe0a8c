"""A study: the runs of a folder in order, their base first, and what they are compared in."""

import pytest

from launch.__main__ import main
from launch.study import load
from t5x_tasks.common.errors import UserError


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "_shared.yaml").write_text("run_dir: unused\nmodel: {weights: runs/s/start}\ntrain: {steps: 3}\n")
    for name, more in {"a_run": "", "start": "model: {weights: random}", "b_run": "method: {type: lora}"}.items():
        (folder / f"{name}.yaml").write_text(f"base: _shared.yaml\nrun_dir: runs/s/{name}\n{more}\n")
    return folder


def words(commands):
    return [" ".join(command[2:]).replace(".yaml", "") for command in commands]


def test_the_base_comes_first_and_all_are_compared_with_it(folder):
    assert words(load(folder, []).commands()) == [
        f"train {folder}/start", f"eval {folder}/start eval.steps=[latest]",
        f"train {folder}/a_run", f"eval {folder}/a_run eval.steps=[latest]",
        f"train {folder}/b_run", f"eval {folder}/b_run eval.steps=[latest]",
        "eval compare start=runs/s/start a_run=runs/s/a_run b_run=runs/s/b_run --output runs/s/report.html",
    ]  # fmt: skip


def test_on_other_weights_it_compares_with_those_and_leaves_the_base_out(folder):
    commands = words(load(folder, ["model.weights=hf://x/y"]).commands())
    assert commands[1] == f"eval {folder}/a_run model.weights=hf://x/y eval.steps=[0,latest]"
    assert not any("start" in command for command in commands)


def test_a_dry_run_prints_the_commands(folder, capsys):
    assert main(["study", str(folder), "train.steps=5", "--dry-run"]) == 0
    assert f"-m train {folder}/b_run.yaml train.steps=5" in capsys.readouterr().out


def test_what_is_no_study_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="holds no configuration"):
        load(tmp_path, [])
    with pytest.raises(UserError, match="each run of a study has its own"):
        load(folder, ["run_dir=runs/x"])
    (folder / "c.yaml").write_text("base: _shared.yaml\nrun_dir: runs/s/a_run\n")
    with pytest.raises(UserError, match=r"c\.yaml: run_dir: runs/s/a_run is that of .*a_run\.yaml too"):
        load(folder, [])
