"""A run resumes only with the data that it began with: mixture, tokens, validation and Fisher data; what gives the same tokens is
the same.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.processes import finish, launch

from t5x_tasks.common.errors import UserError
from t5x_tasks.prepare import worker as prepare_split
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.rendering.render import Rendering, render
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config
from train.data.description import describe, differences
from train.data.open import fisher_examples, open_training
from train.data.order import Source
from train.loop import train
from train.rundir import provenance

MIXTURE = {"name": "mix", "members": ["notes", "others"]}
EWC = ('regularizer={type: ewc, weight: 1.0, examples: 8}', 'replay={mixture: others, rate: 0.0}')  # fmt: skip


class Project:
    """The folder of a run on a mixture of two data sets, of 48 and 16 rows."""

    def __init__(self, folder: Path):
        self.folder = folder

    def config(self, *overrides: str, run: str = "run", steps: int = 2) -> Config:
        more = [
            "data.mixture=mix",
            f"data.cards=[{self.folder}]",
            "checkpoint.every_steps=2",
            "optimizer.schedule={type: constant}",
        ]
        return configuration.load(
            self.folder / "config" / "config.yaml",
            [f"run_dir={self.folder / run}", f"data.cache={self.folder / 'cache'}", f"train.steps={steps}", *more, *overrides],
        )  # fmt: skip

    def edit(self, name: str, **changes: Any) -> None:
        path = self.folder / name
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}, sort_keys=False))

    def edit_row(self, name: str, number: int = 0) -> None:
        path = self.folder / name
        lines = path.read_text().splitlines()
        lines[number] = json.dumps({**json.loads(lines[number]), "recap": "Corrected."})
        path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def begun(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose run has two steps behind it."""
    folder = tmp_path_factory.mktemp("begun")
    for name in ("train.jsonl", "validation.jsonl", "notes.yaml"):
        shutil.copy(workplace / name, folder / name)
    (folder / "others.jsonl").write_text("".join((folder / "train.jsonl").read_text().splitlines(keepends=True)[:16]))
    card = {**yaml.safe_load((folder / "notes.yaml").read_text()), "name": "others"}
    card["source"] = {"type": "jsonl", "train": "others.jsonl"}
    (folder / "others.yaml").write_text(yaml.safe_dump(card))
    (folder / "mix.yaml").write_text(yaml.safe_dump(MIXTURE))
    (folder / "config").mkdir()
    shutil.copy(workplace / "config.yaml", folder / "config")
    assert train(Project(folder).config()) == 0
    assert train(Project(folder).config(*EWC, run="kept")) == 0
    return folder


@pytest.fixture
def project(begun: Path, tmp_path: Path) -> Project:
    """A copy for each test. Its run_dir lies elsewhere, which a run may."""
    folder = tmp_path / "project"
    shutil.copytree(begun, folder)
    for run in ("run", "kept"):  # data.cards is no free key: another path would be another configuration
        path = folder / run / "config.yaml"
        path.write_text(path.read_text().replace(str(begun), str(folder)))
    return Project(folder)


def refused(project: Project, *overrides: str, run: str = "run") -> str:
    """The message of a run that does not resume; nothing of it is touched then, but who holds its lock."""
    before = contents(project.folder / run)
    with pytest.raises(UserError) as error:
        train(project.config(*overrides, run=run, steps=4))
    assert contents(project.folder / run) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".lock")}


def resumed(project: Project, capsys: pytest.CaptureFixture[str], *overrides: str, run: str = "run") -> str:
    capsys.readouterr()
    assert train(project.config(*overrides, run=run, steps=4)) == 0
    said = capsys.readouterr().err
    assert "resumes after step 2" in said
    return said


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("mix.yaml", {"members": [{"name": "notes", "weight": 0.5}, "others"]},
         "training: notes: examples per epoch 24, not 48"),
        ("mix.yaml", {"cap": 20}, "training: notes: examples per epoch 20, not 48"),
        ("mix.yaml", {"rate": "equal"}, "training: notes: examples per epoch 32, not 48"),
        ("mix.yaml", {"members": ["others", "notes"]}, "training: data sets in the order others, notes, not notes, others"),
        ("mix.yaml", {"members": ["notes"]}, "training: others is gone"),
        ("notes.yaml", {"max_examples": 40}, "training: notes: examples per epoch 40, not 48"),
    ],
    ids=["weight", "cap", "rule", "order", "members", "max_examples"],
)  # fmt: skip
def test_resume_refuses_a_changed_mixture(project: Project, file: str, change: dict[str, Any], said: str):
    project.edit(file, **change)
    message = refused(project)
    assert f"run: its data changed since the run was interrupted: {said}" in message
    assert message.endswith("; bring back what it began with, or choose another run_dir")


def test_resume_refuses_changed_weights_of_templates(project: Project):
    first, second = ({"name": "notes.t00", "weight": 1}, {"name": "notes.t01", "weight": 3})
    project.edit("mix.yaml", rate="weights", members=[first, second])
    assert train(project.config(run="weighted")) == 0
    project.edit("mix.yaml", members=[first, {**second, "weight": 2}])
    message = refused(project, run="weighted")
    assert "training: notes: weights [0.3333333333333333, 0.6666666666666666], not [0.25, 0.75]" in message
    project.edit("mix.yaml", members=[first, {**second, "weight": 1}])
    assert "training: notes: weights None, not [0.25, 0.75]" in refused(project, run="weighted")


def test_resume_refuses_other_templates_and_names_what_changed_where_tokens_did(project: Project):
    templates = yaml.safe_load((project.folder / "notes.yaml").read_text())["templates"]
    project.edit("notes.yaml", templates=[templates[0], {**templates[1], "inputs": "{dialogue} Who wants it?"}])
    assert "training: notes.t01: other tokens (changed: template)" in refused(project)
    project.edit("notes.yaml", templates=templates[:1])
    assert "training: notes: templates t00, not t00, t01" in refused(project)
    project.edit("notes.yaml", templates=templates)
    project.edit_row("train.jsonl")
    assert "training: notes.t00, notes.t01: other tokens (changed: source)" in refused(project)


def test_what_gives_the_same_tokens_resumes(project: Project, capsys, monkeypatch):
    """Words for people, rows written in another way, and newer code that prepares."""
    project.edit("mix.yaml", description="Two data sets.")
    project.edit("others.yaml", licence="CC0-1.0")
    rows = [json.loads(line) for line in (project.folder / "train.jsonl").read_text().splitlines()]
    turned = [json.dumps(dict(reversed(row.items()))) for row in rows]
    (project.folder / "train.jsonl").write_text("\n".join(turned) + "\n")
    monkeypatch.setattr("t5x_tasks.prepare.recipe._code_digest", lambda: "of a newer version")
    assert "prepared notes train: 2 templates x 48 examples" in resumed(project, capsys)
    assert len(list((project.folder / "cache" / "notes.t00").glob("train-*"))) == 2


def test_newer_code_that_makes_other_tokens_is_named_with_the_revision_to_resume_with(project: Project, monkeypatch):
    def shouted(*arguments: Any) -> Rendering:
        rendering = render(*arguments)
        return dataclasses.replace(rendering, inputs=rendering.inputs.upper())

    monkeypatch.setattr("t5x_tasks.prepare.recipe._code_digest", lambda: "of a newer version")
    monkeypatch.setattr(prepare_split, "render", shouted)
    path = project.folder / "run" / "config.yaml"
    values = yaml.safe_load(path.read_text())
    values["environment"]["git_revision"] = "0123abc"
    path.write_text(yaml.safe_dump(values))
    message = refused(project)
    assert (
        "training: notes.t00, notes.t01, others.t00 and 1 more: other tokens (changed: code that prepares data)"
        in message
    )
    assert "start it with the code that it was last started with (git revision 0123abc)" in message


def test_resume_refuses_changed_validation_data_or_trains_on_without(project: Project, capsys):
    project.edit_row("validation.jsonl")
    message = refused(project)
    assert "validation: notes.t00, notes.t01: other tokens (changed: source)" in message
    assert message.endswith("or set train.validation_examples=0, which resumes it without a validation loss")
    resumed(project, capsys, "train.validation_examples=0")
    rows = [json.loads(line) for line in (project.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation_loss" in row] == [2]
    with Checkpoints(project.folder / "run" / "checkpoints", best_metric="validation_loss", read_only=True) as found:
        assert found.best_step() == 2 and found.latest_step() == 4
    with pytest.raises(UserError, match=r"train\.validation_examples: 0 -> 12"):
        train(project.config(steps=6))


def test_resume_refuses_other_data_to_estimate_the_fisher_information_on(project: Project):
    project.edit("mix.yaml", members=["notes"])
    others = refused(project, *EWC, run="kept")
    assert "fisher: " not in others and "training: others is gone" in others
    project.edit("mix.yaml", members=MIXTURE["members"])
    project.edit_row("others.jsonl")
    message = refused(project, *EWC, run="kept")
    assert "fisher: others.t00, others.t01: other tokens (changed: source)" in message


def test_the_data_of_a_stream_of_their_own_count_too(project: Project, vocabulary):
    """Data that are replayed and that the Fisher information is estimated on, where nothing of it is trained on."""
    replay = ("data.mixture=notes", "replay={mixture: others, rate: 0.5}", EWC[0])
    config = project.config(*replay)
    before = open_training(config, vocabulary).streams | fisher(config, vocabulary)
    assert list(before) == ["training", "replay", "fisher"]
    project.edit("others.yaml", max_examples=8)
    after = open_training(config, vocabulary).streams | fisher(config, vocabulary)
    assert provenance.changes(before, after) == [
        "replay: others: examples per epoch 8, not 16",
        "fisher: others: examples per epoch 8, not 16",
    ]


def fisher(config: Config, vocabulary: Any) -> dict[str, Any]:
    return {"fisher": fisher_examples(config, vocabulary, rows=8).description}


@pytest.fixture
def older(project: Project, monkeypatch) -> Callable[[dict[str, str]], None]:
    """Lets a run's checkpoints carry what versions wrote that knew of each task but its folder in the cache."""
    train_config = project.config(run="older")
    folders = {path.parent.name: path.name for path in (project.folder / "cache").glob("*/train-*")}
    metadata = provenance.metadata

    def as_before(config: Config, streams: Any, *more: Any) -> dict[str, Any]:
        values = metadata(config, streams, *more)
        del values["streams"]
        return {**values, "data": folders}

    def write(change: dict[str, str]) -> None:
        folders.update(change)
        with monkeypatch.context() as patch:
            patch.setattr(provenance, "metadata", as_before)
            assert train(train_config) == 0

    return write


def test_an_older_versions_checkpoint_resumes_where_its_folder_has_the_same_tokens(project: Project, older, capsys):
    cache, (now,) = project.folder / "cache", (project.folder / "cache" / "notes.t00").glob("train-*")
    old = now.with_name("train-of-then")
    shutil.copytree(now, old)
    manifest = json.loads((old / "manifest.json").read_text())
    manifest = {key: value for key, value in manifest.items() if key not in ("checksum", "sha256", "tokens", "made_of")}
    (old / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    older({"notes.t00": old.name})
    shutil.copytree(project.folder / "older", project.folder / "compared")
    resumed(project, capsys, run="older")
    path = project.folder / "compared" / "config.yaml"
    path.write_text(path.read_text().replace("/older", "/compared"))
    project.edit_row("train.jsonl")
    message = refused(project, run="compared")
    assert (
        "compared: its data changed since the run was interrupted: notes.t00: other tokens; notes.t01: other tokens"
        in message
    )
    shutil.rmtree(cache / "notes.t00" / old.name)
    message = refused(project, run="compared")
    assert (
        f"notes.t00/{old.name} of {cache}, which it was trained on" in message and "is gone; the version of" in message
    )


def test_an_older_versions_checkpoint_resumes_in_no_stream_whose_templates_have_weights(project: Project, older):
    """Its stream drew the templates equally often, whatever their weights."""
    weighted = [{"name": f"notes.t0{number}", "weight": 1 + number} for number in range(2)]
    project.edit("mix.yaml", rate="weights", members=[*weighted, {"name": "others", "weight": 1}])
    older({})
    message = refused(project, run="older")
    assert "notes: its templates are drawn by their weights now, which the version that it was started with" in message


def test_a_resumed_run_says_which_package_versions_changed(project: Project, capsys):
    assert "other versions" not in resumed(project, capsys, run="run")
    path = project.folder / "run" / "config.yaml"
    values = yaml.safe_load(path.read_text())
    now = values["environment"]["packages"]["numpy"]
    values["environment"]["packages"]["numpy"] = "1.0"
    path.write_text(yaml.safe_dump(values))
    assert train(project.config(steps=5)) == 0
    said = capsys.readouterr().err
    assert (
        f"numpy 1.0 -> {now}: other versions than the run was last started with; its numbers may no longer be the same"
        in said
    )
    values["environment"]["packages"] = ["numpy"]
    path.write_text(yaml.safe_dump(values))
    assert train(project.config(steps=6)) == 0


def test_two_processes_with_different_mixture_files_refuse_to_start_together(project: Project, tmp_path: Path):
    folders = [tmp_path / f"host{index}" for index in range(2)]
    for folder, weight in zip(folders, (1.0, 0.5), strict=True):
        shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("run", "kept", "cache", "config"))
        Project(folder).edit("mix.yaml", members=[{"name": "notes", "weight": weight}, "others"])
    overrides = [f"run_dir={tmp_path / 'together'}", "train.steps=1", "data.mixture=mix", "data.cards=[.]"]
    command = ["-m", "train", str(project.folder / "config" / "config.yaml"), *overrides]
    for errors in finish(launch(command, processes=2, folders=folders), code=2):
        assert "data: not the same in process 1 on" in errors
        assert "(training: notes: examples per epoch 24, not 48" in errors
    assert not (tmp_path / "together" / "config.yaml").exists()


def test_two_processes_whose_files_give_the_same_tokens_start_together(project: Project, tmp_path: Path):
    folders = [tmp_path / f"host{index}" for index in range(2)]
    for folder in folders:
        shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("run", "kept", "cache", "config"))
    path = folders[1] / "train.jsonl"
    path.write_text(path.read_text().replace("\n", "\n\n"))
    overrides = [f"run_dir={tmp_path / 'together'}", "train.steps=1", "data.mixture=mix", "data.cards=[.]"]
    command = ["-m", "train", str(project.folder / "config" / "config.yaml"), *overrides]
    finish(launch(command, processes=2, folders=folders))
    assert (tmp_path / "together" / "config.yaml").exists()


def test_a_stream_that_one_process_has_alone_differs():
    assert provenance.between_processes({}, {"validation": {}}) == ["validation: is new"]
    assert provenance.between_processes({"validation": {}}, {}) == ["validation: is gone"]


def test_all_that_a_source_says_is_described(make_card, tmp_path: Path, vocabulary):
    """A new field of `Source` decides what is drawn, so train/data/description.py must name it."""
    config = DataConfig(cards=(str(make_card()),), cache=str(tmp_path / "cache"))
    prepared = ensure_prepared("tiny", "train", data=config, vocabulary=vocabulary)
    templates = [(task.variant, task.open()) for task in prepared]
    stream: dict[str, Any] = {"row_lengths": (32, 16), "batch_size": 4, "seed": 0, "pack": True}
    plain = describe([Source("tiny", templates)], **stream)
    assert {field.name for field in dataclasses.fields(Source)} == plain["sources"][0].keys()
    assert differences(plain, json.loads(json.dumps(plain))) == []
    for source in (
        Source("tiny", templates, examples=2),
        Source("tiny", templates, prompt=(5, 6)),
        Source("tiny", templates[::-1]),
        Source("other", templates),
    ):
        assert differences(plain, describe([source], **stream))
    for key, value in (("row_lengths", (32, 8)), ("batch_size", 8), ("seed", 1), ("pack", False)):
        (line,) = differences(plain, describe([Source("tiny", templates)], **{**stream, key: value}))
        assert line.startswith(f"{key} ")
