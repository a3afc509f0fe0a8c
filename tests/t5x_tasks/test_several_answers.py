"""A list of texts in the answer's column is several right answers: the first is trained on, all are scored."""

import json

import numpy as np
import pytest

import t5x_tasks
from eval.commands import score
from eval.examples import open_questions
from t5x_tasks.__main__ import main
from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.rendering.render import render
from t5x_tasks.sources import read_rows

ROWS = [
    {"id": "a", "dialogue": "Ann: Hi.\nBob: Bye.", "summaries": ["They meet.", "Ann meets Bob.", "Bob leaves."]},
    {"id": "b", "dialogue": "Cy: Tea?\nDee: No.", "summaries": ["Dee wants no tea."]},
    {"id": "c", "dialogue": "Eve: Rain!\nFay: Snow!", "summaries": "It rains or snows."},
]
FIELDS = {"dialogue": "dialogue", "summary": "summaries"}
TEMPLATES = [
    {"id": "t00", "inputs": "Sum up: {dialogue}", "targets": "{summary}"},
    {"id": "t01", "inputs": "Who says: {summary}", "targets": "{dialogue}", "inverted": True},
]


@pytest.fixture
def card(make_card):
    return make_card(rows=ROWS, test_rows=ROWS, fields=FIELDS, templates=TEMPLATES)


def references(row):
    texts = row["summaries"]
    return texts if isinstance(texts, list) else [texts]


def test_the_first_text_of_a_list_is_the_target_and_all_are_references(card):
    loaded = load_card(card)
    for row, read in zip(ROWS, read_rows(loaded, "train"), strict=True):
        rendering = render(loaded, loaded.variants[0], read)
        assert (rendering.targets, rendering.references) == (references(row)[0], references(row))
        backwards = render(loaded, loaded.variants[1], read)
        assert (backwards.inputs, backwards.references) == (f"Who says: {references(row)[0]}", [row["dialogue"]])


def test_prepare_and_seqio_agree_on_several_answers(card, tmp_path, vocabulary, vocabulary_path):
    seqio = pytest.importorskip("seqio")
    t5x_tasks.install(cards=[str(card)], vocabulary=vocabulary_path)
    data = DataConfig(cards=(str(card),), cache=str(tmp_path))
    for prepared in ensure_prepared(["tiny.t00"], "train", data=data, vocabulary=vocabulary, text=True, progress=False):
        split = prepared.open()
        theirs = seqio.get_mixture_or_task("tiny.t00").get_dataset(split="train", shuffle=False).as_numpy_iterator()
        for index, (seen, row) in enumerate(zip(theirs, ROWS, strict=True)):
            ids = split.tokens([index])[0][1]
            assert np.array_equal(seen["targets"], ids) and vocabulary.decode(ids) == references(row)[0]
            padded = [text.decode() for text in seen["references"]]
            assert [text for text in padded if text] == split.example(index)["references"] == references(row)


def test_all_of_several_answers_are_scored(card, tmp_path, vocabulary):
    data = DataConfig(cards=(str(card),), cache=str(tmp_path))
    questions = open_questions(["tiny"], "test", data=data, vocabulary=vocabulary, metrics=())["tiny"]
    assert [example.references for example in questions.examples] == [references(row) for row in ROWS]
    theirs = tmp_path / "theirs.jsonl"
    theirs.write_text("".join(json.dumps({"id": r["id"], "prediction": references(r)[-1]}) + "\n" for r in ROWS))
    assert score.main(["--task", "tiny", "--predictions", str(theirs), "--cards", str(card)]) == 0
    metrics = json.loads((tmp_path / "theirs" / "metrics.json").read_text())["tasks"]["tiny"]["metrics"]
    assert metrics["rougeL"]["value"] == 100 and metrics["rougeL_first"]["value"] < 100
    assert "best of up to 3 references" in metrics["rougeL"]["settings"]


def test_check_and_preview_show_several_answers(card, capsys):
    main(["check", str(card)])
    assert "1 with several right answers, up to 3: the first is trained on, all are scored" in capsys.readouterr().out
    main(["preview", "tiny.t00", "--cards", str(card), "-n", "1"])
    assert "--- target 1\nThey meet.\n--- target 2\nAnn meets Bob.\n" in capsys.readouterr().out


def test_each_of_several_answers_goes_through_the_map(make_card):
    path = make_card(
        rows=[{"review": "Fine.", "stars": ["4", "5"]}],
        fields={"review": "review", "rating": {"column": "stars", "map": {4: "good", 5: "great"}}},
        templates=[{"id": "t00", "inputs": "{review}", "targets": "{rating}"}], metrics=["accuracy"],
    )  # fmt: skip
    (row,) = read_rows(load_card(path), "train")
    assert (row.fields["rating"], row.references) == ("good", ("good", "great"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], r"train.jsonl:1: 'summaries' must be a text, or a list of one or more texts, not \[\]"),
        ([{"a": 1}], r"train.jsonl:1: 'summaries' must be a text, not list .*; name a transform"),
        (["a", None], r"train.jsonl:1: 'summaries' must be a text, not list .*; name a transform"),
        ([0, 3, 4], r"train.jsonl:1: 'summaries' must be a text, not list .*; name a transform"),
    ],
)
def test_a_list_that_holds_no_answers_is_refused_with_its_row(make_card, value, said):
    path = make_card(rows=[{**ROWS[0], "summaries": value}], fields=FIELDS, templates=TEMPLATES)
    with pytest.raises(UserError, match=said):
        read_rows(load_card(path), "train")


def test_a_list_in_a_field_that_is_no_answer_is_refused(make_card):
    path = make_card(rows=[{**ROWS[0], "dialogue": ["Ann: Hi."]}], fields=FIELDS, templates=TEMPLATES[:1])
    with pytest.raises(UserError, match=r"'dialogue' must be a text, not list .*; name a transform"):
        read_rows(load_card(path), "train")
