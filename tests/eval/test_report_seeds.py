"""Seeds of one configuration are one system; how much a seed matters is part of its verdicts, or said not to be known."""

import numpy as np
import pytest
import yaml
from helpers import evaluated

from eval.commands import compare
from eval.comparison.systems import read_systems
from eval.report.page import render
from eval.report.plain import csv_text
from eval.scoring.seeds import mean_scores, seeds_bootstrap, seeds_differences
from t5x_tasks.metrics.pooled import Pooled, divide, value

ROWS = [{"id": f"r{i}", "review": f"Row {i}.", "answer": f"The answer is {i}."} for i in range(80)]


def right_on(count, start=0):
    chosen = range(start, start + count)
    return lambda example: example.references[0] if int(example.id[1:]) in chosen else "The answer is -1."


@pytest.fixture
def make_runs(make_card, tmp_path):
    card = make_card(
        test_rows=ROWS, fields={"review": "review", "answer": "answer"}, metrics=["final_answer"], category="reasoning",
        templates=[{"id": "t00", "inputs": "{review}", "targets": "{answer}"}],
    )  # fmt: skip

    def make(name, answers, **train):
        runs = []
        for seed, answer in answers.items():
            run = evaluated.make_run(tmp_path / f"{name}{seed}", mixture="tiny", cards=[card])
            config = yaml.safe_load((run / "config.yaml").read_text())
            config |= {"run_dir": str(run), "train": {"seed": seed, "steps": 9, **train}}
            config["environment"] = {"git_revision": str(seed)}
            (run / "config.yaml").write_text(yaml.safe_dump(config))
            weights = str(run / "checkpoints" / "9")
            evaluated.evaluate(run / "eval" / "9", {"tiny": answer}, cards=[card], step=9, weights=weights)
            runs.append(run)
        return runs

    return make


def gather(*folders):
    return compare.gather([str(folder) for folder in folders], samples=400)


def test_runs_that_differ_in_their_seed_alone_are_one_system(make_runs):
    three = make_runs("a", {0: right_on(40), 1: right_on(44), 2: right_on(48)})
    other = make_runs("b", {0: right_on(60), 1: right_on(64)}, learning_rate=0.1)
    contents = gather(*three, *other)
    assert [(system.name, len(system.seeds)) for system in contents.systems] == [
        ("a0, step 9, 3 seeds", 3), ("b0, step 9, 2 seeds", 2),
    ]  # fmt: skip
    (comparison,) = contents.comparisons
    assert comparison.intervals[0]["accuracy"]["value"] == pytest.approx(100 * 44 / 80)
    (card,) = contents.cards
    assert card.first_spread == "3 seeds: 50.0, 55.0, 60.0" and card.contrasts[0].spread == "2 seeds: 75.0, 80.0"
    assert "other seeds" in card.sentence and contents.unsure == ""
    assert "mean of 3 seeds" in csv_text(contents.comparisons)
    assert "seeds 0, 1, 2" in contents.facts[0].origin["trained"]
    assert "Text of the first seed" in render(contents)


def test_runs_of_another_configuration_the_same_seed_twice_or_two_names_stay_apart(make_runs):
    (one,) = make_runs("a", {0: right_on(40)})
    (two,) = make_runs("b", {1: right_on(40)})
    (longer,) = make_runs("c", {2: right_on(40)}, warmup=3)
    (again,) = make_runs("d", {0: right_on(40)})
    assert [len(system.seeds) for system in gather(one, two, longer, again).systems] == [2, 0, 0]
    assert [len(system.seeds) for system in gather(f"first={one}", f"second={two}").systems] == [0, 0]
    assert [len(system.seeds) for system in gather(f"ours={one}", f"ours={two}").systems] == [2]
    assert len(read_systems([str(one), str(two)])[0]) == 2


def test_with_one_seed_the_report_says_that_it_does_not_know_how_much_a_seed_matters(make_runs):
    (one,) = make_runs("a", {0: right_on(40)})
    several = make_runs("b", {0: right_on(60), 1: right_on(64)}, learning_rate=0.1)
    contents = gather(one, *several)
    assert "how much another training seed would change a0, step 9; it is one run" in contents.unsure
    assert contents.unsure in render(contents)


def test_a_difference_that_a_seed_could_make_is_no_verdict(make_runs):
    """Rows alone are sure of it: the seeds of one system lie as far apart as the two systems."""
    first = make_runs("a", {0: right_on(30), 1: right_on(60)})
    second = make_runs("b", {0: right_on(50), 1: right_on(76)}, learning_rate=0.1)
    alone = gather(f"one={first[0]}", f"other={second[1]}")
    assert alone.cards[0].tone == "better"
    assert gather(*first, *second).cards[0].tone == "even"


def test_means_over_seeds_are_those_of_their_scores_also_of_sums():
    rng = np.random.default_rng(0)
    seeds = [
        {
            "plain": rng.normal(size=40),
            "f1": Pooled(rng.integers(1, 9, (40, 2)), lambda s: 100 * divide(s[..., 0], s[..., 1])),
        }
        for _ in range(3)
    ]
    means = mean_scores(seeds)
    for name in ("plain", "f1"):
        assert value(means[name]) == pytest.approx(np.mean([value(scores[name]) for scores in seeds]))
        found = seeds_bootstrap(seeds, samples=200)[name]
        assert found["ci_low"] < found["value"] < found["ci_high"]


def test_seeds_that_are_all_right_have_no_empty_interval_and_equal_ones_do_not_differ():
    seeds = [{"yes": np.full(50, 100.0)} for _ in range(2)]
    found = seeds_bootstrap(seeds, samples=100)["yes"]
    assert found["ci_low"] < 95 and found["ci_high"] == 100
    same = seeds_differences(seeds, seeds, samples=100)["yes"]
    assert (same.value, same.p) == (0, 1)


@pytest.mark.parametrize(("first", "second"), [(2, 2), (3, 3), (1, 3)])
def test_equal_configurations_are_rarely_called_different_whatever_their_seeds_do(first, second):
    """First and second of as many seeds; of one seed alone the other's mean is given, so it is no side that has luck."""
    wrong = 0
    for number in range(200):
        rng = np.random.default_rng((first, second, number))
        hard = rng.normal(0, 20, 60)

        def side(count, rng=rng, hard=hard):
            luck = rng.normal(0, 4, count) if count > 1 else [0.0]
            return [{"s": 50 + hard + one + rng.normal(0, 8, 60)} for one in luck]

        wrong += seeds_differences(side(first), side(second), samples=150)["s"].p < 0.05
    assert wrong / 200 < 0.09  # 0.05 and two and a half standard errors
