"""Skips updates with a non-finite loss or gradient norm, or a loss spike.

The step itself decides, on the device, and leaves parameters and optimizer as they were: nothing is fetched for it. Its
statistics are part of the train state, so a resumed run decides identically. What the loop does about skipped updates is in
train/rundir/skipped.py.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from train.config import SkipConfig

# The running mean is that of all good steps up to so many, then of about so many: the rate of an exponential average.
_MEMORY_STEPS = 50

# A loss deviates at least so much, as a share of the mean and in nats: one that is nearly still has no deviation of its own.
_LEAST_SHARE, _LEAST_NATS = 0.1, 0.1


class SkipStatistics(NamedTuple):
    """Float32 `[]`: running mean and variance of the loss over good steps. Int32 `[]`: good, skipped, skipped in a row."""

    mean: jax.Array
    variance: jax.Array
    good: jax.Array
    skipped: jax.Array
    in_a_row: jax.Array


def first_statistics() -> SkipStatistics:
    """Before the first step."""
    zero = jnp.int32(0)
    return SkipStatistics(jnp.float32(0), jnp.float32(0), zero, zero, zero)


def judge(
    guard: SkipStatistics, loss: jax.Array, grad_norm: jax.Array, config: SkipConfig
) -> tuple[jax.Array, SkipStatistics]:
    """Whether an update counts, a bool `[]`, and the statistics after it. Called inside the step."""
    good = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    mean, variance = guard.mean, guard.variance
    if config.spike is not None:
        least = jnp.maximum(_LEAST_SHARE * mean, _LEAST_NATS)
        spikes = loss > mean + config.spike * jnp.maximum(jnp.sqrt(variance), least)
        good &= ~(spikes & (guard.good >= _MEMORY_STEPS))
    rate = 1.0 / jnp.minimum(guard.good + 1, _MEMORY_STEPS).astype(jnp.float32)
    off = loss - mean
    one = good.astype(jnp.int32)
    return good, SkipStatistics(
        mean=jnp.where(good, mean + rate * off, mean),
        variance=jnp.where(good, (1 - rate) * (variance + rate * off**2), variance),
        good=guard.good + one,
        skipped=guard.skipped + 1 - one,
        in_a_row=jnp.where(good, 0, guard.in_a_row + 1),
    )
