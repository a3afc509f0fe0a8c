"""Files beside the card: JSON Lines, CSV, TSV and Parquet, plain or compressed, one or in shards."""

import bz2
import csv
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.sources import Row, count_rows, iter_rows, locate, read_rows, source_digest
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import source_of

ROWS = [("a", "Ann: Hi, Bob!", "They meet."), ("b", 'Cy: "Now"?\nDee: Yes.', "Soon, they say.")]
READ = [Row(name, {"dialogue": dialogue, "summary": summary}) for name, dialogue, summary in ROWS]
HEADER = ("id", "dialogue", "summary")


def message(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def card_of(make_card):
    """Returns a function that makes the card `tiny` over given files (name -> bytes)."""

    def make(source, files, **changes):
        path = make_card(source=source, **changes)
        for name, content in files.items():
            (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
            (path.parent / name).write_bytes(content)
        return load_card(path)

    return make


def as_csv(rows, **options):
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows):
    table = pa.table({key: [row[i] for row in rows] for i, key in enumerate(HEADER)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=1)
    return sink.getvalue().to_pybytes()


def as_jsonl(rows):
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in rows).encode()


WRITTEN = {
    "csv": as_csv([HEADER, *ROWS]),
    "tsv": as_csv([HEADER, *ROWS], delimiter="\t"),
    "parquet": as_parquet(ROWS),
    "jsonl": as_jsonl(ROWS),
}
PACKED = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
}


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("kind", WRITTEN)
def test_every_format_gives_the_same_rows_plain_and_compressed(card_of, kind, suffix):
    name = f"data.{kind}{suffix}"
    card = card_of({"type": kind, "test": name}, {name: PACKED[suffix](WRITTEN[kind])})
    assert card.splits == ("test",)
    assert read_rows(card, "test") == READ
    assert count_rows(locate(card, "test")) == 2


def test_shards_are_read_in_the_order_of_their_names(card_of):
    shards = {f"part-{i}.jsonl": as_jsonl([(f"{i}", f"dialogue {i}", "s")]) for i in range(3)}
    card = card_of({"type": "jsonl", "train": "part-*.jsonl", "test": ["part-2.jsonl", "part-[01].jsonl"]}, shards)
    assert [row.id for row in read_rows(card, "train")] == ["0", "1", "2"]
    assert [row.id for row in read_rows(card, "test")] == ["2", "0", "1"]
    assert [file.name for file in locate(card, "test").files] == ["part-2.jsonl", "part-0.jsonl", "part-1.jsonl"]
    assert str(locate(card, "train")).endswith("part-0.jsonl and 2 more")
    assert count_rows(locate(card, "train")) == 3
    assert source_digest(card, "train") != source_digest(card, "test")


def test_rows_of_shards_are_numbered_through(card_of):
    shards = {f"{name}.csv": b"dialogue,summary\nx,y\nx,z\n" for name in "ab"}
    card = card_of({"type": "csv", "train": "*.csv"}, shards)
    assert [row.id for row in read_rows(card, "train")] == ["train-0", "train-1", "train-2", "train-3"]


def test_a_pattern_without_a_file_is_named(card_of):
    card = card_of({"type": "csv", "train": "none-*.csv", "obtain": "https://example.org/data"}, {})
    text = message(read_rows, card, "train")
    assert text.startswith(f"{card.path.parent / 'none-*.csv'}: no such file; it is source.train of {card.path}")
    assert text.endswith("; the data are at https://example.org/data")


def test_a_file_without_header_or_quoting_is_read_by_the_columns_that_the_card_names(card_of):
    content = b'say "hi\tthey "greet"\r\nlone \r stays\tyes\r\n\r\n'
    source = {"type": "tsv", "train": "x.tsv", "columns": ["dialogue", "summary"], "quoting": "none"}
    assert [row.fields for row in read_rows(card_of(source, {"x.tsv": content}), "train")] == [
        {"dialogue": 'say "hi', "summary": 'they "greet"'},
        {"dialogue": "lone \r stays", "summary": "yes"},
    ]


def test_other_delimiters_and_what_else_changes_the_rows_change_the_digest(card_of):
    source = {"type": "csv", "train": "x.csv", "delimiter": ";"}
    card = card_of(source, {"x.csv": b"dialogue;summary\nx;a,b\n"})
    assert read_rows(card, "train")[0].fields == {"dialogue": "x", "summary": "a,b"}
    other = card.model_copy(update={"source": card.source.model_copy(update={"quoting": "none"})})
    assert source_digest(card, "train") != source_digest(other, "train")


def test_a_byte_order_mark_crlf_and_empty_lines_do_no_harm_to_csv(card_of):
    content = b'\xef\xbb\xbfdialogue,summary\r\n\r\n"x\r\ny",z\r\n'
    (row,) = read_rows(card_of({"type": "csv", "train": "x.csv"}, {"x.csv": content}), "train")
    assert row.fields == {"dialogue": "x\ny", "summary": "z"}


@pytest.mark.parametrize(
    "content",
    [
        b"dialogue;summary\n;\nx;y\n ;;\n \n;;;\n",  # as spreadsheets end
        b';;\n"dialogue";"summary"\n"x";"y"\n',
        b"sep=;\r\ndialogue;summary\r\nx;y\r\n",
        b"\xef\xbb\xbfSEP=;\ndialogue;summary\nx;y",
        b'"sep=;"\ndialogue;summary\nx;y\n',
    ],
)
def test_what_spreadsheets_write_around_the_rows_is_passed_over(card_of, content):
    (row,) = read_rows(card_of({"type": "csv", "train": "x.csv", "delimiter": ";"}, {"x.csv": content}), "train")
    assert row.fields == {"dialogue": "x", "summary": "y"}


def test_it_is_passed_over_where_nothing_is_quoted_or_the_card_names_the_columns(card_of):
    source = {"type": "tsv", "train": "x.tsv", "columns": ["dialogue", "summary"], "quoting": "none"}
    content = b"sep=\t\n\t\ndialogue\tsummary\nx\ty\n\t\n"
    rows = read_rows(card_of(source, {"x.tsv": content}), "train")
    assert [row.fields["dialogue"] for row in rows] == ["dialogue", "x"]  # no header here


def test_a_first_line_names_the_delimiter(card_of):
    files = {"x.csv": b"sep=|\ndialogue|a,b,c|summary\nx|,|y\n"}
    card = card_of({"type": "csv", "train": "x.csv"}, files)
    assert read_rows(card, "train")[0].fields == {"dialogue": "x", "summary": "y"}
    path = card.path.parent / "x.csv"
    assert source_of({"train": path}, path.parent).reading_options()["delimiter"] == "|"
    (card.path.parent / "y.csv").write_bytes(b"dialogue,summary\nx\nz,y\n")
    assert ":2: 1 column" in message(read_rows, card_of({"type": "csv", "train": "y.csv"}, {}), "train")


def test_a_blank_cell_of_a_single_column_is_a_row(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b'dialogue\nx\n" "\n\ny\n')
    rows = [row["dialogue"] for _, row in read_file(path, source_of({"train": path}, tmp_path))]
    assert rows == ["x", " ", "y"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"dialogue,summary\nx,y\ndialogue,summary\nz,w\n", ":3: is the header again; were files put one behind the "),
        (b"dialogue,summary\nx,y\n\xef\xbb\xbfdialogue,summary\nz,w\n", ":3: is the header again"),
        (b'"dialogue","summary"\nx,y\n\xef\xbb\xbf"dialogue","summary"\nz,w\n', ":3: is the header again"),
        (b"dialogue, summary\nx,y\n", ":2: no key 'summary' (field summary of tiny), did you mean ' summary'?"),
        (b"dialogue,summary\nx,y\nx\n", ":3: 1 column, the header has 2; is the delimiter right"),
        (b'dialogue,summary\n"a\nb",y\nx,y,z\n', ":4: 3 columns, the header has 2"),
        (b'dialogue,summary\nx,"y\nz,w\n', ":2: not CSV (unexpected end of data); mend the line"),
        (b'dialogue,summary\nx,"y" z\n', ":2: not CSV ("),
        (b"dialogue,summary,summary\n", ":1: the header names column 'summary' twice"),
        (b"dialogue,summary\nx,caf\xe9\n", ":2: not UTF-8"),
        (b"dialogue,summry\nx,y\n", ":2: no key 'summary' (field summary of tiny), did you mean summry?"),
    ],
)
def test_a_broken_csv_file_is_named_with_its_line(card_of, content, expected):
    card = card_of({"type": "csv", "train": "x.csv"}, {"x.csv": content})
    assert message(read_rows, card, "train").startswith(f"{card.path.parent / 'x.csv'}{expected}")


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_a_cut_off_file_is_named(card_of, kind, suffix):
    name = f"x.{kind}{suffix}"
    card = card_of({"type": kind, "train": name}, {name: PACKED[suffix](WRITTEN[kind])[:-9]})
    assert message(read_rows, card, "train").startswith(f"{card.path.parent / name}: cannot be read")
    assert count_rows(locate(card, "train")) is None


def test_a_file_that_is_no_parquet_is_named(card_of):
    for content in (b"PAR1 but no more", b"", WRITTEN["parquet"][:-20]):
        card = card_of({"type": "parquet", "train": "x.parquet"}, {"x.parquet": content})
        assert message(read_rows, card, "train").startswith(f"{card.path.parent / 'x.parquet'}: cannot be read")


def test_a_null_of_parquet_is_an_empty_text_and_a_nested_column_is_refused(card_of):
    table = pa.table({"dialogue": ["x", None], "summary": ["y", "z"], "more": [[1], []]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    source, files = {"type": "parquet", "train": "x.parquet"}, {"x.parquet": sink.getvalue().to_pybytes()}
    assert read_rows(card_of(source, files), "train")[1].fields == {"dialogue": "", "summary": "z"}
    card = card_of(source, files, fields={"dialogue": "dialogue", "summary": "more"})
    assert ": row 0: 'more' must be a text, not list [1]; name a transform" in message(read_rows, card, "train")


def test_rows_are_streamed(card_of):
    content = as_jsonl([(str(i), "x", "y") for i in range(3)]) + b"no JSON\n"
    card = card_of({"type": "jsonl", "train": "x.jsonl"}, {"x.jsonl": content})
    rows = iter_rows(card, "train")
    assert [next(rows).id for _ in range(3)] == ["0", "1", "2"]
    assert ":4: not JSON" in message(next, rows)


def test_an_id_of_its_own_may_not_be_the_number_of_another_row(card_of):
    lines = [{"dialogue": "x", "summary": "y"}] * 3 + [{"id": "train-1", "dialogue": "x", "summary": "y"}]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    card = card_of({"type": "jsonl", "train": "x.jsonl"}, {"x.jsonl": content})
    said = message(read_rows, card, "train")
    assert "x.jsonl:4: id 'train-1' stands for two rows, this one and " in said and "x.jsonl:2;" in said


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"type": "jsonl"}, "source: names no split; add train: FILE"),
        ({"type": "csv", "train": "x.csv", "quotting": "none"}, "unknown key, did you mean quoting?"),
        ({"type": "csv", "train": "x.csv", "streaming": True}, "source.streaming: unknown key"),
        ({"type": "hub", "path": "a/b", "streamin": True}, "unknown key, did you mean streaming?"),
        ({"type": "hub", "path": "a/b", "splits": ["dev"]}, "'train', 'validation' or 'test'"),
        ({"type": "tfds", "name": "x", "datadir": "y"}, "unknown key, did you mean data_dir?"),
        ({"type": "python", "function": "nothing", "splits": ["train"]}, "source.function"),
        ({"type": "python", "function": "a:b"}, "splits: is missing"),
        ({"type": "parqet", "train": "x"}, "'parquet'"),
        ({"train": "x"}, "type"),
        ({"type": "templated", "layout": "p3", "path": "a/b", "train": "x"}, "source: path and files"),
        ({"type": "templated", "layout": "p3", "train": "x", "name": "y"}, "source: name goes with path"),
        ({"type": "templated", "layout": "p4", "train": "x"}, "layout"),
    ],
)
def test_what_no_source_may_say_is_named_with_its_line(make_card, source, expected):
    path = make_card(source=source)
    text = message(load_card, path)
    line = int(text.removeprefix(f"{path}:").partition(":")[0])
    assert path.read_text().splitlines()[line - 1].startswith(("source", "  "))
    assert expected in text
