"""`dialogues`: a table with one message per row becomes dialogues, with their summaries."""

import csv
import datetime
import gzip
import json
from pathlib import Path

import pytest

from t5x_tasks.__main__ import main
from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.sources import read_rows

COLUMNS = ("--by", "conversation_id", "--speaker", "sender", "--text", "text")
HEADER = ["message_id", "conversation_id", "sender", "sent_at", "text", "topic"]


def table(path: Path, rows: list[list], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def messages(*more: list) -> list[list]:
    """A table of two dialogues, whose rows are mixed."""
    return [
        HEADER,
        ["m1", "c1", "Ann", "2024-05-01T10:00:00Z", "Where is it?", "parcel"],
        ["m2", "c2", "Cy", "2024-05-02T09:00Z", "I paid twice.", "bill"],
        ["m4", "c1", "Ann", "2024-05-01T12:05:00+02:00", "Thank you.", "parcel"],
        ["m3", "c1", "Bob", "2024-05-01T10:02:00Z", "On its way,\nI see.", ""],
        ["m5", "c2", "Dee", "2024-05-02T09:01Z", "You get it back.", "bill"],
        *more,
    ]


def run(*arguments) -> None:
    main(["dialogues", *map(str, arguments)])


def refused(*arguments) -> str:
    with pytest.raises(UserError) as error:
        run(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_messages_become_dialogues_in_the_order_of_their_times(tmp_path, capsys):
    run(table(tmp_path / "messages.csv", messages()), *COLUMNS, "--order", "sent_at")
    assert written(tmp_path / "messages.dialogues.jsonl") == [
        {"id": "c1", "dialogue": "Ann: Where is it?\nBob: On its way, I see.\nAnn: Thank you.", "topic": "parcel"},
        {"id": "c2", "dialogue": "Cy: I paid twice.\nDee: You get it back.", "topic": "bill"},
    ]
    out = capsys.readouterr().out
    assert "5 messages of 2 dialogues" in out
    assert "not kept    message_id: differ within a dialogue" in out


def test_answers_are_joined_and_what_has_no_partner_is_told(tmp_path, capsys):
    more = ["m6", "c3", "Eve", "2024-05-03T08:00Z", "Hello?", ""], ["m7", "c4", "Fay", "2024-05-03T08:00Z", "", ""]
    path = table(tmp_path / "messages.csv", messages(*more))
    tickets = [
        ["Conversation ID", "summary", "id", "topic"],
        ["c1", "Ann waits.", "1", "late"],
        ["c9", "No.", "2", ""],
        ["c3", " ", "3", ""],
    ]
    answers = table(tmp_path / "tickets.csv", tickets, delimiter=";")
    run(path, *COLUMNS, "--answers", answers, "--answers-by", "Conversation ID", "--output", tmp_path / "out.jsonl")
    out = capsys.readouterr().out
    (row,) = written(tmp_path / "out.jsonl")
    assert row["id"] == "c1" and row["summary"] == "Ann waits." and row["topic"] == "late"
    assert "blank       c4: dialogues without any text, kept" in out
    assert "no answer   c2, c3, c4: left out" in out
    assert "no messages c9: left out" in out
    assert "replaced    topic: in both tables" in out
    assert "not joined  id: written anyway" in out
    run(path, *COLUMNS, "--output", tmp_path / "all.jsonl")  # for `eval predict`
    assert [row["id"] for row in written(tmp_path / "all.jsonl")] == ["c1", "c2", "c3", "c4"]


def test_dialogues_are_what_new_reads(tmp_path, capsys):
    path = table(tmp_path / "messages.csv", messages())
    answers = [["conversation_id", "summary"], ["c1", "Ann waits for it."], ["c2", "Cy paid twice."]]
    run(path, *COLUMNS, "--answers", table(tmp_path / "t.csv", answers))
    main(["new", "talks", "--from", str(tmp_path / "messages.dialogues.jsonl")])
    rows = read_rows(load_card(tmp_path / "talks.yaml"), "train")
    assert [row.id for row in rows] == ["c1", "c2"] and rows[1].fields["summary"] == "Cy paid twice."
    assert "\nok\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["007", "NA", "None", "1.0", "nan", "true", "1e5", " x ", "2024-05-01"])
def test_texts_stay_as_typed(tmp_path, text):
    path = table(tmp_path / "rows.csv", [["k", "who", "text", "note"], [text, text, text, text]])
    run(path, "--by", "k", "--speaker", "who", "--text", "text")
    (row,) = written(tmp_path / "rows.dialogues.jsonl")
    assert row == {"id": text.strip(), "dialogue": f"{text.strip()}: {text.strip()}", "note": text}


def test_several_files_are_one_table(tmp_path):
    run(table(tmp_path / "messages.csv", messages()), *COLUMNS, "--order", "sent_at")
    header, *rows = messages()
    first = table(tmp_path / "1.csv", [header[::-1], *(row[::-1] for row in rows[3:])], delimiter=";")
    others = [table(tmp_path / "2.csv", [header]), table(tmp_path / "3.tsv", [header, *rows[:3]], "\t")]
    run(first, *others, *COLUMNS, "--order", "sent_at")
    found = {row["id"]: row for row in written(tmp_path / "1.dialogues.jsonl")}
    assert found == {row["id"]: row for row in written(tmp_path / "messages.dialogues.jsonl")}
    other = table(tmp_path / "other.csv", [["conversation_id", "sender", "body"], ["c1", "Ann", "Hi"]])
    assert refused(first, other, *COLUMNS, "--output", tmp_path / "x.jsonl").startswith(
        f"{other}: only it or the first file has"
    )
    assert refused(others[0], *COLUMNS) == f"{others[0]}: no rows"


@pytest.mark.parametrize(
    ("header", "values", "options", "order"),
    [
        (["turn"], [["10"], ["9"]], (), "Bob Ann"),
        (["nanoseconds"], [["1714557600123456789"], ["1714557600123456788"]], (), "Bob Ann"),
        (["timestamp"], [["1714557600.5"], ["1714557599"]], (), "Bob Ann"),
        (["time"], [["2024-05-01T12:00Z"], ["2024-05-01T13:30+02:00"]], (), "Bob Ann"),
        (["time"], [["2024-05-02 09:00"], ["2024-05-01"]], (), "Bob Ann"),
        (["day", "hour"], [["2024-05-02", "09:00"], ["2024-05-01", "10:00"]], (), "Bob Ann"),
        (["time"], [["2024-05-01"], ["2024-05-01"]], (), "Ann Bob"),  # ties stay
        (["time"], [["05/02/2024"], ["06/01/2024"]], ("--time-format", "%d/%m/%Y"), "Bob Ann"),
        (["time"], [["05/02/2024"], ["06/01/2024"]], ("--time-format", "%m/%d/%Y"), "Ann Bob"),
        (["day", "hour"], [["7.2.2024", "12:54"], ["7.2.2024", "9:55"]], ("--time-format", "%d.%m.%Y %H:%M"), "Bob Ann"),
    ],
)  # fmt: skip
def test_numbers_and_times_tell_the_order(tmp_path, header, values, options, order):
    rows = [["k", "who", "text", *header], ["1", "Ann", "x", *values[0]], ["1", "Bob", "y", *values[1]]]
    orders = [part for name in header for part in ("--order", name)]
    run(table(tmp_path / "rows.csv", rows), "--by", "k", "--speaker", "who", "--text", "text", *orders, *options)
    (row,) = written(tmp_path / "rows.dialogues.jsonl")
    assert [line.partition(":")[0] for line in row["dialogue"].splitlines()] == order.split()


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        (["2024-05-01", ""], (), "rows.csv:3: --order time: '' is neither a number nor an ISO time as 2024-05-01 10:32"),
        (["05/02/2024", "06/02/2024"], (), "'05/02/2024' is neither a number nor an ISO time"),
        (["now", "today"], (), "'now' is neither a number nor an ISO time"),
        (["1", "one"], (), "rows.csv:3: --order time: 'one' is not a number, unlike others in it"),
        (["2024-05-01 10:00Z", "2024-05-01 09:00"], (), "'2024-05-01 09:00' is a time without a zone, unlike others"),
        (["1.2.2024", "1/2/2024"], ("--time-format", "%d.%m.%Y"), "rows.csv:3: --order time: '1/2/2024' is not of --time-"),
        (["1", "2"], ("--time-format", "%Q"), "--time-format %Q: 'Q' is a bad directive in format '%Q'"),
    ],
)  # fmt: skip
def test_an_ambiguous_order_is_refused(tmp_path, values, options, said):
    rows = [["k", "who", "text", "time"], *(["1", "Ann", "x", value] for value in values)]
    path = table(tmp_path / "rows.csv", rows)
    assert said in refused(path, "--by", "k", "--speaker", "who", "--text", "text", "--order", "time", *options)
    assert [*tmp_path.iterdir()] == [path]


def test_typed_columns_of_parquet_are_read(tmp_path):
    import pyarrow
    import pyarrow.parquet

    times = [datetime.datetime(2024, 5, 1, 10, 2), datetime.datetime(2024, 5, 1, 10, 1), datetime.datetime(2024, 5, 1)]
    columns = {
        "k": [1.0, 1.0, 2.0],
        "who": ["Ann", "Bob", None],
        "sent_at": times,
        "body": ["b", "a", "c"],
        "n": [5, 5, None],
    }
    columns["opened"] = [datetime.date(2024, 5, 1)] * 3
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "rows.parquet")
    answers = table(tmp_path / "answers.csv", [["k", "summary"], ["1", "one"], ["2", "two"]])
    run(
        tmp_path / "rows.parquet",
        "--by",
        "k",
        "--speaker",
        "who",
        "--text",
        "body",
        "--order",
        "sent_at",
        "--answers",
        answers,
    )
    assert written(tmp_path / "rows.dialogues.jsonl") == [
        {"id": "1", "dialogue": "Bob: a\nAnn: b", "n": 5, "opened": "2024-05-01", "summary": "one"},
        {"id": "2", "dialogue": "c", "n": "", "opened": "2024-05-01", "summary": "two"},
    ]


def test_authors_and_parts_in_json_lines_are_taken_apart(tmp_path):
    row = {"k": 3, "author": {"id": 7, "name": "Ann"}, "body": [{"type": "text", "text": "Hi"}], "tags": ["a"]}
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        for more in ({}, {"author": None, "role": "bot"}, {"author": None, "body": None}):
            file.write(json.dumps(row | more) + "\n")
    run(tmp_path / "rows.jsonl.gz", "--by", "k", "--speaker", "author", "--speaker", "role", "--text", "body")
    assert written(tmp_path / "rows.dialogues.jsonl") == [{"id": "3", "dialogue": "Ann: Hi\nbot: Hi", "tags": ["a"]}]


def test_what_is_wrong_is_one_line_and_leaves_nothing_behind(tmp_path, write_jsonl):
    path = table(tmp_path / "messages.csv", messages())
    said = refused(path, "--by", "conversation_id")
    assert said.startswith(
        f"{path}: has the columns message_id, conversation_id, sender, sent_at, text, topic; name those of"
    )
    assert said.endswith("--by COLUMN --speaker COLUMN --text COLUMN")
    assert "--text Text: no such column, did you mean text?" in refused(path, *COLUMNS, "--text", "Text")
    assert "--order when: no such column; it has message_id" in refused(path, *COLUMNS, "--order", "when")
    assert "name that, too" in refused(path, *COLUMNS, "--time-format", "%Y")
    assert "choose a name that ends with .jsonl" in refused(path, *COLUMNS, "--output", tmp_path / "out.csv")
    assert "no such file" in refused(tmp_path / "none.csv", *COLUMNS)
    assert "no such file" in refused(path, *COLUMNS, "--answers", tmp_path / "none.csv")
    blank = table(tmp_path / "blank.csv", messages(["m8", "", "Ann", "2024-05-01", "Hi", ""]))
    assert refused(blank, *COLUMNS).startswith(f"{blank}:8: conversation_id is blank")
    twice = table(tmp_path / "twice.csv", [["conversation_id", "summary"], ["c1", "a"], ["c1", "b"]])
    assert (
        refused(path, *COLUMNS, "--answers", twice)
        == f"{twice}:3: conversation_id c1 has a row already, {twice}:2; keep one"
    )
    other = table(tmp_path / "other.csv", [["id", "summary"], ["17", "a"]])
    assert "it has id, summary" in refused(path, *COLUMNS, "--answers", other)
    said = refused(path, *COLUMNS, "--answers", other, "--answers-by", "id")
    assert "conversation_id is c1 there, id is 17 here" in said
    (tmp_path / "latin.csv").write_bytes(b"conversation_id,sender,text\n1,Ann,caf\xe9\n")
    assert "latin.csv:2: not UTF-8" in refused(tmp_path / "latin.csv", *COLUMNS)
    half = write_jsonl(tmp_path / "half.jsonl", [{"conversation_id": "a", "sender": "Ann", "text": "oh \ud83d"}])
    assert "half.jsonl:1: holds half a character" in refused(half, *COLUMNS)
    objects = write_jsonl(tmp_path / "objects.jsonl", [{"conversation_id": "a", "sender": ["Ann"], "text": "oh"}])
    assert "objects.jsonl:1: a speaker must be a text" in refused(objects, *COLUMNS)
    assert not {*tmp_path.glob("*.dialogues.jsonl"), *tmp_path.glob(".*")}
    run(path, *COLUMNS)
    assert "never overwritten" in refused(path, *COLUMNS)
