"""Folders of data that somebody else wrote: they run no code, and name no file outside themselves."""

import json
import sys
from pathlib import Path

import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.commands.describe import check
from t5x_tasks.common.errors import UserError
from t5x_tasks.sources import read_rows
from t5x_tasks.sources.folders import check_hub_files

SECRET = '{"dialogue": "the secret", "summary": "of this machine"}\n'


@pytest.fixture(autouse=True)
def own_hub_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def hub(make_card):
    """A card over a folder `hub`, with a file of secrets beside it."""
    card = make_card(source={"type": "hub", "path": "hub", "splits": ["train"]})
    (card.parent / "hub").mkdir()
    (card.parent / "secret.jsonl").write_text(SECRET)
    return card


def refusal(card: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_rows(load_card(card), "train")
    assert "\n" not in str(caught.value) and "the secret" not in str(caught.value)
    return str(caught.value)


LAYOUTS = {
    "a file": "data_files: ../secret.jsonl",
    "a file of a split": "data_files: [{split: train, path: ../secret.jsonl}]",
    "files of a split": "data_files: [{split: train, path: ['x.jsonl', 'data/../../secret.jsonl']}]",
    "a pattern": "data_files: '../*.jsonl'",
    "an absolute path": "data_files: FOLDER/secret.jsonl",
    "a URL of a file": "data_files: 'file://FOLDER/secret.jsonl'",
    "a URL": "data_files: 'https://127.0.0.1:9/secret.jsonl'",
    "the home folder": "data_files: '~/secret.jsonl'",
    "a folder": "data_dir: ..",
    "in an archive": "data_files: 'zip://x.jsonl::../secret.zip'",
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
def test_a_hub_folder_names_no_file_outside_itself(hub, layout, file):
    text = f"configs:\n- config_name: default\n  {layout.replace('FOLDER', str(hub.parent))}\n"
    (hub.parent / "hub" / file).write_text(f"---\n{text}---\n# Data\n" if file == "README.md" else text)
    (hub.parent / "hub" / "x.jsonl").write_text('{"dialogue": "a", "summary": "b"}\n')
    assert "outside the folder" in (said := refusal(hub)) and file in said


def test_a_link_in_a_hub_folder_leads_to_nothing_outside_it(hub):
    (hub.parent / "hub" / "train.jsonl").symlink_to(hub.parent / "secret.jsonl")
    assert "outside the folder" in refusal(hub)
    (hub.parent / "hub" / "train.jsonl").unlink()
    (hub.parent / "hub" / "data").symlink_to(hub.parent)
    (hub.parent / "hub" / "README.md").write_text(
        "---\nconfigs: [{config_name: a, data_files: data/secret.jsonl}]\n---\n"
    )
    assert "outside the folder" in refusal(hub)


def test_the_links_of_the_hubs_own_cache_are_followed(make_card, tmp_path):
    cache = tmp_path / "datasets--me--mine"
    (cache / "blobs").mkdir(parents=True)
    (cache / "blobs" / "0123").write_text('{"dialogue": "a", "summary": "b"}\n')
    (cache / "snapshots" / "4567").mkdir(parents=True)
    (cache / "snapshots" / "4567" / "train.jsonl").symlink_to("../../blobs/0123")
    card = make_card(source={"type": "hub", "path": str(cache / "snapshots" / "4567"), "splits": ["train"]})
    assert [row.fields["dialogue"] for row in read_rows(load_card(card), "train")] == ["a"]


@pytest.mark.parametrize("wrapped", ["{'x': &a [*a]}", "&a [*a]", "{configs: !!bool x}"])
def test_the_front_matter_of_a_hub_folder_is_read_as_other_yaml_is(hub, wrapped):
    (hub.parent / "hub" / "README.md").write_text(f"---\nconfigs: {wrapped}\n---\n")
    (hub.parent / "hub" / "train.jsonl").write_text('{"dialogue": "a", "summary": "b"}\n')
    assert "README.md:" in (said := refusal(hub)) and "not valid YAML" in said


def test_what_save_to_disk_wrote_names_no_file_outside_its_folder(hub):
    import datasets

    folder = hub.parent / "hub"
    one = datasets.Dataset.from_dict({"dialogue": ["the secret"], "summary": ["x"]}, split=datasets.Split.TRAIN)
    one.save_to_disk(hub.parent / "other")
    one.save_to_disk(folder)
    assert len(read_rows(load_card(hub), "train")) == 1
    state = json.loads((folder / "state.json").read_text())
    state["_data_files"] = [{"filename": "../other/data-00000-of-00001.arrow"}]
    (folder / "state.json").write_text(json.dumps(state))
    assert "outside the folder" in refusal(hub)
    (folder / "state.json").unlink()
    datasets.DatasetDict({"train": one}).save_to_disk(folder)
    (folder / "train" / "data-00000-of-00001.arrow").unlink()
    (folder / "train" / "data-00000-of-00001.arrow").symlink_to(hub.parent / "other" / "data-00000-of-00001.arrow")
    assert "outside the folder" in refusal(hub)


def test_a_data_set_of_the_hub_names_no_file_of_this_machine():
    check_hub_files(
        ["hf://datasets/me/mine@main/train.jsonl", "https://example.org/x.jsonl", "zip://a::hf://datasets/me/x"]
    )
    for name in ("/etc/passwd", "../x", "file:///etc/passwd", "local:///x", "zip://x::/home/me/x.zip"):
        with pytest.raises(UserError, match="a file of this machine"):
            check_hub_files(["hf://datasets/me/mine@main/train.jsonl", name])


TEXT = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}


def tfds_folder(card: Path, feature: dict, place: str = "data/tiny/1.0.0", **split) -> None:
    folder = card.parent / place
    folder.mkdir(parents=True)
    features = {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": {"dialogue": feature, "summary": TEXT}},
    }
    (folder / "features.json").write_text(json.dumps(features))
    shard = {"name": "train", "numBytes": "1", "shardLengths": ["1"]} | split
    shard.setdefault("filepathTemplate", "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}")
    info = {"name": "tiny", "version": "1.0.0", "fileFormat": "array_record", "splits": [shard]}
    (folder / "dataset_info.json").write_text(json.dumps(info))


@pytest.fixture
def hostile_module(tmp_path, monkeypatch):
    """A module that leaves a file where it is imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil_features.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("evil_features", None)
    yield
    assert "evil_features" not in sys.modules and not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    "feature",
    [
        {"pythonClassName": "evil_features.Evil", "text": {}},
        {"python_class_name": "evil_features.Evil"},
        {**TEXT, "pythonClassName": "tensorflow_datasets_evil_features.x.Evil"},
        {
            "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
            "sequence": {"feature": {"pythonClassName": "evil_features.Evil"}},
        },
    ],
)
@pytest.mark.parametrize(
    "source",
    [{"name": "data/tiny/1.0.0"}, {"name": "tiny:1.0.0", "data_dir": "data"}, {"name": "Tiny", "data_dir": "data"}],
)
def test_a_tfds_folder_names_no_class_outside_the_library(make_card, hostile_module, feature, source):
    card = make_card(source={"type": "tfds", "splits": ["train"], **source})
    tfds_folder(card, feature)
    assert "a feature of class" in (said := refusal(card)) and "evil_features" in said
    with pytest.raises(UserError, match="a feature of class"):
        check(str(card), None, None, (512, 128))


def test_a_feature_in_the_older_form_is_refused_too(make_card, hostile_module):
    card = make_card(source={"type": "tfds", "splits": ["train"], "name": "data/tiny/1.0.0"})
    tfds_folder(card, TEXT)
    (card.parent / "data/tiny/1.0.0/features.json").write_text('{"type": "evil_features.Evil", "content": {}}')
    assert "a feature of class evil_features.Evil" in refusal(card)


@pytest.mark.parametrize(
    "name", ["evil_features:tiny", "huggingface:squad", "kaggle:x/y:1.0.0", "tiny/data_dir=/etc", "../x:y"]
)
def test_a_name_with_a_namespace_or_arguments_is_no_tfds_data_set(make_card, hostile_module, name):
    card = make_card(source={"type": "tfds", "splits": ["train"], "name": name})
    assert f"source.name: {name} is neither a prepared folder nor" in refusal(card)


@pytest.mark.parametrize(
    "template", ["../other/{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "/etc/passwd-{SHARD_X_OF_Y}"]
)
def test_a_tfds_folder_names_no_file_outside_itself(make_card, template):
    card = make_card(source={"type": "tfds", "splits": ["train"], "name": "data/tiny/1.0.0"})
    tfds_folder(card, TEXT, filepathTemplate=template)
    assert "outside the folder" in refusal(card)
