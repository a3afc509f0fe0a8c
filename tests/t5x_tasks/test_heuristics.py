"""Templates built from the names of a card's fields: of each category, every field in its place."""

import re

import pytest

from t5x_tasks.__main__ import main
from t5x_tasks.card.heuristic_templates import (
    CATEGORIES,
    answer_field,
    category_hint,
    heuristic_templates,
)
from t5x_tasks.card.load import load_card
from t5x_tasks.card.template import placeholders

SETS = [
    (["dialogue", "summary"], "summarization", False),
    (["review_text", "stars"], "rating", True),
    (["premise", "hypothesis", "label"], "nli", True),
    (["question", "passage", "answer"], "qa", False),
    (["java", "cs"], "code", False),
    (["title", "body", "priority"], "classification", True),
    (["sentence", "entities"], "entities", False),
    (["question", "answer"], "reasoning", False),
    (["user_notes", "sqlQuery"], "", False),
]


def inputs(fields, category, **more):
    return [t["inputs"] for t in heuristic_templates(fields, category, **more)]


@pytest.mark.parametrize(("fields", "category", "options"), SETS)
def test_every_template_asks_with_all_fields_but_the_answer(fields, category, options):
    templates = heuristic_templates(fields, category, options=options)
    assert len(templates) >= 8
    assert sum(t["split"] == "heldout" for t in templates) == 2
    assert len({re.sub(r"\W+", " ", t["inputs"]).lower() for t in templates}) == len(templates)
    for template in templates:
        asked = [*fields[:-1], *(["options"] if options else [])]
        assert sorted(placeholders(template["inputs"])) == sorted(asked)
        assert template["targets"] == f"{{{fields[-1]}}}"


@pytest.mark.parametrize(("fields", "category", "options"), SETS)
def test_sentences_begin_with_a_capital_and_nothing_stands_twice(fields, category, options):
    for text in inputs(fields, category, options=options):
        assert not re.search(r"  |\b(\w+) \1\b|\.\.|\{x\}", text), text
        assert text[0].isupper() or text[0] == "{", text


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        (["label", "text"], "label"),
        (["text", "gold_summary"], "gold_summary"),
        (["chat", "recap"], "recap"),
        (["one", "other"], "other"),
        (["category", "article", "summary"], "summary"),
        (["topic", "ticket_summary", "chat"], "ticket_summary"),
        (["chat_text", "summary_text", "rating"], "summary_text"),
        (["ticket_summary", "Summary", "chat"], "Summary"),
    ],
)
def test_the_answer_is_found_by_its_name_and_is_otherwise_the_last_field(fields, answer):
    assert answer_field(fields) == answer


@pytest.mark.parametrize(
    ("category", "hint"),
    [
        ("summarisation", ", did you mean summarization?"),
        ("Summarization", ", did you mean summarization?"),
        ("clasification", ", did you mean classification?"),
        *((known, "") for known in (*CATEGORIES, "generation", "code_translation", "", "intent", "dialogue")),
    ],
)
def test_a_category_gets_a_hint_where_it_looks_like_another(category, hint):
    assert category_hint(category) == hint


def test_a_card_with_heuristic_templates_previews_and_asks_for_its_options(make_card, capsys):
    rows = [{"id": f"r{i}", "body": f"It is number {i}.", "kind": "odd" if i % 2 else "even"} for i in range(4)]
    path = make_card(
        name="numbers",
        rows=rows,
        test_rows=rows,
        category="classification",
        fields={"language": {"text": "English"}, "body": "body", "kind": "kind"},
        options={"choices": ["odd", "even"]},
        templates="heuristic",
        metrics=["accuracy"],
    )
    card = load_card(path)
    assert not any("{language}" in t.inputs for t in card.templates)
    assert len(card.pool("heldout")) == 2 * 3  # options in three styles
    main(["preview", "numbers", "--cards", str(path), "-n", "2"])
    out = capsys.readouterr().out
    assert "Choose the kind that fits the text below.\n\nIt is number 0.\n\n- odd\n- even\n\nKind:" in out
    assert "--- targets\neven" in out
