"""Learning and forgetting in a chain of runs, each of which started from a checkpoint of the one before."""

import pytest
from helpers import evaluated

from eval.commands import compare
from eval.report.plain import forgetting_table

ROWS = [{"id": f"r{i}", "dialogue": f"Ann: {i}?\nBob: Yes.", "summary": f"Bob says yes to {i}."} for i in range(12)]


def right_but(count):
    """Answers all rows rightly but the first."""
    wrong = {f"r{i}" for i in range(count)}
    return lambda example: "Nobody laughs." if example.id in wrong else example.references[0]


@pytest.fixture
def cards(make_card):
    return [make_card(test_rows=ROWS, name=name) for name in ("first", "second", "third")]


def evaluate(run, step, wrong, cards, fingerprint="", weights=""):
    answers = {name: right_but(count) for name, count in zip(("first", "second", "third"), wrong, strict=True)}
    evaluated.evaluate(
        run / "eval" / str(step), answers, cards=cards, step=step, fingerprint=fingerprint, weights=weights
    )


def gather(*folders):
    contents = compare.gather([str(folder) for folder in folders], samples=50)
    assert contents.matrix is not None
    return contents.matrix


@pytest.fixture
def chain(cards, tmp_path):
    """Run two starts from step 20 of run one, which went on to step 30. On the first task: 50, 100 and 25% right."""
    one = evaluated.make_run(tmp_path / "one", mixture="first", cards=cards)
    (one / "checkpoints" / "20").mkdir(parents=True)
    two = evaluated.make_run(tmp_path / "two", mixture="second", cards=cards, weights=f"{one}/checkpoints/20")
    evaluate(one, 0, (11, 11, 11), cards, fingerprint="base")
    evaluate(one, 20, (6, 11, 11), cards, fingerprint="one20")
    evaluate(one, 30, (0, 11, 11), cards, fingerprint="one30")
    evaluate(two, 0, (6, 11, 11), cards, fingerprint="one20")
    evaluate(two, 40, (9, 0, 6), cards, fingerprint="two40")
    return one, two


def value(matrix, task, system):
    (row,) = [row for row in matrix.rows if row.task == task]
    cell = row.cells[[s.name for s in matrix.systems].index(system)]
    assert cell is not None
    return cell.interval["value"]


def test_step_0_of_a_second_run_is_the_checkpoint_that_it_started_from(chain):
    matrix = gather(*chain)
    names = [system.name for system in matrix.systems]
    assert names == ["before training", "one, step 20", "one, step 30", "two, step 40"]
    (first,) = [row for row in matrix.rows if row.task == "first"]
    assert [cell and cell.trained for cell in first.cells] == [False, True, True, True]
    learned = matrix.totals[1].learned
    assert learned and learned.value == pytest.approx(
        value(matrix, "first", "one, step 20") - value(matrix, "first", "before training")
    )
    others = matrix.totals[1].others
    assert others and others.value == 0 and others.tasks == 2 and matrix.totals[1].retention == pytest.approx(100)


def test_a_second_run_alone_begins_with_what_the_first_trained(chain):
    matrix = gather(chain[1])
    assert [system.name for system in matrix.systems] == ["before training", "step 40"]
    trained = {row.task: [cell and cell.trained for cell in row.cells] for row in matrix.rows}
    assert trained == {"first": [True, True], "second": [False, True], "third": [False, False]}
    total = matrix.totals[1]
    assert total.learned and total.others and total.backward_transfer
    assert (total.learned.tasks, total.others.tasks, total.backward_transfer.tasks) == (1, 1, 1)
    forgotten = value(matrix, "first", "step 40") - value(matrix, "first", "before training")
    assert total.backward_transfer.value == pytest.approx(forgotten) and forgotten < 0
    assert total.learned.value == pytest.approx(
        value(matrix, "second", "step 40") - value(matrix, "second", "before training")
    )


@pytest.mark.parametrize("kept", ["both", "checkpoint", "step 0"])
def test_backward_transfer_is_against_the_checkpoint_that_the_chain_started_from(chain, kept):
    one, two = chain
    given = {
        "both": [one, two],
        "checkpoint": [one / "eval" / "0", one / "eval" / "20", one / "eval" / "30", two / "eval" / "40"],
        "step 0": [one / "eval" / "0", one / "eval" / "30", two],
    }[kept]
    matrix = gather(*given)
    found = matrix.totals[-1].backward_transfer
    assert found and found.value == pytest.approx(-25)  # against step 30 it would be -75


def test_without_that_checkpoint_there_is_no_backward_transfer(chain):
    one, two = chain
    matrix = gather(one / "eval" / "0", one / "eval" / "30", two / "eval" / "40")
    assert matrix.totals[-1].backward_transfer is None


def test_backward_transfer_and_change_on_other_tasks_are_two_columns(chain):
    lines = forgetting_table(gather(*chain))
    heads, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| "))
    assert heads[-2:] == ["backward transfer", "mean change where never trained"]
    cells = {row[0]: row[-2:] for row in rows}
    assert cells["one, step 20"][0] == "–" and cells["one, step 20"][1].startswith("+0.0")
    assert cells["two, step 40"][0].startswith("-") and cells["two, step 40"][1].startswith("+")


def test_the_checkpoint_that_a_chain_started_from_is_shown_however_many_were_evaluated(chain, cards):
    one, two = chain
    for step in (5, 10, 15, 25):
        evaluate(one, step, (6, 12, 12), cards, fingerprint=f"one{step}")
    names = [system.name for system in gather(one, two).systems]
    assert names == ["before training", "one, step 20", "one, step 30", "two, step 40"]
