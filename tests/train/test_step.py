"""The train step: what it computes does not depend on packing, accumulation, devices; it learns; it says what it did."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.tiny import TINY, packed, random_examples, random_params

from train.config import AdafactorConfig, AdamWConfig, Config, MeshConfig, Schedule, TrainConfig
from train.model.loss import loss_sums
from train.model.t5 import T5Config, abstract_model
from train.model_spec import ModelSpec
from train.optimizer import make_optimizer, make_schedule
from train.parallel.mesh import global_batch, make_mesh
from train.params import load_params
from train.state import first_state, state_shapes
from train.step import make_train_step


def sums_of(params, batch, **options):
    graphdef, _, _ = abstract_model(TINY)
    logits = nnx.merge(graphdef, params)(batch)
    weights = jnp.asarray(batch["decoder_segment_ids"] > 0)
    settings = {"z_loss": 0.0, "label_smoothing": 0.0} | options
    return loss_sums(logits, jnp.asarray(batch["decoder_target_tokens"]), weights, **settings)


def test_packed_batch_gives_the_loss_of_its_examples():
    examples, params = random_examples(6), random_params(scale=3.0)
    together = packed([examples[:3], examples[3:]], (40, 24))
    apart = [sums_of(params, packed([[example]], (16, 10)))[1]["loss"] for example in examples]
    np.testing.assert_allclose(sums_of(params, together)[1]["loss"], sum(map(float, apart)), rtol=1e-5)


def test_an_example_does_not_see_its_neighbours_in_the_row():
    graphdef, _, _ = abstract_model(TINY)
    model = nnx.merge(graphdef, random_params(scale=3.0))
    first, second, other = random_examples(3)
    before, after = packed([[first, second]], (40, 24)), packed([[first, other]], (40, 24))
    n = len(first[1])
    np.testing.assert_array_equal(model(before)[0, :n], model(after)[0, :n])
    assert not np.allclose(model(before)[0, n : n + 2], model(after)[0, n : n + 2])


def test_loss_sums_equal_a_plain_computation_with_smoothing_and_z_loss():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(2, 5, 7)).astype(np.float32), rng.integers(0, 7, (2, 5))
    weights = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], bool)
    log_z = np.log(np.exp(logits).sum(-1))
    log_probs = logits - log_z[..., None]
    smooth = 0.9 * np.take_along_axis(log_probs, targets[..., None], -1)[..., 0] + 0.1 * log_probs.mean(-1)
    objective, sums = loss_sums(
        jnp.asarray(logits), jnp.asarray(targets), jnp.asarray(weights), z_loss=0.01, label_smoothing=0.1
    )
    np.testing.assert_allclose(sums["loss"], -smooth[weights].sum(), rtol=1e-5)
    np.testing.assert_allclose(objective, -smooth[weights].sum() + 0.01 * (log_z[weights] ** 2).sum(), rtol=1e-5)
    assert sums["tokens"] == 7
    assert sums["correct"] == (logits.argmax(-1) == targets)[weights].sum()


def run_steps(train: TrainConfig, batches, *, optimizer=None, model_config=TINY):
    """Steps on one device; returns the metrics of each and the last state."""
    optimizer = optimizer or AdamWConfig(learning_rate=1e-2)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        model = ModelSpec.on(mesh, model_config)
        schedule = make_schedule(optimizer, train.steps or 1)
        tx = make_optimizer(optimizer, schedule, model.axes)
        shapes = state_shapes(model, tx)
        config = Config(run_dir="unused", train=train)
        state = first_state(load_params(config, model), tx, train.seed, shapes)
        step = make_train_step(model.graphdef, tx, schedule, train, jax.tree.map(lambda s: s.sharding, shapes))
        rows = []
        for batch in batches:
            state, metrics = step(state, {}, global_batch(mesh, batch, parts=train.grad_accumulation))
            rows.append({name: float(value) for name, value in metrics.items()})
        return rows, state


def test_accumulation_gives_the_gradient_of_the_whole_batch_however_uneven_its_parts():
    # Four rows; two of them hold three examples, two only one: a mean of means would be another loss.
    examples = random_examples(8)
    batch = packed([examples[:3], examples[3:4], examples[4:7], examples[7:]], (40, 24))
    whole, _ = run_steps(TrainConfig(steps=3), [batch] * 3)
    parts, _ = run_steps(TrainConfig(steps=3, grad_accumulation=2), [batch] * 3)
    for one, other in zip(whole, parts, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)


def test_padding_rows_change_nothing():
    examples = random_examples(2)
    full, _ = run_steps(TrainConfig(steps=2), [packed([[e] for e in examples], (16, 10))] * 2)
    padded, _ = run_steps(TrainConfig(steps=2), [packed([*([e] for e in examples), [], []], (16, 10))] * 2)
    assert [r["loss"] for r in full] == pytest.approx([r["loss"] for r in padded], rel=1e-6)


def test_a_step_whose_loss_is_no_number_leaves_parameters_and_optimizer_as_they_were():
    batch = packed([random_examples(3)], (40, 24))
    bad = batch | {"encoder_input_tokens": batch["encoder_input_tokens"] + (1 << 20)}  # rows that the embedding lacks
    _, before = run_steps(TrainConfig(steps=2), [batch])
    rows, after = run_steps(TrainConfig(steps=2), [batch, bad])
    assert np.isnan(rows[1]["loss"])
    assert (after.step, after.guard.skipped) == (2, 1)
    for name in ("params", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(before, name))


@pytest.mark.parametrize("optimizer", [AdamWConfig(learning_rate=1e-2), AdafactorConfig(learning_rate=5e-2)])
def test_it_learns_a_batch_by_heart(optimizer):
    batch = packed([random_examples(3), random_examples(3, seed=1)], (40, 24))
    rows, _ = run_steps(TrainConfig(steps=60), [batch] * 60, optimizer=optimizer)
    assert rows[0]["loss"] == pytest.approx(np.log(TINY.vocab_size), abs=0.3)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


def test_dropout_depends_on_step_and_seed_only():
    config = T5Config(**{**TINY.__dict__, "dropout": 0.3})
    batch = packed([random_examples(3)], (40, 24))
    frozen = AdamWConfig(learning_rate=1e-30)
    train = TrainConfig(steps=2, dropout=0.3)
    one, _ = run_steps(train, [batch] * 2, optimizer=frozen, model_config=config)
    again, _ = run_steps(train, [batch] * 2, optimizer=frozen, model_config=config)
    assert one == again
    assert one[0]["loss"] != one[1]["loss"]


def test_gradients_are_clipped_to_the_norm():
    batch = packed([random_examples(3)], (40, 24))
    sgd_like = AdamWConfig(learning_rate=1e-3, b1=0.0, b2=0.0, eps=1e6)  # update is about lr * gradient / 1e6
    _, free = run_steps(TrainConfig(steps=1, clip_norm=None), [batch], optimizer=sgd_like)
    rows, clipped = run_steps(TrainConfig(steps=1, clip_norm=0.01), [batch], optimizer=sgd_like)
    first, _ = run_steps(TrainConfig(steps=1), [batch], optimizer=sgd_like)
    norm = {name: float(optax.global_norm(s.opt_state[0].mu)) for name, s in (("free", free), ("clipped", clipped))}
    assert norm["free"] == pytest.approx(rows[0]["grad_norm"], rel=1e-4)
    assert norm["clipped"] == pytest.approx(0.01, rel=1e-4)
    assert first[0]["grad_norm"] == rows[0]["grad_norm"]


def test_adafactor_on_a_stack_is_adafactor_on_each_layer():
    rng = np.random.default_rng(0)
    stack = {"w": jnp.asarray(rng.normal(size=(3, 160, 140)) * np.array([1, 10, 100])[:, None, None], jnp.float32)}
    grads = {"w": jnp.asarray(rng.normal(size=(3, 160, 140)), jnp.float32)}
    config = AdafactorConfig(learning_rate=1e-2)
    stacked = make_optimizer(config, make_schedule(config, 10), {"w": ("layers", "embed", "mlp")})
    updates: Any
    alone: Any
    updates, _ = stacked.update(grads, stacked.init(stack), stack)
    single = optax.adafactor(1e-2)
    for layer in range(3):
        w, g = {"w": stack["w"][layer]}, {"w": grads["w"][layer]}
        alone, _ = single.update(g, single.init(w), w)
        np.testing.assert_allclose(updates["w"][layer], alone["w"], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "at", "expected"),
    [
        ("constant", 50, 1.0),
        ("linear", 60, 0.5),
        ("cosine", 60, 0.5),
        ("linear", 110, 0.0),
        ("rsqrt", 40, 0.5),
        ("constant", 5, 0.5),
    ],
)
def test_schedules_warm_up_and_then_take_their_course(kind, at, expected):
    config = AdamWConfig(learning_rate=1.0, schedule=Schedule(type=kind, warmup_steps=10))
    assert float(jnp.asarray(make_schedule(config, 110)(at))) == pytest.approx(expected, abs=1e-6)


def test_weight_decay_spares_the_scales_of_norms():
    config = AdamWConfig(learning_rate=0.1, weight_decay=0.5)
    axes = {"scale": ("layers", "embed"), "kernel": ("layers", "embed", "mlp"), "embedding": ("vocab", "embed")}
    params = {"scale": jnp.ones((2, 3)), "kernel": jnp.ones((2, 3, 4)), "embedding": jnp.ones((5, 3))}
    tx = make_optimizer(config, make_schedule(config, 1), axes)
    updates: Any
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    assert not np.any(updates["scale"])
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_allclose(updates["embedding"], -0.05, rtol=1e-6)


def test_encoder_and_decoder_may_differ_in_depth():
    config = T5Config(**{**TINY.__dict__, "num_encoder_layers": 3, "num_decoder_layers": 1})
    batch = packed([random_examples(3)], (40, 24))
    rows, _ = run_steps(TrainConfig(steps=2), [batch] * 2, optimizer=AdafactorConfig(), model_config=config)
    assert np.isfinite(rows[1]["loss"])
