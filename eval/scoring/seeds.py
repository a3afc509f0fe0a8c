"""Scores of a configuration that was trained with several seeds: intervals and differences over seeds and rows.

A hierarchical bootstrap: rows are drawn, the same for all seeds and systems, and seeds of each system. Of S seeds S - 1 are drawn
(Rao & Wu 1988), so that few seeds do not look too much alike. Few seeds say little of their own spread, so intervals are of
Student's t, its degrees of freedom those of Welch and Satterthwaite (1946): of two runs of two seeds each it has about two.
Imports neither JAX nor TensorFlow.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr, stdtrit

from eval.scoring.bootstrap import BOOTSTRAP_SEED, CONFIDENCE, Difference, resample, share_interval
from t5x_tasks.metrics.pooled import Pooled, Scores, value


def mean_scores(seeds: Sequence[Scores]) -> Scores:
    """Scores of each row, averaged over seeds: their score of all rows is the mean of the seeds' scores."""
    return {name: _mean([scores[name] for scores in seeds]) for name in _in_all(seeds)}


def seeds_bootstrap(seeds: Sequence[Scores], *, samples: int) -> dict[str, dict[str, float]]:
    """The mean over seeds of each score with its interval, as `eval.scoring.bootstrap.bootstrap`.

    Args:
      seeds: the scores of each seed, on the same rows.
    """
    drawn = _resampled(seeds, samples)
    rows = _resampled_rows(seeds, samples)
    found = {}
    for name, means in drawn.items():
        estimate = float(np.mean([value(scores[name]) for scores in seeds]))
        half = _half_width(means, [_seed_variance(seeds, name)], rows[name], _num_rows(seeds))
        low, high = estimate - half, estimate + half
        plain = [np.asarray(v) for scores in seeds if not isinstance(v := scores[name], Pooled)]
        if plain and all(np.isin(values, (0.0, 100.0)).all() for values in plain):  # a share: not empty at its ends
            ends = share_interval(round(estimate / 100 * _num_rows(seeds)), _num_rows(seeds))
            low, high = max(0.0, min(low, ends[0])), min(100.0, max(high, ends[1]))
        found[name] = {"value": estimate, "ci_low": low, "ci_high": high}
    return found


def seeds_differences(first: Sequence[Scores], second: Sequence[Scores], *, samples: int) -> dict[str, Difference]:
    """Second minus first of the scores that all have, over seeds and rows, as `eval.scoring.bootstrap.paired_differences`.

    A side of one seed counts as if its seed did not matter: nothing is known of that.
    """
    names = [name for name in _in_all(first) if name in _in_all(second)]
    sides = [[{name: scores[name] for name in names} for scores in side] for side in (first, second)]
    if not names:
        return {}
    drawn = [_resampled(side, samples, number) for number, side in enumerate(sides)]
    rows = [_resampled_rows(side, samples) for side in sides]
    n, least = _num_rows(first), 2 / (samples + 1)
    differences = {}
    for name in names:
        estimates = [float(np.mean([value(scores[name]) for scores in side])) for side in sides]
        estimate, resampled = estimates[1] - estimates[0], drawn[1][name] - drawn[0][name]
        variances = [_seed_variance(side, name) for side in sides]
        of_rows = rows[1][name] - rows[0][name]
        freedom, error = _freedom(variances, of_rows, n), float(np.std(resampled))
        if abs(estimate) < 1e-9:
            p = 1.0
        else:
            p = max(least, float(2 * stdtr(freedom, -abs(estimate) / error))) if error else least
        half = _half_width(resampled, variances, of_rows, n)
        low, high = estimate - half, estimate + half
        if p >= 1 - CONFIDENCE:
            low, high = min(low, 0.0), max(high, 0.0)
        differences[name] = Difference(estimate, low, high, p, p)
    return differences


def _in_all(seeds: Sequence[Scores]) -> list[str]:
    return [name for name in seeds[0] if all(name in scores for scores in seeds)]


def _num_rows(seeds: Sequence[Scores]) -> int:
    return len(next(iter(seeds[0].values())))


def _mean(values: Sequence[np.ndarray | Pooled]) -> np.ndarray | Pooled:
    pooled = [one for one in values if isinstance(one, Pooled)]
    if not pooled:
        return np.mean([np.asarray(one) for one in values], axis=0)
    ends = np.cumsum([0, *(one.statistics.shape[1] for one in pooled)])

    def score(sums: np.ndarray) -> np.ndarray:
        parts = [one.score(sums[..., ends[i] : ends[i + 1]]) for i, one in enumerate(pooled)]
        return np.mean(parts, axis=0)

    return Pooled(np.concatenate([one.statistics for one in pooled], axis=1), score)


def _resampled_rows(seeds: Sequence[Scores], samples: int) -> dict[str, np.ndarray]:
    """The means over all seeds, of drawn rows: name -> [samples]."""
    return resample(mean_scores(seeds), samples=samples)


def _resampled(seeds: Sequence[Scores], samples: int, side: int = 0) -> dict[str, np.ndarray]:
    """Means over drawn seeds, of drawn rows: name -> [samples]. The rows are the same for all; `side` draws other seeds."""
    names, count = _in_all(seeds), len(seeds)
    of_seeds = [resample({name: scores[name] for name in names}, samples=samples) for scores in seeds]
    rng = np.random.default_rng((BOOTSTRAP_SEED, 1 + side))
    times = rng.multinomial(max(count - 1, 1), np.full(count, 1 / count), samples)  # [samples, seeds]
    weights = times / times.sum(axis=1, keepdims=True)
    return {name: (weights * np.stack([found[name] for found in of_seeds], axis=1)).sum(axis=1) for name in names}


def _seed_variance(seeds: Sequence[Scores], name: str) -> tuple[float, int]:
    """Variance of the mean over seeds, by their spread, and its degrees of freedom."""
    values = [value(scores[name]) for scores in seeds]
    return (float(np.var(values, ddof=1)) / len(values), len(values) - 1) if len(values) > 1 else (0.0, 0)


def _freedom(seeds: Sequence[tuple[float, int]], of_rows: np.ndarray, n: int) -> float:
    """Welch and Satterthwaite's degrees of freedom of a sum of variances: those of seeds and that of rows."""
    parts = [*seeds, (float(np.var(of_rows)), max(n - 1, 1))]
    total = sum(variance for variance, _ in parts)
    weighted = sum(variance**2 / freedom for variance, freedom in parts if freedom)
    return total**2 / weighted if weighted else float(max(n - 1, 1))


def _half_width(resampled: np.ndarray, seeds: Sequence[tuple[float, int]], of_rows: np.ndarray, n: int) -> float:
    return float(stdtrit(_freedom(seeds, of_rows, n), (1 + CONFIDENCE) / 2) * np.std(resampled))
