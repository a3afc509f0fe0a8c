"""The ROUGE of DialogSum's paper, by its library."""

import gzip
import json
import math
import sys

import pytest

from t5x_tasks.metrics import load_metric
from t5x_tasks.metrics.baselines import longest
from t5x_tasks.metrics.py_rouge import py_rouge, settings

pytestmark = pytest.mark.needs_py_rouge


def test_counts_of_several_references_are_pooled_and_rouge_l_is_bent_by_its_weight():
    # 3 words said, 2 + 4 right ones, of which 1 + 2 are met; one pair of 1 + 3, and the longest common parts are 1 and 2.
    scores = py_rouge(["red apple pie"], [["red house", "my apple pie burns"]])
    precision, recall = 3 / 6, 3 / 6
    assert scores["py_rouge1"][0] == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    precision, recall = 1 / 4, 1 / 4
    assert scores["py_rouge2"][0] == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    bent = (3 / 6) ** (1 / 1.2)
    assert scores["py_rougeL"][0] == pytest.approx(100 * bent)


def test_hostile_texts_get_finite_scores_and_the_library_leaves_no_trace():
    texts = ["", " \n ", "...", "x" * 1000, "\ud800", "🙂", "a\n" * 200]
    for values in py_rouge(texts, [["a b"]] * len(texts)).values():
        assert all(map(math.isfinite, values))
    assert load_metric("py_rouge") is py_rouge
    assert py_rouge(["..."], [["", "?!"]])["py_rouge1"][0] == 0
    assert getattr(sys.modules.get("pkg_resources"), "__file__", "") is not None  # ours, which has none, is gone
    assert "not comparable" in settings()


@pytest.mark.needs_shared
def test_longest_3_on_dialogsum_is_within_reach_of_the_papers_table(shared_data):
    with gzip.open(shared_data / "dialogsum" / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    scores = py_rouge([longest(row["dialogue"]) for row in rows], [row["summaries"] for row in rows])
    means = [scores[name].mean() for name in ("py_rouge1", "py_rouge2", "py_rougeL")]
    assert means == pytest.approx([23.67, 6.21, 22.36], abs=0.0051)  # as measured with the library
    assert means == pytest.approx([24.15, 6.25, 22.73], abs=0.6)  # as printed
