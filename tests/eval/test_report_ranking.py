"""Three systems and more: ranks with ties, win rates, every pair, and one mark for a system in all parts of the report."""

import re

import numpy as np
import pytest
from helpers import evaluated

from eval.commands import compare
from eval.report.page import render
from eval.scoring.bootstrap import enough_resamples, paired_differences

ROWS = [{"id": f"r{i}", "review": f"Row {i}.", "answer": f"The answer is {i}."} for i in range(60)]


def right_on(*numbers):
    return lambda example: example.references[0] if int(example.id[1:]) in numbers else "The answer is -1."


@pytest.fixture
def gathered(make_card, tmp_path):
    card = make_card(
        test_rows=ROWS, fields={"review": "review", "answer": "answer"}, metrics=["final_answer"], category="reasoning",
        templates=[{"id": "t00", "inputs": "{review}", "targets": "{answer}"}],
    )  # fmt: skip

    def gather(**answers):
        folders = [evaluated.evaluate(tmp_path / name, {"tiny": a}, cards=[card]) for name, a in answers.items()]
        return compare.gather([str(folder) for folder in folders], samples=300)

    return gather


def test_systems_that_do_not_differ_share_a_rank(gathered):
    few, most = range(10), range(50)
    contents = gathered(few=right_on(*few), most=right_on(*most), others=right_on(*range(2, 52)))
    (ranking,) = contents.rankings
    ranks = {one.name: one.rank for one in ranking.ranked}
    assert ranks == {"most": "1 =", "others": "1 =", "few": "3"}
    assert {one.name: one.beats for one in ranking.ranked} == {"most": 1, "others": 1, "few": 0}
    (card,) = contents.cards
    assert (
        card.headline == "most and others share the first place" and "The other system is behind both" in card.sentence
    )


def test_every_pair_is_compared_and_two_cells_of_the_matrix_make_a_hundred(gathered):
    (ranking,) = gathered(none=right_on(), some=right_on(*range(30)), all=right_on(*range(60))).rankings
    assert [one.name for one in ranking.ranked] == ["all", "some", "none"]
    assert [[win and win.rate for win in row] for row in ranking.wins] == [
        [None, "75", "100"], ["25", None, "75"], ["0", "25", None],
    ]  # fmt: skip
    assert {(pair.second, pair.first) for pair in ranking.pairs} == {("all", "some"), ("all", "none"), ("some", "none")}
    assert {pair.verdict for pair in ranking.pairs} == {"better"}
    win = ranking.wins[0][1]
    assert win is not None and "only=gain" in win.link and "a=some&b=all" in win.link and "30 won" in win.told


def test_a_large_difference_is_seen_among_six_systems_whatever_the_number_of_resamples(gathered):
    shares = {f"s{i}": right_on(*range(10 * i, 10 * i + 9)) for i in range(5)}
    contents = gathered(**shares, best=right_on(*range(60)))
    ranks = {one.name: one.rank for one in contents.rankings[0].ranked}
    assert ranks["best"] == "1" and {ranks[name] for name in shares} == {"2 ="}
    assert contents.comparisons[0].differences[5]["accuracy"].p_holm < 0.05


@pytest.mark.parametrize("n", [30, 400])
@pytest.mark.parametrize("tests", [10, 90])
def test_resamples_are_enough_for_the_least_p_to_survive_the_correction(n, tests):
    change = np.full(n, 10.0) + np.arange(n) / n  # better on every row
    found = paired_differences({"s": np.zeros(n)}, {"s": change}, samples=enough_resamples(tests, n))["s"]
    assert found.p * tests < 0.05


def test_a_system_has_one_mark_everywhere(gathered):
    contents = gathered(first=right_on(), second=right_on(1, 2), third=right_on(*range(60)))
    page = render(contents)
    assert contents.marks == {"first": 0, "second": 1, "third": 2}
    shape = re.compile(r'class="key s(\d)"[^>]*>(<[^>]*>)</svg>(?:<span>|<span class="said">)(first|second|third)[<:]')
    found = {(name, number, drawn.partition(" ")[0]) for number, drawn, name in shape.findall(page)}
    assert {name: number for name, number, _ in found} == {"first": "0", "second": "1", "third": "2"} and len(
        found
    ) == 3
