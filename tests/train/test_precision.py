"""Parameters in bfloat16 go where those in float32 go, though each update is less than half a step of theirs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from train.config import AdamWConfig, MeshConfig, TrainConfig
from train.model.t5 import T5Config, init_params
from train.model_spec import ModelSpec
from train.optimizer import make_optimizer, make_schedule, stochastic_round
from train.parallel.mesh import global_batch, make_mesh
from train.state import first_state, state_shapes
from train.step import make_train_step

TINY = T5Config(vocab_size=64, emb_dim=16, mlp_dim=32, num_heads=2, head_dim=8, num_encoder_layers=1,
                num_decoder_layers=1, param_dtype=jnp.bfloat16)  # fmt: skip
STEPS = 60


def test_rounding_takes_a_neighbour_and_keeps_the_mean():
    values = jnp.asarray([1.0, 1.0 + 2**-9, -3.0 - 2**-8, 0.0, 1e-20, jnp.inf, jnp.nan], jnp.float32)
    drawn = jax.vmap(lambda key: stochastic_round(values, key))(jax.random.split(jax.random.key(0), 4096))
    assert drawn.dtype == jnp.bfloat16
    taken = [set(column.tolist()) for column in np.asarray(drawn[:, :4], np.float32).T]
    assert taken == [{1.0}, {1.0, 1.0 + 2**-7}, {-3.0, -3.0 - 2**-6}, {0.0}]
    means = np.mean(np.asarray(drawn, np.float64), axis=0)
    np.testing.assert_allclose(means[1], values[1], atol=2**-7 * 0.02)
    np.testing.assert_allclose(means[4], 1e-20, rtol=1e-3)
    assert np.all(np.isposinf(drawn[:, 5])) and np.all(np.isnan(drawn[:, 6]))


def train(config: T5Config, *, parts: int):
    """Losses of a batch learnt by heart, and the last state."""
    segments = np.array([[1] * 6 + [0] * 2, [1] * 8])
    tokens = np.random.default_rng(0).integers(2, 60, (2, 8)) * (segments > 0)
    batch = {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": tokens,
        "decoder_target_tokens": tokens[:, ::-1].copy(),
    }
    batch |= {"encoder_segment_ids": segments, "decoder_segment_ids": segments}
    settings = AdamWConfig(learning_rate=2e-3)
    schedule = make_schedule(settings, STEPS)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        model = ModelSpec.on(mesh, config)
        optimizer = make_optimizer(settings, schedule, model.axes)
        shapes = state_shapes(model, optimizer)
        state = first_state(init_params(config, 0), optimizer, 0, shapes)
        placed = jax.tree.map(lambda s: s.sharding, shapes)
        settings = TrainConfig(steps=STEPS, batch_size=2, grad_accumulation=parts, dropout=0.0)
        step = make_train_step(model.graphdef, optimizer, schedule, settings, placed)
        losses = []
        for _ in range(STEPS):
            state, metrics = step(state, {}, global_batch(mesh, batch, parts=parts))
            losses.append(float(metrics["loss"]))
    return losses, state


def test_bfloat16_parameters_learn_as_float32_ones_do_and_the_optimizers_state_is_float32():
    losses, state = train(TINY, parts=2)
    wide, _ = train(dataclasses.replace(TINY, param_dtype=jnp.float32), parts=2)
    assert losses[-1] < 0.7 * losses[0]
    np.testing.assert_allclose(losses, wide, rtol=0.05)
    kinds = {leaf.dtype.name for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim}
    assert kinds == {"float32"}
    by_ndim = {leaf.ndim: leaf.dtype.name for leaf in jax.tree.leaves(state.params["encoder"])}
    assert by_ndim == {2: "float32", 3: "bfloat16"}


def test_an_update_of_a_hundredth_of_a_step_moves_a_parameter_on_average():
    ones = jnp.ones(20_000, jnp.bfloat16)
    wide = ones.astype(jnp.float32) + 2.0**-7 / 100
    assert np.all(np.asarray(wide, jnp.bfloat16) == 1), "rounded to the nearest it would stay"
    moved = np.asarray(stochastic_round(wide, jax.random.key(1)), np.float64)
    np.testing.assert_allclose(np.mean(moved - 1), 2.0**-7 / 100, rtol=0.25)
