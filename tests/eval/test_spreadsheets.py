"""Cells of CSV and TSV that a spreadsheet would compute are texts there, and read back as they were."""

import csv
import io

import pytest

from eval.commands.score import read_predictions
from eval.report.plain import csv_text
from eval.scoring.files import write_rows

FORMULAS = [
    '=HYPERLINK("http://x","y")', "=1+1", "+1+cmd|'/C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1,2)", "\t=1", "\r=1", "\n=1",
    "＝1+1", "'=1", "''@x", "-", "- a list", "-5-3",
]  # fmt: skip
PLAIN = ["-5", "+5", "-3.50", "-1,200", "-5%", "5", "a=b", "", "'quoted'", "Ann's", " =1", "'"]


def cells(text: str, delimiter: str = ",") -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_no_answer_is_a_formula_and_each_is_read_back_as_it_was(tmp_path, suffix):
    texts = [*FORMULAS, *PLAIN]
    path = tmp_path / f"out{suffix}"
    write_rows(path, [{"id": f"{text}|{i}", "prediction": text} for i, text in enumerate(texts)])
    with path.open(newline="", encoding="utf-8") as file:
        written = cells(file.read(), {".csv": ",", ".tsv": "\t"}[suffix])
    assert not [cell for cell in written if cell[:1] in "=@\t\r\n＝" and cell]
    assert [cell for cell in written if cell[:1] in ("+", "-")] == ["-5", "+5", "-3.50", "-1,200", "-5%"]
    assert [text for _, text in read_predictions(path).values()] == texts
    assert list(read_predictions(path)) == [f"{text}|{i}" for i, text in enumerate(texts)]


def test_several_samples_and_column_names_are_no_formulas(tmp_path):
    path = tmp_path / "out.csv"
    write_rows(path, [{"id": "a", "prediction": "x", "samples": ["=1", "ok"]}])
    assert "'=1" in cells(path.read_text()) and "=1" not in cells(path.read_text())


def test_json_lines_stay_as_they_are(tmp_path):
    path = tmp_path / "out.jsonl"
    write_rows(path, [{"id": "=a", "prediction": "=1"}])
    assert path.read_text() == '{"id": "=a", "prediction": "=1"}\n'
    assert read_predictions(path) == {"=a": (f"{path}:1", "=1")}


def test_predictions_of_others_in_csv_lose_nothing_but_such_an_apostrophe(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("id,prediction\na,'tis\nb,'=x\nc,-5 degrees\n")
    assert [text for _, text in read_predictions(path).values()] == ["'tis", "=x", "-5 degrees"]


def test_the_reports_table_holds_no_formula(tmp_path, make_card):
    from helpers.evaluated import evaluate

    from eval.commands.compare import gather

    card = make_card()
    folders = [evaluate(tmp_path / name, {"tiny": lambda example: "x"}, cards=[card]) for name in ("=cmd()", "@two")]
    contents = gather([str(folder) for folder in folders], samples=20)
    found = cells(csv_text(contents.comparisons))
    assert "'=cmd()" in found and "'@two" in found
    assert not [cell for cell in found if cell[:1] in ("=", "@")]
