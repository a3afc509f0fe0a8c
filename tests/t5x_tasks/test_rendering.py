import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.card.template import fill, placeholders
from t5x_tasks.rendering.render import is_blank, render
from t5x_tasks.sources import Row


def test_a_value_with_braces_is_not_filled_again(make_card):
    card = load_card(make_card())
    row = Row("c", {"dialogue": "Eve: {summary} and {{dialogue}}", "summary": "{dialogue}"})
    rendering = render(card, card.variants[0], row)
    assert rendering.inputs == "Summarize.\n\nEve: {summary} and {{dialogue}}\n\nSummary:"
    assert rendering.targets == "{dialogue}"


def test_doubled_braces_stand_for_braces():
    assert fill('{{"text": "{dialogue}"}} {{{dialogue}}}', {"dialogue": "x"}) == '{"text": "x"} {x}'
    assert placeholders("{{dialogue}} {b} {a} {b}") == ["b", "a"]


@pytest.mark.parametrize("template", ["a { b", "a } b", "{}", "{not a name}", "{a"])
def test_lone_braces_are_refused(template):
    with pytest.raises(ValueError, match="double it"):
        placeholders(template)


def test_all_references_are_rendered_and_the_first_is_the_target(make_card):
    templates = [{"id": "t00", "inputs": "{dialogue}", "targets": "Summary: {summary}"}]
    card = load_card(make_card(references="summaries", templates=templates))
    rendering = render(card, card.variants[0], Row("a", {"dialogue": "x", "summary": "one"}, ("one", "two")))
    assert rendering.targets == "Summary: one"
    assert rendering.references == ["Summary: one", "Summary: two"]


def test_an_inverted_template_asks_from_the_first_reference(make_card):
    templates = [
        {"id": "t00", "inputs": "{dialogue}", "targets": "{summary}"},
        {"id": "back", "inputs": "Write the dialogue: {summary}", "targets": "{dialogue}"},
    ]
    card = load_card(make_card(references="summaries", templates=templates, inverted=["back"]))
    rendering = render(card, card.variants[1], Row("a", {"dialogue": "x", "summary": "one"}, ("one", "two")))
    assert (rendering.inputs, rendering.references) == ("Write the dialogue: one", ["x"])


@pytest.mark.parametrize(
    ("text", "blank"), [("", True), (" \n\t", True), ("\u200b\x00", True), (".", False), ("a", False)]
)
def test_blank_is_what_shows_nothing(text, blank):
    assert is_blank(text) is blank
