"""`python -m eval score` and the commands' manners."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import command

REPOSITORY = Path(__file__).parents[2]
GOOD = [{"id": i, "prediction": f"About {i}."} for i in "abc"]


@pytest.fixture
def score(make_card, tmp_path, write_jsonl):
    """Runs the command on the card `tiny`; `rows` may hold raw lines."""
    card = make_card()

    def run(rows, *more):
        path = tmp_path / "out.jsonl"
        path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
        return cli("score", "--task", "tiny", "--predictions", str(path), "--cards", str(card), *more)

    return run


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def cli(*arguments):
    return command("eval", *arguments)


def test_scores_are_written_like_those_of_our_own_runs(score, tmp_path):
    result = score(GOOD[::-1], "--output", str(tmp_path / "scores"))
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    task = written["tasks"]["tiny"]
    assert written["split"] == "test" and task["n"] == 3
    assert task["metrics"]["rouge1"].keys() == {"value", "ci_low", "ci_high", "better", "settings"}
    assert "lead_3" in task["baselines"] and task["counts"]["empty_inputs"] == 0
    lines = (tmp_path / "scores" / "tiny" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b", "c"]
    assert "rougeL" in result.stdout and "LEAD-3" in result.stdout
    assert not list((tmp_path / "scores").rglob("*.tmp"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (GOOD[:2], ["no prediction for 1 of the 3 rows", "(c)"]),
        ([*GOOD, GOOD[0]], [":4:", "'a'", "out.jsonl:1,"]),
        ([*GOOD[:2], {"id": "z", "prediction": ""}], [":3:", "'z'", "not in the test split of tiny"]),
        ([*GOOD[:2], "{oops"], [":3:", "not JSON"]),
        ([*GOOD[:2], {"id": "c"}], [":3:", "no 'prediction'"]),
        ([*GOOD[:2], {"id": "c", "prediction": None}], [":3:", "must be a text"]),
        ([*GOOD[:2], [1]], [":3:", "must be an object"]),
    ],
    ids=["missing", "repeated", "unknown", "not json", "no prediction", "not a text", "not an object"],
)
def test_what_is_wrong_with_predictions_is_said_in_one_line(score, tmp_path, rows, said):
    result = score(rows)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    for part in (*said, "out.jsonl"):
        assert part in result.stderr
    assert not (tmp_path / "out").exists()


def test_predictions_may_be_a_table(make_card, tmp_path):
    table = tmp_path / "theirs.csv"
    table.write_text('id;prediction\nb;About b.\na;"About; a."\nc;\n')
    score = ("score", "--task", "tiny", "--cards", str(make_card()), "--predictions", str(table))
    assert cli(*score).returncode == 0
    lines = (tmp_path / "theirs" / "tiny" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == ["About; a.", "About b.", ""]
    table.write_text("id,summary\na,About a.\n")
    result = cli(*score)
    assert result.returncode == 2 and f"{table}:2: no 'prediction', and each row needs" in result.stderr
    table.write_text("id,prediction\n")
    assert f"{table}: no rows" in cli(*score).stderr
    other = table.with_suffix(".tsv")
    other.write_text("id\tprediction\na\t\nb\t\nc\t\n")
    result = cli(*score[:-1], str(other))
    assert result.returncode == 2 and f"{table.with_suffix('')}: holds the scores of {table}" in result.stderr


def test_references_that_rouge_cannot_score_are_counted_and_said(make_card, tmp_path):
    rows = [
        {"id": "a", "dialogue": "Ann: Hi.", "summary": ""},
        {"id": "b", "dialogue": "Bo: Привет!", "summary": "Бо здоровается."},
        {"id": "c", "dialogue": "Cy: Grüße!", "summary": "Cy grüßt."},
    ]
    card = make_card(test_rows=rows)
    (tmp_path / "said.jsonl").write_text(
        "".join(json.dumps({"id": r["id"], "prediction": r["summary"]}) + "\n" for r in rows)
    )
    arguments = ("score", "--task", "tiny", "--predictions", str(tmp_path / "said.jsonl"), "--cards", str(card))
    result = cli(*arguments)
    task = json.loads((tmp_path / "said" / "metrics.json").read_text())["tasks"]["tiny"]
    assert (task["counts"]["blank_references"], task["counts"]["unread_references"]) == (1, 1)
    assert task["metrics"]["rouge1"]["value"] == pytest.approx(100 / 3)
    assert "note: 1 of 3 rows have no reference" in result.stdout
    assert "note: 1 of 3 rows have references in other letters" in result.stdout
    by_others = cli(*arguments, "--metrics", "exact_match")
    assert by_others.returncode == 0 and "note:" not in by_others.stdout


@pytest.mark.parametrize("below", ["", "new"])
def test_an_output_that_cannot_be_written_is_refused_before_the_scoring(score, tmp_path, below, monkeypatch):
    monkeypatch.setattr("eval.scoring.score_task.score_task", lambda *_, **__: pytest.fail("was scored"))
    (tmp_path / "file").touch()
    result = score(GOOD, "--output", str(tmp_path / "file" / below))
    assert result.returncode == 2
    assert f"error: --output: {tmp_path / 'file' / below}: cannot be written" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_metrics_may_be_others_than_the_cards_and_empty_predictions_are_counted(score, tmp_path):
    result = score([*GOOD[:2], {"id": "c", "prediction": " "}], "--metrics", "exact_match")
    assert result.returncode == 0, result.stderr
    task = json.loads((tmp_path / "out" / "metrics.json").read_text())["tasks"]["tiny"]
    assert list(task["metrics"]) == ["exact_match"] and task["counts"]["empty_predictions"] == 1
    assert "1 empty predictions" in result.stdout
    result = score(GOOD, "--metrics", "rogue")
    assert result.returncode == 2 and "did you mean rouge?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "--task", "tinny", "--predictions", "x.jsonl"), "x.jsonl: no such file"),
        (("configs/nowhere.yaml",), "configs/nowhere.yaml"),
        (
            ("comapre", "runs/a", "runs/b", "--output", "x.html"),
            "comapre: no command, and no such file or run directory, did you ",
        ),
        (("configs/quickstart.yaml", "eval.lmit=3"), "did you mean eval.limit?"),
        (("configs/quickstart.yaml", "run_dir=runs/none", "eval.tasks=[suport_chats]"), "did you mean support_chats?"),
        (("configs/quickstart.yaml", "run_dir=runs/none", "eval.steps=[latest]"), "holds no checkpoint"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(arguments, said):
    result = cli(*arguments)
    assert result.returncode == 2
    assert said in result.stderr and len(result.stderr.splitlines()) == 1


def test_dry_run_shows_the_plan_and_writes_nothing(tmp_path):
    run_dir = tmp_path / "run"
    result = cli("configs/quickstart.yaml", f"run_dir={run_dir}", "eval.limit=5", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "limit: 5" in result.stdout and "first 5 rows of test" in result.stdout
    assert not run_dir.exists()


def test_help_and_scoring_import_neither_jax_nor_tensorflow():
    code = """
import sys
from eval.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
heavy = {"jax", "tensorflow", "numpy", "transformers"} & set(sys.modules)
assert not heavy, heavy
import eval.scoring.score_task, eval.commands.score, eval.examples, eval.report.summary
heavy = {"jax", "tensorflow", "seqio"} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.needs_shared
def test_lead_3_on_dialogsum_has_its_known_scores(shared_data, tmp_path):
    import gzip

    with gzip.open(shared_data / "dialogsum" / "test.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    predictions = tmp_path / "lead.jsonl"
    predictions.write_text(
        "".join(
            json.dumps({"id": row["id"], "prediction": " ".join(row["dialogue"].split("\n")[:3])}) + "\n"
            for row in rows
        )
    )
    result = cli("score", "--task", "dialogsum", "--predictions", str(predictions), "--root", str(shared_data))
    assert result.returncode == 0, result.stderr
    task = json.loads((tmp_path / "lead" / "metrics.json").read_text())["tasks"]["dialogsum"]
    names = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    assert task["n"] == 500
    assert [round(task["metrics"][name]["value"], 2) for name in names] == [32.02, 10.22, 24.87, 29.94]
    assert [round(task["metrics"][f"{name}_first"]["value"], 2) for name in names] == [27.48, 7.23, 21.09, 25.48]
