"""Every shipped card against the real data: rows as counted in their documentation, tokens, metrics."""

import re
from pathlib import Path

import numpy as np
import pytest

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.source import SPLITS
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.metrics import compute
from t5x_tasks.metrics.pooled import value
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.rendering.render import as_answer, render
from t5x_tasks.sources import read_rows

pytestmark = pytest.mark.needs_shared

CATALOG = load_catalog()
LOWER_IS_BETTER = ("mean_absolute_error", "unparsed", "malformed", "no_answer")
# Sets with data beside the repository; the others are on the hub, see test_hub_cards.py.
LOCAL = [
    "samsum", "dialogsum", "clothing_reviews", "wnut17", "codexglue_java_cs", "codexglue_cs_java", "gsm8k", "cot_aqua",
    "cot_creak", "cot_ecqa", "cot_gsm8k", "cot_qasc", "cot_sensemaking", "cot_strategyqa",
]  # fmt: skip


def documented_rows(shared_data: Path) -> dict[str, int]:
    """`dialogsum/train` -> 12460, from the tables of SOURCES.md."""
    text = (shared_data / "SOURCES.md").read_text(encoding="utf-8")
    return {name: int(rows) for name, rows in re.findall(r"`([\w/]+)\.jsonl\.gz` \| (\d+)", text)}


@pytest.mark.parametrize("name", LOCAL)
def test_a_card_has_as_many_rows_as_its_data_are_documented_to_have(name, shared_data):
    card = CATALOG.cards[name]
    expected = {split: rows for split in SPLITS if (rows := documented_rows(shared_data).get(f"{card.folder}/{split}"))}
    assert expected
    counted = {split: len(read_rows(card, split, shared_data)) for split in expected}
    assert counted == expected
    assert set(expected) <= set(card.splits)


@pytest.mark.parametrize("name", LOCAL)
def test_a_card_prepares_every_kind_of_variant(name, shared_data, tmp_path):
    card = CATALOG.cards[name]
    kinds = {(p.inverted, p.style, p.shots): card.task_name(p) for p in card.variants if p.split == "train"}
    vocabulary = Vocabulary.load(shared_data / "t5_vocab")
    data = DataConfig(root=str(shared_data), cache=str(tmp_path))
    prepared = ensure_prepared(list(kinds.values()), "train", data=data, vocabulary=vocabulary, progress=False)
    splits = [entry.open() for entry in prepared]
    assert len({len(split) for split in splits}) == 1  # the same rows, whatever the template
    skipped = sum(entry["rows"] for entry in splits[0].manifest["counts"]["skipped"].values())
    assert len(splits[0]) + skipped == len(read_rows(card, "train", shared_data))
    assert skipped == (name == "samsum")  # its empty dialogue
    if any(spec.codec for spec in card.fields.values()):
        assert all(split.manifest["counts"]["unknown_tokens"] == {"inputs": 0, "targets": 0} for split in splits)
    for entry, split in zip(prepared, splits, strict=True):
        if entry.variant.endswith("shot"):
            exemplars = split.manifest["counts"]["exemplars"]
            assert 0.3 * exemplars["asked"] < exemplars["kept"] <= exemplars["asked"] == 2 * len(split)
            assert np.mean(split.lengths[:, 0] <= 512) > 0.97


@pytest.mark.parametrize("name", LOCAL)
def test_a_perfect_answer_is_perfect_and_that_of_another_row_is_not(name, shared_data):
    card = CATALOG.cards[name]
    split = "test" if "test" in card.splits else "train"
    rows = read_rows(card, split, shared_data)[:300]
    variant = card.pool()[0]
    renderings = [render(card, variant, row) for row in rows]
    references = [rendering.references for rendering in renderings]
    perfect = [as_answer(card, variant, rendering.targets) for rendering in renderings]
    others = [*perfect[1:], perfect[0]]
    right, wrong = (compute(card.metrics, said, references) for said in (perfect, others))
    for metric, scores in right.items():
        for score, values in scores.items():
            if score.endswith(("_mean", "_first")):  # over several references: no prediction equals all of them
                continue
            worst_is_best = score.endswith(LOWER_IS_BETTER)
            assert value(values) == pytest.approx(0 if worst_is_best else 100), score
            if not score.endswith(("unparsed", "malformed", "no_answer")):
                other = value(wrong[metric][score])
                assert other > 0.5 if worst_is_best else other < 75, (score, other)


def test_every_shipped_card_has_data_here_or_is_on_the_hub():
    hub = {name for name, card in CATALOG.cards.items() if card.source.type == "hub"}
    assert set(CATALOG.cards) - hub <= {*LOCAL, "support_chats"}
