"""The pre-training tasks of PPT, on a text small enough to check by hand."""

import json
import random
import re

import pytest

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.commands import ppt
from t5x_tasks.common.errors import UserError
from t5x_tasks.rendering.render import render
from t5x_tasks.sources import read_rows

# Ten documents of five sentences; sentence 3 of document 7 is "d7 s3".
DOCUMENTS = [[f"d{d} s{s}" for s in range(5)] for d in range(10)]


def place(sentence: str) -> tuple[int, int]:
    """Document and sentence."""
    document, number = re.findall(r"\d+", sentence)
    return int(document), int(number)


def test_a_pair_is_a_neighbour_of_the_same_document_or_of_another():
    rows = list(ppt.pairs(DOCUMENTS, random.Random(0)))
    assert [row["first"] for row in rows] == [s for d in DOCUMENTS for s in d]
    for row in rows:
        (d1, s1), (d2, s2) = place(row["first"]), place(row["second"])
        assert row["answer"] == ("no" if d1 != d2 else "yes" if abs(s1 - s2) == 1 else "maybe")
        assert (d1, s1) != (d2, s2)
    assert min(sum(r["answer"] == label for r in rows) for label in ppt.PAIR_LABELS) > 10


def test_a_choice_has_one_neighbour_one_of_the_same_document_and_four_of_four_others():
    rows = list(ppt.choices(DOCUMENTS, random.Random(0)))
    assert len(rows) == 50
    for row in rows:
        document, sentence = place(row["query"])
        candidates = {c: place(row[c.lower()]) for c in ppt.CHOICES}
        same = {c: s for c, (d, s) in candidates.items() if d == document}
        assert [c for c, s in same.items() if abs(s - sentence) == 1] == [row["answer"]]
        assert sorted(abs(s - sentence) > 1 for s in same.values()) == [False, True]
        assert len({d for d, _ in candidates.values()}) == 5
    assert {row["answer"] for row in rows} == set(ppt.CHOICES)


def test_the_texts_are_those_of_the_paper_and_the_tasks_cards_like_others(tmp_path, write_jsonl, capsys):
    text = [{"body": f"Doc {d} begins. Is it {d}?\nIt goes on! And ends, with 3.5 more."} for d in range(12)]
    labelled = [{"sentence": f"Food {n}", "label": n % 5} for n in range(10)]
    paths = [
        str(write_jsonl(tmp_path / name, rows)) for name, rows in (("text.jsonl", text), ("labels.jsonl", labelled))
    ]
    ppt.main([paths[0], "--field", "body", "--labelled", paths[1], "--output", str(tmp_path / "out")])
    assert "ppt_pair.yaml: 28 train, 20 validation rows" in capsys.readouterr().out  # 7 and 5 documents of 4 sentences
    catalog = load_catalog([str(tmp_path / "out")])
    patterns = {
        "ppt_pair": r".* <extra_id_0>\. .*",
        "ppt_choice": r".*\? A\. .* B\. .* C\. .* D\. .* E\. .* F\. .*\. Answer is <extra_id_0>\.",
        "ppt_single": r"Food \d\. <extra_id_0>\.",
    }
    for name, pattern in patterns.items():
        ((card, variant),) = catalog.resolve(name)
        for split in ("train", "validation"):
            for row in read_rows(card, split):
                rendering = render(card, variant, row)
                assert re.fullmatch(pattern, rendering.inputs)
                assert re.fullmatch(r"<extra_id_0> \w+ <extra_id_1>", rendering.targets)
    assert ppt.sentences(text[0]["body"]) == [
        "Doc 0 begins.",
        "Is it 0?",
        "It goes on!",
        "And ends, with 3.5 more.",
    ]
    single = [json.loads(line) for line in (tmp_path / "out" / "ppt_single.train.jsonl").read_text().splitlines()]
    assert all(row["answer"] == ppt.SINGLE_LABELS[int(row["sentence"][5:]) % 5] for row in single)


def test_a_document_is_in_one_split_only_and_the_seed_decides():
    tasks = ppt.build(DOCUMENTS, [], seed=3, validation=0.5)
    used = {split: {place(row["first"])[0] for row in rows} for split, rows in tasks["ppt_pair"].items()}
    assert len(used["train"]) == len(used["validation"]) == 5
    assert not used["train"] & used["validation"]
    assert ppt.build(DOCUMENTS, [], seed=3, validation=0.5) == tasks != ppt.build(DOCUMENTS, [], seed=4, validation=0.5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "One. Two. Three. Four."}] * 9, "9 documents have 4 sentences or more; give 10"),
        ([{"txt": "One."}], r"text\.jsonl:1: has no str 'text'; it has txt"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(rows, message, tmp_path, write_jsonl):
    path = write_jsonl(tmp_path / "text.jsonl", rows)
    with pytest.raises(UserError, match=message):
        ppt.main([str(path), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
