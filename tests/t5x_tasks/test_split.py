"""`split`: a file of rows cut into three, equal rows together."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.new_card import new, refused

from t5x_tasks.__main__ import main
from t5x_tasks.errors import UserError
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import source_of
from t5x_tasks.split import split_file

REPOSITORY = Path(__file__).parents[2]


def test_a_file_is_cut_into_three_by_content_and_only_when_asked(tickets, notes, capsys):
    main(["split", str(tickets)])
    assert "validation: tickets.validation.csv   # 2 rows" in capsys.readouterr().out
    parts = {split: tickets.with_name(f"tickets.{split}.csv") for split in ("train", "validation", "test")}
    found = []
    for part in parts.values():
        with part.open(newline="") as file:
            header, *rows = csv.reader(file, delimiter=";")
        assert header == ["Ticket ID", "Customer Message", "Team"]
        found += rows
    with tickets.open(newline="") as file:
        assert sorted(found) == sorted(list(csv.reader(file, delimiter=";"))[1:])
    with pytest.raises(UserError, match="never overwritten"):
        split_file(tickets, {"validation": 0.1, "test": 0.1})
    new("cut", "--from", parts["train"], "--validation", parts["validation"], "--test", parts["test"])
    assert "eval.split=test" in capsys.readouterr().out


def test_split_is_a_command_and_a_module(notes, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    arguments = [str(notes), "--validation", "0.2", "--test", "0.3"]
    command = [sys.executable, "-m", "t5x_tasks.split", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "test: notes.test.jsonl   # 6 rows" in done.stdout
    with pytest.raises(UserError, match="never overwritten"):
        main(["split", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main(["split", str(notes), "--test", "1"])


def test_rows_that_are_equal_fall_into_one_split(tmp_path, write_jsonl):
    path = write_jsonl(tmp_path / "twins.jsonl", [{"text": f"number {i // 2}"} for i in range(100)])
    written = split_file(path, {"validation": 0.1, "test": 0.2})
    assert [rows for _, rows in written.values()] == [70, 10, 20]
    texts = [set(file.read_text().splitlines()) for file, _ in written.values()]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])


def write_rows(path: Path, rows: list[dict]) -> Path:
    """Writes rows in the format that the name says."""
    import pyarrow
    import pyarrow.parquet

    delimiter = {".csv": ";", ".tsv": "\t"}.get(path.suffix)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif delimiter is None:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            file.write(f"sep={delimiter}\n")
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


def read_texts(path: Path) -> set[str]:
    return {row["text"] for _, row in read_file(path, source_of({"train": path}, path.parent))}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_rows_that_are_equal_but_for_their_id_fall_into_one_split(tmp_path, kind):
    rows = [{"text": f"naïve; {i // 2}\u2028\nyes", "id": f"c{i}", "label": "x"} for i in range(100)]
    written = split_file(write_rows(tmp_path / f"twins.{kind}", rows), {"validation": 0.1, "test": 0.2})
    assert [count for _, count in written.values()] == [70, 10, 20]
    texts = [read_texts(file) for file, _ in written.values()]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_rows_of_an_id_alone_are_different_rows(tmp_path, kind):
    path = write_rows(tmp_path / f"ids.{kind}", [{"id": f"c{i}"} for i in range(10)])
    assert [count for _, count in split_file(path, {"validation": 0.1, "test": 0.2}).values()] == [7, 1, 2]


@pytest.mark.parametrize(
    ("kind", "validation", "test"),
    [("jsonl", {2, 8}, {0, 5}), ("csv", {7, 17}, {0, 8}), ("parquet", {14, 15}, {6, 19})],
)
def test_splits_of_rows_without_an_id_stay_what_they_are(tmp_path, kind, validation, test):
    rows = [{"text": f"number {i}"} | ({"label": "x"} if kind == "csv" else {}) for i in range(20)]
    path = write_rows(tmp_path / f"rows.{kind}", rows)
    if kind == "csv":
        path.write_text("text,label\n" + "".join(f"{row['text']},x\n" for row in rows))
    written = split_file(path, {"validation": 0.1, "test": 0.1})
    for name, numbers in {"validation": validation, "test": test}.items():
        assert read_texts(written[name][0]) == {f"number {number}" for number in numbers}


def test_an_id_within_a_column_is_content(tmp_path, write_jsonl):
    path = write_jsonl(tmp_path / "rows.jsonl", [{"by": {"id": i}, "text": "x"} for i in range(10)])
    assert [count for _, count in split_file(path, {"validation": 0.1, "test": 0.2}).values()] == [7, 1, 2]


def test_parquet_is_cut_with_its_types(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "rows.parquet"
    table = pyarrow.table(
        {"text": [f"number {i}" for i in range(20)], "stars": pyarrow.array(range(20), pyarrow.int8())}
    )
    pyarrow.parquet.write_table(table, path)
    written = split_file(path, {"validation": 0.1, "test": 0.1})
    parts = [pyarrow.parquet.read_table(file) for file, _ in written.values()]
    assert [len(part) for part in parts] == [16, 2, 2]
    assert {part.schema for part in parts} == {table.schema}
    assert pyarrow.concat_tables(parts).sort_by("stars").equals(table)


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.csv.gz", "rows.parquet"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8b\x08junk")
    with pytest.raises(UserError, match=f"{name}: cannot be read .*; is it whole\\?"):
        split_file(path, {"validation": 0.1, "test": 0.1})
    assert f"{name}: cannot be read" in refused("junk", "--from", path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b"chat,recap\nI paid \x80 5,paid\n"),
        ("rows.jsonl", b'{"chat": "a", "recap": "b"}\n{"chat": "I paid \x80 5", "recap": "paid"}\n'),
    ],
)
def test_a_file_that_is_not_utf_8_is_neither_cut_nor_described(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    said = refused("paid", "--from", path)
    assert said.startswith(f"{path}:2: not UTF-8; save the file as UTF-8 (Excel: as CSV UTF-8; ")
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        split_file(path, {"validation": 0.1, "test": 0.1})
    assert list(tmp_path.iterdir()) == [path]


def test_a_byte_order_mark_does_not_end_up_before_a_row_of_a_split(tmp_path):
    rows = [json.dumps({"text": f"number {i}"}) for i in range(20)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8-sig")
    written = split_file(path, {"validation": 0.1, "test": 0.1})
    assert sorted(row for file, _ in written.values() for row in file.read_text().splitlines()) == sorted(rows)


def test_a_file_with_the_delimiter_in_its_first_line_is_cut_into_such_files(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"order {i}, please;yes\n" for i in range(20)]
    path.write_text("".join(["sep=;\n", "text;label\n", *rows, ";\n"]))
    written = split_file(path, {"validation": 0.1, "test": 0.1})
    assert [count for _, count in written.values()] == [16, 2, 2]
    heads, bodies = zip(*(file.read_text().split("label\n") for file, _ in written.values()), strict=True)
    assert set(heads) == {"sep=;\ntext;"} and sorted("".join(bodies).splitlines(keepends=True)) == sorted(rows)


def test_a_header_between_rows_is_not_cut(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + 'a,"b\nc"\n' * 2 + "text,label\nd,e\nf,g\nh,i\n")
    with pytest.raises(UserError, match=r"rows.csv:6: is the header again"):
        split_file(path, {"validation": 0.1, "test": 0.1})


def test_splits_that_a_disk_has_no_room_for_are_not_left_half_written(notes, monkeypatch):
    def fill_up(path, kind, files, *_):
        files["train"].write_text("half")
        with Path("/dev/full").open("w") as file:
            file.write("x")

    monkeypatch.setattr("t5x_tasks.split._write", fill_up)
    with pytest.raises(OSError, match=f"No space left on device: '{notes.parent}'"):
        split_file(notes, {"validation": 0.1, "test": 0.1})
    assert list(notes.parent.iterdir()) == [notes]
