"""A card's key `split` cuts one file's rows by a hash of what each row asks."""

import random

import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.sources import count_rows, locate, read_rows

ONE_FILE = {"type": "jsonl", "train": "train.jsonl"}
SPLIT = {"validation": 0.1, "test": 0.2}


def rows(count):
    return [{"id": str(i), "dialogue": f"Ann: Question {i}?", "summary": f"Answer {i}."} for i in range(count)]


def parts(path, root=None):
    card = load_card(path)
    return {split: [row.id for row in read_rows(card, split, root)] for split in ("train", "validation", "test")}


def test_the_parts_are_disjoint_complete_and_about_as_large_as_their_fractions(make_card):
    found = parts(make_card(rows(2000), source=ONE_FILE, split=SPLIT))
    assert sorted(i for ids in found.values() for i in ids) == sorted(str(i) for i in range(2000))
    assert len(found["validation"]) == pytest.approx(200, abs=45)  # three standard deviations
    assert len(found["test"]) == pytest.approx(400, abs=55)


def test_a_row_stays_in_its_part_when_others_come_the_order_changes_or_its_answer_is_corrected(make_card):
    before = parts(make_card(rows(200), source=ONE_FILE, split=SPLIT))
    changed = rows(300)
    random.Random(0).shuffle(changed)
    for row in changed:
        row["summary"] += " Corrected."
    after = parts(make_card(changed, source=ONE_FILE, split=SPLIT))
    assert all(set(before[split]) <= set(after[split]) for split in before)


def test_rows_that_ask_the_same_are_in_one_part(make_card):
    twins = [{**row, "id": f"{row['id']}-{copy}", "summary": str(copy)} for row in rows(100) for copy in "ab"]
    for ids in parts(make_card(twins, source=ONE_FILE, split=SPLIT)).values():
        assert {i.removesuffix("-a") for i in ids if i.endswith("a")} == {i[:-2] for i in ids if i.endswith("b")}


def test_another_fraction_of_one_part_moves_no_row_of_the_other(make_card):
    one = parts(make_card(rows(300), source=ONE_FILE, split={"validation": 0.1, "test": 0.2}))
    other = parts(make_card(rows(300), source=ONE_FILE, split={"validation": 0.3, "test": 0.2}))
    assert one["test"] == other["test"]
    assert set(one["validation"]) < set(other["validation"])


def test_a_mirrors_file_is_cut_as_the_cards_own(make_card, tmp_path, write_jsonl):
    path = make_card(rows(3), source=ONE_FILE, split=SPLIT)
    write_jsonl(tmp_path / "mirror" / "tiny" / "train.jsonl", rows(200))
    assert sum(map(len, parts(path, tmp_path / "mirror").values())) == 200
    write_jsonl(tmp_path / "mirror" / "tiny" / "test.jsonl", rows(2))
    with pytest.raises(
        UserError, match=r"test\.jsonl: split: of .* cuts test from train; remove this file, or that key"
    ):
        locate(load_card(path), "train", tmp_path / "mirror")


def test_a_part_without_rows_is_an_error_where_it_is_read(make_card):
    card = load_card(make_card(rows(3), source=ONE_FILE, split={"test": 0.001}))
    with pytest.raises(UserError, match=r"none of its rows is in test \(0\.1% of the source's train, by hash\)"):
        read_rows(card, "test")
    assert count_rows(locate(card, "train")) is None, "only reading tells"


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({}, r"split: names no split"),
        ({"test": 0}, r"split\.test: must be above 0"),
        ({"test": 1.0}, r"split\.test: must be below 1"),
        ({"validation": 0.5, "test": 0.5}, r"split: the fractions sum to 1"),
        ({"tset": 0.1}, r"split\.tset: unknown key, did you mean test"),
    ],
)
def test_what_cannot_be_a_cut_is_one_line(make_card, split, said):
    with pytest.raises(UserError, match=said) as caught:
        load_card(make_card(source=ONE_FILE, split=split))
    assert "\n" not in str(caught.value)


def test_a_split_is_cut_or_named_under_source_and_not_both(make_card):
    with pytest.raises(
        UserError, match="split: the source has a split test already; leave it out here or under source"
    ):
        load_card(make_card(split={"test": 0.1}))
    with pytest.raises(UserError, match="split: cuts the source's train, and the source names none"):
        load_card(make_card(source={"type": "jsonl", "test": "test.jsonl"}, split={"validation": 0.1}))
