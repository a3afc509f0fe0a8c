"""Claims of scoring: examples and their templates, metrics, intervals, counts."""

import json

import numpy as np
import pytest
from rouge_score import rouge_scorer

from eval.examples import prepare_questions, read_questions
from eval.report.summary import print_scores
from eval.scoring.bootstrap import bootstrap, interval
from eval.scoring.score_task import remarks, score_task
from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.pooled import Pooled
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from train.data.order import Source, Stream

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
        assert scores.summary["metrics"][name]["ci_high"] == pytest.approx(100)
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
    for part in ("rouge_score 0.", "stemmer", "best of up to 3 references", "test split", "n=3", "2000 bootstrap"):
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


def test_a_pooled_score_of_a_resample_is_that_of_the_rows_drawn():
    generator = np.random.default_rng(0)
    counts = generator.integers(1, 9, (30, 2)).astype(float)
    ratio = Pooled(counts, lambda sums: 100 * sums[..., 0] / sums[..., 1])
    found = bootstrap({"ratio": ratio}, samples=120, seed=3)["ratio"]
    assert found["value"] == pytest.approx(100 * counts[:, 0].sum() / counts[:, 1].sum())
    draws, resampled = np.random.default_rng(3), []
    for size in (50, 50, 20):  # as they are drawn, in chunks
        for rows in draws.integers(0, 30, (size, 30)):
            resampled.append(100 * counts[rows, 0].sum() / counts[rows, 1].sum())
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(interval(np.array(resampled), 30))


def test_pooled_and_plain_scores_are_resampled_together():
    values = np.random.default_rng(0).normal(50, 10, 80)
    mean = Pooled(np.stack([values, np.ones(80)], axis=1), lambda sums: sums[..., 0] / sums[..., 1])
    both = bootstrap({"pooled": mean, "plain": values}, samples=300)
    assert list(both) == ["pooled", "plain"]
    assert both["pooled"] == pytest.approx(both["plain"])
    assert bootstrap({"plain": values}, samples=300)["plain"] == both["plain"]  # whatever is beside it
    assert bootstrap({"pooled": mean}, samples=300)["pooled"] == both["pooled"]


def test_a_share_of_rows_has_an_interval_at_0_and_100_percent_too():
    rows = {"all": np.full(100, 100.0), "none": np.zeros(100), "half": np.repeat([0.0, 100.0], 50)}
    found = bootstrap(rows, samples=200)
    # Wilson 1927: z^2 / (n + z^2) of 1.96 and 100 rows
    assert found["all"] == pytest.approx({"value": 100, "ci_low": 96.3, "ci_high": 100}, abs=0.01)
    assert found["none"] == pytest.approx({"value": 0, "ci_low": 0, "ci_high": 3.7}, abs=0.01)
    assert found["half"] == pytest.approx({"value": 50, "ci_low": 40.38, "ci_high": 59.62}, abs=0.01)


def test_the_expanded_percentile_interval_is_students_of_a_normal_mean():
    values = np.random.default_rng(1).normal(50, 10, 12)
    found = bootstrap({"x": values}, samples=20_000)["x"]
    half = 2.201 * values.std(ddof=1) / np.sqrt(12)  # Student's t with 11 degrees of freedom
    assert found["ci_high"] - found["ci_low"] == pytest.approx(2 * half, rel=0.05)


def test_scores_of_all_rows_together_stand_in_the_summary_and_not_in_the_rows(make_card):
    questions = read_questions("tiny", "test", cards=[make_card(metrics=["bleu", "squad", "rouge"])])
    scores = score_task(questions, [e.references[0] for e in questions.examples], counts=NO_COUNTS)
    expected = {"bleu", "bleu.exact_match", "squad.exact_match", "f1", "rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert set(scores.summary["metrics"]) == expected == set(scores.summary["baselines"]["lead_3"])
    assert all(set(row["scores"]) == expected - {"bleu"} for row in scores.rows)
    assert scores.summary["metrics"]["bleu"]["settings"].startswith("sacrebleu corpus BLEU case:mixed|")
    assert json.loads(json.dumps(scores.summary)) == scores.summary


def test_settings_of_bleu_do_not_claim_to_choose_the_best_reference(make_card):
    rows = [{"dialogue": "Ann: Where?", "summaries": ["It is in Rome.", "Rome."]}]
    card = make_card(test_rows=rows, references="summaries", metrics=["bleu", "squad"])
    metrics = score_task(read_questions("tiny", "test", cards=[card]), ["Rome"], counts=NO_COUNTS).summary["metrics"]
    assert "n-grams of any of up to 2 references" in metrics["bleu"]["settings"]
    assert "best of up to 2 references" in metrics["f1"]["settings"]


def test_references_that_a_metric_cannot_read_are_the_users_to_mend(make_card):
    questions = read_questions("tiny", "test", cards=[make_card(metrics=["rating"])])
    with pytest.raises(UserError, match=r"metrics: rating: row 0 \(from 0\): the reference"):
        score_task(questions, ["5"] * len(questions.examples), counts=NO_COUNTS)


def test_a_table_shows_every_score_of_every_column_and_a_dash_where_one_lacks_it(capsys):
    def column(*names, **more):
        return {
            "n": 3,
            "metrics": {n: {"value": 1.234, "ci_low": 1, "ci_high": 2, "settings": ""} for n in names},
            **more,
        }

    before = column("accuracy", "mean_absolute_error", counts={"unknown_tokens": 2, "empty_inputs": None})
    after = column("accuracy", "macro_f1", baselines={"lead_3": {}}, counts={})
    print_scores("reviews", {"before": before, "after": after}, split="test")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["accuracy", "1.2", "[1.0,", "2.0]", "1.2", "[1.0,", "2.0]"] in lines
    assert ["mean_absolute_error", "1.23", "[1.00,", "2.00]", "-"] in lines  # in stars: two decimals
    assert ["macro_f1", "-", "1.2", "[1.0,", "2.0]"] in lines
    assert ["before:", "2", "unknown", "tokens"] in lines and not any("after:" in line for line in lines)


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


def test_an_unknown_character_that_rouge_does_not_see_is_counted_and_remarked(make_card):
    rows = [
        {"id": "a", "dialogue": "Ann: Hi.", "summary": "El niño"},
        {"id": "b", "dialogue": "Bo: Hi.", "summary": "x"},
    ]
    questions = read_questions("tiny", "test", cards=[make_card(test_rows=rows)])
    summary = score_task(questions, ["El ni ⁇ o", "x"], counts={"unwritable_references": 1}).summary
    assert summary["metrics"]["rouge1"]["value"] == 100 and summary["counts"]["unknown_predictions"] == 1
    lacking, unknown = remarks(summary["counts"], 2)
    assert lacking.startswith("1 of 2 rows have references with characters that the vocabulary lacks")
    assert unknown.startswith("1 of 2 predictions hold ⁇")


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
    source = Source("tiny", [(entry.variant, entry.open()) for entry in prepared])
    splits, indices = Stream([source], row_lengths=(64, 64), seed=0).order(0)
    trained = {index: prepared[split].variant for index, split in zip(indices.tolist(), splits.tolist(), strict=True)}
    asked = [example.variant.id for example in questions.examples if example.variant]
    assert asked == [trained[i] for i in range(40)]
    assert set(asked) == {"t00", "t01"}  # t02 is held out
    heldout = prepare_questions("tiny.heldout", "test", data=data(card), vocabulary=vocabulary)
    assert {example.variant.id for example in heldout.examples if example.variant} == {"t02"}
    for example, ids in zip(questions.examples, questions.tokens, strict=True):
        assert ids.tolist() == [*vocabulary.encode_batch([example.inputs])[0].tolist(), 1]
