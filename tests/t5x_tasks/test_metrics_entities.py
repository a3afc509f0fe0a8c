"""Claims of entities as text: the form can be read back, spans are scored as seqeval scores them."""

import gzip
import json
import random

import numpy as np
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score

from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.entities import entities, format_entities, parse_entities, read_entities
from t5x_tasks.metrics.pooled import value


def test_entities_are_written_as_type_and_mention():
    pairs = [("person", "Ada Lovelace"), ("creative-work", "Mockingjay : Part 1")]
    assert format_entities(pairs) == "person: Ada Lovelace; creative-work: Mockingjay : Part 1"
    assert parse_entities(format_entities(pairs)) == pairs
    assert format_entities([]) == "none" and parse_entities("none") == parse_entities(" None. ") == []


def test_a_semicolon_is_doubled_only_where_it_would_end_the_mention():
    assert format_entities([("group", "Simon &amp; Schuster"), ("x", "y")]) == "group: Simon &amp; Schuster; x: y"
    assert format_entities([("a", "b; c: d"), ("e", "f;")]) == "a: b;; c: d; e: f;;"


def test_every_mention_can_be_read_back():
    generator = random.Random(0)
    for _ in range(20_000):
        pairs = []
        for _ in range(generator.randrange(4)):
            mention = " ".join("".join(generator.choices(";;: ab", k=generator.randrange(1, 8))).split())
            pairs.append((generator.choice(["a", "b c"]), mention or ";"))
        assert read_entities(format_entities(pairs)) == (pairs, True)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", []),
        ("nothing to see", []),
        ("person:", []),
        ("none; person: Bob", [("person", "Bob")]),
        (": Bob; person : Ann", [("person", "Ann")]),
    ],
)
def test_what_is_not_of_the_form_is_malformed_and_the_rest_of_it_counts(text, read):
    assert read_entities(text) == (read, False)
    assert np.asarray(entities([text], [["person: Bob"]])["malformed"]).tolist() == [100]


def test_types_and_mentions_that_cannot_be_written_are_refused():
    for pair in (("", "x"), ("a:b", "x"), ("a;b", "x"), ("a", " ")):
        with pytest.raises(ValueError, match="entity"):
            format_entities([pair])


def test_a_reference_that_is_no_list_of_entities_is_refused_by_row():
    with pytest.raises(UserError, match=r"row 1 \(from 0\): the reference 'Bob' is no list of entities"):
        entities(["none", "none"], [["none"], ["Bob"]])


def tags(spans, numbers):
    """BIO tags of a row in which each span has two tokens of its own, at the place that `numbers` gives it."""
    row = ["O"] * (3 * len(numbers))
    for span in spans:
        start = 3 * numbers[span]
        row[start], row[start + 1] = f"B-{span[0]}", f"I-{span[0]}"
    return row


def test_precision_recall_and_f1_are_those_of_seqeval_on_the_same_spans():
    generator = random.Random(0)
    kinds, mentions = ["person", "group", "location"], ["Ann", "Bob", "Rome", "The Who"]
    said, actual = [], []
    for _ in range(80):
        # (type, mention, which of several equal ones): spans are sets to seqeval
        for rows in (said, actual):
            drawn = [(generator.choice(kinds), generator.choice(mentions)) for _ in range(generator.randrange(4))]
            rows.append([(*pair, drawn[:i].count(pair)) for i, pair in enumerate(drawn)])
    everywhere = sorted({span for row in said + actual for span in row})
    numbers = {span: i for i, span in enumerate(everywhere)}
    y_pred, y_true = ([tags(spans, numbers) for spans in rows] for rows in (said, actual))
    texts, references = ([format_entities([span[:2] for span in spans]) for spans in rows] for rows in (said, actual))
    scores = entities(texts, [[reference] for reference in references])
    for name, theirs in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert value(scores[name]) == pytest.approx(100 * np.mean(theirs(y_true, y_pred, average="micro")), abs=1e-9)
    assert 0 < value(scores["f1"]) < 100


def test_an_entity_that_occurs_twice_must_be_found_twice():
    scores = entities(["person: Al"], [["person: Al; person: Al"]])
    assert (value(scores["precision"]), value(scores["recall"])) == (100, 50)


def test_case_counts_in_mentions_and_not_in_types():
    assert value(entities(["Person: Al"], [["person: Al"]])["f1"]) == 100
    assert value(entities(["person: al"], [["person: Al"]])["f1"]) == 0


def test_what_the_vocabulary_normalises_is_no_mistake():
    assert value(entities(["product: Tea TM..."], [["product: Tea ™…"]])["f1"]) == 100


def test_nothing_to_find_and_nothing_found_is_perfect_and_any_find_is_wrong():
    names = ("precision", "recall", "f1")
    nothing = entities(["none"], [["none"]])
    assert [value(nothing[name]) for name in names] == [100, 100, 100]
    invented = entities(["person: Al"], [["none"]])
    assert [value(invented[name]) for name in names] == [0, 0, 0]
    missed = entities(["none"], [["person: Al"]])
    assert [value(missed[name]) for name in names] == [0, 0, 0]


def test_of_several_references_the_best_counts():
    assert value(entities(["a: x"], [["none", "a: x; b: y", "a: x"]])["f1"]) == 100


@pytest.mark.needs_shared
def test_all_entities_of_wnut17_can_be_read_back(shared_data):
    number = 0
    for path in sorted((shared_data / "wnut17").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                pairs = []
                for token, tag in zip(row["tokens"], row["ner_tags"], strict=True):
                    if tag.startswith("B-"):
                        pairs.append((tag[2:], [token]))
                    elif tag.startswith("I-"):
                        pairs[-1][1].append(token)
                pairs = [(kind, " ".join(tokens)) for kind, tokens in pairs]
                assert read_entities(format_entities(pairs)) == (pairs, True)
                number += len(pairs)
    assert number == 1975 + 836 + 1079
