"""Claims that hold of every metric, and of the names and shapes of what they return."""

import importlib
import math
import random

import numpy as np
import pytest
from sklearn.metrics import f1_score

from t5x_tasks.metrics import METRICS, check_metric_name, compute, load_metric
from t5x_tasks.metrics.pooled import Pooled, divide, macro_f1, value

# Right answers of a few rows, with several references where a task would have them; no two rows share one.
REFERENCES = {
    "rouge": [["Ann orders a parcel.", "A parcel is ordered."], ["Bob says goodbye."], ["They meet on Monday."]],
    "bleu": [["int x = read ( ) ;", "var x = read ( ) ;"], ["return null ;"], ["while ( true ) { }"]],
    "chrf": [["他今天去北京买了一本书。", "Он уехал."], ["Ann orders a parcel."], ["ขอบคุณ"]],
    "exact_match": [["if (a) {\n  b();\n}"], ["no"], ["x", "y"]],
    "accuracy": [["entailment"], ["Not entailment."], ["neutral", "it is not possible to tell"]],
    "rating": [["5"], ["one star"], ["★★☆☆☆", "3"]],
    "entities": [["person: Ada; place: Rome"], ["none"], ["person: Al; person: Al", "group: B : C"]],
    "squad": [["the Eiffel Tower", "Eiffel Tower"], ["1889"], ["in Paris", "France"]],
    "final_answer": [["5 + 6 = 11\n#### 11"], ["(B)"], ["So the answer is yes.", "The answer: it is so"]],
}
EVERY = [
    name for name in METRICS if name != "py_rouge"
]  # an extra; pooling, it finds nothing perfect: test_py_rouge.py
LOWER_IS_BETTER = {"malformed", "unparsed", "no_answer", "mean_absolute_error"}
HOSTILE = [
    "",
    " \n\t ",
    "x" * 100_000,
    "9" * 100_000,
    "1," * 50_000,
    "1/0",
    "-" * 100_000,
    "★" * 100_000,
    ";" * 100_000,
    "; " * 50_000,
    "; a" * 30_000,
    ";" + " " * 100_000,
    "a: ;" * 25_000,
    "answer is " * 10_000,
    "answer" + " " * 100_000,
    "####" * 25_000,
    "(" * 100_000,
    "🙂🏳️‍🌈" * 1000,
    "\x00\x07\x1b[31m\u202e\ufeff\u2028",
    "\ud800 lone \udfff",
    "²³½ ٤ ５ Ⅳ",
    "type: mention; none; : ; :",
]


def better_is_more(name, number):
    return -number if name.rpartition(".")[2] in LOWER_IS_BETTER else number


@pytest.mark.parametrize("metric", EVERY)
def test_a_perfect_prediction_is_perfect_whichever_reference_it_repeats(metric):
    references = REFERENCES[metric]
    for choice in (0, -1):
        scores = load_metric(metric)([texts[choice] for texts in references], references)
        for name, values in scores.items():
            if name.endswith(("_mean", "_first")):  # of ROUGE: one reference is not the other
                continue
            assert value(values) == pytest.approx(0 if name in LOWER_IS_BETTER else 100), name


@pytest.mark.parametrize("metric", EVERY)
def test_the_references_of_another_row_are_worse_by_every_measure_of_rightness(metric):
    references = REFERENCES[metric]
    others = [references[(row + 1) % len(references)][0] for row in range(len(references))]
    perfect = load_metric(metric)([texts[0] for texts in references], references)
    scores = load_metric(metric)(others, references)
    for name, values in scores.items():
        if name not in ("malformed", "unparsed", "no_answer"):  # another row's answer is well formed
            assert better_is_more(name, value(values)) < better_is_more(name, value(perfect[name])), name


@pytest.mark.parametrize("metric", EVERY)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_hostile_predictions_get_finite_scores(metric, text):
    references = [[answer] for texts in REFERENCES[metric] for answer in texts]
    scores = compute([metric], [text] * len(references), references)[metric]
    for values in scores.values():
        assert math.isfinite(value(values))
        assert len(values) == len(references)


@pytest.mark.parametrize("metric", EVERY)
def test_pooled_scores_are_finite_for_no_row_and_for_every_single_row(metric):
    references = REFERENCES[metric]
    for said in ([texts[0] for texts in references], [""] * len(references)):
        for values in load_metric(metric)(said, references).values():
            if isinstance(values, Pooled):
                each = values.score(values.statistics)
                assert each.shape == (len(references),)
                assert np.isfinite(each).all() and ((each >= 0) & (each <= 100 + 1e-9)).all()
                assert np.isfinite(values.score(np.zeros(values.statistics.shape[1])))


@pytest.mark.parametrize("metric", EVERY)
def test_every_metric_says_what_implements_it_and_refuses_rows_that_do_not_fit(metric):
    function = load_metric(metric)
    module = importlib.import_module(function.__module__)
    assert any(character.isdigit() for character in module.settings())  # a version
    for name in function([texts[0] for texts in REFERENCES[metric]], REFERENCES[metric]):
        if name in LOWER_IS_BETTER:
            assert name in module.settings() and "lower is better" in module.settings()
    with pytest.raises(ValueError, match="2 predictions for 1 rows"):
        function(["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="at least one reference"):
        function(["a"], [[]])


def test_a_misspelt_metric_gets_a_hint():
    with pytest.raises(ValueError, match="did you mean entities"):
        check_metric_name("entites")


def test_a_name_that_two_metrics_give_is_told_apart_by_the_metric():
    predictions, references = ["The yes."], [["yes"]]
    both = compute(["bleu", "squad"], predictions, references)
    assert list(both["bleu"]) == ["bleu", "bleu.exact_match"]
    assert list(both["squad"]) == ["squad.exact_match", "f1"]
    assert value(both["bleu"]["bleu.exact_match"]) == 0 and value(both["squad"]["squad.exact_match"]) == 100
    assert list(compute(["squad"], predictions, references)["squad"]) == ["exact_match", "f1"]
    swapped = compute(["squad", "bleu"], predictions, references)
    assert {name for by in swapped.values() for name in by} == {name for by in both.values() for name in by}


def test_what_is_no_score_is_refused_by_metric_and_name(tmp_path, monkeypatch):
    (tmp_path / "own_metrics.py").write_text(
        "import numpy as np\nfrom t5x_tasks.metrics.pooled import Pooled\n"
        "def short(p, r): return {'s': np.zeros(1)}\n"
        "def nan(p, r): return {'s': np.array([1.0, np.nan])}\n"
        "def total(p, r): return {'s': 3.0}\n"
        "def nothing(p, r): return None\n"
        "def pooled(p, r): return {'s': Pooled(np.ones((2, 1)), lambda sums: sums[..., 0])}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    two = (["a", "b"], [["a"], ["b"]])
    assert value(compute(["own_metrics:pooled"], *two)["own_metrics:pooled"]["s"]) == 2
    for function, message in (
        ("short", r"own_metrics:short: s has the shape \[1\] for 2 rows"),
        ("nan", r"own_metrics:nan: s of row 1 \(from 0\) is nan"),
        ("total", r"own_metrics:total: s has the shape \[\] for 2 rows"),
        ("nothing", r"own_metrics:nothing: must return a dict"),
    ):
        with pytest.raises(ValueError, match=message):
            compute([f"own_metrics:{function}"], *two)


def test_macro_f1_is_that_of_scikit_learn():
    generator = random.Random(0)
    for labels in ("ab", "abcde"):
        actual = generator.choices(labels, weights=range(1, len(labels) + 1), k=60)
        said = [generator.choice([label, *labels, "no label", None]) for label in actual]
        expected = f1_score(actual, [str(text) for text in said], labels=sorted(set(actual)), average="macro")
        assert value(macro_f1(said, actual)) == pytest.approx(100 * expected, abs=1e-9)


def test_macro_f1_leaves_out_labels_that_a_resample_lacks():
    scores = macro_f1(["a", "b"], ["a", "b"])
    assert scores.score(scores.statistics).tolist() == [100, 100]


def test_division_by_zero_gives_zero():
    assert divide(np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.0, 4.0])).tolist() == [0, 0, 0.25]


def test_statistics_need_two_dimensions():
    with pytest.raises(ValueError, match=r"must be \[rows, k\]"):
        Pooled(np.zeros(3), lambda sums: sums)


def test_seqio_gets_the_score_of_all_rows_under_the_same_names():
    from t5x_tasks import registry  # imports TensorFlow

    predictions, references = ["a b c d", "b b c d"], [["a b c d"], ["a b c d"]]
    scores = registry.metric_fn("bleu", "squad")(references, predictions)
    expected = compute(["bleu", "squad"], predictions, references)
    assert scores == {name: value(values) for by in expected.values() for name, values in by.items()}
    assert set(scores) == {"bleu", "bleu.exact_match", "squad.exact_match", "f1"}
    assert all(type(number) is float for number in scores.values())
