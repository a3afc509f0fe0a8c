"""Own runs and other people's predictions are compared by their final answers, however their references are worded."""

import json

import pytest
from helpers import evaluated
from helpers.checkpoint import evaluate_run

from eval.commands import compare, score
from t5x_tasks.common.errors import UserError

ROWS = [
    {"id": f"r{i}", "question": f"What is {i} and {i}?", "why": f"{i} + {i} = {2 * i}.", "answer": f"{2 * i:,}"}
    for i in range(6)
]
CARD = {
    "fields": {"question": "question", "rationale": "why", "answer": "answer"},
    "templates": [
        {"id": "a00", "inputs": "{question}", "targets": "{answer}"},
        {"id": "r00", "inputs": "{question} Steps:", "targets": "{rationale}\nThe answer is {answer}."},
    ],
    "category": "reasoning",
    "metrics": ["final_answer"],
}


@pytest.fixture
def card(make_card):
    return make_card(rows=ROWS, test_rows=ROWS, **CARD)


def score_theirs(tmp_path, card, *metrics):
    theirs = tmp_path / "theirs.jsonl"
    theirs.write_text("".join(json.dumps({"id": row["id"], "prediction": row["answer"]}) + "\n" for row in ROWS))
    more = ["--metrics", *metrics] if metrics else []
    assert score.main(["--task", "tiny", "--predictions", str(theirs), "--cards", str(card), *more]) == 0
    return tmp_path / "theirs"


def test_a_run_is_compared_with_other_peoples_predictions_by_final_answers(run_dir, card, tmp_path):
    assert evaluate_run(run_dir, "eval.steps=[0]") == 0
    theirs = score_theirs(tmp_path, card)
    (comparison,) = compare.gather([str(run_dir), str(theirs)], samples=50).comparisons
    references = [{row["references"][0] for row in column.rows} for column in comparison.columns]
    assert references[0] != references[1]  # in words of several templates
    assert comparison.n == 6 and comparison.differences[1]["accuracy"].value == 100


@pytest.mark.parametrize("change", ["answer", "metric"])
def test_other_answers_or_a_metric_that_reads_the_words_are_refused(card, make_card, tmp_path, change):
    theirs = score_theirs(tmp_path, card, *(["final_answer", "rouge"] if change == "metric" else []))
    other = make_card(
        rows=ROWS,
        test_rows=[{**row, "answer": "7"} if change == "answer" and row["id"] == "r2" else row for row in ROWS],
        **{
            **CARD,
            "templates": CARD["templates"][1:],
            "metrics": ["final_answer", "rouge"][: 1 + (change == "metric")],
        },
    )
    ours = evaluated.evaluate(tmp_path / "ours", {"tiny": lambda example: "4"}, cards=[other])
    with pytest.raises(UserError, match=r"row r[02]: its references are not those of theirs"):
        compare.gather([str(theirs), str(ours)], samples=50)
