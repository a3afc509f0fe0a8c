"""`new`: from a file of rows to a card that trains and is scored, without a line of Python."""

import gzip
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.new_card import new, note_rows, refused

from t5x_tasks.card.load import load_card
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared

REPOSITORY = Path(__file__).parents[2]


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


def test_the_cut_that_a_card_offers_can_be_taken(tmp_path, write_jsonl):
    rows = [{"text": f"this is the number {i} of many words", "answer": f"it is {i}"} for i in range(60)]
    new("odd", "--from", write_jsonl(tmp_path / "rows.jsonl", rows))
    card = tmp_path / "odd.yaml"
    card.write_text(card.read_text().replace("\n# split: ", "\nsplit: "))
    assert load_card(card).splits == ("train", "validation", "test")


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


def test_a_card_that_cannot_be_written_is_refused_before_a_row_is_read(tmp_path, notes, monkeypatch):
    monkeypatch.setattr("t5x_tasks.commands.new_card.look_at", lambda _: pytest.fail("a row was read"))
    (tmp_path / "file").touch()
    said = refused("notes", "--from", notes, "--output", tmp_path / "file" / "notes.yaml")
    assert said == f"--output: {tmp_path / 'file'}: cannot be written (File exists); choose another"
