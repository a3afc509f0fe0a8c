"""Sources that a library or a function reads: the hub, TFDS, Python."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.sources import Row, count_rows, iter_rows, locate, read_rows, source_digest

DATA = {"dialogue": ["x", "y"], "summary": ["one", None], "choices": [["a", "b"], ["c", "d"]]}
READ = [Row("train-0", {"dialogue": "x", "summary": "one"}), Row("train-1", {"dialogue": "y", "summary": ""})]


def message(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def own_hub_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def hub_folder(make_card):
    """A folder beside the card, laid out as a data set of the hub that calls its splits `train_r1` and `dev_r1`."""
    import datasets

    folder = make_card().parent / "hub"
    for split in ("train_r1", "dev_r1"):
        datasets.Dataset.from_dict(DATA).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    files = "".join(f"  - {{split: {split}, path: data/{split}-*}}\n" for split in ("train_r1", "dev_r1"))
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    return folder


@pytest.mark.parametrize("streaming", [False, True])
def test_splits_may_have_other_names_on_the_hub_and_may_be_streamed(make_card, hub_folder, streaming):
    splits = {"train": "train_r1", "validation": "dev_r1"}
    card = load_card(make_card(source={"type": "hub", "path": "hub", "splits": splits, "streaming": streaming}))
    assert card.splits == ("train", "validation")
    assert read_rows(card, "train") == READ
    assert next(iter_rows(card, "validation")) == Row("validation-0", READ[0].fields)
    assert count_rows(locate(card, "train")) is None
    assert "has no split test; it has train, validation" in message(read_rows, card, "test")


def test_options_come_from_a_column_of_each_row(make_card, hub_folder):
    card = load_card(make_card(source={"type": "hub", "path": "hub", "splits": {"train": "train_r1"}}))
    object.__setattr__(card, "options", SimpleNamespace(column="choices"))
    assert [row.options for row in read_rows(card, "train")] == [("a", "b"), ("c", "d")]
    object.__setattr__(card, "options", SimpleNamespace(column="summary"))
    assert "row 0: 'summary' must be a list of one or more texts, not 'one'" in message(read_rows, card, "train")


def test_the_digest_of_a_local_data_set_changes_with_its_files(make_card, hub_folder):
    card = load_card(make_card(source={"type": "hub", "path": "hub", "splits": {"train": "train_r1"}}))
    before = source_digest(card, "train")
    assert before is not None
    (hub_folder / "data" / "train_r1-00000-of-00001.parquet").rename(hub_folder / "data" / "train_r1-other.parquet")
    assert source_digest(card, "train") not in (None, before)


def test_what_save_to_disk_wrote_is_read(make_card):
    import datasets

    folder = make_card().parent
    one = datasets.Dataset.from_dict(DATA, split=datasets.Split.TRAIN)
    datasets.DatasetDict({"train": one}).save_to_disk(folder / "all")
    one.save_to_disk(folder / "one")
    for name in ("all", "one"):
        source = {"type": "hub", "path": name, "splits": ["train", "test"]}
        assert read_rows(load_card(make_card(source=source)), "train") == READ
        assert "split test cannot be read" in message(read_rows, load_card(make_card(source=source)), "test")


TFDS = """
import sys, numpy as np, tensorflow_datasets as tfds
tfds.disable_progress_bar()
class Tiny(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        features = {"dialogue": tfds.features.Text(), "summary": np.int64, "words": tfds.features.Sequence(tfds.features.Text())}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True)
    def _split_generators(self, manager):
        return {"train": self._generate_examples()}
    def _generate_examples(self):
        for i, text in enumerate(["x \u00e9", "y"]):
            yield i, {"dialogue": text, "summary": i, "words": [text, "z"]}
Tiny(data_dir=sys.argv[1], file_format=sys.argv[2]).download_and_prepare()
"""


READ_TFDS = """
from t5x_tasks.card.load import load_card
from t5x_tasks.sources import read_rows
print([row.fields["dialogue"] for row in read_rows(load_card(sys.argv[3]), "train")])
print("tensorflow" in sys.modules)
"""


def prepare_tfds(card_path, file_format="array_record"):
    """Makes the data set `tiny` beside a card, reads it, and returns the dialogues and whether TensorFlow was imported.

    In a process of its own: the library would keep the class under its name, and read what other tests made through it.
    """
    command = [sys.executable, "-c", TFDS + READ_TFDS, str(card_path.parent / "data"), file_format, str(card_path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-2:]


@pytest.mark.parametrize("source", [{"name": "data/tiny/1.0.0"}, {"name": "tiny:1.0.0", "data_dir": "data"}])
def test_tfds_is_read_from_a_prepared_folder(make_card, source):
    path = make_card(source={"type": "tfds", "splits": ["train", "test"], **source})
    prepare_tfds(path)
    card = load_card(path)
    assert [row.fields for row in read_rows(card, "train")] == [
        {"dialogue": "x \u00e9", "summary": "0"},
        {"dialogue": "y", "summary": "1"},
    ]
    assert "split test cannot be read" in message(read_rows, card, "test")
    assert source_digest(card, "train") is not None


@pytest.mark.parametrize(("file_format", "needs_tensorflow"), [("array_record", "False"), ("tfrecord", "True")])
def test_tfds_needs_tensorflow_for_tfrecord_files_alone(make_card, file_format, needs_tensorflow):
    path = make_card(source={"type": "tfds", "name": "data/tiny/1.0.0", "splits": {"train": "train[:1]"}})
    assert prepare_tfds(path, file_format) == ["['x \u00e9']", needs_tensorflow]


def test_an_unknown_tfds_data_set_says_how_else_to_get_the_data(make_card):
    card = load_card(make_card(source={"type": "tfds", "name": "no_such_data_set", "data_dir": "data"}))
    text = message(read_rows, card, "train")
    assert text.startswith("tfds://no_such_data_set: split train cannot be read (Dataset no_such_data_set not found")
    assert "put tiny/train.jsonl.gz into a folder and set data.root to it" in text


FUNCTION = """
import json
from pathlib import Path

def rows(split):
    for number in range(2):
        yield {"dialogue": f"{split} {number}", "summary": number}

def fails(split):
    yield {"dialogue": "x", "summary": "y"}
    yield {"dialogue": {}["missing"]}

def gives_lists(split):
    return [["x", "y"]]

def gives_nothing(split):
    return None

no_function = 7
"""


def python_card(make_card, function, content=FUNCTION, **options):
    path = make_card(source={"type": "python", "function": function, "splits": ["train"], **options})
    (path.parent / "reader.py").write_text(content)
    return load_card(path)


def test_a_function_beside_the_card_gives_rows(make_card):
    card = python_card(make_card, "reader.py:rows", splits={"train": "learn"})
    assert read_rows(card, "train") == [
        Row("train-0", {"dialogue": "learn 0", "summary": "0"}),
        Row("train-1", {"dialogue": "learn 1", "summary": "1"}),
    ]
    assert str(locate(card, "train")) == "reader.py:rows(split='learn')"


def test_a_function_of_a_module_gives_rows(make_card, tmp_path, monkeypatch):
    (tmp_path / "someones_module.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(tmp_path)
    assert len(read_rows(python_card(make_card, "someones_module:rows"), "train")) == 2


def test_a_changed_function_is_loaded_anew_and_changes_the_digest(make_card):
    card = python_card(make_card, "reader.py:rows")
    before = source_digest(card, "train")
    assert before == source_digest(card, "train") is not None
    assert len(read_rows(card, "train")) == 2
    card = python_card(make_card, "reader.py:rows", FUNCTION.replace("range(2)", "range(3)"))
    assert source_digest(card, "train") != before
    assert len(read_rows(card, "train")) == 3


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("reader.py:fails", "reader.py:fails(split='train'): row 1: KeyError: 'missing', line 11 of reader.py"),
        ("reader.py:gives_lists", "reader.py:gives_lists(split='train'): row 0: must be a dict, not list ['x', 'y']"),
        (
            "reader.py:gives_nothing",
            "reader.py:gives_nothing(split='train'): row 0: TypeError: 'NoneType' object is not",
        ),
        ("reader.py:no_function", "source.function: reader.py:no_function: is a int, not a function"),
        ("reader.py:typo", "cannot be imported (AttributeError"),
        ("none.py:rows", "source.function: none.py:rows: no such file in"),
        ("no_such_module:rows", "cannot be imported (ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_function_that_fails_is_named_with_its_row(make_card, function, expected):
    assert expected in message(read_rows, python_card(make_card, function), "train")


def test_values_of_numpy_become_text(make_card):
    content = """
import numpy as np
def rows(split):
    return [{"dialogue": np.str_("x"), "summary": np.float32(0.5)}, {"dialogue": np.int64(3), "summary": np.bool_(True)}]
"""
    rows = read_rows(python_card(make_card, "reader.py:rows", content), "train")
    assert [row.fields for row in rows] == [{"dialogue": "x", "summary": "0.5"}, {"dialogue": "3", "summary": "true"}]
    assert np.float32(0.5) == 0.5
