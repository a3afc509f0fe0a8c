"""A report never says: worse as better, another metric as a change, other rows beside these, a mark on too few rows."""

import numpy as np
import pytest
from helpers import evaluated

from eval.commands import compare
from eval.comparison.task import verdict_of
from eval.report import view
from eval.report.examples import embed
from eval.report.plain import csv_text, markdown_text
from eval.scoring.bootstrap import Difference

ROWS = [{"id": f"r{i}", "review": f"Row {i}.", "answer": f"The answer is {i}."} for i in range(60)]
TEMPLATES = [{"id": "t00", "inputs": "{review}", "targets": "{answer}"}]


def right(example):
    return example.references[0]


def silent(example):
    return "I cannot say."


@pytest.fixture
def answers_card(make_card):
    return make_card(
        test_rows=ROWS, fields={"review": "review", "answer": "answer"}, templates=TEMPLATES, metrics=["final_answer"],
        category="reasoning",
    )  # fmt: skip


def gather(*folders, samples=300):
    return compare.gather([str(folder) for folder in folders], samples=samples)


def test_less_of_a_score_that_counts_failures_is_better_in_every_part_of_the_report(answers_card, tmp_path):
    before = evaluated.evaluate(tmp_path / "before", {"tiny": right}, cards=[answers_card])
    after = evaluated.evaluate(tmp_path / "after", {"tiny": silent}, cards=[answers_card])
    contents = gather(before, after)
    (comparison,) = contents.comparisons
    assert comparison.columns[1].summary["metrics"]["no_answer"]["better"] == "lower"
    (table,) = view.score_tables(comparison)
    marks = {row.label: row.cells[-1].verdict for row in table.rows}
    assert marks == {"accuracy": "worse", "no_answer": "worse"}
    assert "no_answer | 0.0 [0.0, 6.0] | 100.0 (+100.0" in markdown_text(contents, "x").replace("\\_", "_")
    (task,) = embed([comparison], ["before", "after"])["tasks"]
    assert dict(zip(task["scores"], task["better"], strict=True)) == {"accuracy": "higher", "no_answer": "lower"}


def test_a_metric_of_ones_own_says_which_side_is_better(make_card, tmp_path, monkeypatch):
    (tmp_path / "slips.py").write_text(
        "import numpy as np\n\nLOWER_IS_BETTER = {'slips'}\n\n\n"
        "def slips(predictions, references):\n    return {'slips': np.array([float(len(p)) for p in predictions])}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    card = make_card(test_rows=ROWS, fields={"review": "review", "answer": "answer"}, templates=TEMPLATES,
                     metrics=["slips:slips"])  # fmt: skip
    folders = [evaluated.evaluate(tmp_path / name, {"tiny": answer}, cards=[card])
               for name, answer in (("long", right), ("short", lambda _: "x"))]  # fmt: skip
    (comparison,) = gather(*folders).comparisons
    assert view.score_tables(comparison)[0].rows[0].cells[-1].verdict == "better"


def test_scores_of_one_name_by_two_metrics_have_no_difference_and_a_caution(make_card, tmp_path):
    rows = [{"id": f"r{i}", "review": f"Row {i}.", "stars": f"{1 + i % 5} stars"} for i in range(40)]
    shared = {"test_rows": rows, "fields": {"review": "review", "stars": "stars"},
              "templates": [{"id": "t00", "inputs": "{review}", "targets": "{stars}"}]}  # fmt: skip
    folders = []
    for metric in ("rating", "accuracy"):
        card = make_card(metrics=[metric], **shared)
        folders.append(
            evaluated.evaluate(tmp_path / metric, {"tiny": lambda e: e.references[0].partition(" ")[0]}, cards=[card])
        )
    contents = gather(*folders)
    (comparison,) = contents.comparisons
    assert [c["accuracy"]["value"] for c in comparison.intervals] == [100, 0]  # the same predictions
    assert "accuracy" not in comparison.differences[1]
    assert "different settings" in view.headline(comparison, 1)
    assert any(" of accuracy and of rating were computed with different settings" in note for note in contents.notes)


def test_all_numbers_of_a_table_are_of_the_rows_that_are_compared(make_card, tmp_path):
    rows = [
        {"id": f"r{i}", "dialogue": f"Ann: It is 2{i}.\nBob: Good.", "summary": f"Ann names 2{i}."} for i in range(40)
    ]
    card = make_card(test_rows=rows)
    # The last ten rows copy their dialogue; the other system did not answer them.
    copies = evaluated.evaluate(
        tmp_path / "copies", {"tiny": lambda e: str(e.dialogue) if int(e.id[1:]) >= 30 else right(e)}, cards=[card]
    )
    part = evaluated.evaluate(tmp_path / "part", {"tiny": right}, cards=[card], limit=30)
    (comparison,) = gather(copies, part).comparisons
    table = view.diagnostics_table(comparison)
    assert table is not None
    by_label = {row.label: [cell.text for cell in row.cells] for row in table.rows}
    assert by_label["copied words, %"][1] == "–" != by_label["copied words, %"][2]  # of 40 rows; of the 30
    assert by_label["length against the reference's"][1:] == ["1.00", "1.00"]


def test_a_table_says_the_resamples_that_its_numbers_come_from(answers_card, tmp_path):
    folders = [evaluated.evaluate(tmp_path / name, {"tiny": right}, cards=[answers_card], samples=50) for name in "ab"]
    text = csv_text(gather(*folders, samples=300).comparisons)
    assert "300 bootstrap resamples" in text and "50 bootstrap" not in text


def test_a_caution_names_its_system(make_card, tmp_path):
    card = make_card(test_rows=ROWS, fields={"review": "review", "answer": "answer"}, templates=TEMPLATES)
    fine = evaluated.evaluate(tmp_path / "fine", {"tiny": right}, cards=[card])
    broken = evaluated.evaluate(tmp_path / "broken", {"tiny": lambda e: "It is ⁇."}, cards=[card])
    (note,) = [note for note in gather(fine, broken).notes if "⁇" in note]
    assert note.startswith("tiny, test, broken: 60 of 60 predictions hold ⁇")


def test_fewer_than_30_rows_get_no_verdict(answers_card, tmp_path):
    few = [evaluated.evaluate(tmp_path / name, {"tiny": answer}, cards=[answers_card], limit=29)
           for name, answer in (("a", silent), ("b", right))]  # fmt: skip
    contents = gather(*few)
    (comparison,) = contents.comparisons
    assert comparison.differences[1]["accuracy"].p_holm < 0.05
    assert {cell.verdict for row in view.score_tables(comparison)[0].rows for cell in row.cells} == {""}
    assert (
        "no verdict on 29 rows" in view.headline(comparison, 1)
        and "▲ " not in markdown_text(contents, "x").split("95%")[0]
    )


def test_marks_are_corrected_for_all_scores_and_systems_of_a_task(answers_card, tmp_path):
    generator = np.random.default_rng(0)
    systems = []
    for name in "abcdefgh":  # equal systems, each right on rows of its own
        chosen = set(generator.permutation(60)[:30].tolist())
        answer = lambda e, chosen=chosen: right(e) if int(e.id[1:]) in chosen else silent(e)  # noqa: E731
        systems.append(evaluated.evaluate(tmp_path / name, {"tiny": answer}, cards=[answers_card]))
    contents = gather(*systems[:6])
    (comparison,) = contents.comparisons
    found = [d for of_system in comparison.differences for d in of_system.values()]
    assert len(found) == 10  # two scores of five systems
    smallest = min(found, key=lambda d: d.p)
    assert smallest.p_holm == pytest.approx(min(1, 10 * smallest.p)) and all(d.p_holm >= d.p for d in found)
    assert all(verdict_of(d, "higher", 60) == "even" for d in found)


def test_p_is_rounded_up_and_never_below_what_the_resamples_can_tell():
    assert view.p_text(2 / 1501, 1500) == "p ≤ 0.0014"  # 0.00133
    assert view.p_text(0.0491, 1500) == "p = 0.050" and view.p_text(0.123, 1500) == "p = 0.13"
    assert view.change_text(Difference(1, 0.5, 1.5, 0.01, 0.2), 1, 1500) == "+1.0 (+0.5 to +1.5), p = 0.010, Holm 0.20"
