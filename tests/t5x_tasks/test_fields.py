"""Fields: from the columns of a row to a text."""

import datetime
import math

import numpy as np
import pytest
from pydantic import ValidationError

from t5x_tasks.card.fields import FieldSpec, as_spec, field_text
from t5x_tasks.card.transforms import TRANSFORMS
from t5x_tasks.common.errors import UserError


def spec(value):
    return FieldSpec.model_validate(value)


def text(value, row, **options):
    return field_text(spec(value), row, field="f", place="x.jsonl:1", **options)


def refused(value, row, **options):
    with pytest.raises(UserError) as caught:
        text(value, row, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


@pytest.fixture
def transform(monkeypatch):
    """Returns a function that gives a transform a name that cards may use."""

    def add(name, function):
        from t5x_tasks.card.fields import load_transform

        load_transform.cache_clear()
        monkeypatch.setitem(TRANSFORMS, name, function)

    return add


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\r\nb\rc", "a\nb\rc"),
        (5, "5"),
        (-0.5, "-0.5"),
        (4.5, "4.5"),
        (True, "true"),
        (False, "false"),
        (np.int32(5), "5"),
        (np.bool_(True), "true"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        ("a\x00\x07\u202eb", "a\x00\x07\u202eb"),
    ],
)
def test_scalars_become_text(value, expected):
    assert text("c", {"c": value}) == expected


@pytest.mark.parametrize(
    "value", [["a"], {"a": 1}, b"a", math.nan, math.inf, pytest.param(10**5000, id="huge"), object()]
)
def test_what_is_no_scalar_is_refused_with_its_row(value):
    assert refused("c", {"c": value}).startswith("x.jsonl:1: 'c' must be a text, not ")


def test_null_is_an_empty_text():
    assert text("c", {"c": None}) == ""
    assert text("c.d.e", {"c": {"d": None}}) == text("c.d", {"c": None}) == ""
    assert "no key 'c.f' (field f)" in refused("c.f", {"c": {"d": None}})


def test_half_a_character_is_refused():
    assert "'c' holds half a character" in refused("c", {"c": "cut \ud83d"})


def test_a_text_may_be_the_same_in_every_row():
    assert text({"text": "C#"}, {}) == "C#"


def test_a_key_inside_a_column_is_named_with_a_dot():
    row = {"answers": {"text": "one"}, "list": [{"text": "one"}, {"text": "two"}], "a.b": "whole name first"}
    assert text("answers.text", row) == "one"
    assert text("a.b", row) == "whole name first"
    assert "must be a text, not list ['one', 'two']" in refused("list.text", row)
    assert "no key 'answers.txt' (field f), did you mean answers.text?" in refused("answers.txt", row)
    assert "no key 'list.words' (field f); it has list.text" in refused("list.words", row)
    assert "no key 'answers.text.en' (field f); answers.text holds 'one'" in refused("answers.text.en", row)
    assert "no key 'words' (field f); it has answers, list, a.b" in refused("words", row)


def test_a_map_takes_numbers_truth_values_and_texts_alike():
    stars = {"column": "c", "map": {1: "terrible", 5: "great"}}
    assert [text(stars, {"c": value}) for value in (1, "1", 1.0, np.int64(5))] == ["terrible"] * 3 + ["great"]
    assert text({"column": "c", "map": {True: "yes", False: "no"}}, {"c": False}) == "no"
    assert text({"column": "c", "map": {"a": 1}}, {"c": "a"}) == "1"


def test_a_value_outside_the_map_is_refused_with_the_known_ones():
    stars = {"column": "c", "map": {1: "terrible", 5: "great"}}
    assert refused(stars, {"c": 7}) == "x.jsonl:1: field f: '7' is not in its map; known are 1, 5"
    assert "did you mean great?" in refused({"column": "c", "map": {"great": "x"}}, {"c": "graet"})
    assert "'' is not in its map" in refused(stars, {"c": None})


def test_a_transform_takes_the_values_as_they_are(transform):
    transform("pick", lambda options, index: options[index])
    pick = {"columns": ["options", "index"], "transform": "pick"}
    assert text(pick, {"options": ["a", "b"], "index": 1}) == "b"
    assert text(pick | {"map": {"b": "second"}}, {"options": ["a", "b"], "index": 1}) == "second"
    assert refused(pick, {"options": ["a", "b"], "index": 2}).startswith("x.jsonl:1: field f: pick: IndexError: list")
    assert "no key 'index' (field f)" in refused(pick, {"options": []})
    assert "'pick of field f' must be a text, not null" in refused(pick, {"options": [None], "index": 0})
    assert "'pick of field f' must be a text, not list" in refused(pick, {"options": [[1]], "index": 0})


def test_a_value_error_of_a_transform_is_its_own_explanation(transform):
    def refuse(value):
        raise ValueError("two tags\nfor three tokens")

    transform("refuse", refuse)
    expected = "x.jsonl:1: field f: refuse: two tags for three tokens"
    assert refused({"column": "c", "transform": "refuse"}, {"c": "x"}) == expected


def test_a_transform_may_be_a_function_of_any_module():
    assert text({"column": "c", "transform": "t5x_tasks.common.values:shown"}, {"c": [1, None]}) == "[1, None]"
    assert "cannot be imported" in refused({"column": "c", "transform": "no_module:f"}, {"c": "x"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "give one of column"),
        ({"column": "a", "columns": ["b"], "transform": "yaml:safe_dump"}, "give one of column"),
        ({"columns": ["a", "b"]}, "columns: needs transform"),
        ({"column": "a", "transform": "spans"}, "transform: unknown transform spans"),
        ({"column": "a", "map": {0: False, 1: True}}, "map: 0: False is no text; write it in quotation marks"),
        ({"column": "a", "map": {1: "a", "1": "b"}}, "map: 1 is given twice"),
        ({"column": "a", "map": {}}, "at least 1 item"),
        ({"column": "a", "map": ["x"]}, "valid dictionary"),
        ({"text": "a", "map": {"a": "b"}}, "text: is the same in every row"),
        ({"column": ""}, "at least 1 character"),
        ({"colum": "a"}, "Extra inputs"),
    ],
)
def test_what_no_field_may_say_is_an_error(value, expected):
    with pytest.raises(ValidationError, match=expected):
        spec(value)


def test_a_field_says_in_a_few_words_what_it_is():
    assert str(as_spec("dialogue")) == "dialogue"
    assert str(spec({"columns": ["a", "b"], "transform": "yaml:safe_dump"})) == "yaml:safe_dump(a, b)"
    assert str(spec({"column": "a", "map": {1: "x"}, "codec": "code"})) == "a (mapped) (codec code)"
