"""`new`: from a file of rows to a card that trains and is scored, without a line of Python."""

import csv
import gzip
import json
import os
import random
import re
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml

from t5x_tasks.__main__ import main
from t5x_tasks.card_file import load_card
from t5x_tasks.configuration import DataConfig
from t5x_tasks.errors import UserError
from t5x_tasks.prepare import ensure_prepared
from t5x_tasks.sources import read_rows
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import source_of
from t5x_tasks.split import split_file

REPOSITORY = Path(__file__).parents[2]
NAMES = ("Ana", "Ben", "Chloe", "Dev")
THINGS = ("a refund", "the invoice", "two tickets")


def note_rows(count: int = 20) -> list[dict]:
    draw = random.Random(0)
    rows = []
    for number in range(count):
        (one, other), thing = draw.sample(NAMES, 2), draw.choice(THINGS)
        chat = f"{one}: I need {thing} by {number + 1} May.\n{other}: I will see what I can do today."
        rows.append({"case": number, "chat": chat, "recap": f"{one} asks {other} for {thing} by {number + 1} May."})
    return rows


@pytest.fixture
def notes(tmp_path, write_jsonl) -> Path:
    return write_jsonl(tmp_path / "notes.jsonl", note_rows())


@pytest.fixture
def tickets(tmp_path) -> Path:
    """A CSV as a spreadsheet writes it: semicolons, capitals and spaces in the header, line breaks in texts."""
    path = tmp_path / "tickets.csv"
    teams = ("delivery", "billing", "access")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Ticket ID", "Customer Message", "Team"])
        for number in range(20):
            text = (
                f'About {("my parcel", "a bill", "my password")[number % 3]}; "case {number}".\nPlease help me with it.'
            )
            writer.writerow([f"T{number}", text, teams[number % 3]])
    return path


def new(*arguments) -> None:
    main(["new", *map(str, arguments)])


def refused(*arguments) -> str:
    with pytest.raises(UserError) as error:
        new(*arguments)
    return str(error.value)


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
    assert "python -m t5x_tasks split" in out
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


def test_every_key_of_a_new_card_has_a_comment(notes):
    new("notes", "--from", notes)
    lines = (notes.parent / "notes.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line[0].isalpha() and not line.startswith("name:"):
            assert lines[number - 1].lstrip().startswith("#"), line
    assert any(line.startswith("# Or, in place of this list") for line in lines)
    assert "# GUESSED to be the answer: its name says so" in "\n".join(lines)


def test_a_csv_with_other_columns_becomes_a_classification_card_with_options(tickets):
    new("tickets", "--from", tickets)
    card = load_card(tickets.parent / "tickets.yaml")
    assert {f: str(s) for f, s in card.fields.items()} == {"customer_message": "Customer Message", "team": "Team"}
    assert (card.category, card.metrics) == ("classification", ("accuracy",))
    assert card.options is not None and card.options.choices == ("access", "billing", "delivery")
    assert card.source.model_dump()["delimiter"] == ";"


@pytest.mark.parametrize(
    ("row", "category", "metrics", "answer"),
    [
        (lambda i: {"review": f"I liked it {i} times over.", "stars": i % 5 + 1}, "rating", ("rating",), "stars"),
        (lambda i: {"premise": f"A {i}.", "hypothesis": f"It is {i}.", "label": "yn"[i % 2]}, "nli", ("accuracy",), "label"),
        (lambda i: {"question": f"What is {i}?", "answer": f"number {i}"}, "qa", ("squad",), "answer"),
        (lambda i: {"en": f"This is the text {i}.", "translation": f"Text {i}"}, "translation", ("bleu",), "translation"),
        (lambda i: {"a": f"word {i}", "b": f"many more words than {i}"}, "generation", ("exact_match",), "a"),
        (lambda i: {"body": f"An issue of {i} words.", "fixed": bool(i % 2)}, "classification", ("accuracy",), "fixed"),
    ],
)  # fmt: skip
def test_category_metric_and_answer_are_guessed(tmp_path, write_jsonl, row, category, metrics, answer):
    new("guessed", "--from", write_jsonl(tmp_path / "rows.jsonl", [row(i) for i in range(20)]))
    card = load_card(tmp_path / "guessed.yaml")
    assert (card.category, card.metrics) == (category, metrics)
    assert card.templates[0].targets == f"{{{answer}}}"


def test_what_the_user_says_wins_over_guesses(notes, tmp_path):
    output = tmp_path / "cards" / "mine.yaml"
    fields = "text=recap,story=chat"
    new("mine", "--from", notes, "--output", output, "--category", "generation", "--fields", fields, "--test", notes)
    card = load_card(output)
    assert card.category == "generation" and card.templates[0].targets == "{story}"
    assert card.source.model_dump()["test"] == ("../notes.jsonl",)


def test_several_right_answers_become_references(tmp_path, write_jsonl):
    rows = [{"question": f"What is {i}?", "answers": [f"number {i}", f"the {i}"]} for i in range(20)]
    new("asked", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    card = load_card(tmp_path / "asked.yaml")
    assert str(card.references) == "answers" and card.answer_field == "answers"


@pytest.mark.parametrize("kind", ["jsonl.gz", "parquet", "tsv"])
def test_other_formats(tmp_path, kind):
    path = tmp_path / f"notes.{kind}"
    rows = note_rows()
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "tsv":
        lines = [[str(value).replace("\n", " ") for value in row.values()] for row in rows]
        path.write_text("\n".join("\t".join(line) for line in [list(rows[0]), *lines]) + "\n")
    else:
        with gzip.open(path, "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    new("notes", "--from", path)
    assert load_card(tmp_path / "notes.yaml").metrics == ("rouge",)


@pytest.mark.parametrize(
    "column",
    [
        "w" * 2000,
        "How did it go, and " * 90 + "why?",
        "Größe des Texts",
        "要約 する",
        "yes",
        "null",
        "a: b # c",
        "x\ny",
        "{curly}",
        "1st",
        "options",
    ],
)
def test_columns_may_have_any_name(tmp_path, write_jsonl, column):
    rows = [{column: f"this is the number {i} of many words", "answer": f"it is {i}"} for i in range(5)]
    new("odd", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    fields = load_card(tmp_path / "odd.yaml").fields
    assert [spec.column for spec in fields.values()] == [column, "answer"]
    assert max(map(len, fields)) <= 40


def test_a_file_whose_first_line_is_a_row_is_suspected(tmp_path, capsys):
    rows = "".join(f"Ann: It is {i} and there is a lot more to say of it.\tAnn says {i}\n" for i in range(5))
    (tmp_path / "bare.tsv").write_text(rows)
    new("bare", "--from", tmp_path / "bare.tsv")
    assert "warning     the first line names the columns, and 'Ann: It is 0 and" in capsys.readouterr().out
    (tmp_path / "named.tsv").write_text("text\tanswer\n" + rows)
    new("named", "--from", tmp_path / "named.tsv")
    assert "warning" not in capsys.readouterr().out


def test_the_command_that_a_card_names_can_be_pasted(tmp_path, write_jsonl):
    rows = [{"text": f"this is the number {i} of many words", "answer": f"it is {i}"} for i in range(5)]
    new("odd", "--from", write_jsonl(tmp_path / "my rows; $HOME.jsonl", rows))
    (command,) = [line for line in (tmp_path / "odd.yaml").read_text().splitlines() if "t5x_tasks split" in line]
    assert shlex.split(command.partition("python -m ")[2]) == ["t5x_tasks", "split", "my rows; $HOME.jsonl"]


def test_answers_of_any_characters_are_choices_as_they_are(tmp_path, write_jsonl):
    labels = ('say "no"', "back\\slash", "\x85\u2028\x00🙂", "- yes: #1")
    rows = [{"body": f"this is the number {i}", "label": labels[i % 4]} for i in range(20)]
    new("odd", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    options = load_card(tmp_path / "odd.yaml").options
    assert options is not None and set(options.choices or ()) == set(labels)
    half = [{"body": f"number {i} of many", "label": "ab\ud800"[i % 3]} for i in range(9)]
    assert "half a character" in refused("half", "--from", write_jsonl(tmp_path / "half.jsonl", half))
    assert "half a character" in refused("x", "--from", write_jsonl(tmp_path / "x.jsonl", [{"a\ud800": 1, "b": 2}]))


def test_nothing_is_overwritten_and_what_is_wrong_is_one_line(notes, tmp_path, write_jsonl):
    new("notes", "--from", notes)
    assert "never overwritten" in refused("notes", "--from", notes)
    assert "choose another" in refused("samsum", "--from", notes)
    assert "no such file" in refused("x", "--from", tmp_path / "none.jsonl")
    assert "did you mean chat?" in refused("x", "--from", notes, "--fields", "a=chats,b=recap")
    assert "is not FIELD=COLUMN" in refused("x", "--from", notes, "--fields", "a:chat")
    assert "its name must end with" in refused("x", "--from", write_jsonl(tmp_path / "rows.txt", [{}]))
    lonely = write_jsonl(tmp_path / "lonely.jsonl", [{"text": f"only {i}"} for i in range(3)])
    assert "needs one column to ask about and one with the answer" in refused("x", "--from", lonely)
    other = write_jsonl(tmp_path / "test.jsonl", [{"chat": "a"}])
    assert "no key 'recap'" in refused("x", "--from", notes, "--test", other)
    (tmp_path / "x.csv").write_text("chat,recap\na,b\n")
    assert "all splits of a card have one format" in refused("z", "--from", notes, "--test", tmp_path / "x.csv")


def test_a_card_that_fails_its_check_does_not_stay(notes, tmp_path, write_jsonl, capsys):
    test = write_jsonl(tmp_path / "test.jsonl", [{"chat": "a"}])
    for _ in range(2):
        assert "test.jsonl:1: no key 'recap'" in refused("notes", "--from", notes, "--test", test)
    assert "wrote" not in capsys.readouterr().out
    assert not (tmp_path / "notes.yaml").exists()
    new("notes", "--from", notes)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_new_card_is_prepared(kind, notes, tickets, tmp_path, vocabulary):
    file = notes if kind == "jsonl" else tickets
    new("fresh", "--from", file)
    data = DataConfig(cards=(str(tmp_path / "fresh.yaml"),), cache=str(tmp_path / "cache"))
    prepared = ensure_prepared("fresh", "train", data=data, vocabulary=vocabulary)
    assert {len(entry.open()) for entry in prepared} == {20}
    assert len(prepared) == (8 if kind == "jsonl" else 24)  # three styles of options


def command_of(out: str, beginning: str) -> list[str]:
    """The command that `new` printed."""
    (line,) = [line.strip() for line in out.splitlines() if line.strip().startswith(f"python -m {beginning}")]
    return shlex.split(line)[1:]


def test_a_csv_is_trained_and_evaluated_by_the_commands_that_new_prints(tickets, tmp_path, capsys, vocabulary_path):
    new("tickets", "--from", tickets)
    out = capsys.readouterr().out
    tiny = {
        "run_dir": "none",
        "model": {
            "preset": "t5-tiny", "vocabulary": str(vocabulary_path), "emb_dim": 16, "mlp_dim": 16,
            "num_heads": 2, "head_dim": 8, "num_encoder_layers": 1, "num_decoder_layers": 1,
        },
        "data": {"lengths": {"inputs": 96, "targets": 16}},
        "train": {"steps": 2, "batch_size": 4},
        "eval": {"decode": {"type": "greedy", "max_tokens": 4}, "bootstrap_samples": 10},
        "logging": {"tensorboard": False},
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    train = command_of(out, "train")
    train[train.index("configs/dialogsum_flan_t5_base.yaml")] = str(tmp_path / "tiny.yaml")
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)}
    for command in (train, command_of(out, "eval")):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    steps = [json.loads(line)["step"] for line in (tmp_path / "runs/tickets/metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 2
    metrics = json.loads((tmp_path / "runs/tickets/eval/2/metrics.json").read_text())
    assert metrics["split"] == "train"
    assert metrics["tasks"].keys() == {"tickets", "tickets.heldout"}
    assert metrics["tasks"]["tickets"]["n"] == 20 and "accuracy" in metrics["tasks"]["tickets"]["metrics"]


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


def test_a_card_that_cannot_be_written_is_refused_before_a_row_is_read(tmp_path, notes, monkeypatch):
    monkeypatch.setattr("t5x_tasks.commands.new_card.look_at", lambda _: pytest.fail("a row was read"))
    (tmp_path / "file").touch()
    said = refused("notes", "--from", notes, "--output", tmp_path / "file" / "notes.yaml")
    assert said == f"--output: {tmp_path / 'file'}: cannot be written (File exists); choose another"


def test_splits_that_a_disk_has_no_room_for_are_not_left_half_written(notes, monkeypatch):
    def fill_up(path, kind, files, *_):
        files["train"].write_text("half")
        with Path("/dev/full").open("w") as file:
            file.write("x")

    monkeypatch.setattr("t5x_tasks.split._write", fill_up)
    with pytest.raises(OSError, match=f"No space left on device: '{notes.parent}'"):
        split_file(notes, {"validation": 0.1, "test": 0.1})
    assert list(notes.parent.iterdir()) == [notes]
