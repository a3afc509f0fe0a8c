"""Claims of scoring: examples and their templates, metrics, intervals, counts."""

import json

import numpy as np
import pytest
from rouge_score import rouge_scorer

from eval.examples import prepare_questions, read_questions
from eval.scoring import bootstrap, score_task
from t5x_tasks.configuration import DataConfig
from t5x_tasks.prepare import ensure_prepared
from train.stream import Source, Stream

NO_COUNTS: dict[str, int | None] = {"truncated_inputs": 0, "truncated_references": 0, "unknown_tokens": 0}


@pytest.fixture
def card(make_card):
    """A task whose rows have several references, and an empty dialogue among them."""
    rows = [
        {"id": "a", "dialogue": "Ann: Where?\nBob: In Rome.\nAnn: Oh.\nBob: Yes.", "summaries": ["It is in Rome.", "Rome."]},
        {"id": "b", "dialogue": "", "summaries": ["Nobody said anything."]},
        {"id": "c", "dialogue": "Cy: Bye 🙂", "summaries": ["Cy leaves.", "Cy says goodbye.", "A farewell."]},
    ]  # fmt: skip
    return make_card(test_rows=rows, references="summaries")


def data(card) -> DataConfig:
    return DataConfig.model_validate({"mixture": "tiny", "cards": [str(card)]})


def test_a_perfect_prediction_scores_100_whichever_reference_it_repeats(card):
    questions = read_questions("tiny", "test", cards=[card])
    scores = score_task(questions, [e.references[-1] for e in questions.examples], counts=NO_COUNTS)
    for name in ("rouge1", "rougeL", "rougeLsum"):
        assert scores.summary["metrics"][name]["value"] == pytest.approx(100)
        assert scores.summary["metrics"][name]["ci_low"] == pytest.approx(100)
    assert scores.summary["metrics"]["rouge1_first"]["value"] < 100


def test_rouge_is_that_of_rouge_score_with_the_best_reference(card):
    questions = read_questions("tiny", "test", cards=[card])
    predictions = ["They say it is in Rome", "nothing said", "Cy is leaving"]
    scores = score_task(questions, predictions, counts=NO_COUNTS)
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for name in ("rouge1", "rouge2", "rougeL"):
        expected = [
            100 * scorer.score_multi(e.references, p)[name].fmeasure
            for e, p in zip(questions.examples, predictions, strict=True)
        ]
        assert scores.summary["metrics"][name]["value"] == pytest.approx(np.mean(expected), abs=1e-9)
        assert [row["scores"][name] for row in scores.rows] == pytest.approx(expected, abs=1e-4)


def test_lead_3_is_the_first_three_utterances(card):
    questions = read_questions("tiny", "test", cards=[card])
    lead = [" ".join((e.dialogue or "").split("\n")[:3]) for e in questions.examples]
    scores = score_task(questions, lead, counts=NO_COUNTS)
    assert scores.summary["baselines"]["lead_3"]["rouge1"] == scores.summary["metrics"]["rouge1"]
    assert scores.summary["baselines"]["longest_3"].keys() == scores.summary["metrics"].keys()


def test_settings_name_implementation_references_split_and_rows(card):
    questions = read_questions("tiny", "test", cards=[card])
    metrics = score_task(questions, ["x", "y", "z"], counts=NO_COUNTS).summary["metrics"]
    for part in ("rouge_score 0.", "stemmer", "best of up to 3 references", "test split", "n=3", "1000 bootstrap"):
        assert part in metrics["rougeL"]["settings"]
    assert "mean over up to 3 references" in metrics["rougeL_mean"]["settings"]
    assert "first of up to 3 references" in metrics["rougeL_first"]["settings"]


def test_the_interval_is_seeded_and_holds_the_mean():
    values = {"x": np.random.default_rng(0).normal(50, 10, 200)}
    first, again, other = (bootstrap(values, samples=1000, seed=seed)["x"] for seed in (0, 0, 1))
    assert first == again != other
    assert first["value"] == values["x"].mean() == other["value"]
    # of a normal mean: 1.96 standard errors to each side
    half = 1.96 * values["x"].std() / np.sqrt(200)
    assert first["ci_low"] == pytest.approx(first["value"] - half, abs=0.15)
    assert first["ci_high"] == pytest.approx(first["value"] + half, abs=0.15)


def test_rows_of_predictions_hold_question_answer_references_and_scores(card):
    questions = read_questions("tiny", "test", cards=[card])
    rows = score_task(questions, ["x", "y", "z"], counts=NO_COUNTS).rows
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert rows[2]["references"] == ["Cy leaves.", "Cy says goodbye.", "A farewell."]
    assert rows[2]["prediction"] == "z" and "Cy: Bye 🙂" in rows[2]["inputs"] and rows[2]["dialogue"] == "Cy: Bye 🙂"
    assert json.loads(json.dumps(rows)) == rows


def test_an_empty_dialogue_and_unknown_tokens_are_counted(card, vocabulary):
    questions = prepare_questions("tiny.t00", "test", data=data(card), vocabulary=vocabulary)
    assert [example.id for example in questions.examples] == ["a", "b", "c"]
    assert [example.empty for example in questions.examples] == [False, True, False]
    assert questions.unknown_tokens == sum(int((ids == 2).sum()) for ids in questions.tokens) >= 1  # the emoji
    assert score_task(questions, ["x"] * 3, counts=NO_COUNTS).summary["counts"]["empty_inputs"] == 1


def test_source_and_cache_give_the_same_questions(card, vocabulary):
    ours = prepare_questions("tiny.t00", "test", data=data(card), vocabulary=vocabulary)
    theirs = read_questions("tiny.t00", "test", cards=[card])
    assert ours.examples == theirs.examples


def test_limit_takes_the_first_rows(card, vocabulary):
    questions = prepare_questions("tiny", "test", data=data(card), vocabulary=vocabulary, limit=2)
    assert [example.id for example in questions.examples] == ["a", "b"]


def test_a_mixture_asks_each_example_as_training_with_seed_0_does(make_card, vocabulary):
    rows = [{"dialogue": f"Ann: {i}\nBob: Yes.", "summary": f"It is {i}."} for i in range(40)]
    card = make_card(test_rows=rows)
    questions = prepare_questions("tiny", "test", data=data(card), vocabulary=vocabulary)
    prepared = ensure_prepared("tiny", "test", data=data(card), vocabulary=vocabulary, text=True)
    source = Source("tiny", [(entry.template, entry.open()) for entry in prepared])
    splits, indices = Stream([source], row_lengths=(64, 64), seed=0).order(0)
    trained = {index: prepared[split].template for index, split in zip(indices.tolist(), splits.tolist(), strict=True)}
    assert [example.template for example in questions.examples] == [trained[i] for i in range(40)]
    assert {example.template for example in questions.examples} == {"t00", "t01"}  # t02 is held out
    heldout = prepare_questions("tiny.heldout", "test", data=data(card), vocabulary=vocabulary)
    assert {example.template for example in heldout.examples} == {"t02"}
    for example, ids in zip(questions.examples, questions.tokens, strict=True):
        assert ids.tolist() == [*vocabulary.encode_batch([example.inputs])[0].tolist(), 1]
