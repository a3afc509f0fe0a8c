"""Simulates how often the evaluation's intervals cover the truth, and how often it calls equal systems different.

    python -m bench.intervals                       # 2,000 evaluations of each kind: about 10 minutes on two cores
    python -m bench.intervals --evaluations 400     # a look

Rows are drawn anew for each evaluation; two systems of equal quality answer them. Four kinds of scores: like ROUGE (skewed, from
0 to 100, the two systems' correlated by how hard a row is), yes/no (each system right with probability 0.7, and 0.95), and ratios
of sums. Aims: an interval covers the truth in 93 to 97% of evaluations; p < 0.05 in at most 5.5%; after Holm's correction of a
family of four correlated scores at least one in at most 5.5%. Exits with 1 if one is missed by more than two standard errors.
"""

import argparse
import math
import sys
from collections.abc import Callable

import numpy as np

from eval.scoring.bootstrap import Difference, bootstrap, holm, paired_differences
from t5x_tasks.metrics.pooled import Pooled, Scores, divide, value

SIZES = (30, 100, 500)
COVERS, ERRS = (0.93, 0.97), 0.055
Draw = Callable[[np.random.Generator, int], tuple[Scores, Scores]]


def like_rouge(rng: np.random.Generator, n: int) -> tuple[Scores, Scores]:
    """Four scores a row for each of two systems: Beta-distributed, correlated over systems by the row, and among each other."""
    hard = rng.normal(size=(n, 1))

    def one() -> np.ndarray:
        own = rng.normal(size=(n, 1))
        return 100 / (1 + np.exp(-(hard + own + 0.3 * rng.normal(size=(n, 4)) - 0.5)))

    before, after = one(), one()
    return {f"rouge{i}": before[:, i] for i in range(4)}, {f"rouge{i}": after[:, i] for i in range(4)}


def yes_no(right: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> tuple[Scores, Scores]:
        before, after = (100.0 * (rng.random(n) < right) for _ in range(2))
        return {"yes": before}, {"yes": after}

    return draw


def ratio(rng: np.random.Generator, n: int) -> tuple[Scores, Scores]:
    length = rng.integers(5, 40, n)
    sides = [np.stack([rng.binomial(length, 0.4), length], axis=1) for _ in range(2)]
    before, after = (Pooled(side, lambda sums: 100 * divide(sums[..., 0], sums[..., 1])) for side in sides)
    return {"ratio": before}, {"ratio": after}


KINDS: dict[str, tuple[Draw, float]] = {  # and the true score of a system
    "like ROUGE": (like_rouge, float("nan")),
    "yes/no, 70%": (yes_no(0.7), 70.0),
    "yes/no, 95%": (yes_no(0.95), 95.0),
    "ratio of sums": (ratio, 40.0),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.intervals", description="Coverage and false alarms.")
    parser.add_argument("--evaluations", type=int, default=2000, help="of each kind and size (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=1000, help="resamples of each (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    rouge_truth = value(like_rouge(rng, 2_000_000)[0]["rouge0"])
    missed = 0
    print("| score | rows | interval covers | difference covers | p < 0.05 | any of the family, Holm |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, (draw, truth) in KINDS.items():
        truth = rouge_truth if math.isnan(truth) else truth
        for n in SIZES:
            rates = simulate(draw, truth, n, chosen.evaluations, chosen.samples)
            missed += verdict(rates, chosen.evaluations)
            print(f"| {kind} | {n} | {' | '.join(f'{100 * rate:.1f}%' for rate in rates)} |", flush=True)
    print(f"{missed} of {len(KINDS) * len(SIZES)} lines miss an aim")
    return int(missed > 0)


def simulate(draw: Draw, truth: float, n: int, evaluations: int, samples: int) -> tuple[float, float, float, float]:
    """Shares of evaluations: the interval covers, the difference's covers zero, p < 0.05, any of the family after Holm."""
    counts = np.zeros(4)
    for number in range(evaluations):
        before, after = draw(np.random.default_rng((n, number)), n)
        name = next(iter(before))
        alone = bootstrap({name: before[name]}, samples=samples)[name]
        (family,) = holm([paired_differences(before, after, samples=samples)])
        first: Difference = family[name]
        counts += (
            alone["ci_low"] <= truth <= alone["ci_high"],
            first.ci_low <= 0 <= first.ci_high,
            first.p < 0.05,
            any(difference.p_holm < 0.05 for difference in family.values()),
        )
    covers, difference, errs, any_of = (counts / evaluations).tolist()
    return covers, difference, errs, any_of


def verdict(rates: tuple[float, float, float, float], evaluations: int) -> bool:
    """Whether an aim is missed by more than two standard errors of so many evaluations."""
    slack = 2 * math.sqrt(0.05 * 0.95 / evaluations)
    covers, _, errs, any_of = rates
    return not (COVERS[0] - slack <= covers <= COVERS[1] + slack) or max(errs, any_of) > ERRS + slack


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
