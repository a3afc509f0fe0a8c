"""Optimizers and learning-rate schedules, from optax."""

from typing import Any

import jax
import optax

from train.config import AdafactorConfig, AdamWConfig, Schedule


def make_schedule(config: AdafactorConfig | AdamWConfig, total_steps: int) -> optax.Schedule:
    """Learning rate as a function of the number of updates done before: 0 at the first update when there is a warm-up."""
    peak, shape = config.learning_rate, config.schedule
    after = _after_warmup(peak, shape, max(1, total_steps - shape.warmup_steps))
    if shape.warmup_steps == 0:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, shape.warmup_steps), after], [shape.warmup_steps])


def _after_warmup(peak: float, shape: Schedule, steps: int) -> optax.Schedule:
    if shape.type == "linear":
        return optax.linear_schedule(peak, peak * shape.end_factor, steps)
    if shape.type == "cosine":
        return optax.cosine_decay_schedule(peak, steps, alpha=shape.end_factor)
    if shape.type == "rsqrt":
        warmup = max(1, shape.warmup_steps)
        return lambda count: peak * (warmup / (count + warmup)) ** 0.5
    return optax.constant_schedule(peak)


def make_optimizer(
    config: AdafactorConfig | AdamWConfig, schedule: optax.Schedule, axes: Any
) -> optax.GradientTransformation:
    """The optimizer for parameters with these logical axes (a tree of tuples of names).

    Adafactor clips its update and scales it by the RMS of each parameter; a stack's parameters hold all its layers, so it is
    mapped over them: what it does to a layer does not depend on the others, as without stacking.
    """
    if isinstance(config, AdamWConfig):
        # Matrices only: a scale, of a norm or of a method, is best near one, not near zero.
        decayed = _map_axes(lambda names: len(names) - (names[0] == "layers") > 1, axes)
        return optax.adamw(schedule, config.b1, config.b2, config.eps, weight_decay=config.weight_decay, mask=decayed)
    adafactor = optax.adafactor(schedule, decay_rate=config.decay_rate, multiply_by_parameter_scale=True)
    # Encoder and decoder apart: they may differ in depth.
    labels = jax.tree_util.tree_map_with_path(
        lambda path, names: f"layers of {path[0].key}" if names[0] == "layers" else "single", axes, is_leaf=_is_axes
    )
    stacked = {label: _over_layers(adafactor) for label in jax.tree.leaves(labels)}
    return optax.partition({**stacked, "single": adafactor}, labels)


def _over_layers(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.vmap(tx.update)(updates, state, params)

    return optax.GradientTransformation(jax.vmap(tx.init), update)


def _map_axes(function: Any, axes: Any) -> Any:
    return jax.tree.map(function, axes, is_leaf=_is_axes)


def _is_axes(node: Any) -> bool:
    return isinstance(node, tuple)
