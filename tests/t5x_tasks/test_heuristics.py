"""Templates built from the names of a card's fields: good English, every field in its place."""

import re

import pytest

from t5x_tasks.__main__ import main
from t5x_tasks.card.heuristic_templates import (
    CATEGORIES,
    answer_field,
    category_hint,
    heuristic_templates,
    is_plural,
    joined,
    title,
    with_article,
    words,
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
    assert len(templates) >= 10
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
    ("fields", "category", "wanted"),
    [
        (["dialogue", "summary"], "summarization", "Here is a dialogue. Summarize it.\n\nDialogue: {dialogue}"),
        (["reviews", "summary"], "summarization", "Here are some reviews. Summarize them.\n\nReviews: {reviews}"),
        (["reviews", "summary"], "summarization", "What is the summary of these reviews?\n\n{reviews}"),
        (["text", "entities"], "entities", "Which named entities are in this text?\n\n{text}"),
        (["premise", "hypothesis", "label"], "nli", "Does the hypothesis follow from the premise?\n\n"),
        (["question", "passage", "answer"], "qa", "Answer the following question, using the passage.\n\n"),
        (["java", "cs"], "code", "Here is some Java. Translate it into C#.\n\nJava: {java}"),
        (["title", "body", "priority"], "classification", "Give the priority that fits the following title and body."),
        (["review", "stars"], "rating", "How many stars would you give this review?\n\n{review}"),
        (["review", "grade"], "rating", "What grade would you give this review?\n\n{review}"),
        (["customer_notes", "reply"], "", "Write the reply for the following customer notes.\n\n"),
    ],
)
def test_instructions_are_natural(fields, category, wanted):
    assert any(text.startswith(wanted) for text in inputs(fields, category)), inputs(fields, category)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("answer", "an answer"), ("user_question", "a user question"), ("university", "a university"), ("hour", "an hour"),
        ("unindexed_note", "an unindexed note"), ("sqlQuery", "an SQL query"), ("url", "a URL"), ("faq", "an FAQ"),
        ("reviews", "some reviews"), ("java", "some Java"), ("source_code", "some source code"), ("class", "a class"),
    ],
)  # fmt: skip
def test_articles(name, expected):
    assert with_article(name) == expected


def test_names_become_words():
    assert [words(n) for n in ("review_text", "reviewText", "sentence1", "cs")] == [
        "review text",
        "review text",
        "sentence 1",
        "C#",
    ]
    assert title("customer_note") == "Customer note"
    assert joined(["a"]) == "a" and joined(["a", "b", "c"]) == "a, b and c"
    assert [is_plural(n) for n in ("reviews", "class", "status", "analysis", "news", "summary")] == [True] + [False] * 5


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
    assert "Give the kind that fits the following body.\n\nIt is number 0.\n\n- odd\n- even\n\nKind:" in out
    assert "--- targets\neven" in out
