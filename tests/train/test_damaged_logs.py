"""Damage that a crash or a bad disk leaves in a run's small files is dropped, with a line that says so, and the run resumes."""

import json
from pathlib import Path

import pytest

from eval.predictions_file import Answer, AnswerFile
from eval.report.summary import summarize
from t5x_tasks.common.errors import UserError
from train import config as configuration
from train import loop
from train.rundir.metrics import keep_until, read_rows

GOOD = {"step": 1, "loss": 2.0, "validation_loss": None}
BAD = {
    "no UTF-8": b'{"step": 2, "loss": 1.\xff}',
    "zeros": b"\0" * 40,
    "a text for a step": b'{"step": "2", "loss": 1.0}',
    "true for a step": b'{"step": true, "loss": 1.0}',
    "half a step": b'{"step": 1.5, "loss": 1.0}',
    "no step": b'{"loss": 1.0}',
    "a list": b"[1, 2]",
    "depth": b"[" * 100_000,
    "a text for a loss": b'{"step": 2, "loss": "low"}',
    "a list for a loss": b'{"step": 2, "validation_loss": [1]}',
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_line_that_no_run_wrote_is_dropped_and_said(tmp_path, capsys, bad):
    path = tmp_path / "metrics.jsonl"
    good, after = (json.dumps(row).encode() for row in (GOOD, GOOD | {"step": 3}))
    path.write_bytes(b"\n".join([good, bad, after, b'{"step": 4, "lo']))
    assert [row["step"] for row in read_rows(path)] == [1, 3]
    assert capsys.readouterr().err == ""
    keep_until(path, 3)
    assert path.read_bytes() == good + b"\n" + after + b"\n"
    said = capsys.readouterr().err
    assert f"{path}: line 2 is dropped" in said and said.count("\n") == 1


def test_a_run_with_bad_lines_in_all_its_files_goes_on(workplace, capsys):
    run_dir = workplace / "damaged"
    overrides = [f"run_dir={run_dir}", "train.steps=2", "train.validation_examples=0"]
    assert loop.train(configuration.load(workplace / "config.yaml", overrides)) == 0
    first, last = read_rows(run_dir / "metrics.jsonl")
    rows = [json.dumps(row).encode() for row in (first, last | {"time": None}, {"step": "x", "time": 1.0})]
    (run_dir / "metrics.jsonl").write_bytes(b"\n".join([*rows, b"\xff\xfe", b""]))
    (run_dir / "skipped.jsonl").write_bytes(b'{"step": 1, "why": "the loss spikes"}\n\xff\n{"step": [1]}\n')
    assert loop.train(configuration.load(workplace / "config.yaml", [*overrides, "train.steps=3"])) == 0
    assert [row["step"] for row in read_rows(run_dir / "metrics.jsonl")] == [1, 2, 3]
    assert (run_dir / "skipped.jsonl").read_text() == '{"step": 1, "why": "the loss spikes"}\n'
    said = capsys.readouterr().err
    assert f"{run_dir / 'skipped.jsonl'}: line 2 is dropped" in said


@pytest.mark.parametrize(
    "bad", [b'{"2": ["\xff", true]}', b'{"2": ["text", true]}', b'{"2": [["text"], "yes"]}', b"[" * 100_000]
)
def test_answers_after_a_bad_line_are_decoded_again(tmp_path, capsys, bad):
    path = tmp_path / "answers.jsonl"
    file = AnswerFile(path, {})
    file.append({0: Answer(["a"], True), 1: Answer(["b"], False)})
    whole = path.read_bytes()
    path.write_bytes(whole + bad + b"\n" + b'{"3": [["c"], true]}\n')
    assert AnswerFile(path, {}).answers.keys() == {0, 1}
    assert path.read_bytes() == whole
    assert f"{path}: line 3 is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "row", ["[1]", '{"id": 1}', '{"id": "a", "prediction": "", "references": [], "scores": [], "inputs": ""}', "\udcff"]
)
def test_a_summary_names_the_bad_line_of_predictions(tmp_path, row):
    folder = tmp_path / "eval" / "0" / "tiny"
    folder.mkdir(parents=True)
    (folder / "predictions.jsonl").write_bytes(row.encode(errors="surrogateescape") + b"\n")
    metrics = {"step": 0, "split": "test", "tasks": {"tiny": {"n": 1, "metrics": {}}}}
    (folder.parent / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(UserError, match=r"tiny/predictions\.jsonl(:1: is no row|: cannot be read)"):
        summarize(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"tasks": {"tiny": 1}}'])
def test_a_summary_names_a_broken_metrics_json(tmp_path: Path, text):
    (tmp_path / "eval" / "0").mkdir(parents=True)
    (tmp_path / "eval" / "0" / "metrics.json").write_text(text)
    with pytest.raises(UserError, match=r"0/metrics\.json: is no metrics\.json"):
        summarize(tmp_path)
