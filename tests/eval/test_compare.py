"""Comparisons: paired significance, the same rows, sensitivity to template, what was learned and forgotten, and the command."""

import csv
import json

import numpy as np
import pytest
from helpers import evaluated

from eval.commands import compare
from eval.comparison.sensitivity import agreement
from eval.report.matrix import figure
from eval.report.plain import forgetting_table
from eval.scoring.bootstrap import Difference, bootstrap, holm, interval, paired_differences, resample
from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.pooled import Pooled, divide

ROWS = [
    {"id": f"r{i}", "dialogue": f"Ann: It is 2{i}.\nBob: I see, 2{i} of them.", "summary": f"Ann tells Bob about 2{i}."}
    for i in range(12)
]  # fmt: skip
TEMPLATES = [
    {
        "id": f"t{i:02}",
        "inputs": f"{word} {{dialogue}}",
        "targets": "{summary}",
        **({"split": "heldout"} if i == 3 else {}),
    }
    for i, word in enumerate(("Sum up:", "Say briefly:", "Shorten:", "Condense:"))
]


def right(example):
    return example.references[0]


def wrong(example):
    return "Somebody meets Olga."


def right_but(*ids):
    """Answers all rows rightly but these."""
    return lambda example: wrong(example) if example.id in ids else right(example)


@pytest.fixture
def card(make_card):
    return make_card(test_rows=ROWS, templates=TEMPLATES)


def gather(*folders, samples=300):
    return compare.gather([str(folder) for folder in folders], samples=samples)


def test_a_paired_difference_is_that_of_the_resampled_rows_and_sees_what_unpaired_intervals_hide():
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 100, 200)  # how hard the rows are: the same for both
    before, after = {"s": hard}, {"s": hard + rng.normal(2, 3, 200)}
    found = paired_differences(before, after, samples=1000)["s"]
    draws = [resample(scores, samples=1000)["s"] for scores in (before, after)]
    assert (found.ci_low, found.ci_high) == pytest.approx(interval(draws[1] - draws[0], 200))
    assert found.value == pytest.approx(np.mean(after["s"] - before["s"])) and 2 / 1001 <= found.p < 0.005
    alone = [bootstrap(scores, samples=1000)["s"] for scores in (before, after)]
    assert alone[0]["ci_high"] > alone[1]["value"]  # the intervals overlap
    back = paired_differences(after, before, samples=1000)["s"]
    assert (back.value, back.ci_low) == pytest.approx((-found.value, -found.ci_high))


def test_equal_systems_do_not_differ_and_noise_is_rarely_significant():
    scores = {"s": np.arange(50.0)}
    assert paired_differences(scores, scores, samples=200)["s"] == (0, 0, 0, 1, 1)
    rng = np.random.default_rng(1)
    tests = [
        paired_differences({"s": np.zeros(60)}, {"s": rng.normal(size=60)}, samples=300, seed=seed)["s"].p
        for seed in range(200)
    ]
    assert 0.01 < np.mean(np.array(tests) < 0.05) < 0.08


@pytest.mark.parametrize("rows", [1, 4, 6])
def test_the_interval_holds_zero_exactly_where_p_is_not_below_5_percent(rows):
    before, after = np.zeros(500), np.zeros(500)
    after[:rows] = 100.0  # of few rows that differ, all for the better
    found = paired_differences({"s": before}, {"s": after}, samples=1000)["s"]
    # Swapping answers gives the exact test's p, 2 / 2^rows, but for the number of resamples.
    assert found.p == pytest.approx(min(1, 2.0 ** (1 - rows)), abs=0.04) and found.p >= 2 / 1001
    assert (found.ci_low <= 0) == (found.p >= 0.05) == (rows < 6)


@pytest.mark.parametrize(("rows", "least"), [(1, 1.0), (6, 2 / 64), (9, 2 / 512), (40, 2 / 1001)])  # of the exact test
def test_p_is_no_smaller_than_an_exact_test_of_so_few_rows_could_give(rows, least):
    before, after = np.zeros(50), np.zeros(50)
    before[:rows], after[:rows] = -100.0, 100.0  # the other rows are the same
    if rows < 10:  # alone: no resample without a gain
        before, after = before[:rows], after[:rows]
    found = paired_differences({"s": before}, {"s": after}, samples=1000)["s"]
    assert 0.5 * least <= found.p <= 1.5 * least + 0.02  # drawn, not counted
    counts = [
        Pooled(np.stack([side, np.full(len(side), 100.0)], axis=1), lambda s: s[..., 0]) for side in (before, after)
    ]
    found = paired_differences({"s": counts[0]}, {"s": counts[1]}, samples=1000)["s"]
    assert 0.5 * least <= found.p <= 1.5 * least + 0.02


def test_scores_of_counts_are_paired_too():
    rng = np.random.default_rng(2)
    before, after = (
        Pooled(rng.integers(1, 9, (40, 2)), lambda sums: 100 * divide(sums[..., 0], sums[..., 1])) for _ in range(2)
    )
    found = paired_differences({"f1": before}, {"f1": after}, samples=100)["f1"]
    draws = [resample({"f1": scores}, samples=100)["f1"] for scores in (before, after)]
    assert (found.ci_low, found.ci_high) == pytest.approx(interval(draws[1] - draws[0], 40))


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests_and_never_lets_a_larger_one_pass_it():
    family = [{}, {name: Difference(1, 0, 2, p, p) for name, p in {"a": 0.01, "b": 0.04}.items()},
              {"c": Difference(1, 0, 2, 0.015, 0.015)}]  # fmt: skip
    _, one, other = holm(family)
    assert [one["a"].p_holm, other["c"].p_holm, one["b"].p_holm] == pytest.approx([0.03, 0.03, 0.04])
    assert one["b"].p == 0.04


def test_few_rows_and_references_that_cannot_be_scored_are_noted(make_card, tmp_path):
    rows = [*ROWS, {**ROWS[0], "id": "blank", "summary": " "}, {**ROWS[0], "id": "greek", "summary": "Η Άννα φεύγει."}]
    card = make_card(test_rows=rows)
    scored = evaluated.evaluate(tmp_path / "scored", {"tiny": right}, cards=[card])
    few, blank, unread = gather(scored).notes
    assert few.startswith("tiny, test: 14 rows are too few for a verdict")
    assert blank.startswith("tiny, test, scored: 1 of 14 rows have no reference: ROUGE is 0 there")
    assert unread.startswith("tiny, test, scored: 1 of 14 rows have references in other letters than a to z")
    many = make_card(test_rows=[{**ROWS[0], "id": f"r{i}"} for i in range(30)])
    assert gather(evaluated.evaluate(tmp_path / "many", {"tiny": right}, cards=[many])).notes == []


def test_only_rows_that_all_answered_are_compared_and_the_report_says_so(card, tmp_path):
    whole = evaluated.evaluate(tmp_path / "whole", {"tiny": right}, cards=[card])
    part = evaluated.evaluate(tmp_path / "part", {"tiny": right_but("r0", "r1")}, cards=[card], limit=4)
    (comparison,) = gather(whole, part).comparisons
    assert comparison.n == 4 and comparison.left_out == 8
    assert comparison.intervals[1]["rougeL"]["value"] < comparison.intervals[0]["rougeL"]["value"] == 100
    assert comparison.differences[1]["rougeL"].value < 0
    assert comparison.differences[1]["made_up_rows"].value == 50  # Olga
    assert comparison.differences[1]["speaker_recall"].value == -50


def test_an_evaluation_is_given_once(card, tmp_path):
    run = evaluated.make_run(tmp_path / "run", mixture="tiny", cards=[card])
    base, last = (evaluated.evaluate(run / "eval" / str(n), {"tiny": right}, cards=[card], step=n) for n in (2, 4))
    for again in (last, f"mine={last}"):
        with pytest.raises(UserError, match=r"eval/4: was given with .*run already; give it once, or first to name it"):
            gather(run, again)
    assert len(gather(run, run).systems) == len(gather(f"base={base}", run).systems) == 2


def test_other_references_under_the_same_ids_are_refused(card, make_card, tmp_path):
    first = evaluated.evaluate(tmp_path / "first", {"tiny": right}, cards=[card])
    other = make_card(test_rows=[{**row, "summary": f"{row['summary']} So."} for row in ROWS], templates=TEMPLATES)
    second = evaluated.evaluate(tmp_path / "second", {"tiny": right}, cards=[other])
    with pytest.raises(UserError, match="row r0: its references are not those of first"):
        gather(first, second)


def test_implementations_and_ways_to_use_references_never_share_a_table(make_card, tmp_path):
    from eval.report.view import score_tables

    rows = [{**row, "summaries": [row["summary"], "Bob listens."]} for row in ROWS]
    card = make_card(test_rows=rows, references="summaries", metrics=["rouge", "exact_match"])
    folder = evaluated.evaluate(tmp_path / "one", {"tiny": right}, cards=[card])
    tables = score_tables(gather(folder).comparisons[0])
    assert [row.label for row in tables[0].rows] == ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    assert [len(table.rows) for table in tables] == [4, 4, 4, 1]
    assert [table.caption.split()[0] for table in tables] == ["Best", "Mean", "First", "Best"]
    assert "rouge_score" in tables[0].note and "rouge_score" not in tables[3].note


def test_scores_of_all_rows_together_are_compared_from_the_predictions(make_card, tmp_path):
    card = make_card(test_rows=ROWS, metrics=["bleu"], category="translation")
    folders = [
        evaluated.evaluate(tmp_path / name, {"tiny": answer}, cards=[card])
        for name, answer in (("a", right_but("r0", "r1", "r2")), ("b", right))
    ]
    (comparison,) = gather(*folders).comparisons
    assert comparison.main == "bleu" and comparison.intervals[1]["bleu"]["value"] == pytest.approx(100)
    assert comparison.differences[1]["bleu"].value > 0


def test_sensitivity_is_spread_and_agreement_of_templates_held_out_ones_apart(card, tmp_path):
    answers = {"t00": right, "t01": right_but("r0"), "t02": right_but("r0", "r1", "r2"), "t03": wrong}
    folder = evaluated.evaluate(tmp_path / "one", {f"tiny.{t}": a for t, a in answers.items()}, cards=[card])
    (found,) = gather(folder).sensitivities
    training, heldout = found.spreads
    values = [asked.value for asked in found.asked]
    assert (training.kind, training.count, heldout.kind, heldout.count) == ("training", 3, "held-out", 1)
    assert training.mean == pytest.approx(np.mean(values[:3])) and training.sd == pytest.approx(
        np.std(values[:3], ddof=1)
    )
    assert (training.best.variant, training.worst.variant) == ("t00", "t02")
    assert training.spread == pytest.approx(values[0] - values[2]) and heldout.best.value == values[3]
    # pairs that agree, of 12 rows: t00-t01 11, t00-t02 9, t01-t02 10, with t03 0, 1 and 3
    assert found.agreement.identical == pytest.approx(100 * (11 + 9 + 10 + 0 + 1 + 3) / (6 * 12))
    assert agreement([{"a": "Ann left."}, {"a": "ann"}]).word_f1 == pytest.approx(100 * 2 / 3)


def test_the_template_is_chosen_on_validation_and_reported_on_test(make_card, tmp_path, write_jsonl):
    card = make_card(
        test_rows=ROWS, templates=TEMPLATES, source={"type": "jsonl", "validation": "train.jsonl", "test": "test.jsonl"}
    )
    on = {
        "validation": {"tiny.t00": right_but("a"), "tiny.t01": right},
        "test": {"tiny.t00": right, "tiny.t01": right_but("r0")},
    }
    folders = [
        evaluated.evaluate(tmp_path / split, answers, cards=[card], split=split, fingerprint="one", step=9)
        for split, answers in on.items()
    ]
    (choice,) = gather(*folders).choices
    assert (choice.chosen.variant, choice.chosen_on, choice.reported_on) == ("t01", "validation", "test")
    assert choice.best.variant == "t00" and choice.chosen.value < choice.average < choice.best.value == 100


def test_what_a_chain_of_runs_learned_and_forgot(make_card, tmp_path):
    cards = [make_card(test_rows=ROWS, name=name) for name in ("first", "second", "third")]
    one = evaluated.make_run(tmp_path / "one", mixture="first", cards=cards)
    two = evaluated.make_run(tmp_path / "two", mixture="second", cards=cards, weights=str(one))
    three, six = (right_but(*(f"r{i}" for i in range(count))) for count in (3, 6))
    base = {"first": six, "second": six, "third": six}
    learned = {"first": right, "second": six, "third": three}
    for run, step, answers, weights in (
        (one, 0, base, "base"), (one, 30, learned, "one"), (two, 0, learned, "one"),
        (two, 30, {"first": six, "second": right, "third": wrong}, "two"),
    ):  # fmt: skip
        evaluated.evaluate(run / "eval" / str(step), answers, cards=cards, step=step, fingerprint=weights)
    contents = gather(one, two)
    assert [system.name for system in contents.systems] == ["before training", "one, step 30", "two, step 30"]
    matrix = contents.matrix
    assert matrix is not None
    assert [(row.task, row.ever_trained) for row in matrix.rows] == [
        ("first", True),
        ("second", True),
        ("third", False),
    ]
    values = {row.task: [cell.interval["value"] for cell in row.cells if cell] for row in matrix.rows}
    trained = {row.task: [cell.trained for cell in row.cells if cell] for row in matrix.rows}
    assert trained == {
        "first": [False, True, True], "second": [False, False, True], "third": [False, False, False]
    }  # fmt: skip
    _, after_one, after_two = matrix.totals
    assert after_one.learned and after_one.learned.value == pytest.approx(values["first"][1] - values["first"][0])
    assert after_one.backward_transfer is None and after_one.others and after_one.others.tasks == 2
    assert after_two.backward_transfer is not None and after_two.others is not None
    assert after_two.backward_transfer.value == pytest.approx(values["first"][2] - values["first"][1])
    assert after_two.backward_transfer.ci_high < 0
    assert after_two.retention == pytest.approx(100 * values["third"][2] / values["third"][0])
    assert after_two.others.value == pytest.approx(values["third"][2] - values["third"][0])
    kept = matrix.rows[2].cells[1] and matrix.rows[2].cells[1].retention
    assert kept and kept["ci_low"] < kept["value"] < kept["ci_high"]
    assert kept["value"] == pytest.approx(100 * values["third"][1] / values["third"][0])
    table = forgetting_table(matrix)
    assert table[0].count("|") == table[4].count("|") and f"{kept['value']:.0f} [" in table[3]
    assert "mean change" in table[0] and table[2].endswith("| – | – |")
    both = gather(two / "eval" / "0", two / "eval" / "30").matrix
    assert both and "mean change" in forgetting_table(both)[0]  # third was not trained on
    figure(matrix, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text().count('<g id="axes_') == len(matrix.rows)


def test_the_command_writes_html_csv_and_markdown_and_says_what_came_out(card, tmp_path, capsys):
    run = evaluated.make_run(tmp_path / "run", mixture="tiny", cards=[card])
    for step, answer in ((0, wrong), (10, right_but("r0")), (20, right)):
        evaluated.evaluate(
            run / "eval" / str(step), {"tiny": answer}, cards=[card], step=step, weights=str(run / str(step))
        )
    assert compare.main([str(run), "--bootstrap-samples", "100"]) == 0
    assert "step 20 against before training: rougeL" in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert (
        "tiny: before training, step 10, step 20" in page and "loss a target token" in page and "over training" in page
    )
    assert not {"http://", "https://", "src=", "@import", "url("} & set(
        page.split('type="application/json"')[0].split()
    )
    lines = list(csv.DictReader((run / "report.csv").open()))
    last = next(line for line in lines if line["system"] == "step 20" and line["score"] == "rougeL")
    assert float(last["value"]) == 100 and last["compared_with"] == "before training" and float(last["p"]) < 0.05
    assert "rouge_score" in last["settings"]
    markdown = (run / "report.md").read_text()
    assert (
        "| rougeL | " in markdown
        and "100.0 (+" in markdown
        and "▲" in markdown
        and str(run / "report.html") in markdown
    )
    assert not list(run.rglob("*.tmp"))
    page_again = (run / "report.html").read_bytes()
    assert compare.main([str(run), "--bootstrap-samples", "100"]) == 0
    assert (run / "report.html").read_bytes() == page_again


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), "holds no evaluation"),
        (lambda folder: (folder / "metrics.json").write_text('{"tasks"'), "metrics.json: is no metrics.json"),
        (lambda folder: (folder / "tiny" / "predictions.jsonl").unlink(), "predictions.jsonl: is not there"),
        (lambda folder: (folder / "tiny" / "predictions.jsonl").write_text('{"id": "r0"}\n'), ":1: is no row"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line_and_nothing_is_written(card, tmp_path, break_it, said):
    folder = evaluated.evaluate(tmp_path / "one", {"tiny": right}, cards=[card], limit=2)
    break_it(folder)
    with pytest.raises(UserError, match=said) as error:
        compare.main([str(folder)])
    assert "\n" not in str(error.value) and not (folder / "report.html").exists()


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "gather", lambda *_, **__: pytest.fail("was compared"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--output: .*/file/new: cannot be written"):
        compare.main([str(tmp_path), "--output", str(tmp_path / "file" / "new" / "report.html")])


def test_rows_hold_offsets_that_javascript_counts(card, tmp_path):
    from eval.report.examples import embed

    folder = evaluated.evaluate(tmp_path / "one", {"tiny": lambda e: "🙂🙂 Ann meets Olga."}, cards=[card], limit=1)
    data = embed(gather(folder).comparisons, ["one"])
    (row,) = data["tasks"][0]["rows"]
    text, _, made_up, missed, speakers = row[6][0]
    units = data["texts"][text].encode("utf-16-le")
    start, end, kind = made_up[0]
    assert (units[2 * start : 2 * end].decode("utf-16-le"), kind) == ("Olga", "name") and speakers == ["Bob"]
    reference = data["texts"][row[4][0]]
    assert [reference[start:end] for start, end in missed[0]] == ["Bob", "20"]
    assert json.loads(json.dumps(data)) == data
