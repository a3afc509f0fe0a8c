"""Bootstrap over rows: confidence intervals of scores, and of differences between two systems on the same rows.

Imports neither JAX nor TensorFlow.
"""

from typing import NamedTuple

import numpy as np

from t5x_tasks.metrics.pooled import Pooled, Scores, value

BOOTSTRAP_SEED = 0
CONFIDENCE = 0.95
_CHUNK = 50  # resamples drawn at once: 50 x 13,000 rows are 5 MB


class Difference(NamedTuple):
    """Second system minus first, on the same rows.

    Attributes:
      p: two-sided; how often a resample's difference falls on the other side of zero, twice. Not adjusted for how many
        differences are looked at.
    """

    value: float
    ci_low: float
    ci_high: float
    p: float


def bootstrap(scores: Scores, *, samples: int, seed: int = BOOTSTRAP_SEED) -> dict[str, dict[str, float]]:
    """Scores of all rows with percentile confidence intervals (Efron & Tibshirani 1993, chapter 13).

    Args:
      scores: name -> [rows] or Pooled, one or more, all of the same rows.
      samples: resamples.

    Returns:
      name -> {"value", "ci_low", "ci_high"}.
    """
    intervals = {}
    for name, found in resample(scores, samples=samples, seed=seed).items():
        low, high = interval(found)
        intervals[name] = {"value": value(scores[name]), "ci_low": low, "ci_high": high}
    return intervals


def paired_differences(
    first: Scores, second: Scores, *, samples: int, seed: int = BOOTSTRAP_SEED
) -> dict[str, Difference]:
    """Differences of the scores that both systems have, by the paired bootstrap (Koehn 2004, section 3).

    The same rows are drawn for both systems, so what makes a row easy or hard for both cancels out. A resample whose
    difference is zero counts for both sides; p is never 0 but at least 2 / (samples + 1). Nor is it below the least p of the
    exact test that swaps the systems' answers row by row (Fisher 1935, section 21): 2 / 2^k where k rows differ, 0.03 of six.

    Args:
      first: name -> [rows] or Pooled, of the system that is compared with.
      second: the same of the other system, on the same rows in the same order.
    """
    both = {name: _minus(first[name], second[name]) for name in first if name in second}
    if not both:
        return {}
    differences = {}
    for name, found in resample(both, samples=samples, seed=seed).items():
        # sums in another order leave 1e-15 where nothing differs
        below, above = (np.count_nonzero(sign * found <= 1e-9) for sign in (1, -1))
        p = min(1.0, 2 * (min(below, above) + 1) / (samples + 1))
        p = max(p, 2.0 ** (1 - _differing(first[name], second[name])))
        differences[name] = Difference(value(both[name]), *interval(found), p)
    return differences


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


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The percentile interval of resampled scores [samples]."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return float(low), float(high)


def interval_settings(samples: int) -> str:
    """Says what interval `bootstrap` gives."""
    return f"{CONFIDENCE:.0%} interval of {samples} bootstrap resamples (seed {BOOTSTRAP_SEED})"


def take(scores: Scores, rows: np.ndarray) -> Scores:
    """The scores of some rows: indices or a mask."""
    return {
        name: Pooled(values.statistics[rows], values.score) if isinstance(values, Pooled) else values[rows]
        for name, values in scores.items()
    }


def _differing(first: np.ndarray | Pooled, second: np.ndarray | Pooled) -> int:
    """The number of rows that two systems did not answer alike, as far as a score can tell; 1 or more."""
    one, other = (s.statistics if isinstance(s, Pooled) else np.asarray(s)[:, None] for s in (first, second))
    if one.shape != other.shape:
        return len(one)
    return max(1, int((abs(one - other) > 1e-9).any(axis=1).sum()))


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
