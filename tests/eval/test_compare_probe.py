"""The contrastive probe is compared as scores are: row by row, on the rows that both systems were asked, with a verdict."""

import json

import pytest
from helpers import evaluated
from helpers.checkpoint import evaluate_run, save_checkpoint

from eval.commands import compare
from eval.report import view
from eval.report.plain import csv_text

ROWS = [{"id": f"r{i}", "dialogue": f"Ann: {i}?\nBob: Yes.", "summary": f"It is {i}."} for i in range(50)]


def right(example):
    return example.references[0]


@pytest.fixture
def probed(make_card, tmp_path):
    """Returns a function that evaluates answers and gives the first rows margins, each row its own."""
    card = make_card(test_rows=ROWS)

    def evaluate(name, margins, text="It is not {}."):
        folder = evaluated.evaluate(tmp_path / name, {"tiny": right}, cards=[card])
        path = folder / "tiny" / "predictions.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for i, (row, margin) in enumerate(zip(rows, margins, strict=False)):
            row["diagnostics"]["probe"] = {"negation_added": {"text": text.format(i), "margin": margin}}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        share = 100 * sum(margin > 0 for margin in margins) / len(margins)
        metrics = json.loads((folder / "metrics.json").read_text())
        settings = (
            f"own corruptions 1; of the first {len(margins)} rows those where it applies; test split, 95% interval"
        )
        metrics["tasks"]["tiny"]["diagnostics"]["probe.negation_added"] = {
            "value": share, "ci_low": 0, "ci_high": 100, "settings": settings
        }  # fmt: skip
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return str(folder)

    return evaluate


def gather(*folders):
    (comparison,) = compare.gather(list(folders), samples=300).comparisons
    return comparison


def cell(comparison):
    table = view.diagnostics_table(comparison)
    assert table is not None
    return next((row.cells[-1] for row in table.rows if "negation" in row.label), None)


def test_a_difference_of_the_probe_has_a_verdict(probed):
    comparison = gather(probed("before", [-1.0] * 20 + [1.0] * 20), probed("after", [1.0] * 40))
    found = comparison.differences[1]["probe.negation_added"]
    assert found.value == pytest.approx(50) and found.p < 0.02 and found.p_holm < 0.05
    shown = cell(comparison)
    assert shown and shown.verdict == "better" and shown.change.startswith("+50.0")
    line = next(line for line in csv_text([comparison]).splitlines() if "after,probe.negation_added" in line)
    assert "test split, n=40," in line and line.count("test split") == 1


def test_rows_that_only_one_system_was_asked_are_left_out_of_the_probe(probed):
    comparison = gather(probed("before", [1.0] * 40), probed("after", [1.0] * 30 + [-1.0] * 10 + [0.0] * 5))
    values = [found["probe.negation_added"]["value"] for found in comparison.intervals]
    assert values == [100, 75] and comparison.differences[1]["probe.negation_added"].value == -25


def test_few_probed_rows_or_other_texts_give_no_difference(probed):
    few = gather(probed("before", [-1.0] * 20), probed("after", [1.0] * 20))
    assert few.intervals[1]["probe.negation_added"]["value"] == 100 and "probe.negation_added" not in few.differences[1]
    other = gather(probed("before", [-1.0] * 40), probed("after", [1.0] * 40, text="It was never {}."))
    assert cell(other) is None and "probe.negation_added" not in other.differences[1]


def test_the_probe_of_two_checkpoints_is_compared(run_dir, make_card):
    make_card(test_rows=ROWS)
    for step in (1, 2):
        save_checkpoint(run_dir, step, seed=step)
    assert evaluate_run(run_dir, "eval.steps=[1, 2]", "eval.probe.limit=40") == 0
    comparison = gather(str(run_dir))
    assert [len(column.probe["probe.negation_added"]) for column in comparison.columns] == [40, 40]
    change = (
        comparison.intervals[1]["probe.negation_added"]["value"]
        - comparison.intervals[0]["probe.negation_added"]["value"]
    )
    assert comparison.differences[1]["probe.negation_added"].value == pytest.approx(change)
