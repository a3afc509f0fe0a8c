"""Rows of a hundred megabytes and more, unpacked from a small file or behind an open quotation mark: one line says so."""

import bz2
import gzip
import json
import lzma

import pyarrow
import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.card.source import TemplatedSource
from t5x_tasks.common.errors import UserError
from t5x_tasks.sources import count_rows, iter_rows, locate
from t5x_tasks.sources.files import LONGEST_ROW, read_file

GOOD = b'{"dialogue": "x", "summary": "s"}\n'
LONG = b'{"dialogue": "' + b"x" * LONGEST_ROW + b'", "summary": "s"}\n'
PACK = {
    "": lambda content: content,
    ".gz": lambda content: gzip.compress(content, 1),
    ".bz2": lambda content: bz2.compress(content, 1),
    ".xz": lambda content: lzma.compress(content, preset=0),
    ".zst": lambda content: pyarrow.compress(content, codec="zstd", asbytes=True),
}


@pytest.fixture
def refusal(make_card):
    def read(content: bytes, name: str, kind: str = "jsonl") -> str:
        path = make_card(source={"type": kind, "train": name})
        (path.parent / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            for _ in iter_rows(load_card(path), "train"):
                pass
        assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)
        return str(caught.value)

    return read


@pytest.mark.parametrize("suffix", list(PACK))
def test_a_line_that_is_too_long_for_a_row_is_named(refusal, suffix):
    assert f"rows.jsonl{suffix}:2: a row of more than 100 MiB" in refusal(
        PACK[suffix](GOOD + LONG), f"rows.jsonl{suffix}"
    )


@pytest.mark.parametrize(
    "record",
    [b'"' + (b"x" * 999 + b"\n") * (LONGEST_ROW // 999), b'"a\n' + b'b","c\n' * (LONGEST_ROW // 6 + 1)],
    ids=["one field", "many fields"],
)
def test_a_record_of_csv_that_is_too_long_is_named_by_its_first_line(refusal, record):
    content = b'dialogue,summary\n"two\nlines",s\n' + record
    assert "rows.csv:4: a row of more than 100 MiB" in refusal(content, "rows.csv", "csv")


def test_a_header_that_is_too_long_is_named(refusal):
    assert "rows.csv.gz:1: a row of more than 100 MiB" in refusal(
        gzip.compress(b"x" * (LONGEST_ROW + 1), 1), "rows.csv.gz", "csv"
    )


def test_what_only_counts_rows_reads_no_longer_lines(make_card):
    path = make_card(source={"type": "jsonl", "train": "rows.jsonl.gz"})
    (path.parent / "rows.jsonl.gz").write_bytes(gzip.compress(GOOD + LONG, 1))
    assert count_rows(locate(load_card(path), "train")) is None


def test_a_document_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("t5x_tasks.sources.files._LONGEST_DOCUMENT", 2000)
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"Instances": [{"input": "x" * 100}] * 30}, indent=1))
    source = TemplatedSource.model_validate({"type": "templated", "layout": "superni", "train": (str(file),)})
    with pytest.raises(UserError, match=r"task\.json: more than 0 MiB in one object"):
        list(read_file(file, source))
