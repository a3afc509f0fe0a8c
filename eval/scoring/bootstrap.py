"""Bootstrap over rows: confidence intervals of scores, and of differences between two systems on the same rows.

Intervals are expanded percentile intervals (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3): the
plain percentile interval of n rows is too narrow by sqrt((n - 1) / n) and by the normal's quantile in place of Student's t.
`python -m bench.intervals` measures how often they cover, and how often equal systems are called different.

Imports neither JAX nor TensorFlow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from t5x_tasks.metrics.pooled import Pooled, Scores, value
from train.config import EvalConfig

BOOTSTRAP_SEED = 0


SAMPLES: int = EvalConfig.model_fields["bootstrap_samples"].default


CONFIDENCE = 0.95


_MOST_RESAMPLES = 50_000


_CHUNK = 50  # resamples drawn at once: 50 x 13,000 rows are 5 MB


class Difference(NamedTuple):
    """Second system minus first, on the same rows.

    Attributes:
      ci_low, ci_high: 95% interval of this difference alone; it holds zero exactly where p is 0.05 or more.
      p: two-sided, of this difference alone.
      p_holm: p with Holm's correction for all differences that are looked at together, see `holm`; p where it is alone.
    """

    value: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float


def bootstrap(scores: Scores, *, samples: int, seed: int = BOOTSTRAP_SEED) -> dict[str, dict[str, float]]:
    """Scores of all rows with confidence intervals: by the bootstrap, or Wilson's of yes/no scores.

    A score that is 0 or 100 in each row is a share of rows. Wilson's interval of it (1927; recommended by Brown, Cai & DasGupta
    2001) is not empty at 0% and 100%, as the bootstrap's is.

    Args:
      scores: name -> [rows] or Pooled, one or more, all of the same rows.
      samples: resamples.

    Returns:
      name -> {"value", "ci_low", "ci_high"}.
    """
    intervals = {}
    for name, found in resample(scores, samples=samples, seed=seed).items():
        values = scores[name]
        if not isinstance(values, Pooled) and np.isin(values, (0.0, 100.0)).all():
            low, high = share_interval(int(np.count_nonzero(values)), len(values))
        else:
            low, high = interval(found, len(values))
        intervals[name] = {"value": value(values), "ci_low": low, "ci_high": high}
    return intervals


def paired_differences(
    first: Scores, second: Scores, *, samples: int, seed: int = BOOTSTRAP_SEED
) -> dict[str, Difference]:
    """Differences of the scores that both systems have.

    p is the larger of two tests' and at least 2 / (samples + 1):
    - the paired bootstrap (Koehn 2004, section 3): how often a resample's difference falls on the other side of zero, twice. The
      same rows are drawn for both systems, so what makes a row easy or hard for both cancels out. Expanded for n rows like the
      interval.
    - swapping the two systems' answers row by row at random (Fisher 1935, section 21; Noreen 1989): how often the difference is
      then at least as large. It holds its level whatever the rows are, and matters where few of them differ.
    Where p is 0.05 or more the interval is widened to hold zero, so that interval and p never contradict each other.

    Args:
      first: name -> [rows] or Pooled, of the system that is compared with.
      second: the same of the other system, on the same rows in the same order.
    """
    both = {name: _minus(first[name], second[name]) for name in first if name in second}
    if not both:
        return {}
    swapped = _swapped({name: (first[name], second[name]) for name in both}, samples=samples, seed=seed)
    differences = {}
    for name, found in resample(both, samples=samples, seed=seed).items():
        n, difference = len(both[name]), value(both[name])
        # sums in another order leave 1e-15 where nothing differs
        below, above = (np.count_nonzero(sign * found <= 1e-9) for sign in (1, -1))
        tail = min(1.0, 2 * (min(below, above) + 1) / (samples + 1))
        as_large = np.count_nonzero(abs(swapped[name]) >= abs(difference) - 1e-9)
        p = max(_expanded_p(tail, n), (as_large + 1) / (samples + 1), 2 / (samples + 1))
        low, high = interval(found, n)
        if p >= 1 - CONFIDENCE:
            low, high = min(low, 0.0), max(high, 0.0)
        differences[name] = Difference(difference, low, high, p, p)
    return differences


def holm(families: Sequence[dict[str, Difference]]) -> list[dict[str, Difference]]:
    """Corrects the p of differences that are looked at together (Holm 1979): with all of them equal, 5% of families show any."""
    found = [(index, name) for index, family in enumerate(families) for name in family]
    corrected = [dict(family) for family in families]
    largest = 0.0
    for rank, (index, name) in enumerate(sorted(found, key=lambda at: families[at[0]][at[1]].p)):
        difference = families[index][name]
        largest = max(largest, min(1.0, (len(found) - rank) * difference.p))
        corrected[index][name] = difference._replace(p_holm=largest)
    return corrected


def enough_resamples(tests: int, n: int) -> int:
    """Resamples with which the least p that a paired difference of n rows can have is half of what Holm's correction asks for.

    With fewer no difference among so many, however large, could be significant.
    """
    wanted = (1 - CONFIDENCE) / max(tests, 1) / 2
    raw = 2 * ndtr(stdtrit(max(n - 1, 1), wanted / 2) * np.sqrt(n / max(n - 1, 1)))  # see `_expanded_p`
    return int(2 / max(raw, 2 / _MOST_RESAMPLES))


def resample(scores: Scores, *, samples: int, seed: int = BOOTSTRAP_SEED) -> dict[str, np.ndarray]:
    """Scores of rows drawn with replacement: their mean, or for Pooled the score of their summed statistics.

    All scores are resampled together, and the same seed draws the same rows for every system scored on n rows.

    Args:
      scores: name -> [rows] or Pooled, one or more, all of the same rows.

    Returns:
      name -> [samples].
    """
    n = len(next(iter(scores.values())))
    pooled = {name: values for name, values in scores.items() if isinstance(values, Pooled)}
    plain = {name: values for name, values in scores.items() if not isinstance(values, Pooled)}
    table = np.stack(list(plain.values()), axis=1) if plain else np.empty((n, 0))  # [rows, plain scores]
    rng = np.random.default_rng(seed)
    means: list[np.ndarray] = []  # of each chunk, [its resamples, plain scores]
    resampled: dict[str, list[np.ndarray]] = {name: [] for name in pooled}  # of each chunk, [its resamples]
    for start in range(0, samples, _CHUNK):
        drawn = rng.integers(0, n, (min(_CHUNK, samples - start), n))
        times = np.stack([np.bincount(rows, minlength=n) for rows in drawn]).astype(np.float64)  # [resamples, rows]
        means.append(times @ table / n)
        for name, values in pooled.items():
            resampled[name].append(values.score(times @ values.statistics))
    of_plain = dict(zip(plain, np.concatenate(means).T, strict=True))
    return {name: of_plain[name] if name in plain else np.concatenate(resampled[name]) for name in scores}


def interval(resampled: np.ndarray, n: int) -> tuple[float, float]:
    """The expanded percentile interval of scores [samples] resampled from n rows."""
    tail = (1 - CONFIDENCE) / 2
    if n > 1:
        tail = float(ndtr(-stdtrit(n - 1, 1 - tail) * np.sqrt(n / (n - 1))))
    low, high = np.percentile(resampled, [100 * tail, 100 * (1 - tail)])
    return float(low), float(high)


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a share of n rows, in percent."""
    z = float(ndtri((1 + CONFIDENCE) / 2))
    middle = (count + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * float(np.sqrt(count * (n - count) / n + z * z / 4))
    return 100 * max(0.0, middle - half) if count else 0.0, 100 * min(1.0, middle + half) if count < n else 100.0


def _expanded_p(p: float, n: int) -> float:
    """The p of which the expanded percentile interval of that level just touches zero."""
    return float(2 * stdtr(n - 1, ndtri(p / 2) * np.sqrt((n - 1) / n))) if n > 1 and p < 1 else 1.0


def interval_settings(samples: int) -> str:
    """Says what interval `bootstrap` gives."""
    return (
        f"{CONFIDENCE:.0%} interval of {samples} bootstrap resamples, expanded percentiles (seed {BOOTSTRAP_SEED}); of yes/no "
        "scores Wilson's"
    )


def take(scores: Scores, rows: np.ndarray) -> Scores:
    """The scores of some rows: indices or a mask."""
    return {
        name: Pooled(values.statistics[rows], values.score) if isinstance(values, Pooled) else values[rows]
        for name, values in scores.items()
    }


def _swapped(
    pairs: dict[str, tuple[np.ndarray | Pooled, np.ndarray | Pooled]], *, samples: int, seed: int
) -> dict[str, np.ndarray]:
    """Differences, name -> [samples], after the two systems' answers were swapped in each row with probability 1/2."""
    n = len(next(iter(pairs.values()))[0])
    rng = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {name: [] for name in pairs}
    for start in range(0, samples, _CHUNK):
        swap = rng.integers(0, 2, (min(_CHUNK, samples - start), n)).astype(np.float64)  # [resamples, rows]
        for name, (first, second) in pairs.items():
            if (
                isinstance(first, Pooled)
                and isinstance(second, Pooled)
                and first.statistics.shape == second.statistics.shape
            ):
                change = swap @ (second.statistics - first.statistics)
                one, other = (side.statistics.sum(axis=0) for side in (first, second))
                found[name].append(second.score(other - change) - first.score(one + change))
            elif isinstance(first, Pooled):  # other statistics for the two systems: the bootstrap decides alone
                found[name].append(np.zeros(len(swap)))
            else:
                found[name].append((1 - 2 * swap) @ (np.asarray(second) - np.asarray(first)) / n)
    return {name: np.concatenate(chunks) for name, chunks in found.items()}


def _minus(first: np.ndarray | Pooled, second: np.ndarray | Pooled) -> np.ndarray | Pooled:
    if isinstance(first, Pooled) and isinstance(second, Pooled):
        width, of_first, of_second = first.statistics.shape[1], first.score, second.score
        return Pooled(
            np.concatenate([first.statistics, second.statistics], axis=1),
            lambda sums: of_second(sums[..., width:]) - of_first(sums[..., :width]),
        )
    assert not isinstance(first, Pooled) and not isinstance(second, Pooled), (
        "a score is pooled for all systems or for none"
    )
    return second - first
