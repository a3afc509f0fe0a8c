"""Adafactor in parts is optax's; see train/optimizer.py for why it is in parts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from train.config import AdafactorConfig, AdamWConfig
from train.optimizer import make_optimizer, make_schedule

SHAPES = {
    "wide": (130, 200),
    "tall": (200, 130),
    "square": (160, 160),
    "small": (64, 200),
    "scale": (130,),
    "one": (1,),
}


def test_what_a_method_adds_is_moved_by_the_rate_itself_also_from_zero():
    def first_updates(**settings):
        config = AdafactorConfig(learning_rate=1e-2, **settings)
        axes = {"encoder": {"query": ("embed", "joined"), "adapters": {"query": {"up": ("rank", "joined")}}}}
        params: Any = jax.tree.map(lambda names: jnp.zeros((8, 8)), axes, is_leaf=lambda x: isinstance(x, tuple))
        params["encoder"]["query"] += 3.0
        optimizer = make_optimizer(config, make_schedule(config, 10), axes)
        updates: Any = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)[0]
        encoder = updates["encoder"]
        return float(encoder["query"][0, 0]), float(encoder["adapters"]["query"]["up"][0, 0])

    assert first_updates() == pytest.approx((-3e-2, -1e-2))
    assert first_updates(multiply_by_parameter_scale=True) == pytest.approx((-3e-2, -1e-5))
    assert first_updates(multiply_by_parameter_scale=False) == pytest.approx((-1e-2, -1e-2))


def test_adamw_decays_matrices_and_no_scale_and_no_bias():
    config = AdamWConfig(learning_rate=1e-2, weight_decay=0.5)
    axes = {"kernel": ("embed", "mlp"), "stack": ("layers", "embed"), "prompt": {"lstm": {"bias": (None, "rank")}}}
    params: Any = jax.tree.map(lambda names: jnp.ones((4, 4)), axes, is_leaf=lambda x: isinstance(x, tuple))
    optimizer = make_optimizer(config, make_schedule(config, 10), axes)
    updates: Any = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)[0]
    moved = (
        float(updates["kernel"][0, 0]),
        float(updates["stack"][0, 0]),
        float(updates["prompt"]["lstm"]["bias"][0, 0]),
    )
    assert moved == pytest.approx((-5e-3, 0, 0))


def test_adafactor_gives_the_updates_and_the_state_of_optax():
    schedule = make_schedule(AdafactorConfig(learning_rate=1e-2), 10)
    ours = make_optimizer(
        AdafactorConfig(learning_rate=1e-2), schedule, {name: ("embed",) * len(s) for name, s in SHAPES.items()}
    )
    theirs = optax.partition(
        {"single": optax.adafactor(schedule, decay_rate=0.8, multiply_by_parameter_scale=True)},
        dict.fromkeys(SHAPES, "single"),
    )
    rng = np.random.default_rng(0)
    params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}
    state, expected_state = ours.init(params), theirs.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(expected_state), "checkpoints of before would not fit"
    for _ in range(3):
        grads = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}
        updates, state = jax.jit(ours.update)(grads, state, params)
        expected, expected_state = jax.jit(theirs.update)(grads, expected_state, params)
        for got, wanted in zip(
            jax.tree.leaves((updates, state)), jax.tree.leaves((expected, expected_state)), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-9)
        params = optax.apply_updates(params, updates)
