"""`new`: which columns are asked about, which is the answer, and why others are not used."""

import csv
import json
import unicodedata

import pytest
from helpers.new_card import new, note_rows, refused

from t5x_tasks.card.load import load_card
from t5x_tasks.sources import read_rows


def test_a_running_number_is_not_taken_for_the_answer(tmp_path, write_jsonl, capsys):
    rows = [
        {
            "nr": n,
            "talk": f"Ana: Order {n} is late, is it not?\nBen: Yes, by a day.",
            "what_came": f"Order {n} is late.",
        }
        for n in range(20)
    ]
    new("calls", "--from", write_jsonl(tmp_path / "calls.jsonl", rows))
    shown = capsys.readouterr().out
    assert "answer      what_came <- what_came" in shown
    assert "not used    nr: is one word" in shown


@pytest.mark.parametrize("rows", [20, 200])
def test_a_number_of_the_ticket_is_not_taken_for_the_answer_however_many_there_are(tmp_path, write_jsonl, capsys, rows):
    tickets = [
        {"reg": f"V-{n}", "talk": f"Ana: Order {n} is late, is it not?\nBen: Yes.", "what_came": f"Order {n} is late."}
        for n in range(rows)
    ]
    new("calls", "--from", write_jsonl(tmp_path / "calls.jsonl", tickets))
    shown = capsys.readouterr().out
    assert "answer      what_came <- what_came" in shown
    assert "not used    reg: is one word" in shown


@pytest.mark.parametrize(
    ("answer", "of"),
    [("name", 3), ("name", 150), ("answer", 200)],  # few labels, many that come again, and another one in every row
)
def test_answers_of_one_word_are_found_among_many_rows(tmp_path, write_jsonl, answer, of):
    rows = [
        {"place": f"We are in room {n}.", "query": f"Who is it that we saw in room {n}?", answer: _word(n % of)}
        for n in range(200)
    ]
    new("who", "--from", write_jsonl(tmp_path / "who.jsonl", rows))
    assert load_card(tmp_path / "who.yaml").templates[0].targets == f"{{{answer}}}"


def _word(number: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in f"{number:03}")


def test_a_file_of_chats_becomes_a_summarization_card(notes, capsys):
    new("notes", "--from", notes)
    out = capsys.readouterr().out
    card = load_card(notes.parent / "notes.yaml")
    assert {field: str(spec) for field, spec in card.fields.items()} == {"dialogue": "chat", "summary": "recap"}
    assert (card.category, card.metrics) == ("summarization", ("rouge",))
    assert len(card.pool()) >= 3 and len(card.pool("heldout")) == 2
    assert card.source.model_dump()["train"] == ("notes.jsonl",)
    assert "not used    case" in out and "\n# id: case  " in (notes.parent / "notes.yaml").read_text()
    assert "\nok\n" in out  # of `check`
    assert "remove the # before `split:` in the card" in out
    assert f"python -m t5x_tasks preview notes --cards {notes.parent / 'notes.yaml'}" in out


@pytest.mark.parametrize(
    ("chat", "recap"),
    [
        ("Chat Text", "Agent Summary"),
        ("conversation", "summary_text"),
        ("Transcript", "Summary"),
        ("chatLog", "TL;DR recap"),
    ],
)
def test_columns_of_chats_and_summaries_are_known_by_their_last_word(tmp_path, write_jsonl, chat, recap):
    rows = [{"Topic": "ab"[i % 2], chat: row["chat"], recap: row["recap"]} for i, row in enumerate(note_rows())]
    new("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    card = load_card(tmp_path / "notes.yaml")
    assert {field: str(spec) for field, spec in card.fields.items()} == {"dialogue": chat, "summary": recap}
    assert card.category == "summarization"


@pytest.mark.parametrize(
    ("chat", "recap"),
    [
        ("Gesprächsverlauf", "Zusammenfassung"),
        ("GESPRAECH", "kurzfassung"),
        ("conversación", "resumen"),
        ("dialogo", "Resumen_Final Resumen"),
        ("Conversation", "Résumé"),
        ("conversation", unicodedata.normalize("NFD", "résumé")),
    ],
)
def test_columns_of_chats_and_summaries_are_known_in_other_languages(tmp_path, write_jsonl, capsys, chat, recap):
    rows = [{"Score": i % 2, chat: row["chat"], recap: row["recap"]} for i, row in enumerate(note_rows())]
    new("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    card = load_card(tmp_path / "notes.yaml")
    assert {field: str(spec) for field, spec in card.fields.items()} == {"dialogue": chat, "summary": recap}
    assert card.category == "summarization"
    assert "  wordings    English, and these names are not: " in capsys.readouterr().out


def test_only_names_of_other_languages_are_told_that_wordings_are_english(notes, capsys):
    new("notes", "--from", notes)
    assert "  wordings" not in capsys.readouterr().out


def test_a_career_is_no_summary(tmp_path, write_jsonl):
    rows = [{"Resume": row["chat"], "Category": "ab"[i % 2]} for i, row in enumerate(note_rows())]
    new("careers", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    assert load_card(tmp_path / "careers.yaml").templates[0].targets == "{category}"


def test_a_column_that_has_the_better_name_keeps_it(tmp_path, write_jsonl):
    rows = [
        {"Customer Chat": row["chat"], "dialogue": row["chat"], "old_summary": row["recap"], "summary": row["recap"]}
        for row in note_rows()
    ]
    new("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    fields = load_card(tmp_path / "notes.yaml").fields
    assert list(fields) == ["customer_chat", "dialogue", "old_summary", "summary"]


def foreign_rows(count: int = 20) -> list[dict]:
    """Chats as lists of objects whose keys nobody could guess."""
    rows = []
    for number, row in enumerate(note_rows(count)):
        lines = [line.partition(": ") for line in row["chat"].splitlines()]
        chat = [{"wer": who, "was": said} for who, _, said in lines]
        rows.append({"vorgang": f"V-{number}", "verlauf": chat, "fazit": row["recap"]})
    return rows


def test_columns_that_are_not_understood_are_refused_with_the_reason(tmp_path, write_jsonl):
    said = refused("x", "--from", write_jsonl(tmp_path / "rows.jsonl", foreign_rows()))
    assert "needs one column to ask about and one with the answer, and has fazit (20 different, " in said
    assert "not used: vorgang: is one word, and another one in every row" in said
    assert (
        "not used: verlauf: holds lists, and the transform turns does not know them for messages: of the keys wer, was"
        in said
    )
    assert "name both in the card" not in said  # there is none
    assert said.endswith("--fields dialogue=verlauf.SPEAKER+verlauf.TEXT,answer=COLUMN") and "\n" not in said


@pytest.mark.parametrize(
    ("column", "words"), [("chat", "a much longer subject than what the answer says " * 3), ("x", "late order")]
)
def test_a_dialogue_that_is_not_understood_is_not_left_out_of_the_card(tmp_path, write_jsonl, column, words):
    rows = [
        {"subject": f"{words} {n}", column: row["verlauf"], "recap": row["fazit"]}
        for n, row in enumerate(foreign_rows())
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    said = refused("rows", "--from", path)
    assert said.startswith(f"{path}: {column} seems to be the dialogue, and holds lists, and the transform turns")
    assert said.endswith(f"--fields dialogue={column}.SPEAKER+{column}.TEXT,summary=recap")
    assert not (tmp_path / "rows.yaml").exists()


def test_two_keys_of_messages_are_a_field(tmp_path, write_jsonl, capsys):
    path = write_jsonl(tmp_path / "rows.jsonl", foreign_rows())
    new("calls", "--from", path, "--fields", "dialogue=verlauf.wer+verlauf.was,summary=fazit")
    assert "asked       dialogue <- verlauf.wer+verlauf.was (20 different, " in (out := capsys.readouterr().out)
    assert "not used    vorgang: not named" in out and "not used    verlauf" not in out
    card = load_card(tmp_path / "calls.yaml")
    assert card.category == "summarization" and str(card.fields["dialogue"]) == "turns(verlauf.wer, verlauf.was)"
    assert read_rows(card, "train")[0].fields["dialogue"] == note_rows()[0]["chat"]


def test_a_key_inside_a_column_is_a_field(tmp_path, write_jsonl):
    rows = [{"chat": row["chat"], "of": {"us": row["recap"]}} for row in note_rows()]
    new("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows), "--fields", "dialogue=chat,summary=of.us")
    assert load_card(tmp_path / "notes.yaml").fields["summary"].column == "of.us"


def test_a_plus_in_the_name_of_a_column_is_a_plus(tmp_path, write_jsonl):
    rows = [{"a+b": row["chat"], "a": "x", "b": row["recap"]} for row in note_rows()]
    new("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows), "--fields", "dialogue=a+b,summary=b")
    assert load_card(tmp_path / "notes.yaml").fields["dialogue"].column == "a+b"


@pytest.mark.parametrize(
    ("dialogue", "expected"),
    [
        (
            "verlauf.wer+verlauf.wie",
            "l:1: no key 'verlauf.wie' (field dialogue, of --fields), did you mean verlauf.wer?",
        ),
        ("verlauff.wer+verlauf.was", "--fields dialogue=verlauff.wer+verlauf.was: no such column"),
        ("verlauf.wer+verlauf.was+fazit", "a dialogue is made of two, as dialogue=COLUMN.SPEAKER+COLUMN.TEXT"),
        ("verlauf.wer+", "no such column"),
        ("verlauf.wer+fazit", "rows.jsonl:1: field dialogue, of --fields: turns: "),
    ],
)
def test_keys_that_are_not_there_are_named(tmp_path, write_jsonl, dialogue, expected):
    path = write_jsonl(tmp_path / "rows.jsonl", foreign_rows())
    assert expected in refused("x", "--from", path, "--fields", f"dialogue={dialogue},summary=fazit")


def test_messages_as_json_in_a_csv_that_are_not_understood_are_warned_of(tmp_path, capsys):
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["verlauf", "fazit"])
        writer.writerows([json.dumps(row["verlauf"]), row["fazit"]] for row in foreign_rows())
    new("calls", "--from", tmp_path / "rows.csv")
    assert "warning     verlauf is left as JSON: of the keys wer, was none is known to be" in capsys.readouterr().out


def test_other_lists_of_objects_beside_a_dialogue_are_left_out(tmp_path, write_jsonl, capsys):
    rows = [{**row, "files": [{"size": 5}]} for row in note_rows()]
    new("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    assert "not used    files: holds lists, and" in capsys.readouterr().out


def test_a_column_without_a_text_is_called_empty(tmp_path, write_jsonl, capsys):
    rows = [{"chat": row["chat"], "note": row["recap"], "recap": " " * (i % 2)} for i, row in enumerate(note_rows())]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    new("notes", "--from", path)
    assert "not used    recap: is empty in every row" in capsys.readouterr().out
    for row in rows:
        del row["note"]
    assert "recap: is empty in every row" in refused("x", "--from", write_jsonl(path, rows))


@pytest.mark.parametrize("column", ["chat", "recap"])
def test_null_is_as_good_as_an_empty_text(tmp_path, write_jsonl, capsys, column):
    rows = [*note_rows(), {**note_rows()[0], "case": 20, column: None}]
    new("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    assert "1 with an empty field (left out of training): train-20" in capsys.readouterr().out
    assert list(load_card(tmp_path / "notes.yaml").fields) == ["dialogue", "summary"]


def test_a_column_that_rows_lack_is_refused_with_what_to_write(tmp_path, write_jsonl):
    rows = [*note_rows(), {"chat": note_rows()[0]["chat"]}]
    said = refused("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    assert "recap: 1 of 21 rows do not have it (null or an empty text would do)" in said
