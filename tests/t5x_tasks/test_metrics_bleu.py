"""Claims of BLEU: the numbers are sacrebleu's."""

import random

import numpy as np
import pytest
import sacrebleu

from t5x_tasks.metrics.bleu import bleu, settings
from t5x_tasks.metrics.chrf import chrf
from t5x_tasks.metrics.pooled import Pooled, value

WORDS = ["public", "int", "x", "=", "(", ")", "{", "}", ";", "return", "Write(1.5);", "a.b", "&amp;", "café"]


def texts(seed, number):
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randrange(0, 20))) for _ in range(number)]


def test_bleu_is_that_of_sacrebleu_with_one_and_with_several_references():
    for seeds in ((1,), (1, 2, 3)):
        streams = [texts(seed, 50) for seed in seeds]
        # near the first reference, so that all orders of n-grams match somewhere
        predictions = [text.replace("int", "var") for text in streams[0]]
        ours = bleu(predictions, list(zip(*streams, strict=True)))
        theirs = sacrebleu.corpus_bleu(predictions, streams).score
        assert 0 < theirs < 100
        assert value(ours["bleu"]) == pytest.approx(theirs, abs=1e-9)


def test_rows_may_have_different_numbers_of_references():
    predictions, references = ["a b c d e", "f g h i"], [["a b c d x", "b c d e f"], ["f g h i j"]]
    theirs = sacrebleu.corpus_bleu(predictions, [["a b c d x", "f g h i j"], ["b c d e f", None]])  # type: ignore[list-item]
    assert value(bleu(predictions, references)["bleu"]) == pytest.approx(theirs.score, abs=1e-9)


def test_the_score_of_some_rows_is_that_of_their_sums():
    streams = [texts(seed, 20) for seed in (1, 2)]
    predictions, references = streams[0], [[text] for text in streams[1]]
    pooled = bleu(predictions, references)["bleu"]
    assert isinstance(pooled, Pooled)
    chosen = [3, 3, 17, 5]
    again = bleu([predictions[i] for i in chosen], [references[i] for i in chosen])["bleu"]
    assert pooled.score(pooled.statistics[chosen].sum(axis=0)) == pytest.approx(value(again), abs=1e-12)


def test_perfect_short_answers_get_100_where_sacrebleu_alone_would_give_0():
    assert value(bleu(["yes", "no way"], [["yes"], ["no way"]])["bleu"]) == pytest.approx(100)
    assert sacrebleu.corpus_bleu(["yes", "no way"], [["yes", "no way"]]).score == 0


def test_nothing_in_common_gives_zero():
    assert value(bleu(["", "x"], [["a"], ["b"]])["bleu"]) == 0


def test_exact_match_forgives_nothing_but_white_space_around_the_text():
    scores = bleu(["a  b\n", "a b", "A  b"], [["a  b"]] * 3)
    assert np.asarray(scores["exact_match"]).tolist() == [100, 0, 0]


def test_the_signature_is_in_the_settings():
    assert settings().startswith(
        f"sacrebleu corpus BLEU case:mixed|eff:yes|tok:13a|smooth:exp|version:{sacrebleu.__version__};"
    )


def test_chrf_is_sacrebleus_and_sees_scripts_without_spaces():
    predictions, references = (
        ["他今天去北京买了一本书。", "Он уехал"],
        [["他昨天去北京买了一本书。"], ["Он уехал вчера", "Ушёл"]],
    )
    scorer = sacrebleu.CHRF()
    expected = [
        max(scorer.sentence_score(p, [r]).score for r in rs) for p, rs in zip(predictions, references, strict=True)
    ]
    assert chrf(predictions, references)["chrf"].tolist() == pytest.approx(expected)
    assert 50 < expected[0] < 100
    with pytest.raises(ValueError, match="at least one reference"):
        chrf(["a"], [[]])
