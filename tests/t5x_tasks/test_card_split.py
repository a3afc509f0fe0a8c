"""A card's key `split`: one file cut into splits by a hash of what each row asks."""

import json

import pytest

from t5x_tasks.__main__ import main
from t5x_tasks.card.load import load_card
from t5x_tasks.card.split import Split
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.recipe import made_of
from t5x_tasks.sources import count_rows, locate, read_rows
from tests.conftest import VOCABULARY

ONE_FILE = {"source": {"type": "jsonl", "train": "train.jsonl"}}
THREE = {**ONE_FILE, "split": {"validation": 0.2, "test": 0.3}}
SPLITS = ("train", "validation", "test")


def rows_of(numbers):
    return [{"id": f"r{n}", "dialogue": f"Ann: number {n}", "summary": f"the {n}th"} for n in numbers]


def parts(path, root=None) -> dict[str, list[str]]:
    """Split -> the ids of its rows."""
    card = load_card(path)
    return {split: [row.id for row in read_rows(card, split, root)] for split in card.splits}


def test_parts_are_disjoint_and_together_all_rows_in_their_order(make_card):
    rows = rows_of(range(1000))
    found = parts(make_card(rows, **THREE))
    assert tuple(found) == SPLITS
    assert sorted(name for ids in found.values() for name in ids) == sorted(row["id"] for row in rows)
    assert all(ids == sorted(ids, key=lambda name: int(name[1:])) for ids in found.values())
    assert [round(len(ids) / 1000, 1) for ids in found.values()] == [0.5, 0.2, 0.3]


def test_rows_that_ask_the_same_are_in_one_part_whatever_their_answers_and_ids(make_card):
    rows = rows_of(range(200))
    rows += [{"id": f"twin{i}", "dialogue": f" {row['dialogue']}\n", "summary": "else"} for i, row in enumerate(rows)]
    for ids in parts(make_card(rows, **THREE)).values():
        assert {name.replace("twin", "r") for name in ids} == {name for name in ids if name[0] == "r"}


def test_a_row_stays_in_its_part_when_rows_are_reordered_or_added(make_card):
    before = parts(make_card(rows_of(range(100)), **THREE))
    after = parts(make_card(rows_of(range(149, -1, -1)), **THREE))
    for split in SPLITS:
        assert set(before[split]) == {name for name in after[split] if int(name[1:]) < 100}


def test_the_cut_is_the_same_on_every_machine():
    split = Split(validation=0.2, test=0.3)
    found = [split.part_of([f"Ann: number {n}"]) for n in range(8)]
    assert found == ["train", "test", "train", "test", "validation", "train", "test", "test"]


def test_a_larger_test_part_takes_rows_of_train_alone():
    before, after = Split(validation=0.2, test=0.1), Split(validation=0.2, test=0.3)
    moved = {(before.part_of([str(n)]), after.part_of([str(n)])) for n in range(500)}
    assert moved == {("train", "train"), ("test", "test"), ("validation", "validation"), ("train", "test")}


def test_rows_without_ids_are_numbered_in_their_part(make_card):
    rows = [{key: row[key] for key in ("dialogue", "summary")} for row in rows_of(range(50))]
    for split, ids in parts(make_card(rows, **THREE)).items():
        assert ids == [f"{split}-{number}" for number in range(len(ids))]


@pytest.mark.parametrize(
    ("split", "line_of", "expected"),
    [
        ({"test": 0}, "  test", "split.test: "),
        ({"test": 1.0}, "  test", "split.test: "),
        ({"validation": -0.1}, "  validation", "split.validation: "),
        ({"validation": 0.5, "test": 0.5}, "split", "the fractions sum to 1, which leaves no rows for train"),
        ({}, "split", "names no split; write {validation: 0.1, test: 0.1}"),
        ({"tset": 0.1}, "  tset", "unknown key, did you mean test?"),
        ({"train": 0.8, "test": 0.1}, "  train: 0.8", "unknown key"),
    ],
)
def test_fractions_that_cut_nothing_are_named_with_their_line(make_card, split, line_of, expected):
    path = make_card(**ONE_FILE, split=split)
    lines = path.read_text().splitlines()
    line = max(number for number, text in enumerate(lines, 1) if text.startswith(line_of))
    with pytest.raises(UserError) as caught:
        load_card(path)
    assert str(caught.value).startswith(f"{path}:{line}: ") and expected in str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"type": "jsonl", "train": "train.jsonl", "test": "test.jsonl"}, "the source has a split test already"),
        ({"type": "jsonl", "validation": "test.jsonl"}, "the source names none; add train to source"),
        ({"type": "hub", "path": "someone/chats"}, "the source has a split validation already"),
    ],
)
def test_a_source_that_does_not_have_train_alone_is_not_cut(make_card, source, expected):
    with pytest.raises(UserError, match=expected):
        load_card(make_card(source=source, split={"validation": 0.1, "test": 0.1}))


def test_a_split_that_the_card_does_not_cut_may_be_the_sources(make_card):
    source = {"type": "jsonl", "train": "train.jsonl", "test": "test.jsonl"}
    found = parts(make_card(rows_of(range(100)), rows_of(range(3)), source=source, split={"validation": 0.2}))
    assert found["test"] == ["r0", "r1", "r2"] and len(found["train"]) + len(found["validation"]) == 100


def test_a_mirrors_train_is_cut_alike_and_its_other_splits_are_in_conflict(make_card, tmp_path, write_jsonl):
    path, mirror = make_card(rows_of(range(50)), **THREE), tmp_path / "mirror"
    write_jsonl(mirror / "tiny" / "train.jsonl", rows_of(range(50)))
    assert parts(path, mirror) == parts(path)
    write_jsonl(mirror / "tiny" / "test.jsonl", rows_of(range(3)))
    for split in SPLITS:
        with pytest.raises(
            UserError, match=r"test\.jsonl: split: of .* cuts test from train; remove this file, or that key"
        ):
            read_rows(load_card(path), split, mirror)


def test_a_part_without_rows_says_so(make_card):
    card = load_card(make_card(rows_of(range(3)), **ONE_FILE, split={"test": 1e-6}))
    with pytest.raises(
        UserError, match=r"none of its rows is in test .*raise the fraction under split: in .*card\.yaml"
    ):
        read_rows(card, "test")


def test_a_cut_counts_for_whether_tokens_are_prepared_anew(make_card):
    vocabulary = Vocabulary.load(str(VOCABULARY))

    def recipe(split):
        card = load_card(make_card(**ONE_FILE, **split))
        return json.dumps(made_of(card, card.variants[0], vocabulary, dedupe=False, fit=64), default=str)

    texts = [recipe({}), recipe({"split": {"test": 0.1}}), recipe({"split": {"test": 0.2}})]
    assert len(set(texts)) == 3


def test_list_and_check_count_the_rows_of_each_part(make_card, capsys):
    path = make_card(rows_of(range(100)), **THREE)
    sizes = [len(ids) for ids in parts(path).values()]
    assert count_rows(locate(load_card(path), "test")) is None
    main(["list", "--cards", str(path)])
    assert " / ".join(map(str, sizes)) in capsys.readouterr().out
    main(["check", str(path)])
    out = capsys.readouterr().out
    assert f"{sizes[2]} rows, {path.parent / 'train.jsonl'} (30% of the source's train, by hash)" in out
    assert " inputs of " not in out  # no input of one part in another
