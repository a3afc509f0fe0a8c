import gzip
import json
import random

import numpy as np
import pytest
from rouge_score import rouge_scorer

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.sentences import split_sentences
from t5x_tasks.metrics import METRICS, load_metric
from t5x_tasks.metrics.baselines import lead, longest
from t5x_tasks.metrics.rouge import MEASURES, can_read, rouge, settings

WORDS = [
    "Ann",
    "agrees",
    "agreed",
    "agreeing",
    "order",
    "ordered",
    "the",
    "on",
    "Monday.",
    "12:30",
    "Mr.",
    "Yes!",
    "parcels'",
    "don't",
    "café",
    "#Person1#",
    "...",
]


def texts(seed, number):
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randrange(0, 25))) for _ in range(number)]


def test_scores_are_those_of_rouge_score_itself():
    predictions, first, second = texts(0, 60), texts(1, 60), texts(2, 60)
    references = list(zip(first, second, strict=True))
    ours = rouge(predictions, references)
    scorer = rouge_scorer.RougeScorer(list(MEASURES), use_stemmer=True)
    for row, (prediction, answers) in enumerate(zip(predictions, references, strict=True)):
        split = ["\n".join(split_sentences(answer)) for answer in answers]
        said = "\n".join(split_sentences(prediction))
        best = scorer.score_multi(split, said)
        each = [scorer.score(answer, said) for answer in split]
        for measure in MEASURES:
            f1s = [100 * scores[measure].fmeasure for scores in each]
            assert ours[measure][row] == pytest.approx(100 * best[measure].fmeasure, abs=1e-9)
            assert ours[f"{measure}_mean"][row] == pytest.approx(np.mean(f1s), abs=1e-9)
            assert ours[f"{measure}_first"][row] == pytest.approx(f1s[0], abs=1e-9)


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("Ann, 12:30", True),
        ("Für Jürgen", True),
        ("", True),
        ("?!", True),
        ("Привет", False),
        ("安娜 OK", True),
        ("你好吗 OK", False),
    ],
)
def test_what_rouge_cannot_read_is_told_by_its_letters(text, readable):
    assert can_read(text) == readable
    if not readable and text.isalpha():
        assert not any(rouge([text], [[text]])[measure][0] for measure in MEASURES)


def test_one_reference_a_row_gives_four_measures():
    scores = rouge(["Ann orders a parcel.", ""], [["Ann ordered a parcel."], ["Bob agrees."]])
    assert set(scores) == set(MEASURES)
    assert scores["rouge1"].tolist() == [100.0, 0.0]  # stemmed; an empty prediction scores nothing


def test_sentences_end_at_stops_but_not_after_titles():
    text = "Mr. Smith came. Did he? Yes! No. 5 is his, at 3.30 p.m., e.g. today."
    assert split_sentences(text) == [
        "Mr. Smith came.",
        "Did he?",
        "Yes!",
        "No. 5 is his, at 3.30 p.m., e.g.",
        "today.",
    ]


def test_rows_without_a_reference_are_refused():
    with pytest.raises(ValueError, match="at least one reference"):
        rouge(["a"], [[]])
    with pytest.raises(ValueError, match="2 predictions for 1 rows"):
        rouge(["a", "b"], [["a"]])


def test_metrics_are_found_by_name_or_path():
    assert load_metric("rouge") is rouge
    assert load_metric("t5x_tasks.metrics.rouge:rouge") is rouge
    with pytest.raises(UserError, match=r"unknown metric rogue, did you mean rouge\?"):
        load_metric("rogue")
    for path in ("no_such_package:f", "t5x_tasks.metrics.rouge:no_such_function"):
        with pytest.raises(UserError, match="cannot be imported"):
            load_metric(path)
    assert all(callable(load_metric(name)) for name in METRICS)
    assert settings().startswith("rouge_score ")


def test_baselines_take_whole_utterances():
    dialogue = "A: one\nB: one two three\nC: one two\nD: one two three four\nE: one two three"
    assert lead(dialogue) == "A: one B: one two three C: one two"
    assert longest(dialogue) == "D: one two three four B: one two three E: one two three"
    assert lead("A: one", k=3) == "A: one"
    assert lead("") == longest("") == ""


# rouge1 / rouge2 / rougeL / rougeLsum of 500 rows with three references each, as measured with rouge_score.
FIRST, MEAN, BEST = "_first", "_mean", ""
DIALOGSUM = {
    (lead, FIRST): (27.48, 7.23, 21.09, 25.48),
    (lead, MEAN): (26.95, 6.71, 20.39, 24.78),
    (lead, BEST): (32.02, 10.22, 24.87, 29.94),
    (longest, FIRST): (23.82, 6.71, 16.41, 21.78),
    (longest, MEAN): (23.31, 6.22, 16.11, 21.18),
    (longest, BEST): (28.23, 9.74, 19.88, 26.04),
}


@pytest.mark.needs_shared
@pytest.mark.parametrize("baseline", [lead, longest])
def test_baselines_on_dialogsum_have_the_published_scores(shared_data, baseline):
    with gzip.open(shared_data / "dialogsum" / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    scores = rouge([baseline(row["dialogue"]) for row in rows], [row["summaries"] for row in rows])
    for kind in (FIRST, MEAN, BEST):
        means = [scores[measure + kind].mean() for measure in MEASURES]
        assert means == pytest.approx(DIALOGSUM[baseline, kind], abs=0.0051)
