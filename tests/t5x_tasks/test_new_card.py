"""`new`: from a file of rows to a card that trains and is scored, without a line of Python."""

import csv
import gzip
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.new_card import NAMES, new, note_rows, refused

from t5x_tasks.card.load import load_card
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.sources import read_rows

REPOSITORY = Path(__file__).parents[2]


TICKET = "text=Customer Message,label=Team"
DIALOGUE = "Ana: My order 0 is late.\nbot: Please wait. An agent will come.\nBen: It comes tomorrow."


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
        rows.append({"case": number, "chat": messages, "summary": f"{one} asks {other} for order {number}."})
    return rows


def test_usual_names_make_a_summarization_card(notes, capsys):
    new("notes", "--from", notes)
    out = capsys.readouterr().out
    card = load_card(notes.parent / "notes.yaml")
    assert {field: str(spec) for field, spec in card.fields.items()} == {"dialogue": "chat", "summary": "summary"}
    assert (card.category, card.metrics) == ("summarization", ("rouge",))
    assert len(card.pool()) >= 3 and len(card.pool("heldout")) == 2
    assert card.source.model_dump()["train"] == ("notes.jsonl",)
    assert "inputs      dialogue <- chat\n  target      summary <- summary\n" in out and "not used    case" in out
    assert "\nok\n" in out  # of `check`
    assert "  split: {validation: 0.1, test: 0.1}\n" in out
    assert f"python -m t5x_tasks preview notes --cards {notes.parent / 'notes.yaml'}" in out


def test_named_columns_make_a_classification_card_with_options(tickets):
    new("tickets", "--from", tickets, "--fields", TICKET)
    card = load_card(tickets.parent / "tickets.yaml")
    assert {f: str(s) for f, s in card.fields.items()} == {"text": "Customer Message", "label": "Team"}
    assert (card.category, card.metrics) == ("classification", ("accuracy",))
    assert card.options is not None and card.options.choices == ("access", "billing", "delivery")
    assert card.source.model_dump()["delimiter"] == ";"


@pytest.mark.parametrize(
    ("row", "category", "metrics", "target"),
    [
        (lambda i: {"Review": f"I liked it {i} times.", "Stars": i % 5 + 1}, "rating", ("rating",), "stars"),
        (lambda i: {"text": f"It is {i}.", "rating": i % 11}, "classification", ("accuracy",), "rating"),
        (lambda i: {"premise": f"A {i}.", "hypothesis": f"It is {i}.", "label": "yn"[i % 2]}, "nli", ("accuracy",), "label"),
        (lambda i: {"question": f"What is {i}?", "answer": f"number {i}"}, "qa", ("squad",), "answer"),
        (lambda i: {"text": f"This is the text {i}.", "translation": f"Text {i}"}, "translation", ("bleu",), "translation"),
        (lambda i: {"input": f"word {i}", "output": f"many more words than {i}"}, "generation", ("rouge",), "output"),
        (lambda i: {"text": f"An issue of {i} words.", "LABEL": bool(i % 2)}, "classification", ("accuracy",), "label"),
    ],
)  # fmt: skip
def test_category_and_metric_go_by_the_names_of_the_fields(tmp_path, write_jsonl, row, category, metrics, target):
    new("usual", "--from", write_jsonl(tmp_path / "rows.jsonl", [row(i) for i in range(22)]))
    card = load_card(tmp_path / "usual.yaml")
    assert (card.category, card.metrics) == (category, metrics)
    assert card.templates[0].targets == f"{{{target}}}"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"verlauf": "a", "summary": "b"}, "none is called like the input (dialogue, dialog, conversation, chat, "),
        ({"chat": "a", "fazit": "b"}, "none is called like the target (summary, label, sentiment, "),
        ({"chat": "a", "text": "b", "summary": "c"}, "chat, text may each be the input"),
        ({"chat": "a", "summary": "b", "label": "c"}, "summary, label may each be the target"),
        ({"Chat": "a", "chat": "b", "summary": "c"}, "Chat, chat may each be the input"),
        ({"case": 1, "speaker": "a", "text": "b", "label": "c"}, "speaker looks like one message per row"),
    ],
)  # fmt: skip
def test_what_names_do_not_tell_is_asked(tmp_path, write_jsonl, row, why):
    path = write_jsonl(tmp_path / "rows.jsonl", [row] * 3)
    said = refused("x", "--from", path)
    assert said.startswith(f"{path}: has the columns {', '.join(row)}; {why}")
    assert said.endswith("name the inputs and, last, the target: --fields text=COLUMN,label=COLUMN")
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "json in csv", "pandas in csv"])
def test_lists_of_messages_become_text(tmp_path, write_jsonl, capsys, kind):
    rows = chats()
    if kind == "jsonl":
        rows[3]["chat"], rows[7]["chat"] = [], None
        path = write_jsonl(tmp_path / "chats.jsonl", rows)
    elif kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        path = tmp_path / "chats.parquet"
        for row in rows:
            row["chat"][2]["content"] = "It comes tomorrow."  # a column has one type
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        cell = json.dumps if kind.startswith("json") else repr
        path = tmp_path / "chats.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["chat", "summary"], *([cell(row["chat"]), row["summary"]] for row in rows)])
    new("chats", "--from", path)
    assert ("2 with an empty field (left out of training): train-3, train-7" in capsys.readouterr().out) == (
        kind == "jsonl"
    )
    first = read_rows(load_card(tmp_path / "chats.yaml"), "train")[0]
    assert first.fields == {"dialogue": DIALOGUE, "summary": "Ana asks Ben for order 0."}


def test_a_list_of_lines_is_a_dialogue(tmp_path, write_jsonl):
    rows = [{"dialogue": [f"Ann: Where is {i}?", "Bob: Here."], "summary": f"Bob has {i}."} for i in range(6)]
    new("lines", "--from", write_jsonl(tmp_path / "lines.jsonl", rows))
    assert (
        read_rows(load_card(tmp_path / "lines.yaml"), "train")[1].fields["dialogue"] == "Ann: Where is 1?\nBob: Here."
    )


@pytest.mark.parametrize(
    "text", ["[link] see \\d", "{curly} words", "[" * 5000, "['\\d', 'x']", "[1, 2]", '[{"wer": "Ann"}]']
)
def test_texts_that_only_look_like_lists_are_texts(tmp_path, write_jsonl, text):
    rows = [{"text": text, "summary": f"So it is {number}."} for number in range(3)]
    new("odd", "--from", write_jsonl(tmp_path / "odd.jsonl", rows))
    assert str(load_card(tmp_path / "odd.yaml").fields["text"]) == "text"


def test_messages_of_other_keys_are_named_by_the_user(tmp_path, write_jsonl):
    rows = [{"chat": [{"wer": "Ann", "was": f"Order {i}?"}], "summary": f"So {i}."} for i in range(6)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    said = refused("x", "--from", path)
    assert said.startswith(
        f"{path}: chat: of the keys wer, was none is known to be the text; name the keys: --fields dialogue=chat.S"
    )
    new("calls", "--from", path, "--fields", "dialogue=chat.wer+chat.was,summary=summary")
    card = load_card(tmp_path / "calls.yaml")
    assert card.category == "summarization" and str(card.fields["dialogue"]) == "turns(chat.wer, chat.was)"
    assert read_rows(card, "train")[0].fields["dialogue"] == "Ann: Order 0?"


def test_columns_may_hold_a_plus_or_a_key(tmp_path, write_jsonl):
    rows = [{"a+b": row["chat"], "a": "x", "b": "y", "of": {"us": row["summary"]}} for row in note_rows()]
    new("notes", "--from", write_jsonl(tmp_path / "rows.jsonl", rows), "--fields", "dialogue=a+b,summary=of.us")
    assert [spec.column for spec in load_card(tmp_path / "notes.yaml").fields.values()] == ["a+b", "of.us"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("a=chats,b=summary", "--fields a=chats: no such column, did you mean chat?"),
        ("a:chat", "'a:chat' is not FIELD=COLUMN"),
        ("a=chat", "name two or more, the target last"),
        ("a=log.by+log.saidd,b=summary", "rows.jsonl:1: no key 'log.saidd' (field a of x), did you mean log.said?"),
        ("a=log.by+,b=summary", "--fields a=log.by+: no such column"),
        ("a=log.by+log.said+chat,b=summary", "--fields a=log.by+log.said+chat: no such column"),
    ],
)
def test_wrong_fields_are_one_line(tmp_path, write_jsonl, fields, said):
    rows = [{"log": [{"by": "Ann", "said": "Hi"}], **row} for row in note_rows()]
    assert said in (found := refused("x", "--from", write_jsonl(tmp_path / "rows.jsonl", rows), "--fields", fields))
    assert "\n" not in found and not (tmp_path / "x.yaml").exists()


def test_what_the_user_says_wins(notes, tmp_path):
    output = tmp_path / "cards" / "mine.yaml"
    fields = "text=summary,story=chat"
    new("mine", "--from", notes, "--output", output, "--category", "reasoning", "--fields", fields, "--test", notes)
    card = load_card(output)
    assert card.category == "reasoning" and card.templates[0].targets == "{story}"
    assert card.source.model_dump()["test"] == ("../notes.jsonl",)


def test_a_list_of_answers_is_several_right_ones(tmp_path, write_jsonl):
    rows = [{"question": f"What is {i}?", "answers": [f"number {i}", f"the {i}"]} for i in range(20)]
    new("asked", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    card = load_card(tmp_path / "asked.yaml")
    assert read_rows(card, "train")[0].references == ("number 0", "the 0")


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
    ["w" * 2000, "Größe des Texts", "要約 する", "yes", "null", "a: b # c", "x\ny", "{curly}", "1st", "options"],
)
def test_columns_may_have_any_name(tmp_path, write_jsonl, column):
    rows = [{column: f"this is the number {i} of many words", "answer": f"it is {i}"} for i in range(5)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    assert "\n" not in refused("odd", "--from", path)
    new("odd", "--from", path, "--fields", f"text={column},answer=answer")
    assert [spec.column for spec in load_card(tmp_path / "odd.yaml").fields.values()] == [column, "answer"]


def test_answers_of_any_characters_are_choices_as_they_are(tmp_path, write_jsonl):
    labels = ('say "no"', "back\\slash", "\x85\u2028\x00🙂", "- yes: #1")
    rows = [{"text": f"this is the number {i}", "label": labels[i % 4]} for i in range(20)]
    new("odd", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    options = load_card(tmp_path / "odd.yaml").options
    assert options is not None and set(options.choices or ()) == set(labels)
    half = [{"text": f"number {i} of many", "label": "ab\ud800"[i % 3]} for i in range(9)]
    assert "half a character" in refused("half", "--from", write_jsonl(tmp_path / "half.jsonl", half))


def test_nothing_is_overwritten_and_what_is_wrong_is_one_line(notes, tmp_path, write_jsonl):
    new("notes", "--from", notes)
    assert "never overwritten" in refused("notes", "--from", notes)
    assert "choose another" in refused("samsum", "--from", notes)
    assert "no such file" in refused("x", "--from", tmp_path / "none.jsonl")
    assert "its name must end with" in refused("x", "--from", write_jsonl(tmp_path / "rows.txt", [{}]))
    other = write_jsonl(tmp_path / "test.jsonl", [{"chat": "a"}])
    assert "no key 'summary'" in refused("x", "--from", notes, "--test", other)
    (tmp_path / "x.csv").write_text("chat,summary\na,b\n")
    assert "all splits of a card have one format" in refused("z", "--from", notes, "--test", tmp_path / "x.csv")


def test_a_card_that_fails_its_check_does_not_stay(notes, tmp_path, write_jsonl, capsys):
    test = write_jsonl(tmp_path / "test.jsonl", [{"chat": "a"}])
    for _ in range(2):
        assert "test.jsonl:1: no key 'summary'" in refused("notes", "--from", notes, "--test", test)
    assert "wrote" not in capsys.readouterr().out
    assert not (tmp_path / "notes.yaml").exists()
    new("notes", "--from", notes)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_new_card_is_prepared(kind, notes, tickets, tmp_path, vocabulary):
    file = notes if kind == "jsonl" else tickets
    new("fresh", "--from", file, *(() if kind == "jsonl" else ("--fields", TICKET)))
    data = DataConfig(cards=(str(tmp_path / "fresh.yaml"),), cache=str(tmp_path / "cache"))
    prepared = ensure_prepared("fresh", "train", data=data, vocabulary=vocabulary)
    assert {len(entry.open()) for entry in prepared} == {20}
    assert len(prepared) == (8 if kind == "jsonl" else 24)  # three styles of options


def command_of(out: str, beginning: str) -> list[str]:
    """The command that `new` printed."""
    (line,) = [line.strip() for line in out.splitlines() if line.strip().startswith(f"python -m {beginning}")]
    return shlex.split(line)[1:]


def test_a_csv_is_trained_and_evaluated_by_the_commands_that_new_prints(tickets, tmp_path, capsys, vocabulary_path):
    new("tickets", "--from", tickets, "--fields", TICKET)
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


def test_a_card_that_cannot_be_written_is_refused_before_a_row_is_read(tmp_path, notes, monkeypatch):
    monkeypatch.setattr("t5x_tasks.commands.new_card.read_file", lambda *_: pytest.fail("a row was read"))
    (tmp_path / "file").touch()
    said = refused("notes", "--from", notes, "--output", tmp_path / "file" / "notes.yaml")
    assert said == f"--output: {tmp_path / 'file'}: cannot be written (File exists); choose another"
