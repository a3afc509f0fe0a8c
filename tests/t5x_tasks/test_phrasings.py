"""Templates: options in several renderings, exemplars, inverted templates, code under its codec."""

import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.rendering.fewshot import Exemplars
from t5x_tasks.rendering.render import as_answer, render
from t5x_tasks.sources import question, read_rows

RATED = [{"id": f"r{i}", "text": f"It is number {i} of many words.", "stars": i % 5 + 1} for i in range(40)]
RATING = {
    "name": "rated",
    "category": "rating",
    "fields": {"text": "text", "stars": "stars"},
    "options": {"choices": [1, 2, 3, 4, 5]},
    "templates": [
        {"id": "t00", "inputs": "{text}\n\nHow many stars?\n\n{options}\n\nStars:", "targets": "{stars}"},
        {"id": "t01", "inputs": "Rate from 1 to 5: {text}", "targets": "{stars}"},
    ],
    "metrics": ["rouge"],
}


@pytest.fixture
def rated(make_card):
    def make(**changes):
        return load_card(make_card(rows=RATED, test_rows=RATED[:10], **{**RATING, **changes}))

    return make


def variant(card, name):
    return next(p for p in card.variants if p.id == name)


def test_a_template_with_options_comes_in_every_style_and_one_without_them_once(rated):
    assert [p.id for p in rated().variants] == ["t00", "t00_lettered", "t00_none", "t01"]


def test_options_are_rendered_dashed_lettered_or_not_at_all(rated):
    card = rated()
    (row, *_) = read_rows(card, "train")
    shown = [render(card, variant(card, name), row).inputs for name in ("t00", "t00_lettered", "t00_none")]
    assert "- 1\n- 2\n- 3\n- 4\n- 5" in shown[0]
    assert "(A) 1\n(B) 2\n(C) 3" in shown[1]
    assert shown[2].endswith("How many stars?\n\nStars:")


def test_options_may_stand_in_each_row(make_card):
    rows = [{"id": "a", "question": "Which?", "choices": ["this", "that"], "answer": "that"}]
    card = load_card(
        make_card(
            name="asked",
            rows=rows,
            test_rows=rows,
            fields={"question": "question", "answer": "answer"},
            options={"column": "choices", "styles": ["lettered"]},
            templates=[{"id": "t00", "inputs": "{question}\n{options}", "targets": "{answer}"}],
        )
    )
    (row,) = read_rows(card, "train")
    assert render(card, card.variants[0], row).inputs == "Which?\n(A) this\n(B) that"


def test_each_template_comes_with_each_number_of_exemplars(rated):
    card = rated(shots=[0, 2], options=None, templates=[RATING["templates"][1]])
    assert [p.id for p in card.variants] == ["t01", "t01_2shot"]


def exemplars_of(card, vocabulary, *, split="train", fit=512, shots="t01_2shot"):
    chosen = Exemplars(card, variant(card, shots), read_rows(card, "train"), vocabulary, fit)
    rows = read_rows(card, split)
    return chosen, rows, chosen.choose(rows)


def test_exemplars_are_solved_rows_of_the_training_split_before_the_question(rated, vocabulary):
    card = rated(shots=[0, 2])
    _, rows, drawn = exemplars_of(card, vocabulary)
    inputs = render(card, variant(card, "t01_2shot"), rows[0], drawn[0]).inputs
    first, second = drawn[0]
    assert inputs == (
        f"Rate from 1 to 5: {first.fields['text']}\n{first.fields['stars']}\n\n"
        f"Rate from 1 to 5: {second.fields['text']}\n{second.fields['stars']}\n\n"
        f"Rate from 1 to 5: {rows[0].fields['text']}"
    )


@pytest.mark.parametrize("split", ["train", "test"])  # the rows of `test` are in train, too
def test_an_exemplar_is_never_the_question_itself(rated, vocabulary, split):
    card = rated(shots=[2])
    _, rows, drawn = exemplars_of(card, vocabulary, split=split)
    for row, before in zip(rows, drawn, strict=True):
        assert len({question(card, r) for r in before} | {question(card, row)}) == 3


def test_a_repeated_row_is_no_exemplar_of_its_twin(make_card, vocabulary):
    twins = [{"id": f"twin{i}", "text": "The same.", "stars": 1} for i in range(5)] + RATED[:2]
    card = load_card(make_card(rows=twins, **{**RATING, "shots": [2]}, test_rows=RATED[:1]))
    _, rows, drawn = exemplars_of(card, vocabulary)
    for row, before in zip(rows, drawn, strict=True):
        assert all(r.fields["text"] != row.fields["text"] for r in before)


def test_exemplars_differ_from_row_to_row_and_not_from_run_to_run(rated, vocabulary):
    card = rated(shots=[2])
    drawn = [[[r.id for r in before] for before in exemplars_of(card, vocabulary)[2]] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn[0]}) > 20


def test_exemplars_are_cut_as_a_whole_to_what_fits_and_counted(rated, vocabulary):
    card = rated(shots=[2])
    template = variant(card, "t01_2shot")
    own = len(vocabulary.encode_batch([render(card, template, read_rows(card, "train")[0]).inputs])[0])
    chosen, rows, drawn = exemplars_of(card, vocabulary, fit=2 * own + 8)
    assert {len(before) for before in drawn} == {1}
    assert (chosen.asked, chosen.kept) == (80, 40)
    for row, before in zip(rows, drawn, strict=True):
        assert len(vocabulary.encode_batch([render(card, template, row, before).inputs])[0]) < 2 * own + 8


def test_a_card_with_a_codec_trains_on_the_code_and_is_scored_on_the_plain_text(make_card):
    rows = [{"id": "a", "java": "int f ( ) { return 1 ; }", "cs": "int F ( ) {\n\treturn 1 ; }"}]
    card = load_card(
        make_card(
            name="coded",
            rows=rows,
            test_rows=rows,
            fields={"java": {"column": "java", "codec": "code"}, "cs": {"column": "cs", "codec": "code"}},
            templates=[{"id": "t00", "inputs": "Java: {java}\nC#:", "targets": "{cs}"}],
        )
    )
    (row,) = read_rows(card, "train")
    rendering = render(card, card.variants[0], row)
    assert not set("{}\n\t") & set(rendering.targets)
    assert rendering.references == [rows[0]["cs"]]
    assert as_answer(card, card.variants[0], rendering.targets) == rows[0]["cs"]
