"""`python -m eval` from end to end on a tiny model: checkpoints, files, table, summary."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.checkpoint import evaluate_run, save_checkpoint

from eval.__main__ import main
from eval.decoding.decoder import Decoder
from eval.plan import load_config, make_plan
from eval.report.summary import summarize
from eval.run import follow
from t5x_tasks.common.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def predictions(run_dir: Path, step: int) -> list[dict]:
    lines = (run_dir / "eval" / str(step) / "tiny" / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_run_is_scored_before_and_after_training(run_dir, capsys):
    save_checkpoint(run_dir, 3, seed=7)
    assert evaluate_run(run_dir, "mesh.data=1") == 0
    before, after = (json.loads((run_dir / "eval" / str(step) / "metrics.json").read_text()) for step in (0, 3))
    assert before["weights"] == "random (seed 0)" and after["weights"] == str(run_dir / "checkpoints" / "3")
    assert after["step"] == 3 and after["split"] == "test" and after["decode"] == {"type": "greedy", "max_tokens": 4}
    assert after["tasks"]["tiny"]["n"] == 6
    # "It is 0." is 3 words and an end, so tokens of every reference fill more than 4; the inputs more than 24
    assert after["tasks"]["tiny"]["counts"]["truncated_references"] == 6
    assert after["tasks"]["tiny"]["counts"]["truncated_inputs"] > 0
    assert [row["id"] for row in predictions(run_dir, 3)] == [f"r{i}" for i in range(6)]
    said = [[row["prediction"] for row in predictions(run_dir, step)] for step in (0, 3)]
    assert said[0] != said[1]  # the checkpoint's weights, not those before
    output = capsys.readouterr()
    assert "LEAD-3" in output.out and "before training" in output.out and "step 3" in output.out
    assert "references are longer than max_tokens=4" in output.err

    (run_dir / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 7.5}\n{"step": 3, "loss": 7.0, "validation_loss": 7.2}\n'
    )
    summarize(run_dir)
    shown = capsys.readouterr().out
    assert shown.count("reference: ") == 3 and shown.count("before training: ") >= 3
    assert (run_dir / "loss.png").read_bytes()[:4] == b"\x89PNG"


def test_the_first_rows_are_probed_and_no_limit_means_none(run_dir, capsys):
    assert evaluate_run(run_dir, "eval.steps=[0]", "eval.probe.limit=4") == 0
    diagnostics = json.loads((run_dir / "eval" / "0" / "metrics.json").read_text())["tasks"]["tiny"]["diagnostics"]
    negation = diagnostics["probe.negation_added"]  # `It is 0.`: it is not
    assert negation["n"] == 4 and negation["not_applicable"] == 0 and 0 <= negation["value"] <= 100
    assert "first 4 rows" in negation["settings"] and "test split" in negation["settings"]
    probed = [row["diagnostics"].get("probe") for row in predictions(run_dir, 0)]
    assert [bool(row) for row in probed] == [True] * 4 + [False] * 2
    assert probed[0]["negation_added"]["text"] == "It is not 0."
    assert "prefers the reference to its negation" in capsys.readouterr().out

    assert evaluate_run(run_dir, "eval.steps=[0]", "eval.probe.limit=0") == 0
    diagnostics = json.loads((run_dir / "eval" / "0" / "metrics.json").read_text())["tasks"]["tiny"]["diagnostics"]
    assert "made_up_rows" in diagnostics and not any(name.startswith("probe.") for name in diagnostics)


def test_a_broken_checkpoint_does_not_stop_the_others(run_dir, capsys):
    save_checkpoint(run_dir, 3, seed=7)
    for file in (run_dir / "checkpoints" / "3" / "params").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    assert evaluate_run(run_dir, "eval.steps=[3, 0]") == 2
    assert (run_dir / "eval" / "0" / "metrics.json").is_file()
    assert not (run_dir / "eval" / "3").exists()
    said = capsys.readouterr().err
    assert f"failed: step 3: {run_dir / 'checkpoints' / '3'}: is damaged: params/" in said and "Traceback" not in said


def test_an_empty_configuration_of_a_run_does_not_stand_for_all_defaults(run_dir):
    for text in ("", "# nothing\n"):
        (run_dir / "config.yaml").write_text(text)
        with pytest.raises(UserError, match=r"run/config\.yaml: is empty"):
            evaluate_run(run_dir)


def test_weights_that_do_not_fit_are_the_users_mistake(run_dir):
    save_checkpoint(run_dir, 3, seed=7)
    with pytest.raises(UserError, match="checkpoints/3: params/"):
        evaluate_run(run_dir, "eval.steps=[3]", "model.emb_dim=32")
    assert not (run_dir / "eval").exists()


def test_a_split_that_the_card_does_not_have_is_named_with_the_key_to_set(run_dir):
    with pytest.raises(
        UserError, match=r"no split validation; it has train, test; eval\.split names the split to score"
    ):
        evaluate_run(run_dir, "eval.split=validation")


def test_tasks_scored_one_after_the_other_share_a_file_and_other_settings_take_its_place(run_dir):
    def tasks():
        return set(json.loads((run_dir / "eval" / "0" / "metrics.json").read_text())["tasks"])

    assert evaluate_run(run_dir, "eval.steps=[0]", "eval.limit=2") == 0
    assert evaluate_run(run_dir, "eval.steps=[0]", "eval.limit=2", "eval.tasks=[tiny.heldout]") == 0
    assert tasks() == {"tiny", "tiny.heldout"}
    assert evaluate_run(run_dir, "eval.steps=[0]", "eval.limit=2", "eval.decode.max_tokens=3") == 0
    assert tasks() == {"tiny"}


def test_a_metric_that_fails_costs_the_scores_and_not_the_predictions(run_dir, capsys):
    card = run_dir.parent / "cards" / "tiny" / "card.yaml"
    text = card.read_text()
    assert "\n- rouge\n" in text
    card.write_text(text.replace("\n- rouge\n", "\n- seqio:Task\n"))
    assert evaluate_run(run_dir, "eval.steps=[0]") == 1
    assert [row["id"] for row in predictions(run_dir, 0)] == [f"r{i}" for i in range(6)]
    assert not (run_dir / "eval" / "0" / "metrics.json").exists()
    assert "failed: step 0, tiny" in capsys.readouterr().err


def test_scores_of_different_rows_are_shown_in_different_tables(run_dir, capsys):
    save_checkpoint(run_dir, 3, seed=7)
    assert evaluate_run(run_dir, "eval.steps=[0]", "eval.limit=2") == 0
    assert evaluate_run(run_dir, "eval.steps=[3]") == 0
    capsys.readouterr()
    summarize(run_dir)
    shown = capsys.readouterr().out
    assert "tiny, 2 rows of test" in shown and "tiny, 6 rows of test" in shown


def test_bare_weights_are_scored_without_tensorflow(run_dir, tmp_path):
    code = """
import sys
from eval.__main__ import main
assert main(sys.argv[1:]) == 0
assert "tensorflow" not in sys.modules and "seqio" not in sys.modules
"""
    output = tmp_path / "elsewhere"
    result = subprocess.run(
        [sys.executable, "-c", code, str(run_dir), f"eval.output={output}", "eval.decode={type: beam, beams: 2, max_tokens: 3}"],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads((output / "0" / "metrics.json").read_text())["decode"]["beams"] == 2
    assert not (run_dir / "eval").exists()


def test_killed_between_batches_it_goes_on_with_the_same_bytes_and_decodes_nothing_twice(run_dir, monkeypatch, capsys):
    def files():
        found = (path for path in (run_dir / "eval").rglob("*") if path.is_file())
        return {path.name: path.read_bytes() for path in found if path.name != "made.json"}  # when, and how fast

    few = ("eval.steps=[0]", "eval.batch_size=2")
    assert evaluate_run(run_dir, *few) == 0
    whole = files()
    answers = run_dir / "eval" / "0" / "tiny" / "answers.jsonl"
    lines = answers.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 3  # the fingerprint and three batches of two
    decoded = []
    stream = Decoder.stream

    def counted(self, *arguments, **named):
        for batch in stream(self, *arguments, **named):
            decoded.append(batch.indices)
            yield batch

    monkeypatch.setattr(Decoder, "stream", counted)
    for kept, torn in ((1, b""), (2, lines[2][:9]), (3, lines[3][:-1]), (4, b""), (0, lines[0][:5])):
        decoded.clear()
        for path in (run_dir / "eval").rglob("*.json*"):
            path.unlink()
        answers.write_bytes(b"".join(lines[:kept]) + torn)
        assert evaluate_run(run_dir, *few) == 0
        assert files() == whole
        assert len(decoded) == 4 - max(1, kept)

    decoded.clear()
    assert evaluate_run(run_dir, *few, "eval.decode.max_tokens=3") == 0  # decoded otherwise: not what was asked for
    assert len(decoded) == 3


def test_several_samples_of_a_row_stand_in_its_predictions(run_dir):
    sampling = "eval.decode={type: sample, samples: 3, temperature: 2.0, max_tokens: 6}"
    assert evaluate_run(run_dir, "eval.steps=[0]", sampling) == 0
    rows = predictions(run_dir, 0)
    assert all(len(row["samples"]) == 3 and row["samples"][0] == row["prediction"] for row in rows)
    assert len({text for row in rows for text in row["samples"]}) > 6


def test_a_task_without_references_is_named(run_dir, write_jsonl):
    rows = [{"id": "r", "dialogue": "Ann: Hi.", "summary": " "}]
    write_jsonl(run_dir.parent / "cards" / "tiny" / "test.jsonl", rows)
    with pytest.raises(UserError, match="tiny: the test split has no references"):
        evaluate_run(run_dir, "eval.steps=[0]")
    assert not (run_dir / "eval").exists()


def test_references_that_the_vocabulary_cannot_spell_are_counted_and_named(run_dir, write_jsonl, capsys):
    said = ["Ann greets.", "Ann 東 greets.", "Ann 🙂🙂."]
    rows = [{"id": f"r{i}", "dialogue": "Ann: Hi.", "summary": summary} for i, summary in enumerate(said)]
    write_jsonl(run_dir.parent / "cards" / "tiny" / "test.jsonl", rows)
    assert evaluate_run(run_dir, "eval.steps=[0]") == 0
    counts = json.loads((run_dir / "eval" / "0" / "metrics.json").read_text())["tasks"]["tiny"]["counts"]
    assert counts["unwritable_references"] == 2
    assert "the references hold characters that the vocabulary lacks (🙂 2, 東 1)" in capsys.readouterr().err


def test_a_checkpoint_half_written_is_no_checkpoint(run_dir):
    save_checkpoint(run_dir, 3, seed=7)
    (run_dir / "checkpoints" / "3" / "commit_success.txt").unlink()
    with pytest.raises(UserError, match="no checkpoint"):
        evaluate_run(run_dir, "eval.steps=[3]")


def test_a_checkpoint_that_cannot_be_read_is_named_in_one_line(run_dir):
    save_checkpoint(run_dir, 3, seed=7)
    for file in (run_dir / "checkpoints" / "3" / "params").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(UserError, match=r"checkpoints/3: is damaged: params/.* has 0 bytes"):
        evaluate_run(run_dir, "eval.steps=[3]")


def test_a_star_stands_for_each_variant_held_out_ones_too(run_dir):
    config, folder = load_config(str(run_dir), ["eval.tasks=[tiny.*]"])
    assert make_plan(config, folder).tasks == ["tiny.t00", "tiny.t01", "tiny.t02"]
    config, folder = load_config(str(run_dir), ["eval.tasks=[tinny.*]"])
    with pytest.raises(UserError, match=r"no data set tinny, did you mean tiny\?"):
        make_plan(config, folder)


def test_an_output_that_cannot_be_written_is_refused_before_the_weights_are_loaded(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.predictor.Predictor.load", lambda *_: pytest.fail("weights were loaded"))
    below = tmp_path / "file" / "new"
    below.parent.touch()
    with pytest.raises(UserError, match=f"eval.output: {below}: cannot be written"):
        evaluate_run(run_dir, f"eval.output={below}", "eval.steps=[0]")
    with pytest.raises(UserError, match=f"--output: {below}: cannot be written"):
        main(["predict", str(run_dir), "--step=0", "--input", str(tmp_path / "x.csv"), "--output", f"{below}/x.jsonl"])


def test_a_disk_that_is_full_is_named_without_a_traceback(run_dir, capsys, monkeypatch):
    write_text = Path.write_text

    def fill_up(path, text, **options):
        return write_text(Path("/dev/full") if path.name == "predictions.jsonl.tmp" else path, text, **options)

    monkeypatch.setattr(Path, "write_text", fill_up)
    assert evaluate_run(run_dir, "eval.steps=[0]") == 1
    said = capsys.readouterr().err
    assert f"{run_dir}/eval/0/tiny/predictions.jsonl: No space left on device" in said and "Traceback" not in said


def test_it_is_said_if_nothing_is_scored_that_was_trained_on(run_dir, capsys):
    save_checkpoint(run_dir, 3, seed=3)
    for tasks, said in (("[dialogsum, samsum]", True), ("[samsum, tiny]", False), ("[tiny.t00]", False)):
        assert main([str(run_dir), f"eval.tasks={tasks}", "--dry-run"]) == 0
        assert ("trained on none of it; eval.tasks=[tiny] scores what" in capsys.readouterr().out) is said, tasks
    assert main([str(run_dir), "eval.tasks=[dialogsum]", "eval.steps=[0]", "--dry-run"]) == 0
    assert "trained on none" not in capsys.readouterr().out


def test_scores_that_others_take_the_place_of_are_named(run_dir, capsys):
    assert evaluate_run(run_dir, "eval.steps=[0]") == 0
    assert "replaces" not in capsys.readouterr().err
    assert evaluate_run(run_dir, "eval.steps=[0]", "eval.limit=1") == 0
    assert (
        "metrics.json: replaces the scores of tiny (limit None); eval.output=DIR keeps both" in capsys.readouterr().err
    )


def test_following_a_run_evaluates_each_checkpoint_once_and_ends_with_its_last(run_dir, monkeypatch):
    save_checkpoint(run_dir, 2, seed=2, total_steps=4)
    config, folder = load_config(str(run_dir), [])
    later = threading.Timer(1.0, save_checkpoint, (run_dir, 4, 4, 4))
    later.start()
    assert follow(make_plan(config, folder), every_s=0.1) == 0
    later.join()
    for step in ("0", "2", "4"):
        assert json.loads((run_dir / "eval" / step / "metrics.json").read_text())["tasks"].keys() == {"tiny"}

    def decode(*_: object, **__: object) -> None:
        raise AssertionError("was evaluated before")

    monkeypatch.setattr(Decoder, "stream", decode)
    assert follow(make_plan(config, folder), every_s=0.1) == 0
