"""Transforms: what they make of columns, what they refuse, and every row of the real data."""

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from t5x_tasks.card.transforms import (
    TRANSFORMS,
    WNUT17_TAGS,
    chat_entities,
    entity_spans,
    gsm8k_answer,
    gsm8k_rationale,
    join_tokens,
    sentences,
    squad_answer,
    squad_answers,
    titled,
    unescaped,
    unescaped_sentences,
    wnut17_entities,
)
from t5x_tasks.metrics.entities import parse_entities
from tests.conftest import REPOSITORY, SHARED_DATA

SOLUTION = "There are 2*3=<<2*3=6>>6 pens\n\nThat is 6 * 200 = $<<6*200=1200>>1,200.\n#### 1,200"


def rows_of(*names: str) -> Iterator[dict[str, Any]]:
    for name in names:
        with gzip.open(SHARED_DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def test_entities_are_the_runs_of_tags() -> None:
    tokens = ["Ada", "Byron", "left", "Leeds", "York", "for", "Rome"]
    tags = ["B-person", "I-person", "O", "B-location", "B-location", "O", "B-location"]
    expected = "person: Ada Byron; location: Leeds; location: York; location: Rome"
    assert entity_spans(tokens, tags) == expected


def test_a_sentence_without_entities_says_none() -> None:
    assert entity_spans(["well", "well"], ["O", "O"]) == "none"
    assert entity_spans([], []) == "none"


def test_a_tag_that_goes_on_with_nothing_begins_an_entity() -> None:
    assert entity_spans(["Leeds", "Ada"], ["I-location", "I-person"]) == "location: Leeds; person: Ada"
    assert entity_spans(["Ada", "and", "Bo"], ["I-person", "O", "I-person"]) == "person: Ada; person: Bo"


def test_a_type_may_have_a_hyphen() -> None:
    assert entity_spans(["Dune"], ["B-creative-work"]) == "creative-work: Dune"


@pytest.mark.parametrize(
    ("tokens", "tags", "reason"),
    [
        (["a", "b"], ["O"], "2 tokens but 1 tags"),
        (["a", "b"], ["O", "person"], "tag 2 is 'person'"),
        (["a"], ["B-"], "tag 1 is 'B-'"),
        (["a"], ["S-person"], "tag 1 is 'S-person'"),
        (["a"], [3], r"tags\[0\] must be a text, not int 3"),
        ("a", ["O"], "tokens must be a list"),
        (None, ["O"], "tokens must be a list"),
    ],
)
def test_tokens_and_tags_that_make_no_sense_are_refused_with_a_reason(tokens: Any, tags: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        entity_spans(tokens, tags)


def test_wnut17_tags_may_be_the_numbers_of_the_hub() -> None:
    names = ["B-person", "I-person", "O", "B-creative-work"]
    numbers = [WNUT17_TAGS.index(name) for name in names]
    assert numbers == [9, 10, 0, 3]
    tokens = ["Ada", "Byron", "reads", "Dune"]
    assert (
        wnut17_entities(tokens, numbers) == wnut17_entities(tokens, names) == "person: Ada Byron; creative-work: Dune"
    )
    with pytest.raises(ValueError, match="0 to 12, not 0 to 13"):
        wnut17_entities(tokens, [0, 0, 0, 13])


def test_entities_of_a_chat_are_its_speakers_amounts_and_codes_each_once() -> None:
    chat = "Ada: Hi, it's about YW32612.\nMr. Lin: YW32612 costs $74.\nAda: Not $74.50?"
    assert chat_entities(chat) == "person: Ada; person: Mr. Lin; amount: $74; amount: $74.50; code: YW32612"
    assert chat_entities("Where is it?") == "none"


def test_a_title_stands_before_its_text_and_is_no_part_of_its_first_sentence() -> None:
    assert titled("Too long", "It fits nobody.") == "Too long.\nIt fits nobody."
    assert titled("Lovely!! ", "I bought two.") == "Lovely!!\nI bought two."


@pytest.mark.parametrize("title", ["", "  ", None])
def test_without_a_title_the_text_stands_alone(title: str | None) -> None:
    assert titled(title, "I bought two.") == "I bought two."


def test_lines_end_like_sentences() -> None:
    assert sentences(' x = 3\n\ny = 4.\nSo (x + y)\nor 50%\nso:\n he said "no." ') == (
        'x = 3.\ny = 4.\nSo (x + y).\nor 50%.\nso:\nhe said "no."'
    )


def test_a_line_that_breaks_off_in_a_formula_gets_no_period() -> None:
    assert sentences("x =\n3") == "x =\n3."


def test_escaped_line_breaks_become_line_breaks_and_others_stay() -> None:
    assert unescaped(r"Options:\n(A) 1\n(B) 2") == unescaped("Options:\n(A) 1\n(B) 2") == "Options:\n(A) 1\n(B) 2"
    assert unescaped_sentences(r"x = 3\ny = 4") == "x = 3.\ny = 4."


def test_a_solution_is_parted_into_steps_without_notes_and_an_answer_without_commas() -> None:
    assert gsm8k_rationale(SOLUTION) == "There are 2*3=6 pens.\nThat is 6 * 200 = $1,200."
    assert gsm8k_answer(SOLUTION) == "1200"


@pytest.mark.parametrize("answer", ["It is 6.", "It is 6.\n####", "#### 6", None, 6])
def test_a_solution_without_steps_or_answer_is_refused(answer: Any) -> None:
    for transform in (gsm8k_rationale, gsm8k_answer):
        with pytest.raises(ValueError, match=r"answer must be a text|must be steps and then"):
            transform(answer)


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["Leeds", "in Leeds", "Leeds"], "answer_start": [3, 0, 3]},
        [{"text": "Leeds", "answer_start": 3}, {"text": "in Leeds", "answer_start": 0}],
    ],
)
def test_the_different_answers_of_a_question_are_references_and_the_first_is_learned(answers: Any) -> None:
    assert squad_answers(answers) == ["Leeds", "in Leeds"]
    assert squad_answer(answers) == "Leeds"


@pytest.mark.parametrize("answers", [{"text": []}, {"text": None}, {"answer_start": [1]}, "Leeds", None, [3]])
def test_answers_that_are_none_are_refused(answers: Any) -> None:
    with pytest.raises(ValueError, match="answer"):
        squad_answers(answers)


def test_every_transform_that_a_shipped_card_names_exists() -> None:
    named = {
        spec["transform"]
        for path in (REPOSITORY / "t5x_tasks" / "library" / "cards").glob("*.yaml")
        for card in [yaml.safe_load(path.read_text(encoding="utf-8"))]
        for spec in [*card["fields"].values(), card.get("references")]
        if isinstance(spec, dict) and "transform" in spec
    }
    assert named <= set(TRANSFORMS)
    assert {"wnut17_entities", "gsm8k_answer", "squad_answers"} <= named


@pytest.mark.needs_shared
def test_every_entity_of_wnut17_reads_back_and_is_in_its_sentence() -> None:
    found = 0
    for row in rows_of("wnut17/train", "wnut17/validation", "wnut17/test"):
        sentence = join_tokens(row["tokens"])
        pairs = parse_entities(wnut17_entities(row["tokens"], row["ner_tags"]))
        begun = [tag[2:] for tag in row["ner_tags"] if tag.startswith("B-")]
        assert [kind for kind, _ in pairs] == begun
        assert all(mention in sentence for _, mention in pairs)
        found += len(pairs)
    assert found == 1975 + 836 + 1079


@pytest.mark.needs_shared
def test_every_solution_of_gsm8k_gives_steps_and_a_number() -> None:
    count = 0
    for row in rows_of("gsm8k/train", "gsm8k/test"):
        assert re.fullmatch(r"-?\d+", gsm8k_answer(row["answer"]))
        steps = gsm8k_rationale(row["answer"])
        assert steps and "<<" not in steps and "####" not in steps
        count += 1
    assert count == 7473 + 1319


@pytest.mark.needs_shared
@pytest.mark.parametrize("name", ["aqua", "creak", "ecqa", "gsm8k", "qasc", "sensemaking", "strategyqa"])
def test_every_rationale_of_flan_keeps_its_words(name: str) -> None:
    for row in rows_of(f"flan_cot/{name}/train"):
        rationale = unescaped_sentences(row["chain_of_thought"])
        assert rationale
        assert rationale.replace(".", "").split() == row["chain_of_thought"].replace(".", "").split()


@pytest.mark.needs_shared
def test_every_review_keeps_its_text_behind_its_title() -> None:
    for row in rows_of("clothing_reviews/train", "clothing_reviews/validation", "clothing_reviews/test"):
        review = titled(row["title"], row["review_text"])
        assert review.endswith(row["review_text"])
        assert (review == row["review_text"]) == (not row["title"].strip())
