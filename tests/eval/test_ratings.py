"""People's verdict on two systems: which rows they see, win rate, sign test, agreement, marks, and files that are refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers import evaluated

from eval.commands import compare, rate
from eval.comparison.systems import read_systems
from eval.comparison.task import compare_task
from eval.rating.opinion import Share, agreement, agreement_with, sign_test
from eval.rating.sheet import draw
from eval.report.ratings import p_text
from t5x_tasks.common.errors import UserError

ROWS = [
    {"id": f"r{i:02}", "dialogue": f"Ann: It is 2{i}.\nBob: I see, 2{i}.", "summary": f"Ann tells Bob about 2{i}."}
    for i in range(40)
]


def right(example):
    return example.references[0]


def wrong(example):
    return f"Somebody meets Olga about {example.id}."


@pytest.fixture
def card(make_card):
    return make_card(test_rows=ROWS, metrics=["rouge", "exact_match"])


@pytest.fixture
def folders(card, tmp_path):
    return [
        evaluated.evaluate(tmp_path / name, {"tiny": answer}, cards=[card])
        for name, answer in (("bad", wrong), ("good", right))
    ]


def sheet_of(folders, **wanted):
    systems, _ = read_systems([str(folder) for folder in folders])
    return draw(compare_task("tiny", "test", systems, samples=1), **{"rows": 60, "seed": 0, **wanted})


def result(sheet, verdict, *, rater="", session="s1", marks=None):
    """A rater's file: `verdict` of a row's number is A, B (the preferred system), both good, both bad or None."""
    rows = []
    for number, (id, left) in enumerate(sheet.rows):
        said = verdict(number)
        said = {left: "left", {"A": "B", "B": "A"}[left]: "right"}.get(said, said)
        marked = marks(number) if marks else {}
        sides = {"left": marked.get(left, []), "right": marked.get({"A": "B", "B": "A"}[left], [])}
        rows.append({"id": id, "left": left, "verdict": said, "marks": sides})
    return {
        "format": "flan-t5x ratings 1", "page": sheet.page, "task": sheet.task, "split": sheet.split, "seed": sheet.seed,
        "systems": list(sheet.systems), "common": sheet.common, "identical": sheet.identical, "rater": rater,
        "session": session, "rows": rows,
    }  # fmt: skip


def gather(folders, *files):
    return compare.gather([str(folder) for folder in folders], samples=50, ratings=files)


@pytest.fixture
def save(tmp_path):
    def write(name, contents):
        path = tmp_path / name
        path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
        return path

    return write


def test_rows_order_and_sides_are_drawn_by_the_seed_and_each_system_is_left_half_of_the_time(folders):
    sheet = sheet_of(folders, rows=20)
    assert sheet == sheet_of(folders, rows=20) and len(sheet.rows) == 20
    assert [left for _, left in sheet.rows].count("A") == 10
    other = sheet_of(folders, rows=20, seed=1)
    assert other.rows != sheet.rows and other.page != sheet.page
    ids = [id for id, _ in sheet.rows]
    assert ids != sorted(ids)
    assert [id for id, _ in sheet_of(folders, rows=21).rows][:20] == ids  # more rows begin with the same ones


def test_rows_with_one_and_the_same_output_are_not_shown_and_are_counted(card, tmp_path, capsys):
    def half(example):
        return f" {right(example)} " if int(example.id[1:]) < 15 else wrong(example)

    folders = [
        evaluated.evaluate(tmp_path / name, {"tiny": answer}, cards=[card])
        for name, answer in (("half", half), ("all", right))
    ]
    sheet = sheet_of(folders)
    assert (sheet.common, sheet.identical) == (40, 15) and min(id for id, _ in sheet.rows) == "r15"
    assert rate.main([*map(str, folders), "--out", str(tmp_path / "rate.html")]) == 0
    printed = capsys.readouterr().out
    assert (
        "25 of 40 rows of tiny, test" in printed and "15 rows with the same output from both are not shown" in printed
    )
    assert "no more rows than these 25 differ" in printed


def test_another_output_or_dialogue_makes_another_page(folders, card, make_card, tmp_path):
    def changed(example):
        return right(example) + "!" * (example.id == "r07")

    after = evaluated.evaluate(tmp_path / "changed", {"tiny": changed}, cards=[card])
    assert sheet_of([folders[0], after]).page != sheet_of(folders).page
    assert sheet_of(folders[::-1]).page != sheet_of(folders).page
    other = make_card(test_rows=[{**row, "dialogue": row["dialogue"] + " So."} for row in ROWS])
    again = [
        evaluated.evaluate(tmp_path / f"again_{name}", {"tiny": answer}, cards=[other])
        for name, answer in (("bad", wrong), ("good", right))
    ]
    assert sheet_of(again).page != sheet_of(folders).page


def test_sign_test_and_exact_interval_are_those_computed_by_hand():
    # 8 of 10: twice the upper tail of Binomial(10, 1/2), (45 + 10 + 1) / 1024
    assert sign_test(8, 2) == pytest.approx(112 / 1024) == sign_test(2, 8)
    assert sign_test(10, 0) == pytest.approx(2 / 1024) and sign_test(0, 0) == sign_test(5, 5) == 1
    # of n of n the lower end is where p^n = 0.025; of none of n, the mirror image
    assert Share(10, 10).interval == pytest.approx((100 * 0.025**0.1, 100))
    assert Share(0, 10).interval == pytest.approx((0, 100 * (1 - 0.025**0.1)))
    low, high = (end / 100 for end in Share(8, 10).interval)
    above = sum(math.comb(10, k) * low**k * (1 - low) ** (10 - k) for k in (8, 9, 10))
    below = sum(math.comb(10, k) * high**k * (1 - high) ** (10 - k) for k in range(9))
    assert (above, below) == pytest.approx((0.025, 0.025))
    # the interval leaves out one half exactly where p is below 5%
    for won in range(41):
        low, high = Share(won, 40).interval
        assert (low > 50 or high < 50) == (sign_test(won, 40 - won) < 0.05)
    assert [p_text(p) for p in (0.0301, 0.00099, 1.0)] == ["p = 0.031", "p < 0.001", "p = 1.000"]


def test_alpha_is_the_librarys_own_example():
    nan = np.nan
    votes = np.array([
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ])  # fmt: skip
    alpha, rows = agreement(votes)
    assert round(alpha or 0, 3) == 0.815 and rows == 11  # the last row has one vote
    assert agreement(np.array([[1.0, 0, -1], [1, 0, -1]])) == (pytest.approx(1), 3)
    assert agreement(np.ones((2, 5))) == (None, 5)  # nothing that could differ
    assert agreement(np.array([[1.0, nan], [nan, 0]])) == (None, 0)


def test_a_score_agrees_with_people_on_the_rows_that_both_decide():
    preference = np.array([1, 1, -1, -1, 0, np.nan, 1])
    found = agreement_with(preference, np.array([5.0, -1, -2, 1e-15, 3, 3, 0]))
    assert (found.same, found.tied) == (Share(2, 3), 2)
    assert agreement_with(np.zeros(3), np.ones(3)).same is None


def test_two_raters_files_say_who_is_preferred_how_surely_and_which_scores_agree(folders, save):
    sheet = sheet_of(folders)
    # Of 40 rows the raters give B 24 together, disagree on 4, and give A 6; the rest are even.
    one = save("one.json", result(
        sheet, lambda i: "B" if i < 28 else "A" if i < 34 else "both good" if i < 38 else "both bad", rater="Ann",
        marks=lambda i: {"A": ["made_up", "misses_who"]} if i < 10 else {"B": ["misses_agreed"]} if i == 20 else {},
    ))  # fmt: skip
    other = save("other.json", result(
        sheet, lambda i: "B" if i < 24 else "A" if i < 34 else "both bad" if i < 39 else None, session="s2",
        marks=lambda i: {"A": ["made_up"]} if 5 <= i < 15 else {},
    ))  # fmt: skip
    rated = gather(folders, one, other).ratings
    assert rated is not None
    opinion = rated.opinion
    assert (opinion.won, opinion.lost, opinion.even, opinion.rated) == (24, 6, 10, 40)
    assert opinion.win_rate == Share(24, 30) and opinion.p == sign_test(24, 6) < 0.002
    assert rated.headline == (
        "good against bad: people prefer it on 24 of the 30 rows that are not even, 80.0% (61.4 to 92.3), sign test p = 0.002: "
        "better"
    )
    assert [(r.name, r.rated, r.first, r.both_good, r.both_bad, r.second) for r in opinion.raters] == [
        ("Ann", 40, 6, 4, 2, 28), ("rater 2", 39, 10, 0, 5, 24),
    ]  # fmt: skip
    assert opinion.marks == {
        "made_up": (Share(15, 40), Share(0, 40)),
        "misses_who": (Share(10, 40), Share(0, 40)),
        "misses_agreed": (Share(0, 40), Share(1, 40)),
    }
    assert opinion.rated_twice == 39 and 0.7 < (opinion.alpha or 0) < 0.9
    # `good` has the higher rougeL in all rows, so it agrees where people prefer it.
    assert rated.scores["rougeL"].same == rated.scores["exact_match"].same == Share(24, 30)

    back = gather(folders[::-1], one, other).ratings  # the order of the systems is the comparison's
    assert back is not None and back.names == ("good", "bad")
    assert (back.opinion.won, back.opinion.lost) == (6, 24) and back.verdict == "worse"
    assert back.scores["rougeL"].same == Share(24, 30) and back.opinion.marks["made_up"] == (
        Share(0, 40),
        Share(15, 40),
    )


def test_the_report_has_a_section_on_people_only_where_they_were_asked(folders, save, tmp_path):
    args = [*map(str, folders), "--output", str(tmp_path / "report.html"), "--bootstrap-samples", "20"]
    assert compare.main(args) == 0 and "What people prefer" not in (tmp_path / "report.html").read_text()
    file = save("one.json", result(sheet_of(folders), lambda i: "B", rater="<b>Ann</b>"))
    assert compare.main([*args, "--ratings", str(file)]) == 0
    report = (tmp_path / "report.html").read_text()
    assert "What people prefer" in report and "One rater: how far people agree is not known" in report
    assert "&lt;b&gt;Ann&lt;/b&gt;" in report and "<b>Ann</b>" not in report
    assert "people prefer it on 40 of the 40 rows" in (tmp_path / "report.md").read_text()


def test_a_score_of_which_less_is_better_agrees_where_it_falls(folders, save):
    for folder in folders:
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["tasks"]["tiny"]["metrics"]["exact_match"]["better"] = "lower"
        (folder / "metrics.json").write_text(json.dumps(metrics))
    rated = gather(folders, save("one.json", result(sheet_of(folders), lambda i: "B"))).ratings
    assert rated is not None and rated.scores["exact_match"].same == Share(0, 40)
    assert rated.scores["rougeL"].same == Share(40, 40)


def test_files_that_are_none_of_this_comparison_are_refused_in_one_line(folders, card, save, tmp_path):
    sheet = sheet_of(folders)
    good = result(sheet, lambda i: "B")
    one = save("one.json", good)
    swapped = {**good, "rows": [{**row, "left": "A"} for row in good["rows"]]}
    later = result(sheet_of(folders, rows=10), lambda i: "B", session="s2")
    third = evaluated.evaluate(tmp_path / "third", {"tiny": lambda e: "No."}, cards=[card])
    other_systems = result(sheet_of([folders[0], third]), lambda i: "B")
    part = evaluated.evaluate(tmp_path / "part", {"tiny": right}, cards=[card], limit=5)
    other_task = result(sheet, lambda i: "B")
    renamed = replace(sheet, task="elsewhere")
    other_task |= {"task": "elsewhere", "page": renamed.page}
    refused = [
        ([save("a.json", "[1, 2")], folders, r"a.json: is no file of ratings \(Invalid JSON"),
        ([save("b.json", {**good, "rows": []})], folders, r"b.json: is no file of ratings \(rows: List should have"),
        ([save("c.json", {**good, "seed": "0"})], folders, r"c.json: is no file of ratings \(seed: "),
        ([save("d.json", swapped)], folders, r"d.json: its rows or sides are not those of its page"),
        ([save("e.json", result(sheet, lambda i: None))], folders, r"e.json: holds no rating yet"),
        ([one, save("f.json", later)], folders, r"f.json: is of another page of ratings than .*one.json"),
        ([one, save("g.json", good)], folders, r"g.json: is of the same rater as .*one.json; give the later one"),
        ([save("h.json", other_systems)], folders, r"--ratings: page \w+ rates tiny, test: its B is none of these systems"),
        ([save("i.json", other_task)], folders, r"rates elsewhere, test, which none of these systems answered"),
        ([one], [*folders, part], r"row r\d\d was not answered by all of these systems"),
        ([tmp_path / "none.json"], folders, r"none.json: cannot be read \(No such file"),
    ]  # fmt: skip
    for files, systems, message in refused:
        with pytest.raises(UserError, match=message) as error:
            gather(systems, *files)
        assert "\n" not in str(error.value)
    assert gather([*folders, third], one).ratings is not None  # more systems than the two are no harm


def test_rate_refuses_what_is_not_two_systems_with_a_task_in_common(folders, card, make_card, tmp_path):
    output = tmp_path / "out" / "rate.html"

    def refused(*arguments):
        with pytest.raises(UserError) as error:
            rate.main([*map(str, arguments), "--out", str(output)])
        assert not output.exists() and "\n" not in str(error.value)
        return str(error.value)

    bad, good = folders
    third = evaluated.evaluate(tmp_path / "third", {"tiny": right}, cards=[card])
    assert "needs two systems, and here are 3: bad, good, third" in refused(bad, good, third)
    assert "needs two systems, and here is 1: bad" in refused(bad)
    assert "good and third say the same in all 40 rows" in refused(good, third)
    both = [
        evaluated.evaluate(tmp_path / name, {"tiny.t00": answer, "tiny.t01": answer}, cards=[card])
        for name, answer in (("one", wrong), ("two", right))
    ]
    assert "which task? Both answered tiny.t00 (test), tiny.t01 (test)" in refused(*both)
    assert "there is no such task among those that both answered: tiny.t00" in refused(*both, "--task", "tiny")
    assert "one and good answered no task in common" in refused(both[0], good)
    assert rate.main([*map(str, both), "--task", "tiny.t01", "--out", str(output)]) == 0 and output.exists()
