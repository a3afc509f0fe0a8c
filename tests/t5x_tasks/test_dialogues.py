"""Chats as they are stored: a list of messages in each row through `new`, and one message a row through `dialogues`."""

import csv
import datetime
import gzip
import json
from pathlib import Path

import pytest

from t5x_tasks.__main__ import main
from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.rendering.render import render
from t5x_tasks.sources import read_rows

NAMES = ("Ana", "Ben", "Chloe", "Dev")


def chats(count: int = 12) -> list[dict]:
    """Rows with a list of messages: names and roles, a message of two lines, one of parts, one without text."""
    rows = []
    for number in range(count):
        one, other = NAMES[number % 4], NAMES[(number + 1) % 4]
        messages = [
            {"role": "customer", "name": one, "content": f"My order {number} is late."},
            {"role": "bot", "name": None, "content": "Please wait.\nAn agent will come."},
            {"role": "agent", "name": other, "content": [{"type": "text", "text": "It comes tomorrow."}]},
            {"role": "customer", "name": one, "content": ""},
        ]
        rows.append({"case": number, "log": messages, "recap": f"{one} asks {other} for order {number}."})
    return rows


DIALOGUE = "Ana: My order 0 is late.\nbot: Please wait. An agent will come.\nBen: It comes tomorrow."


def table(path: Path, rows: list[list], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def messages(*more: list) -> list[list]:
    """A table of two conversations, whose rows are mixed."""
    return [
        ["message_id", "conversation_id", "sender", "sent_at", "text", "topic"],
        ["m1", "c1", "Ann", "2024-05-01T10:00:00Z", "Where is it?", "parcel"],
        ["m2", "c2", "Cy", "2024-05-02 09:00", "I paid twice.", "bill"],
        ["m4", "c1", "Ann", "2024-05-01T10:05:00+00:00", "Thank you.", "parcel"],
        ["m3", "c1", "Bob", "2024-05-01T10:02:00Z", "On its way,\nI see.", ""],
        ["m5", "c2", "Dee", "2024-05-02 09:01", "You get it back.", "bill"],
        *more,
    ]


def run(*arguments) -> None:
    main(["dialogues", *map(str, arguments)])


def refused(*arguments) -> str:
    with pytest.raises(UserError) as error:
        run(*arguments)
    return str(error.value)


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "json in csv", "pandas in csv"])
def test_lists_of_messages_go_through_new_and_check_to_what_the_model_sees(tmp_path, write_jsonl, capsys, kind):
    rows = chats()
    if kind == "jsonl":
        path = write_jsonl(tmp_path / "chats.jsonl", rows)
    elif kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        path = tmp_path / "chats.parquet"
        for row in rows:
            row["log"][2]["content"] = "It comes tomorrow."  # a column has one type
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        cell = json.dumps if kind.startswith("json") else repr
        path = table(tmp_path / "chats.csv", [["log", "recap"], *([cell(row["log"]), row["recap"]] for row in rows)])
    main(["new", "chats", "--from", str(path)])
    out = capsys.readouterr().out
    assert "asked       dialogue <- log (lists of messages, 12 different, 17 words on average), made text by" in out
    assert "\nok\n" in out  # of `check`
    card = load_card(tmp_path / "chats.yaml")
    assert str(card.fields["dialogue"]) == "turns(log)" and card.category == "summarization"
    first = read_rows(card, "train")[0]
    assert first.fields == {"dialogue": DIALOGUE, "summary": "Ana asks Ben for order 0."}
    assert DIALOGUE in render(card, card.phrasings[0], first).inputs


def test_a_list_of_lines_is_a_dialogue_where_its_column_is_called_so(tmp_path, write_jsonl):
    rows = [{"utterances": [f"Ann: Where is {i}?", "Bob: Here."], "summary": f"Bob has {i}."} for i in range(6)]
    main(["new", "lines", "--from", str(write_jsonl(tmp_path / "lines.jsonl", rows))])
    card = load_card(tmp_path / "lines.yaml")
    assert read_rows(card, "train")[1].fields["dialogue"] == "Ann: Where is 1?\nBob: Here."
    assert card.references is None


def test_chats_without_messages_are_counted_and_stop_nothing(tmp_path, write_jsonl, capsys):
    rows = chats()
    rows[3]["log"], rows[7]["log"] = [], None
    main(["new", "chats", "--from", str(write_jsonl(tmp_path / "chats.jsonl", rows))])
    assert "2 with an empty field (left out of training): train-3, train-7" in capsys.readouterr().out


def test_a_cell_that_was_cut_is_named_by_check_though_new_took_the_column(tmp_path):
    cells = [[json.dumps(row["log"]), row["recap"]] for row in chats()]
    cells[5][0] = cells[5][0][:100]
    path = table(tmp_path / "chats.csv", [["log", "recap"], *cells])
    with pytest.raises(
        UserError, match=r"chats.csv:7: field dialogue of chats: turns: is a text that is no whole JSON"
    ):
        main(["new", "chats", "--from", str(path)])


def test_texts_that_only_look_like_lists_are_texts(tmp_path, write_jsonl, capsys):
    texts = [
        "[link] see \\d",
        "{curly} words",
        "[" * 5000,
        '{"messages":' * 600 + "[]" + "}" * 600,
        "['\\d', 'x']",
        "[1, 2]",
    ]
    rows = [{"body": text, "recap": f"So it is {number}."} for number, text in enumerate(texts)]
    main(["new", "odd", "--from", str(write_jsonl(tmp_path / "odd.jsonl", rows))])
    assert str(load_card(tmp_path / "odd.yaml").fields["body"]) == "body"
    assert capsys.readouterr().err == ""


def test_messages_of_unknown_keys_are_not_used_and_new_says_which_keys_there_are(tmp_path, write_jsonl, capsys):
    rows = [
        {"log": [{"wer\x00\x85": "Ann", "text": f"Order {i}?"}], "body": f"A mail of {i}.", "recap": f"So {i}."}
        for i in range(6)
    ]
    path = write_jsonl(tmp_path / "chats.jsonl", rows)
    main(["new", "chats", "--from", str(path)])
    assert (
        "turns does not know them for messages: of the keys 'wer  ', text none is known to be"
        in capsys.readouterr().out
    )
    assert load_card(tmp_path / "chats.yaml").category == "summarization"


def test_rows_of_messages_become_conversations_in_the_order_of_their_times(tmp_path, capsys):
    run(table(tmp_path / "messages.csv", messages()))
    out = capsys.readouterr().out
    assert written(tmp_path / "messages.dialogues.jsonl") == [
        {"id": "c1", "dialogue": "Ann: Where is it?\nBob: On its way, I see.\nAnn: Thank you.", "topic": "parcel"},
        {"id": "c2", "dialogue": "Cy: I paid twice.\nDee: You get it back.", "topic": "bill"},
    ]
    assert "5 messages of 2 conversations" in out
    assert "by          conversation_id (guessed)" in out
    assert "order       sent_at (guessed): 1 conversation stood in another order" in out
    assert "not kept    message_id: differs within 2 conversations (c1, c2)" in out


def test_answers_are_joined_and_what_has_no_partner_is_counted(tmp_path, capsys):
    silent = ["m6", "c3", "Eve", "2024-05-03 08:00", "Hello?", ""], ["m7", "c4", "Fay", "2024-05-03 08:00", "", ""]
    path = table(tmp_path / "messages.csv", messages(*silent))
    tickets = [
        ["Conversation ID", "summary", "id"],
        ["c1", "Ann waits.", "1"],
        ["c9", "Nobody.", "2"],
        ["c3", " ", "3"],
    ]
    answers = table(tmp_path / "tickets.csv", tickets, delimiter=";")
    run(path, "--answers", answers, "--output", tmp_path / "out.jsonl")
    out = capsys.readouterr().out
    (row,) = written(tmp_path / "out.jsonl")
    assert row["id"] == "c1" and row["summary"] == "Ann waits." and row["topic"] == "parcel"
    assert (
        "empty       1 message without text" in out and "blank       1 conversation without any text, kept (c4)" in out
    )
    assert "no answer   2 conversations without a row, left out (c2, c4)" in out
    assert "no answer   1 conversation with a blank summary, left out (c3)" in out
    assert "no messages 1 row of no conversation, left out (c9)" in out
    assert "not joined  id: the name is taken" in out
    run(path, "--output", tmp_path / "all.jsonl")  # for `eval predict`
    assert [row["id"] for row in written(tmp_path / "all.jsonl")] == ["c1", "c2", "c3", "c4"]


@pytest.mark.parametrize(
    ("columns", "cells", "left_out"),
    [
        (["Fazit"], ["kurz"], True),
        (["Stufe", "Fazit"], ["hoch", "Ann wartet auf ihr Paket."], True),
        (["Notiz", "Fazit"], ["Ann hat angerufen.", "Ann wartet auf ihr Paket."], False),  # which is not told
        (["Stufe", "Team"], ["hoch", "Lager"], False),
    ],
)
def test_a_blank_cell_is_no_answer_in_the_only_column_of_texts(tmp_path, capsys, columns, cells, left_out):
    path = table(tmp_path / "messages.csv", messages())
    rows = [["conversation_id", *columns], ["c1", *cells], ["c2", *cells[:-1], " "]]
    run(path, "--answers", table(tmp_path / "tickets.csv", rows))
    assert [row["id"] for row in written(tmp_path / "messages.dialogues.jsonl")] == ["c1", "c2"][: 2 - left_out]
    said = f"no answer   1 conversation with a blank {columns[-1]}, left out (c2)"
    assert (said in capsys.readouterr().out) == left_out


def test_conversations_go_on_to_new(tmp_path, capsys):
    path = table(tmp_path / "messages.csv", messages())
    answers = table(
        tmp_path / "t.csv", [["conversation_id", "recap"], ["c1", "Ann waits for it."], ["c2", "Cy paid twice."]]
    )
    run(path, "--answers", answers)
    main(["new", "talks", "--from", str(tmp_path / "messages.dialogues.jsonl")])
    card = load_card(tmp_path / "talks.yaml")
    rows = read_rows(card, "train")
    assert [row.id for row in rows] == ["c1", "c2"] and rows[1].fields["summary"] == "Cy paid twice."
    assert "\nok\n" in capsys.readouterr().out


def months(folder: Path) -> list[Path]:
    """The messages in two files, the later first, with columns in another order and another delimiter; and a file without."""
    header, *rows = messages()
    folder.mkdir()
    first = table(folder / "2024-01.csv", [header[::-1], *(row[::-1] for row in rows[3:])], delimiter=";")
    return [first, table(folder / "2024-02.csv", [header]), table(folder / "2024-03.tsv", [header, *rows[:3]], "\t")]


@pytest.mark.parametrize("given", ["2024-01.csv 2024-02.csv 2024-03.tsv", "2024-0*", "2024-0?.csv 2024-*"])
def test_several_files_are_one_table(tmp_path, capsys, given):
    whole = table(tmp_path / "messages.csv", messages())
    run(whole)
    months(tmp_path / "export")
    run(*(tmp_path / "export" / name for name in given.split()))
    found = {row["id"]: row for row in written(tmp_path / "export" / "2024-01.dialogues.jsonl")}
    assert found == {row["id"]: row for row in written(tmp_path / "messages.dialogues.jsonl")}
    out = capsys.readouterr().out
    assert f"{tmp_path / 'export' / '2024-01.csv'} and 2 more: 5 messages of 2 conversations\n" in out
    assert f"  no rows     {tmp_path / 'export' / '2024-02.csv'}\n" in out


def test_what_is_wrong_of_several_files_names_the_file(tmp_path):
    first, empty, last = months(tmp_path / "export")
    other = table(tmp_path / "other.csv", [["conversation_id", "sender", "body", "topic"], ["c1", "Ann", "Hi", ""]])
    said = refused(empty, first, other)
    differ = "has no text, sent_at, message_id and has body"
    assert said == f"{other}: {differ}, unlike {first}; give files of the same columns"
    last.write_text(last.read_text() + "m9\t\tAnn\t2024-05-01\tHi\t\n")
    assert refused(first, last).startswith(f"{last}:5: conversation_id is blank")
    assert refused(empty, empty) == f"{empty}: no rows"
    assert refused(first, tmp_path / "export" / "2023-*.csv") == f"{tmp_path / 'export' / '2023-*.csv'}: no such file"
    (tmp_path / "folder.csv").mkdir()
    assert refused(tmp_path / "folder*") == f"{tmp_path / 'folder*'}: no such file"
    assert not [*tmp_path.rglob("*.jsonl")]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    run(table(tmp_path / "messages [1].csv", messages()))
    assert (tmp_path / "messages [1].dialogues.jsonl").is_file()


def test_what_the_user_says_of_columns_wins(tmp_path, capsys):
    rows = [["nr", "a", "b", "wer", "was"], ["1", "x", "2", "Ann", "later"], ["2", "x", "1", "Bob", "first"]]
    path = table(tmp_path / "odd.tsv", rows, delimiter="\t")
    assert "no column is called like the key of a conversation" in refused(path)
    assert "no column is called as if it said who speaks" in refused(path, "--by", "a")
    assert "no column is called like the text" in refused(path, "--by", "a", "--speaker", "wer")
    run(path, "--by", "a", "--speaker", "wer", "--text", "was", "--order", "b")
    assert written(tmp_path / "odd.dialogues.jsonl") == [{"id": "x", "dialogue": "Bob: first\nAnn: later"}]
    assert "guessed" not in capsys.readouterr().out


def test_a_name_that_is_the_same_throughout_does_not_say_who_speaks(tmp_path):
    rows = [["ticket_id", "name", "role", "message"], ["1", "Cy", "customer", "Hi"], ["1", "Cy", "agent", "Hello"]]
    run(table(tmp_path / "rows.csv", rows))
    (row,) = written(tmp_path / "rows.dialogues.jsonl")
    assert row == {"id": "1", "dialogue": "customer: Hi\nagent: Hello", "name": "Cy"}


@pytest.mark.parametrize(
    ("header", "values", "order"),
    [
        (["turn"], [["10"], ["9"]], "Bob Ann"),
        (["timestamp"], [["1714557600.5"], ["1714557599"]], "Bob Ann"),
        (["created_at"], [["2024-05-01 12:00 UTC"], ["2024-05-01T13:30+02:00"]], "Bob Ann"),
        (["time", "date"], [["09:00", "2024-05-02"], ["10:00", "2024-05-01"]], "Bob Ann"),
        (["sent_at"], [["2024-05-01"], ["2024-05-01"]], "Ann Bob"),  # ties stay
        (["sent_at"], [["05/02/2024"], ["05/01/2024"]], "Ann Bob"),  # whether the month comes first is not guessed
        (["sent_at"], [["01/02/2024"], ["13/01/2024"]], "Bob Ann"),
        (["sent_at"], [["02/01/2024 9:00"], ["01/13/2024 10:00"]], "Bob Ann"),
        (["sent_at"], [["13/02/2024"], ["01/13/2024"]], "Ann Bob"),
        (["sent_at"], [["07.02.2024 12:54"], ["08.01.2024 12:55:01"]], "Bob Ann"),
        (["sent_at"], [["01.02.2024"], ["31.1.2024"]], "Bob Ann"),
        (["sent_at"], [["2024/02/07 12:54"], ["2024/02/07 9:05"]], "Bob Ann"),
        (["sent_at"], [["07.02.2024, 12:54"], ["2024-02-07T12:53:00Z"]], "Bob Ann"),
        (["Gesendet um"], [["07.02.2024 12:54"], ["08.01.2024 12:55"]], "Bob Ann"),  # known by its values
        (["Uhrzeit"], [["10:05"], ["9:55"]], "Bob Ann"),
        (["Gesendet um", "Stand"], [["07.02.2024", "07.02.2024"], ["08.01.2024", "07.03.2024"]], "Ann Bob"),
        (["Punkte"], [["2"], ["1"]], "Ann Bob"),
        (["Notiz"], [["2024-05-02"], [""]], "Ann Bob"),
        (["updated_at"], [["2024-05-02"], ["2024-05-01"]], "Ann Bob"),
        (["message_id"], [["2"], ["1"]], "Ann Bob"),
    ],
)
def test_numbers_and_times_tell_the_order(tmp_path, header, values, order):
    rows = [["case_id", "from", "text", *header], ["1", "Ann", "x", *values[0]], ["1", "Bob", "y", *values[1]]]
    run(table(tmp_path / "rows.csv", rows))
    (row,) = written(tmp_path / "rows.dialogues.jsonl")
    assert [line.partition(":")[0] for line in row["dialogue"].splitlines()] == order.split()


@pytest.mark.parametrize(
    ("header", "values", "said"),
    [
        (
            ["Gesendet um"],
            ["07.02.2024 12:54", "07.02.2024 12:55"],
            "order       Gesendet um (guessed): 0 conversations",
        ),
        (
            ["sent_at"],
            ["05/02/2024", "06/02/2024"],
            "sent_at '05/02/2024' does not say whether the day or the month comes",
        ),
        (
            ["Zeit"],
            ["05/02/2024", "06/02/2024"],
            "Zeit '05/02/2024' does not say whether the day or the month comes first",
        ),
        (
            ["sent_at"],
            ["7 Feb", "8 Feb"],
            "sent_at '7 Feb' is neither a number nor a time as 2024-05-01 10:32; write it so",
        ),
        (["Zeit"], ["7 Feb 2:05 PM", "8 Feb 1:05 PM"], "Zeit '7 Feb 2:05 PM' is neither a number nor a time"),
        (["Zeit", "Stand"], ["10:32", "10:33"], "Zeit and Stand hold times; say which tells the order: --order COLUMN"),
        (["updated_at"], ["2024-05-02", "2024-05-01"], "updated_at holds times; if it tells the order: --order COLUMN"),
    ],
)
def test_a_report_warns_where_times_do_not_tell_the_order(tmp_path, capsys, header, values, said):
    rows = [["1", speaker, "x", *[value] * len(header)] for speaker, value in zip("AB", values, strict=True)]
    run(table(tmp_path / "rows.csv", [["case_id", "from", "text", *header], *rows]))
    out = capsys.readouterr().out
    assert said in out
    warned = "order       as in the file\n  warning     messages stand as in the file: " + said
    assert said.startswith("order") or warned in out


def test_typed_columns_of_parquet_are_read(tmp_path):
    import pyarrow
    import pyarrow.parquet

    times = [datetime.datetime(2024, 5, 1, 10, 2), datetime.datetime(2024, 5, 1, 10, 1), None]
    columns = {"chat_id": [1.0, 1.0, 2.0], "sender": ["Ann", "Bob", None], "sent_at": times, "body": ["b", "a", "c"]}
    columns["opened"] = [datetime.date(2024, 5, 1)] * 3
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "rows.parquet")
    answers = table(tmp_path / "answers.csv", [["chat_id", "summary"], ["1", "one"], ["2", "two"]])
    run(tmp_path / "rows.parquet", "--answers", answers)
    assert written(tmp_path / "rows.dialogues.jsonl") == [
        {"id": "1", "dialogue": "Bob: a\nAnn: b", "opened": "2024-05-01", "summary": "one"},
        {"id": "2", "dialogue": "c", "opened": "2024-05-01", "summary": "two"},
    ]


def test_authors_and_parts_in_json_lines_are_taken_apart(tmp_path):
    row = {"ticket_id": 3, "author": {"id": 7, "name": "Ann"}, "body": [{"type": "text", "text": "Hi"}], "tags": ["a"]}
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.write(json.dumps(row) + "\n" + json.dumps(row | {"author": None, "body": None}) + "\n")
    run(tmp_path / "rows.jsonl.gz")
    assert written(tmp_path / "rows.dialogues.jsonl") == [{"id": "3", "dialogue": "Ann: Hi", "tags": ["a"]}]


def test_what_is_wrong_is_one_line_and_leaves_nothing_behind(tmp_path, write_jsonl):
    path = table(tmp_path / "messages.csv", messages())
    before = set(tmp_path.iterdir())
    assert "--by sent: no such column" in refused(path, "--by", "sent")
    assert "--order text 'Where is it?' is neither a number nor a time" in refused(path, "--order", "text")
    assert "choose a name that ends with .jsonl" in refused(path, "--output", tmp_path / "out.csv")
    spaced = table(tmp_path / "spaced.csv", [["thread_id", "from", "text "], ["1", "Ann", "Hi"]])
    assert "--text text: no such column, did you mean 'text '?" in refused(spaced, "--text", "text")
    assert "--text was: no such column; it has thread_id, from, 'text '" in refused(spaced, "--text", "was")
    spaced.unlink()
    assert "no such file" in refused(path, "--answers", tmp_path / "none.csv")
    assert "no such file" in refused(tmp_path / "none.csv")
    assert set(tmp_path.iterdir()) == before
    blank = table(tmp_path / "blank.csv", messages(["m8", "", "Ann", "2024-05-01", "Hi", ""]))
    assert refused(blank).startswith(f"{blank}:8: conversation_id is blank, and tells which conversation it is")
    twice = table(tmp_path / "twice.csv", [["conversation_id", "summary"], ["c1", "a"], ["c1", "b"]])
    assert refused(path, "--answers", twice).startswith(
        f"{twice}:3: conversation_id c1 has another row already, {twice}:2"
    )
    other = table(tmp_path / "other.csv", [["id", "summary"], ["17", "a"]])
    assert "conversation_id is c1 there, and id is 17 here" in refused(path, "--answers", other)
    (tmp_path / "latin.csv").write_bytes(b"thread_id,from,text\n1,Ann,caf\xe9\n")
    assert "latin.csv:2: not UTF-8; save the file as UTF-8 (Excel: as CSV UTF-8" in refused(tmp_path / "latin.csv")
    half = write_jsonl(tmp_path / "half.jsonl", [{"thread_id": "a", "from": "Ann", "text": "oh \ud83d"}])
    assert "half.jsonl: conversation 'a' holds half a character" in refused(half)
    both = table(
        tmp_path / "both.csv", [["thread_id", "case_id", "from", "text"], ["1", "1", "A", "x"], ["1", "2", "B", "y"]]
    )
    run(both)  # case_id does not come again
    two = table(tmp_path / "two.csv", [*csv.reader(both.open()), ["2", "2", "B", "y"]])
    assert "thread_id and case_id may each name the conversations; say --by COLUMN" in refused(two)
    assert not {*tmp_path.glob("*.dialogues.jsonl"), *tmp_path.glob(".*")} - {tmp_path / "both.dialogues.jsonl"}
    assert "never overwritten" in refused(both)


def test_new_says_where_a_file_holds_single_messages(tmp_path, capsys):
    path = table(tmp_path / "messages.csv", messages())
    with pytest.raises(
        UserError, match=r"looks like one message a row .*; python -m t5x_tasks dialogues .* makes conv"
    ):
        main(["new", "talks", "--from", str(path)])
    main(["new", "talks", "--from", str(path), "--fields", "text=text,answer=sender"])  # where that is the task
    assert "answer <- sender" in capsys.readouterr().out
