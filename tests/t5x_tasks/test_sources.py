import csv
import gzip
import json
import tracemalloc

import pytest

from t5x_tasks.card.fields import FieldSpec
from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.sources import Row, count_rows, iter_rows, locate, read_rows, source_digest
from tests.conftest import REPOSITORY


def message(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_come_in_order_with_ids_of_their_own(make_card, tiny_rows):
    rows = read_rows(load_card(make_card()), "train")
    assert [row.id for row in rows] == ["a", "b", "c"]
    assert rows[1].fields["dialogue"] == tiny_rows[1]["dialogue"]


def test_rows_without_an_id_are_numbered(make_card, tiny_rows):
    rows = [
        {"dialogue": "x", "summary": "y"},
        {"id": 7, "dialogue": "x", "summary": "y"},
        {**tiny_rows[0], "id": None},
    ]
    assert [row.id for row in read_rows(load_card(make_card(rows=rows)), "train")] == ["train-0", "7", "train-2"]


def test_a_card_may_name_the_column_of_the_ids(make_card):
    rows = [{"case": {"nr": n}, "dialogue": "Ann: Hi.", "summary": "Ann says hi."} for n in (7, 8)]
    card = load_card(make_card(rows, [*rows, rows[0]], id="case.nr"))
    assert [row.id for row in read_rows(card, "train")] == ["7", "8"]
    assert "id '7' stands for two rows" in message(read_rows, card, "test")
    with pytest.raises(UserError, match=r"train\.jsonl:1: .*ticket"):
        read_rows(load_card(make_card(rows, id="ticket")), "train")


def test_the_rows_that_share_an_id_are_named(make_card, tiny_rows):
    path = make_card([*tiny_rows, tiny_rows[1]], group_by={"test": "dialogue"}, references="summaries")
    train, test = (path.parent / f"{split}.jsonl" for split in ("train", "test"))
    said = message(read_rows, load_card(path), "train")
    assert said == f"{train}:4: id 'b' stands for two rows, this one and {train}:2; make ids unique, or leave them out"
    rows = [{"id": "a", "dialogue": text, "summary": "s"} for text in ("x", "x", "y")]
    test.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert f"{test}:3: id 'a' stands for two rows, this one and {test}:1;" in message(
        read_rows, load_card(path), "test"
    )


def test_a_mirror_comes_before_the_cards_own_files(make_card, tmp_path, tiny_rows):
    card = load_card(make_card())
    mirror = tmp_path / "mirror"
    (mirror / "tiny").mkdir(parents=True)
    assert locate(card, "test", mirror).files == (card.path.parent / "test.jsonl",)  # no such split in the mirror
    with gzip.open(mirror / "tiny" / "test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(tiny_rows[2]) + "\n\n")
    assert [row.id for row in read_rows(card, "test", mirror)] == ["c"]
    assert count_rows(locate(card, "test", mirror)) == 1
    assert "no such folder" in message(locate, card, "test", tmp_path / "none")


def test_line_ends_are_those_of_unix(make_card, tiny_rows):
    rows = [{**tiny_rows[0], "dialogue": "A: x\r\nB: y"}]
    assert read_rows(load_card(make_card(rows=rows)), "train")[0].fields["dialogue"] == "A: x\nB: y"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{'id': 1}", ":2: not JSON"),
        ("[1, 2]", ":2: must be an object"),
        (
            '{"id": "x", "dialog": "a", "summary": "b"}',
            ":2: no key 'dialogue' (field dialogue of tiny), did you mean dialog?",
        ),
        ('{"id": "x", "dialogue": ["a"], "summary": "b"}', ":2: 'dialogue' must be a text, not list"),
        ('{"id": "x", "dialogue": "cut \\ud83d", "summary": "b"}', ":2: 'dialogue' holds half a character"),
        ('{"id": "\\ud83d", "dialogue": "x", "summary": "b"}', ":2: 'id' holds half a character"),
        ('{"id": "a", "dialogue": "x", "summary": "b"}', ":2: id 'a' stands for two rows, this one and "),
    ],
)
def test_a_row_that_is_not_what_the_card_says_is_named(make_card, line, expected, tiny_rows):
    path = make_card()
    data = path.parent / "train.jsonl"
    data.write_text(json.dumps(tiny_rows[0]) + "\n" + line + "\n", encoding="utf-8")
    assert message(read_rows, load_card(path), "train").startswith(f"{data}{expected}")


def test_rows_are_not_grouped_by_null(make_card, tiny_rows):
    rows = [{**row, "topic": None} for row in tiny_rows]
    card = load_card(make_card(rows=rows, references="summaries", group_by={"train": "topic"}))
    assert ":1: 'topic' must be a text, not null" in message(read_rows, card, "train")


def test_damaged_files_are_named(make_card, tiny_rows):
    path = make_card(source={"type": "jsonl", "train": "train.jsonl.gz", "test": "latin.jsonl"})
    data = path.parent / "train.jsonl.gz"
    data.write_bytes(gzip.compress(json.dumps(tiny_rows[0]).encode() + b"\n" * 5000)[:-12])
    (path.parent / "latin.jsonl").write_bytes(b'{"dialogue": "caf\xe9"}\n')
    card = load_card(path)
    assert message(read_rows, card, "train").startswith(f"{data}: cannot be read")
    assert ":1: not UTF-8" in message(read_rows, card, "test")
    data.write_bytes(b"no gzip at all")
    assert message(read_rows, card, "train").startswith(f"{data}: cannot be read")


def test_missing_and_empty_data_are_named(make_card):
    path = make_card(rows=[])
    card = load_card(path)
    assert message(read_rows, card, "train") == f"{path.parent / 'train.jsonl'}: no rows; split train of tiny is empty"
    assert "has no split validation; it has train, test" in message(read_rows, card, "validation")
    (path.parent / "test.jsonl").unlink()
    assert message(read_rows, card, "test").startswith(f"{path.parent / 'test.jsonl'}: no such file")
    assert source_digest(card, "test") is None


def test_nul_characters_and_a_byte_order_mark_do_no_harm(make_card, vocabulary, tiny_rows):
    path = make_card()
    data = path.parent / "train.jsonl"
    data.write_bytes(b"\xef\xbb\xbf" + json.dumps({**tiny_rows[0], "dialogue": "a\x00b"}).encode())
    (row,) = read_rows(load_card(path), "train")
    assert row.fields["dialogue"] == "a\x00b"
    assert vocabulary.unk_id in vocabulary.encode_batch([row.fields["dialogue"]])[0]  # counted, not lost


def test_the_digest_changes_with_the_data(make_card, tiny_rows, write_jsonl):
    card = load_card(make_card())
    before = source_digest(card, "train")
    assert before == source_digest(card, "train") == source_digest(load_card(card.path), "test")
    write_jsonl(card.path.parent / "train.jsonl", tiny_rows[:2])
    assert source_digest(card, "train") not in (None, before)


def test_references_are_lists_of_texts(make_card):
    rows = [{"id": "a", "dialogue": "x", "summaries": ["one", "two"]}, {"id": "b", "dialogue": "x", "summary": "one"}]
    path = make_card(rows=rows, test_rows=[{"id": "a", "dialogue": "x", "summaries": []}], references="summaries")
    card = load_card(path)
    first, second = read_rows(card, "train")
    assert first == Row("a", {"dialogue": "x", "summary": "one"}, ("one", "two"))
    assert second == Row("b", {"dialogue": "x", "summary": "one"})
    assert ":1: 'summaries' must be a list of one or more texts" in message(read_rows, card, "test")


def test_references_may_be_a_key_inside_a_column_or_what_a_transform_gives(make_card):
    rows = [{"id": "a", "dialogue": "x", "summary": "", "given": {"text": ["one", "two"]}, "json": '["three"]'}]
    card = load_card(make_card(rows=rows, references="given.text"))
    assert read_rows(card, "train")[0].references == ("one", "two")
    spec = FieldSpec(column="json", transform="yaml:safe_load")
    assert read_rows(card.model_copy(update={"references": spec}), "train")[0].references == ("three",)


def test_another_folder_of_the_mirror_may_be_named(make_card, tmp_path, tiny_rows, write_jsonl):
    card = load_card(make_card())
    object.__setattr__(card, "mirror", "collection/part")
    write_jsonl(tmp_path / "mirror/collection/part/validation.jsonl", tiny_rows[:1])
    assert [row.id for row in read_rows(card, "validation", tmp_path / "mirror")] == ["a"]
    (card.path.parent / "train.jsonl").unlink()
    looked = tmp_path / "mirror/collection/part/train.jsonl[.gz]"
    assert f"no such file (nor {looked})" in message(read_rows, card, "train", tmp_path / "mirror")


def test_rows_are_not_held(make_card):
    path = make_card(source={"type": "python", "function": "large.py:rows", "splits": ["train"]})
    (path.parent / "large.py").write_text(
        "def rows(split):\n"
        "    for number in range(20_000):\n"
        "        yield {'id': number, 'dialogue': str(number) * 300, 'summary': 'x'}\n"
    )
    card = load_card(path)
    tracemalloc.start()
    count = sum(1 for _ in iter_rows(card, "train"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 5_000_000  # the texts alone are 28 MB; what stays is 64 bits of each id in a set


HUB_ROWS = [("test_0_1", "x", "one"), ("test_0_2", "x", "two"), ("test_1_1", "y", "three"), ("test_1_2", "y", "four")]


@pytest.fixture
def hub_folder(tmp_path):
    """A folder laid out as a data set of the hub: CSV files and a README that says which split each is."""
    folder = tmp_path / "hub"
    folder.mkdir()
    with (folder / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "dialogue", "summary"), *HUB_ROWS])
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: test, path: data.csv}\n---\n"
    )
    return folder


def test_a_data_set_of_the_hub_gives_the_rows_of_a_mirror(make_card, hub_folder, tmp_path, monkeypatch, write_jsonl):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    hub = {"type": "hub", "path": str(hub_folder)}
    card = load_card(make_card(source=hub, references="summaries", group_by={"test": "dialogue"}))
    rows = read_rows(card, "test")
    mirrored = [
        {"id": "test_0", "dialogue": "x", "summaries": ["one", "two"]},
        {"id": "test_1", "dialogue": "y", "summaries": ["three", "four"]},
    ]
    write_jsonl(tmp_path / "mirror" / "tiny" / "test.jsonl", mirrored)
    assert rows == read_rows(card, "test", tmp_path / "mirror")
    assert rows[1] == Row("test_1", {"dialogue": "y", "summary": "three"}, ("three", "four"))
    assert "split train cannot be read" in message(read_rows, card, "train")


def test_a_hub_out_of_reach_says_how_to_get_the_data(make_card, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    card = load_card(make_card(source={"type": "hub", "path": "nobody/no-such-dialogues"}))
    text = message(read_rows, card, "test")
    assert text.startswith("hf://nobody/no-such-dialogues: split test cannot be read")
    assert "put tiny/test.jsonl.gz into a folder and set data.root to it" in text


@pytest.mark.needs_shared
def test_the_real_splits_are_read_whole(shared_data):
    samsum, dialogsum = (
        load_card(REPOSITORY / "t5x_tasks" / "library" / "cards" / f"{n}.yaml") for n in ("samsum", "dialogsum")
    )
    for card, counts in ((samsum, (14732, 818, 819)), (dialogsum, (12460, 500, 500))):
        for split, count in zip(("train", "validation", "test"), counts, strict=True):
            assert len(read_rows(card, split, shared_data)) == count == count_rows(locate(card, split, shared_data))
    assert all(len(row.references) == 3 for row in read_rows(dialogsum, "test", shared_data))


def test_groups_are_kept_where_a_row_has_them(make_card, tmp_path, write_jsonl):
    rows = [
        {
            "id": "a",
            "dialogue": "x",
            "summary": "s",
            "topics": ["parcels", "delay", "parcels"],
            "topic": "none of these",
        },
        {"id": "b", "dialogue": "y", "summary": "s", "topic": "hotel", "year": 2024},
        {"id": "c", "dialogue": "z", "summary": "s", "topic": None},
    ]
    card = load_card(make_card(rows, groups={"topic": ["topics", "topic"], "year": "year"}))
    assert [row.groups for row in read_rows(card, "train")] == [
        {"topic": ("parcels", "delay")},
        {"topic": ("hotel",), "year": ("2024",)},
        {},
    ]


def test_rows_that_become_one_have_the_groups_of_all(make_card):
    rows = [
        {"id": "a_1", "dialogue": "x", "summary": "one", "topic": "parcels"},
        {"id": "a_2", "dialogue": "x", "summary": "two", "topic": "delay"},
        {"id": "b_1", "dialogue": "y", "summary": "three"},
    ]
    card = make_card(test_rows=rows, references="summaries", group_by={"test": "dialogue"}, groups={"topic": "topic"})
    assert [row.groups for row in read_rows(load_card(card), "test")] == [{"topic": ("parcels", "delay")}, {}]
