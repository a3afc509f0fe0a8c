"""Rows that someone made on purpose, or by accident: each passes whole or is refused by file, row and key in one line."""

import csv
import gzip
import json

import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.sources import read_rows

LARGE = 50_000_000


@pytest.fixture
def read(make_card):
    """Returns a function that reads the bytes of a file as the training split of the card `tiny`."""

    def read(content, kind="jsonl", **options):
        path = make_card(source={"type": kind, "train": f"x.{kind}", **options})
        (path.parent / f"x.{kind}").write_bytes(content)
        return [row.fields["dialogue"] for row in read_rows(load_card(path), "train")]

    return read


def line(value, **others):
    return json.dumps({"dialogue": value, "summary": "s", **others}).encode() + b"\n"


def refusal(read, *arguments, **options):
    with pytest.raises(UserError) as caught:
        read(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_fifty_megabytes_in_one_field_pass(read):
    text = "x\u00e9" * (LARGE // 3)
    assert read(json.dumps({"dialogue": text, "summary": "s"}, ensure_ascii=False).encode()) == [text]


def test_fifty_megabytes_in_one_field_of_csv_pass(read):
    assert csv.field_size_limit() >= 131072
    assert read(b'dialogue,summary\n"' + b"x" * LARGE + b'",s\n', "csv")[0] == "x" * LARGE


def test_fifty_megabytes_that_are_no_text_are_refused_in_a_short_line(read):
    assert ":1: 'dialogue' must be a text, not list" in refusal(read, line(["x"] * 1_000_000))
    assert ":1: not JSON" in refusal(read, b"x" * LARGE)


@pytest.mark.parametrize(
    "text",
    [
        "bell \x07, escape \x1b[31m, delete \x7f",
        "NUL \x00 inside",
        "right-to-left \u202egnorw\u202c and \u05e9\u05dc\u05d5\u05dd",
        "zero width \u200b\u200d\ufeff",
        "line separators \u2028\u2029\x85",
        "combining " + "a" + "\u0301" * 500,
        "astral \U0001f600 and private \ue000, unassigned \U000e0fff",
        "{dialogue} {{ } %s $x \\n",
    ],
)
def test_odd_characters_pass_unchanged(read, text):
    assert read(line(text)) == [text]
    assert read(f'dialogue\tsummary\n"{text}"\ts\n'.encode(), "tsv") == [text]


@pytest.mark.parametrize("value", ["cut \ud83d", "\udfffx", "\ude00\ud83d"])
def test_half_characters_are_refused(read, value):
    assert ":2: 'dialogue' holds half a character" in refusal(read, line("x") + line(value))


def test_half_characters_in_bytes_are_refused(read):
    content = b'dialogue,summary\nx,y\n"\xed\xa0\xbd",s\n'
    assert ":3: not UTF-8" in refusal(read, content, "csv")


def test_numbers_and_truth_values_pass_as_text(read):
    assert read(line(5) + line(4.5) + line(True) + line(10**300)) == ["5", "4.5", "true", str(10**300)]


def test_null_is_an_empty_text(read):
    assert read(line("x") + line(None)) == ["x", ""]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", ["b"]], "must be a text, not list ['a', ['b']]"),
        ({"a": {"b": 1}}, "must be a text, not dict"),
        (float("nan"), "must be a text, not float nan"),
        (float("-inf"), "must be a text, not float -inf"),
        (["a\nb"] * 3, "must be a text, not list"),
    ],
)
def test_other_values_are_refused(read, value, expected):
    assert f":2: 'dialogue' {expected}" in refusal(read, line("x") + line(value))


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"dialogue": ' + b"9" * 5000 + b"}", b"null", b"{} {}", b"\x00\x00", b'{"dialogue": "a\nb"}'],
)
def test_lines_that_are_no_object_are_refused(read, content):
    assert ":1: " in refusal(read, content)


def test_ids_are_texts_or_numbers_and_short_in_errors(read):
    assert read(line("x", id=7) + line("x", id="7.0")) == ["x", "x"]
    assert ":1: 'id' must be a text, not list" in refusal(read, line("x", id=["a"]))
    assert "stands for two rows" in refusal(read, line("x", id="i" * 10_000) * 2)


def test_many_odd_keys_stay_one_short_line(read):
    row = {f"key\n{number}" * 50: number for number in range(1000)}
    assert ":1: no key 'dialogue' (field dialogue of tiny); it has key 0" in refusal(read, json.dumps(row).encode())


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_byte_order_mark_and_crlf_pass(read, kind):
    content = line("a\r\nb") if kind == "jsonl" else b'dialogue,summary\n"a\r\nb",s\n'
    assert read(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") if kind == "jsonl" else b"\xef\xbb\xbf" + content, kind) == [
        "a\nb"
    ]  # fmt: skip


def test_utf_16_is_refused(read):
    assert ":1: not UTF-8; save the file as UTF-8" in refusal(read, line("x").decode().encode("utf-16"))


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"no gzip", lambda b: b[:40] + b"\xff" * 9 + b[49:]])
def test_broken_gzip_is_refused(make_card, damage):
    path = make_card(source={"type": "jsonl", "train": "x.jsonl.gz"})
    whole = gzip.compress(b"".join(line(f"{number} {number**7}") for number in range(300)))
    (path.parent / "x.jsonl.gz").write_bytes(damage(whole))
    text = refusal(read_rows, load_card(path), "train")
    assert text.startswith(f"{path.parent / 'x.jsonl.gz'}: cannot be read after line ")


def test_a_nul_in_csv_passes(read):
    assert read(b"dialogue,summary\na\x00b,s\n", "csv") == ["a\x00b"]
    assert read(b"dialogue,summary\na\x00b,s\n", "csv", quoting="none") == ["a\x00b"]
