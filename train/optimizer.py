"""Optimizers and learning-rate schedules, from optax; bfloat16 parameters with stochastic rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from train.config import AdafactorConfig, AdamWConfig, Schedule
from train.model.t5 import ADDED


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

    Adafactor clips its update and scales it by the RMS of each parameter that the model has of itself. A stack's parameters hold
    all its layers, so it is mapped over them: what it does to a layer does not depend on the others, as without stacking.
    """
    if isinstance(config, AdamWConfig):
        # Matrices only: a scale, of a norm or of a method, is best near one, not near zero.
        decayed = jax.tree_util.tree_map_with_path(
            lambda path, names: len(names) - (names[0] == "layers") > 1 and not str(path[-1].key).endswith("bias"),
            axes, is_leaf=_is_axes,
        )  # fmt: skip
        return optax.adamw(schedule, config.b1, config.b2, config.eps, weight_decay=config.weight_decay, mask=decayed)
    adafactor = _adafactor(schedule, config)
    # Encoder and decoder apart: they may differ in depth.
    labels = jax.tree_util.tree_map_with_path(
        lambda path, names: f"layers of {path[0].key}" if names[0] == "layers" else "single", axes, is_leaf=_is_axes
    )
    stacked = {label: _over_layers(adafactor) for label in jax.tree.leaves(labels)}
    return optax.partition({**stacked, "single": adafactor}, labels)


def _adafactor(schedule: optax.Schedule, config: AdafactorConfig) -> optax.GradientTransformation:
    """`optax.adafactor` in its parts, with the same state, and with barriers where XLA must not fuse; see `_scaled`."""
    return optax.chain(
        _scale_by_factored_rms(config.decay_rate),
        optax.clip_by_block_rms(1.0),
        optax.scale_by_learning_rate(schedule, flip_sign=False),
        _scale_by_parameters(config.multiply_by_parameter_scale),
        optax.scale(-1),
    )


def _scale_by_parameters(chosen: bool | None) -> optax.GradientTransformation:
    """optax's `scale_by_param_block_rms`, of the parameters that are chosen; None: not of those that a method adds."""
    scaling = optax.scale_by_param_block_rms()

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        scaled, state = scaling.update(updates, state, params)

        def choose(path: Any, plain: Any, scaled: Any) -> Any:
            is_own = not any(str(part.key) in ADDED for part in path)
            return scaled if (is_own if chosen is None else chosen) else plain

        return jax.tree_util.tree_map_with_path(choose, updates, scaled), state

    return optax.GradientTransformation(scaling.init, update)


def _scale_by_factored_rms(decay_rate: float) -> optax.GradientTransformation:
    """optax's transformation of that name; what it divides by is made apart."""
    moments: Any = optax.scale_by_factored_rms(decay_rate=decay_rate)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        _, state = moments.update(updates, state, params)
        return jax.tree.map(_scaled, updates, state.v_row, state.v_col, state.v), state

    return optax.GradientTransformation(moments.init, update)


def _scaled(gradient: jax.Array, v_row: jax.Array, v_col: jax.Array, v: jax.Array) -> jax.Array:
    """A gradient over the root of its second moment, which is the outer product of `v_row` and `v_col`, or `v` (optax's state).

    Without the barrier XLA puts the mean of `v_row` into the kernel that writes the update, for each of its tiles anew: on an
    H200 that took 57 of the 330 ms of flan-t5-large's step.
    """
    if v.shape == gradient.shape:
        return gradient * v**-0.5
    second, largest = np.argsort(gradient.shape)[-2:]  # as optax sorts them: v_row is the mean over the largest axis
    row = v_row / jnp.mean(v_row, axis=second - (second > largest), keepdims=True)
    row, col = jax.lax.optimization_barrier((row**-0.5, v_col**-0.5))
    return gradient * jnp.expand_dims(row, largest) * jnp.expand_dims(col, second)


def _over_layers(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.vmap(tx.update)(updates, state, params)

    return optax.GradientTransformation(jax.vmap(tx.init), update)


def _is_axes(node: Any) -> bool:
    return isinstance(node, tuple)


_CUT = 16  # bits of a float32's mantissa that bfloat16 lacks


def widened(tree: Any) -> Any:
    """Arrays or shapes of a tree in float32; shapes keep their shardings."""

    def widen(x: Any) -> Any:
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(x.shape, jnp.promote_types(x.dtype, jnp.float32), sharding=x.sharding)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    return jax.tree.map(widen, tree)


def narrowed(tree: Any, like: Any, key: jax.Array) -> Any:
    """Float32 arrays in the types of `like`'s, those in bfloat16 rounded stochastically. For jit: drawing is not free."""
    leaves, structure = jax.tree.flatten(tree)
    narrow = [
        stochastic_round(x, jax.random.fold_in(key, number)) if old.dtype == jnp.bfloat16 else x.astype(old.dtype)
        for number, (x, old) in enumerate(zip(leaves, jax.tree.leaves(like), strict=True))
    ]
    return jax.tree.unflatten(structure, narrow)


def stochastic_round(x: jax.Array, key: jax.Array) -> jax.Array:
    """Float32 -> bfloat16, one of the two neighbours, with the mean of `x`; NaN and infinities stay what they are."""
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) + noise
    # The upper half of a float32's bits is the bfloat16 towards zero.
    rounded = jax.lax.bitcast_convert_type((bits >> _CUT).astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), rounded, x.astype(jnp.bfloat16))
