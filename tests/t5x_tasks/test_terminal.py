"""Text of data, cards and file names is shown on a terminal, which never obeys it."""

import io
import json
import sys

import pytest
from helpers.command import command

from eval.report.summary import main as summary
from t5x_tasks.common.errors import Failure, run_cli

# Sets the window's title, clears the screen, colours, goes back to the line's begin; also with C1's one-byte forms, and DEL.
HOSTILE = "before\x1b]0;owned\x07\x1b[2J\x9b31m\r\x7f\x08after"
SHOWN = r"before\x1b]0;owned\x07\x1b[2J\x9b31m\x0d\x7f\x08after"


def is_plain(text: str) -> bool:
    return all(char in "\n\t" or not (char < " " or "\x7f" <= char <= "\x9f") for char in text)


@pytest.fixture
def card(make_card):
    rows = [{"id": HOSTILE, "dialogue": f"Ann: {HOSTILE}\n\tBob: Yes.", "summary": f"{HOSTILE}."}] * 1
    return make_card(rows=rows, test_rows=rows, description=HOSTILE)


@pytest.mark.parametrize("arguments", [("preview", "tiny", "-n", "1"), ("show", "tiny")])
def test_what_a_command_prints_of_data_and_cards_holds_no_control_character(card, arguments):
    ended = command("t5x_tasks", *arguments, "--cards", str(card))
    assert ended.returncode == 0, ended.stderr
    assert SHOWN in ended.stdout and is_plain(ended.stdout + ended.stderr)
    if arguments[0] == "preview":
        assert "\n\tBob: Yes." in ended.stdout, "line breaks and tabs stay"


def test_check_and_its_errors_hold_none(make_card):
    rows = [{"id": HOSTILE, "dialogue": "x", "summary": "y"}] * 2
    ended = command("t5x_tasks", "check", str(make_card(rows=rows)))
    assert ended.returncode == 2 and "before" in ended.stderr and is_plain(ended.stdout + ended.stderr)


@pytest.mark.parametrize("error", [ValueError, Failure])
def test_the_name_of_a_file_is_escaped_in_an_error(error, capsys, monkeypatch, tmp_path):
    def act(_):
        if error is Failure:
            raise Failure(f"{HOSTILE}: is not there")
        (tmp_path / HOSTILE).write_text("")
        (tmp_path / HOSTILE / "x").mkdir()

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit):
        run_cli(act)
    said = capsys.readouterr().err
    assert SHOWN.partition(r"\x0d")[0] in said and is_plain(said)


def test_the_summary_of_a_run_shows_hostile_answers(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run" / "eval" / "0"
    (folder / "tiny").mkdir(parents=True)
    row = {"id": HOSTILE, "inputs": HOSTILE, "prediction": HOSTILE, "references": [HOSTILE], "scores": {"rougeL": 1.0}}
    (folder / "tiny" / "predictions.jsonl").write_text(json.dumps(row) + "\n")
    score = {"value": 1.0, "ci_low": 0.0, "ci_high": 2.0}
    result = {"step": 0, "split": "test", "tasks": {"tiny": {"n": 1, "metrics": {"rougeL": score}}}}
    (folder / "metrics.json").write_text(json.dumps(result))
    monkeypatch.setattr("sys.argv", ["summary", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        run_cli(summary)
    out = capsys.readouterr().out
    assert ended.value.code == 0 and r"\x1b]0;owned\x07" in out and is_plain(out)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_on_a_terminal_keeps_its_own_colours_and_shows_those_of_the_data(make_card, monkeypatch):
    from t5x_tasks.commands.describe import print_rows

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "argv", ["command"])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        run_cli(lambda _: print_rows([("name", "text"), ("a", f"[bold]{HOSTILE}")]))
    shown = terminal.getvalue()
    assert SHOWN in shown and "\x1b]" not in shown and "\x9b" not in shown
    assert "\x1b[1m" in shown, "the header is bold"
    assert sys.stdout is terminal, "what was there before is there again"


def test_lines_of_training_and_preparing_hold_none(make_card, tmp_path, vocabulary, capsys):
    from t5x_tasks.prepare.data_config import DataConfig
    from t5x_tasks.prepare.ensure import ensure_prepared
    from train.log import say

    rows = [{"id": HOSTILE, "dialogue": " ", "summary": "y"}, {"id": "b", "dialogue": "x", "summary": "y"}]
    data = DataConfig(cards=(str(make_card(rows=rows)),), cache=str(tmp_path / "cache"))
    ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary)
    say(f"{HOSTILE}: skipped")
    said = capsys.readouterr().err
    assert said.count(SHOWN) == 2 and is_plain(said)


def test_half_a_character_does_not_end_a_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda _: print("a\udcffb"))
    assert ended.value.code == 0 and capsys.readouterr().out == "a\\udcffb\n"
