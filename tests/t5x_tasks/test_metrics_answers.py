"""Claims of labels, short answers and final answers: what is the same answer, and what is not."""

import gzip
import json

import numpy as np
import pytest

from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.accuracy import MOST_LABELS, accuracy, normalize_label
from t5x_tasks.metrics.final_answer import extract_answer, final_answer
from t5x_tasks.metrics.pooled import value
from t5x_tasks.metrics.squad import normalize_answer, squad


@pytest.mark.parametrize("text", ["yes", "Yes", " yes.", '"YES"', "- yes", "(yes)", "*yes*", "yes !\n", "ｙｅｓ"])
def test_case_space_and_punctuation_do_not_change_a_label(text):
    assert normalize_label(text) == "yes"


def test_labels_that_differ_stay_different():
    for labels in (
        ["-1", "1", "0"],
        ["C", "C++", "C#"],
        ["<", ">"],
        [":)", ":("],
        ["+", "-"],
        ["not entailment", "entailment"],
    ):
        assert len({normalize_label(label) for label in labels}) == len(labels)
    assert normalize_label("not_entailment") == normalize_label("Not entailment.")


def test_a_label_within_a_sentence_is_another_label():
    assert np.asarray(accuracy(["I say yes", "yes"], [["yes"], ["yes"]])["accuracy"]).tolist() == [0, 100]


def test_one_answer_for_all_has_high_accuracy_and_low_macro_f1():
    scores = accuracy(["yes"] * 10, [["yes"]] * 9 + [["no"]])
    assert value(scores["accuracy"]) == 90
    assert value(scores["macro_f1"]) == pytest.approx(100 * (18 / 19) / 2)


def test_macro_f1_is_left_out_where_answers_are_no_labels_whatever_is_predicted():
    references = [[str(i), "x"] for i in range(MOST_LABELS)]
    for said in ("x", "0"):
        assert set(accuracy([said] * MOST_LABELS, references)) == {"accuracy"}


def test_squad_normalises_as_the_official_script():
    assert normalize_answer("The  Eiffel-Tower, an ICON (of a city)!") == "eiffeltower icon of city"
    assert normalize_answer("Theatre an") == "theatre"


def test_squad_scores_words_against_the_best_reference():
    scores = squad(["tower of Paris", "The U.S.", ""], [["Eiffel Tower", "the tower"], ["US"], ["x"]])
    assert np.asarray(scores["exact_match"]).tolist() == [0, 100, 0]
    assert np.asarray(scores["f1"]).tolist() == pytest.approx([50, 100, 0])
    assert squad(["a b b"], [["b b c"]])["f1"].tolist() == pytest.approx([100 * 2 * 2 / (2 + 3)])  # `a` is an article


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("5 + 6 = 11\n#### 11", "11"),
        ("The answer is 5? No.\nThe answer is: 6.\nDone", "6."),
        ("Answer: (B)", "(B)"),
        ("ANSWER IS yes", "yes"),
        (" just this ", "just this"),
        ("The answer is", ""),
        ("#### \n", ""),
    ],
)  # fmt: skip
def test_the_answer_follows_the_last_marker(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("1200", "1,200"),
        ("#### $1,200.00", "1200"),
        ("The answer is 1200 dollars, for 3 days.", "1200"),
        ("12%", "12"),
        ("-5", "−5"),
        ("The answer is -$5.", "-5"),
        ("It is 10-5.", "5"),
        ("- 18", "18"),
        ("9 * 2 = 18 dollars every day.", "18"),
        (".5", "0.50"),
        ("1/2", "0.5"),
        ("**18**", "18."),
        ("The answer is (b).", "(B)"),
        ("C) 300", "(C)"),
        ("c", "C"),
        ("(A) is too small, so (D)", "(D)"),
        ("The answer is (D), not (A).", "(D)"),
        ("The answer is yes. Genghis Khan had more children.", "yes"),
        ("so the answer is: Sentence A", "Sentence A"),
        ("Bloody mess.", "bloody mess"),
        ("The answer is 72", "Natalia sold 48 / 2 = 24.\n#### 72"),
    ],
)
def test_the_same_answer_in_other_words_is_right(prediction, reference):
    scores = final_answer([prediction], [[reference]])
    assert np.asarray(scores["accuracy"]).tolist() == [100] and np.asarray(scores["no_answer"]).tolist() == [0]


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("18.5", "18"),
        ("180", "18"),
        ("-18", "18"),
        ("18 and then 19", "18"),  # without a marker the last number is the answer
        ("The answer is 19, not 18", "18"),
        ("1/2", "1"),
        ("0.99999999999999999999999999999999999999", "1"),
        ("(A)", "(B)"),
        ("no", "yes"),
        ("The answer is no. Others say yes.", "yes"),
        ("Sentence B", "Sentence A"),
    ],
)
def test_another_answer_is_wrong(prediction, reference):
    scores = final_answer([prediction], [[reference]])
    assert np.asarray(scores["accuracy"]).tolist() == [0] and np.asarray(scores["no_answer"]).tolist() == [0]


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [("I do not know", "18"), ("", "18"), ("1/0", "18"), ("A dog", "(A)"), ("", "(A)"), ("The answer is", "yes")],
)
def test_no_answer_of_the_references_kind_is_counted_and_wrong(prediction, reference):
    scores = final_answer([prediction], [[reference]])
    assert np.asarray(scores["accuracy"]).tolist() == [0] and np.asarray(scores["no_answer"]).tolist() == [100]


def test_digits_beyond_any_float_are_compared_exactly():
    many = "9" * 10_000
    assert final_answer([f"#### -{many}", f"#### {many}8"], [[f"-{many}"], [f"{many}9"]])["accuracy"].tolist() == [
        100,
        0,
    ]


def test_a_reference_without_an_answer_is_refused_by_row():
    with pytest.raises(
        UserError, match=r"final_answer: row 1 \(from 0\): the reference 'The answer is ' has no answer"
    ):
        final_answer(["1", "1"], [["1"], ["The answer is "]])


@pytest.mark.needs_shared
@pytest.mark.parametrize(
    "name", ["gsm8k", "flan_cot/aqua", "flan_cot/ecqa", "flan_cot/sensemaking", "flan_cot/strategyqa"]
)
def test_rationale_with_answer_is_right_on_every_real_row_and_another_rows_is_mostly_not(shared_data, name):
    with gzip.open(shared_data / name / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    references = [[row["answer"]] for row in rows]
    said = [f"{row.get('chain_of_thought', '')} So the answer is {extract_answer(row['answer'])}." for row in rows]
    scores = final_answer(said, references)
    assert value(scores["accuracy"]) == 100 and value(scores["no_answer"]) == 0
    assert value(final_answer([texts[0] for texts in references], references)["accuracy"]) == 100
    assert value(final_answer(said, np.roll(references, 1, axis=0).tolist())["accuracy"]) < 60
