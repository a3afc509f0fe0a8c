"""Collections that others have templated: FLAN, P3, SuperNI."""

import json

import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.rendering.render import render
from t5x_tasks.sources import Row, count_rows, locate, read_rows, source_digest

IDENTITY = {
    "fields": {"inputs": "inputs", "targets": "targets"},
    "templates": [{"id": "t00", "inputs": "{inputs}", "targets": "{targets}"}],
}
TASK = {
    "Definition": ["Say the opposite."],
    "Positive Examples": [],
    "Instances": [
        {"id": "task9-1", "input": "hot", "output": ["cold", "icy"]},
        {"id": "task9-2", "input": "up", "output": ["down"]},
    ],
}


@pytest.fixture
def templated(make_card):
    def make(layout, name, content, **changes):
        path = make_card(source={"type": "templated", "layout": layout, "train": name}, **{**IDENTITY, **changes})
        path.parent.joinpath(name.replace("*", "1")).write_text(content)
        return load_card(path)

    return make


def fails(card):
    with pytest.raises(UserError) as caught:
        read_rows(card, "train")
    return str(caught.value)


def test_they_say_that_they_are_templated(templated, make_card):
    assert templated("flan", "x.jsonl", "").source.templated
    assert not load_card(make_card()).source.templated


@pytest.mark.parametrize(
    ("layout", "row"),
    [
        ("flan", {"inputs": "hot?", "targets": "cold", "_task_name": "opposites", "_template_type": "zs_opt"}),
        ("p3", {"inputs": [1, 2], "inputs_pretokenized": "hot?", "targets": [3], "targets_pretokenized": "cold"}),
        ("p3", {"inputs": "hot?", "targets": "cold"}),
        ("superni", {"task_name": "task9", "inputs": "hot?", "targets": "cold"}),
    ],
)
def test_a_layout_becomes_inputs_and_targets(templated, layout, row):
    card = templated(layout, "x.jsonl", json.dumps(row))
    assert read_rows(card, "train") == [Row("train-0", {"inputs": "hot?", "targets": "cold"})]


def test_the_other_columns_stay(templated):
    row = {"inputs": "hot?", "targets": "cold", "_task_name": "opposites"}
    fields = {**IDENTITY["fields"], "task": "_task_name"}
    templates = [{"id": "t00", "inputs": "{task} {inputs}", "targets": "{targets}"}]
    card = templated("flan", "x.jsonl", json.dumps(row), fields=fields, templates=templates)
    assert read_rows(card, "train")[0].fields["task"] == "opposites"


def test_a_task_of_superni_becomes_a_row_for_each_instance_with_all_its_outputs(templated):
    card = templated("superni", "task*_x.json", json.dumps(TASK, indent=1), references="references")
    rows = read_rows(card, "train")
    assert [(row.id, row.references) for row in rows] == [("task9-1", ("cold", "icy")), ("task9-2", ("down",))]
    assert rows[0].fields == {"inputs": "Say the opposite.\n\nInput: hot\nOutput:", "targets": "cold"}
    assert render(card, card.templates[0], rows[0]).references == ["cold", "icy"]
    assert count_rows(locate(card, "train")) == 2


def test_instances_of_superni_may_be_rows(templated):
    row = {"definition": "Say the opposite.", "inputs": "hot", "targets": "cold"}
    card = templated("superni", "x.jsonl", json.dumps(row))
    assert read_rows(card, "train")[0].fields["inputs"] == "Say the opposite.\n\nInput: hot\nOutput:"


def test_the_hub_is_read_like_files(make_card, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    source = {"type": "templated", "layout": "p3", "path": "p3", "splits": ["train"], "streaming": True}
    path = make_card(source=source, **IDENTITY)
    rows = {
        "inputs_pretokenized": ["hot?", None],
        "targets_pretokenized": ["cold", "x"],
        "answer_choices": [["cold"], []],
    }
    datasets.Dataset.from_dict(rows).to_parquet(path.parent / "p3" / "train.parquet")
    card = load_card(path)
    assert card.splits == ("train",)
    assert [row.fields["inputs"] for row in read_rows(card, "train")] == ["hot?", ""]
    assert source_digest(card, "train") is not None


def test_a_mirror_may_hold_the_layout(templated, tmp_path, write_jsonl):
    card = templated("p3", "x.jsonl", "")
    write_jsonl(tmp_path / "mirror/tiny/train.jsonl", [{"inputs_pretokenized": "a", "targets_pretokenized": "b"}])
    assert read_rows(card, "train", tmp_path / "mirror")[0].fields == {"inputs": "a", "targets": "b"}


@pytest.mark.parametrize(
    ("layout", "name", "row", "expected"),
    [
        ("flan", "x.jsonl", {"input": "a"}, ":1: no key 'inputs', which rows of layout flan have; it has input"),
        ("p3", "x.jsonl", {"inputs": [1], "targets": "a"}, ":1: no key 'inputs_pretokenized', which rows of layout p3"),
        ("superni", "x.json", TASK | {"Definition": []}, ": no 'Definition'"),
        ("superni", "x.json", TASK | {"Instances": {}}, ": 'Instances' must be a list, not dict"),
        ("superni", "x.json", TASK | {"Instances": [{"input": "a"}]}, ": instance 0: must have 'input' and 'output'"),
        ("superni", "x.json", TASK | {"Instances": [{"input": "a", "output": []}]}, ": instance 0: 'output' is empty"),
        ("superni", "x.json", [TASK], ": must be an object"),
    ],
)
def test_a_row_that_is_not_of_the_layout_is_named(templated, layout, name, row, expected):
    card = templated(layout, name, json.dumps(row))
    assert fails(card).startswith(f"{card.path.parent / name}{expected}")
