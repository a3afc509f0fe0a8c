"""Steps that must not count: a loss or gradients that are no numbers, or a loss far above what it was.

The step itself decides, on the device, and leaves parameters and optimizer as they were: nothing is fetched for it. What the
decision hangs on is a few numbers in the state, so in the checkpoints: a run that goes on decides as it would have. What the
loop does about it is in train/rundir/skipped.py.
"""

import jax
import jax.numpy as jnp

from train.config import SkipConfig

Guard = dict[str, jax.Array]


# The running mean is that of all good steps up to so many, then of about so many: the rate of an exponential average.
_MEMORY_STEPS = 50


# A loss deviates at least so much, as a share of the mean and in nats: one that is nearly still has no deviation of its own.
_LEAST_SHARE, _LEAST_NATS = 0.1, 0.1


def first_guard() -> Guard:
    """Before the first step: running mean and variance of the loss over good steps, how many they were, how many were not."""
    zero = jnp.int32(0)
    return {"mean": jnp.float32(0), "variance": jnp.float32(0), "good": zero, "skipped": zero, "in_a_row": zero}


def judge(guard: Guard, loss: jax.Array, grad_norm: jax.Array, config: SkipConfig) -> tuple[jax.Array, Guard]:
    """Whether a step counts, a bool [], and the guard after it. Called inside the step."""
    good = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    mean, variance = guard["mean"], guard["variance"]
    if config.spike is not None:
        least = jnp.maximum(_LEAST_SHARE * mean, _LEAST_NATS)
        spikes = loss > mean + config.spike * jnp.maximum(jnp.sqrt(variance), least)
        good &= ~(spikes & (guard["good"] >= _MEMORY_STEPS))
    rate = 1.0 / jnp.minimum(guard["good"] + 1, _MEMORY_STEPS).astype(jnp.float32)
    off = loss - mean
    one = good.astype(jnp.int32)
    return good, {
        "mean": jnp.where(good, mean + rate * off, mean),
        "variance": jnp.where(good, (1 - rate) * (variance + rate * off**2), variance),
        "good": guard["good"] + one,
        "skipped": guard["skipped"] + 1 - one,
        "in_a_row": jnp.where(good, 0, guard["in_a_row"] + 1),
    }
