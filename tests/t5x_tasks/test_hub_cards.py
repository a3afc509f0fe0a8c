"""Cards of the hub: their code path on small data sets in the hub's layout, with rows of our own."""

from pathlib import Path

import pytest
import yaml

from t5x_tasks.card.card import Card
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics import compute
from t5x_tasks.metrics.pooled import value
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.rendering.render import render
from t5x_tasks.sources import read_rows

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NLI = [
    {"premise": f"Ada has {n} keys.", "hypothesis": f"Ada has {'some' if label else 'no'} keys.", "label": label}
    for n, label in enumerate([0, 1, 2, 1], 2)
]
ROWS = {
    "rte": [
        {"sentence1": row["premise"], "sentence2": row["hypothesis"], "label": row["label"] % 2, "idx": n}
        for n, row in enumerate(NLI)
    ],
    "anli_r1": [{"uid": f"u{n}", **row, "reason": ""} for n, row in enumerate(NLI)],
    "anli_r2": [{"uid": f"u{n}", **row, "reason": ""} for n, row in enumerate(NLI)],
    "anli_r3": [{"uid": f"u{n}", **row, "reason": ""} for n, row in enumerate(NLI)],
    "boolq": [
        {"question": "does the shop open on monday", "answer": bool(n % 2), "passage": f"It opens on day {n}."} for n in range(4)
    ],
    "squad": [
        {"id": f"q{n}", "title": "Shop", "context": f"The shop on Mill Lane opens at {n}.", "question": "When does it open?",
         "answers": {"text": [f"at {n}", str(n)], "answer_start": [28, 31]}}
        for n in range(4)
    ],
}  # fmt: skip


@pytest.fixture(params=ROWS)
def card(request, tmp_path) -> Card:
    """A shipped card whose source is a folder in the hub's layout: SPLIT-00000-of-00001.parquet."""
    name = request.param
    shipped = load_catalog().cards[name]
    values = yaml.safe_load(shipped.path.read_text())
    folder = tmp_path / "hub"
    folder.mkdir()
    theirs = dict(shipped.source.named_splits)
    for split in theirs.values():
        pq.write_table(pa.Table.from_pylist(ROWS[name]), folder / f"{split}-00000-of-00001.parquet")
    readme = {"configs": [{"config_name": "default", "data_files": [
        {"split": split, "path": f"{split}-*"} for split in theirs.values()
    ]}]}  # fmt: skip
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(readme)}---\n")
    values |= {"name": f"local_{name}"}
    values["source"] = {"type": "hub", "path": str(folder), "splits": theirs}
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return load_card(path)


def test_its_rows_are_read_rendered_prepared_and_scored(card: Card, tmp_path: Path, vocabulary):
    for split in card.splits:
        rows = read_rows(card, split)
        assert len(rows) == 4
        for variant in card.variants:
            assert all(render(card, variant, row).targets.strip() for row in rows)
    data = DataConfig(cards=(str(card.path),), cache=str(tmp_path / "cache"))
    names = [f"{card.name}.heldout"]
    prepared = ensure_prepared(names, "validation", data=data, vocabulary=vocabulary, text=True, progress=False)
    assert all(len(entry.open()) == 4 for entry in prepared)
    variant = card.pool("heldout")[0]
    rows = read_rows(card, "validation")
    renderings = [render(card, variant, row) for row in rows]
    scores = compute(card.metrics, [r.targets for r in renderings], [r.references for r in renderings])
    first = next(iter(next(iter(scores.values())).values()))
    assert value(first) == 100


def test_offline_a_card_of_the_hub_says_in_one_line_how_to_get_the_data(monkeypatch):
    # What HF_HUB_OFFLINE=1 sets where it stands before these are imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as caught:
        read_rows(load_catalog().cards["boolq"], "train")
    message = str(caught.value)
    assert "\n" not in message
    assert "put boolq/train.jsonl.gz into a folder and set data.root to it" in message


def test_folders_of_the_same_name_and_layout_are_not_taken_for_each_other(make_card, tmp_path):
    for number in (1, 2):
        folder = tmp_path / str(number) / "hub"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([{"dialogue": f"Ann: {number}", "summary": "x"}]), folder / "train.parquet")
        card = load_card(make_card(source={"type": "hub", "path": str(folder), "splits": ["train"]}))
        assert [row.fields["dialogue"] for row in read_rows(card, "train")] == [f"Ann: {number}"]
