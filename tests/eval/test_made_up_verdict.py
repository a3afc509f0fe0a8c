"""Claims of what is concluded from the made-up alarm: saying nothing, or all in lower case, is no improvement."""

import json

import pytest
from helpers import evaluated

from eval.commands import compare
from eval.diagnostics.diagnose import few_found
from eval.report import view
from eval.report.plain import csv_text, markdown_text
from eval.report.summary import print_scores
from eval.score_names import better_side

ROWS = [
    {
        "id": f"r{i}",
        "dialogue": f"Ann: It is {20 + i} people.\nBob: I see, {20 + i} of them.",
        "summary": f"Ann tells Bob about {20 + i} people.",
    }
    for i in range(40)
]


def wrong(example):
    return "Ann tells Olga and Igor about it." if int(example.id[1:]) % 2 else example.references[0]


def right(example):
    return example.references[0]


def empty(example):
    return ""


def lower(example):
    return wrong(example).lower()


def shorter(example):
    """Half as much, half as many alarms: the rate is the same."""
    return "Olga and Igor." if example.id == "r1" else "Ann."


@pytest.fixture
def against_wrong(make_card, tmp_path):
    card = make_card(test_rows=ROWS)

    def gathered(answer):
        folders = [
            evaluated.evaluate(tmp_path / f"{name}{answer.__name__}", {"tiny": say}, cards=[card])
            for name, say in (("before", wrong), ("after", answer))
        ]
        return compare.gather([str(folder) for folder in folders], samples=200), folders[1]

    return gathered


def of_alarm(contents):
    (comparison,) = contents.comparisons
    table = view.diagnostics_table(comparison)
    assert table is not None
    return {row.label: row.cells[-1] for row in table.rows if "alarm" in row.label}, comparison


@pytest.mark.parametrize("answer", [empty, lower])
def test_saying_nothing_or_all_in_lower_case_is_no_improvement_of_the_alarm(against_wrong, answer):
    contents, folder = against_wrong(answer)
    cells, comparison = of_alarm(contents)
    assert {cell.verdict for cell in cells.values()} == {""}
    assert "made_up_per_100" not in comparison.differences[1]
    assert cells["made-up alarm, per 100 names and numbers"].text == "–"
    text = markdown_text(contents, "report.html")
    assert not any("▲" in line or "▼" in line for line in text.splitlines() if line.startswith("| made"))
    assert "made\\_up\\_per\\_100" in text and "made_up_per_100" in csv_text(contents.comparisons)
    (note,) = [note for note in contents.notes if "made-up" in note]
    assert f"after{answer.__name__}: the made-up alarm found 0 names and numbers to look up where the" in note
    measure = json.loads((folder / "metrics.json").read_text())["tasks"]["tiny"]["diagnostics"]["made_up_per_100"]
    assert measure["value"] is None and measure["found"] == 0 and measure["expected"] == 120
    assert "excess" not in measure and "too few to be compared" in measure["caution"]


def test_fewer_inventions_at_the_same_number_of_names_are_better(against_wrong):
    contents, _ = against_wrong(right)
    cells, comparison = of_alarm(contents)
    assert cells["made-up alarm, per 100 names and numbers"].verdict == "better"
    assert cells["made-up alarm, % of summaries"].verdict == ""  # a share of summaries has no better side
    assert comparison.differences[1]["made_up_per_100"].value == pytest.approx(-100 * 40 / 120)
    assert not any("made-up" in note for note in contents.notes)


def test_too_few_names_to_look_up_are_cautioned_of_and_get_no_verdict(against_wrong, capsys):
    contents, folder = against_wrong(shorter)
    cells, _ = of_alarm(contents)
    rate = cells["made-up alarm, per 100 names and numbers"]
    assert rate.text == "4.9" and rate.verdict == "" and rate.change == ""  # 2 of 41, of 120
    assert any("found 41 names and numbers to look up where the references have 120" in n for n in contents.notes)
    summary = json.loads((folder / "metrics.json").read_text())["tasks"]["tiny"]
    print_scores("tiny", {"after": summary}, split="test")
    assert "after: the made-up alarm found 41 names and numbers" in capsys.readouterr().out


def test_less_than_half_of_what_the_references_hold_is_few():
    assert few_found([{"particulars": 2, "expected_particulars": 4.5}])
    assert not few_found([{"particulars": 2, "expected_particulars": 4.0}])
    assert not few_found([{"particulars": 0, "expected_particulars": 0.0}])
    assert better_side("made_up_per_100") == "lower" and better_side("made_up_rows") is None
