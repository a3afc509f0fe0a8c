"""`python -m eval predict`: rows of one's own get answers, in their order."""

import csv
import io
import json
from pathlib import Path

import pytest
from helpers.checkpoint import evaluate_run, save_checkpoint

from eval.__main__ import main
from eval.commands.score import read_predictions
from eval.scoring.files import write_rows
from t5x_tasks.common.errors import UserError


def answers_in(path: Path) -> list[str]:
    return [json.loads(line)["prediction"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_of_a_file_get_the_answers_that_an_evaluation_gives_them_in_their_order(run_dir, tmp_path):
    save_checkpoint(run_dir, 3, seed=3)
    evaluate_run(run_dir, "eval.tasks=[tiny.t01]", "eval.steps=[3]")
    expected = answers_in(run_dir / "eval" / "3" / "tiny.t01" / "predictions.jsonl")
    rows = ["dialogue,case", *(f'"Ann: Is it {i}?\nBob: Yes, it is {i}.",c{i}' for i in range(6))]
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n")
    output = tmp_path / "answers.jsonl"
    asked = ["predict", str(run_dir), "--input", str(tmp_path / "mine.csv"), "--output", str(output)]
    asked += ["--task", "tiny.t01", "--id", "case"]
    assert main(asked) == 0
    assert [json.loads(line)["id"] for line in output.read_text().splitlines()] == [f"c{i}" for i in range(6)]
    assert answers_in(output) == expected
    assert len(set(expected)) > 1
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(UserError, match="is there already"):
        main(asked)


def test_rows_of_ones_own_may_lack_the_cards_id_and_blank_ones_are_named(
    run_dir, tmp_path, make_card, write_jsonl, capsys
):
    save_checkpoint(run_dir, 3, seed=3)
    make_card([{"case": f"c{n}", "dialogue": "Ann: Yes.", "summary": "Yes."} for n in range(2)], id="case")
    write_jsonl(tmp_path / "mine.jsonl", [{"dialogue": "Ann: Yes."}, {"dialogue": " "}, {"dialogue": None}])
    asked = ["predict", str(run_dir), "--input", str(tmp_path / "mine.jsonl"), "--output"]
    assert main([*asked, str(tmp_path / "out.jsonl")]) == 0
    assert (
        "mine.jsonl: 2 of 3 rows have a blank field (row-1, row-2): what is answered there" in capsys.readouterr().err
    )
    write_jsonl(tmp_path / "mine.jsonl", [{"dialogue": "Ann: Yes.", "case": "x"}, {"dialogue": "Bo: No.", "case": " "}])
    with pytest.raises(UserError, match=r"mine\.jsonl:2: case is blank, and names the rows"):
        main([*asked, str(tmp_path / "two.jsonl")])


def test_what_is_said_to_rows_of_ones_own_comes_as_a_table_too(run_dir, tmp_path):
    (tmp_path / "mine.csv").write_text('dialogue\n"Ann: Is it 4, or 5?"\n')
    (tmp_path / "none.csv").write_text("dialogue\n")
    said = {}
    sampling = "eval.decode={type: sample, samples: 2, temperature: 2.0, max_tokens: 6}"
    for name in ("out.jsonl", "out.csv", "out.tsv"):
        asked = ["predict", str(run_dir), sampling, "--step=0", "--input", str(tmp_path / "mine.csv")]
        assert main([*asked, "--output", str(tmp_path / name)]) == 0
        said[name] = (tmp_path / name).read_text()
    (row,) = map(json.loads, said["out.jsonl"].splitlines())
    assert row.keys() == {"id", "prediction", "samples"} and row["id"] == "row-0"
    flat = {
        "id": "row-0",
        "prediction": row["prediction"],
        "samples.0": row["samples"][0],
        "samples.1": row["samples"][1],
    }
    for name, delimiter in (("out.csv", ","), ("out.tsv", "\t")):
        assert list(csv.DictReader(io.StringIO(said[name]), delimiter=delimiter)) == [flat]
    write_rows(tmp_path / "odd.csv", [{"id": "a\rb", "prediction": 'x\r"y", z\n'}])
    assert read_predictions(tmp_path / "odd.csv")["a\rb"][1] == 'x\r"y", z\n'
    with pytest.raises(UserError, match=r"out\.parquet: its name must end with \.jsonl, \.csv or \.tsv"):
        main([*asked, "--output", str(tmp_path / "out.parquet")])
    asked[-1] = str(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"none\.csv: no rows$"):
        main([*asked, "--output", str(tmp_path / "new.csv")])


def test_a_row_that_lacks_what_the_template_reads_is_named_and_nothing_is_written(run_dir, tmp_path, write_jsonl):
    save_checkpoint(run_dir, 3, seed=3)
    write_jsonl(tmp_path / "mine.jsonl", [{"dialogue": "Ann: Yes."}, {"text": "Bob: No."}])
    with pytest.raises(UserError, match=r"mine\.jsonl:2.*dialogue"):
        main(
            ["predict", str(run_dir), "--input", str(tmp_path / "mine.jsonl"), "--output", str(tmp_path / "out.jsonl")]
        )
    assert not list(tmp_path.glob("out*"))


def test_rows_of_ones_own_may_be_lists_of_messages(run_dir, tmp_path, make_card, write_jsonl):
    save_checkpoint(run_dir, 3, seed=3)
    asked = ["predict", str(run_dir), "--input", str(tmp_path / "mine.jsonl"), "--output"]
    write_jsonl(tmp_path / "mine.jsonl", [{"dialogue": "Ann: Is it 4?\nBob: Yes."}, {"dialogue": "Bob: No."}])
    assert main([*asked, str(tmp_path / "texts.jsonl")]) == 0
    messages = [{"role": "Ann", "content": "Is it 4?"}, {"role": "Bob", "content": "Yes."}]
    write_jsonl(tmp_path / "mine.jsonl", [{"chat": messages}, {"chat": '[{"role": "Bob", "content": "No."}]'}])
    make_card([], fields={"dialogue": {"column": "chat", "transform": "turns"}, "summary": "summary"})
    assert main([*asked, str(tmp_path / "lists.jsonl")]) == 0
    assert answers_in(tmp_path / "lists.jsonl") == answers_in(tmp_path / "texts.jsonl")
    assert len(set(answers_in(tmp_path / "lists.jsonl"))) == 2
