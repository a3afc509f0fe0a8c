"""Keeping what was known: L2-SP, EWC and its Fisher information, replay, and KL to the model before training."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.tiny import TINY, packed, random_examples, random_params

from t5x_tasks.common.errors import UserError
from train.anchor import check_anchor, diagonal_fisher
from train.config import Config, MeshConfig, TrainConfig
from train.model.fingerprint import fingerprint
from train.model.loss import loss_sums
from train.model.t5 import abstract_model
from train.model_spec import ModelSpec
from train.parallel.mesh import check_batch_fits, global_batch, make_mesh
from train.regularizer import EWC, L2SP, ReplayConfig
from train.state import first_state, state_shapes
from train.step import make_train_step
from train.trees import flat

REPOSITORY = Path(__file__).parent.parent.parent
GRAPHDEF = abstract_model(TINY)[0]
SGD = optax.sgd(1.0)  # the update is the gradient


def step_once(params: Any, batch: dict[str, Any], *, anchor: Any = None, parts: int = 1, **kept: Any):
    """One step of gradient descent; returns the gradients and the metrics."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        model = ModelSpec.on(mesh, TINY)
        shapes = state_shapes(model, SGD)
        config = TrainConfig(steps=1, clip_norm=None, z_loss=0.0, grad_accumulation=parts)
        state = first_state(jax.tree.map(jnp.copy, params), SGD, 0, shapes)
        shardings = jax.tree.map(lambda s: s.sharding, shapes)
        update = make_train_step(model.graphdef, SGD, lambda _: 1.0, config, shardings, **kept)
        after, metrics = update(state, {}, global_batch(mesh, batch, parts=parts), anchor)
    return flat(jax.tree.map(lambda p, q: np.asarray(p - q), params, after.params)), metrics


def batch_of(count: int, seed: int) -> dict[str, np.ndarray]:
    return packed([random_examples(count, seed=seed), random_examples(count - 1, seed=seed + 1)], (40, 24))


def logits(params: Any, batch: dict[str, np.ndarray]) -> jax.Array:
    return nnx.merge(GRAPHDEF, params)(batch)


@pytest.fixture(scope="module")
def plain() -> dict[str, np.ndarray]:
    """Gradients of the loss alone."""
    return step_once(random_params(seed=0), batch_of(3, seed=0))[0]


def test_the_gradient_of_l2_sp_is_its_weight_times_the_way_from_the_start():
    params, start = random_params(seed=0), random_params(seed=1)
    penalty, gradient = jax.value_and_grad(L2SP(weight=0.3).penalty)(params, {"params": start})
    way = {path: np.asarray(x) - np.asarray(flat(start)[path]) for path, x in flat(params).items()}
    for path, found in flat(gradient).items():
        np.testing.assert_allclose(found, 0.3 * way[path], rtol=1e-6)
    assert float(penalty) == pytest.approx(0.15 * sum((x**2).sum() for x in way.values()), rel=1e-5)


def test_ewc_adds_the_way_weighed_by_the_fisher_information_to_a_steps_gradient(plain):
    params, start, batch = random_params(seed=0), random_params(seed=1), batch_of(3, seed=0)
    fisher = jax.tree.map(jnp.abs, random_params(seed=2))
    anchor = {"params": start, "importance": fisher}
    pulled, _ = step_once(params, batch, anchor=anchor, regularizer=EWC(weight=0.3))
    for path, p in flat(params).items():
        expected = 0.3 * np.asarray(flat(fisher)[path] * (p - flat(start)[path]))
        np.testing.assert_allclose(pulled[path] - plain[path], expected, rtol=1e-4, atol=1e-5)


def test_the_fisher_information_is_the_mean_square_of_each_examples_gradient():
    params, examples = random_params(scale=2.0), random_examples(5)
    rows = packed([*([example] for example in examples), []], (16, 10))  # the last row is empty

    @jax.jit
    @jax.grad
    def gradient(params: Any, alone: Any) -> jax.Array:
        targets, inside = alone["decoder_target_tokens"], alone["decoder_segment_ids"] > 0
        return -loss_sums(logits(params, alone), targets, inside, z_loss=0.0, label_smoothing=0.0)[0]

    alone = [packed([[example]], (16, 10)) for example in examples]
    gradients = [flat(jax.tree.map(np.asarray, gradient(params, example))) for example in alone]
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        batches = ({name: x[i : i + 4] for name, x in rows.items()} for i in (0, 4))
        found = flat(diagonal_fisher(GRAPHDEF, jax.device_put(params), {}, batches, mesh=mesh))
    for path in found:
        expected = np.mean([np.square(g[path].astype(np.float64)) for g in gradients], axis=0)
        np.testing.assert_allclose(found[path], expected, rtol=2e-4, atol=1e-9 + 1e-5 * expected.max())
    of_sum = np.square(sum(g["head"] for g in gradients) / len(gradients))
    assert not np.allclose(found["head"], of_sum, rtol=0.1)


FISHER_ON_A_MESH = """
import dataclasses
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from helpers.tiny import TINY, packed, random_examples, random_params
from train.config import MeshConfig
from train.anchor import diagonal_fisher
from train.trees import flat
from train.parallel.mesh import make_mesh
from train.state import ModelSpec

rows = packed([[example] for example in random_examples(3)], (16, 10))

def fisher(attention, mesh):
    with jax.set_mesh(mesh):
        model = ModelSpec.on(mesh, dataclasses.replace(TINY, attention=attention))
        params = jax.device_put(random_params(scale=2.0), model.shardings)
        return flat(jax.tree.map(np.asarray, diagonal_fisher(model.graphdef, params, {}, [rows], mesh=mesh)))

alone = fisher("xla", make_mesh(MeshConfig(), jax.devices()[:1]))
shared = fisher("interpreted", make_mesh(MeshConfig(data=2, fsdp=2)))
for path, expected in alone.items():
    np.testing.assert_allclose(shared[path], expected, rtol=2e-4, atol=1e-6 * max(1, expected.max()), err_msg=path)
"""


def test_one_example_goes_through_a_kernel_on_a_mesh_whose_devices_cannot_share_it():
    done = subprocess.run(
        [sys.executable, "-c", FISHER_ON_A_MESH], cwd=REPOSITORY, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_replayed_rows_are_rows_of_the_batch_like_others():
    params, main, old = random_params(), batch_of(3, seed=0), batch_of(4, seed=5)
    together = {name: np.concatenate([main[name], old[name]]) for name in main}
    expected, whole = step_once(params, together)
    replay = ReplayConfig(mixture="old", rate=0.5)
    gradients, metrics = step_once(params, {**main, "replay": old}, parts=2, replay=replay)
    for path in expected:
        np.testing.assert_allclose(gradients[path], expected[path], rtol=1e-4, atol=1e-6)
    tokens, old_tokens = (np.count_nonzero(b["decoder_segment_ids"]) for b in (main, old))
    share = old_tokens / (tokens + old_tokens)
    mean = (1 - share) * float(metrics["loss"]) + share * float(metrics["replay_loss"])
    assert mean == pytest.approx(float(whole["loss"]), rel=1e-5)


def test_kl_on_replayed_rows_is_that_of_the_two_models_outputs_and_their_gradient(plain):
    params, start, main, old = random_params(seed=0), random_params(seed=1), batch_of(3, seed=0), batch_of(4, seed=5)
    inside = old["decoder_segment_ids"] > 0

    def kl(params: Any) -> jax.Array:
        base, ours = (jax.nn.log_softmax(logits(p, old)) for p in (start, params))
        return jnp.sum((jnp.exp(base) * (base - ours)).sum(-1) * inside)

    replay = ReplayConfig(mixture="old", rate=0.5, loss_weight=0.0, kl_weight=0.7)
    gradients, metrics = step_once(params, {**main, "replay": old}, anchor={"params": start}, replay=replay)
    main_tokens = np.count_nonzero(main["decoder_segment_ids"])
    tokens = main_tokens + inside.sum()
    for path, expected in flat(jax.jit(jax.grad(kl))(params)).items():
        of_kl = gradients[path] - plain[path] * main_tokens / tokens
        np.testing.assert_allclose(of_kl, 0.7 * np.asarray(expected) / tokens, rtol=1e-3, atol=1e-6)
    assert float(metrics["replay_kl"]) == pytest.approx(float(kl(params)) / inside.sum(), rel=1e-4)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"replay": {"rate": 0.5}}, "needs mixture, the tasks to replay"),
        ({"replay": {"mixture": "x", "rate": 0.5, "loss_weight": 0}}, "would do nothing"),
        ({"replay": {"mixture": "x", "rate": 0.001}}, "rows are 0; take another"),
        ({"regularizer": {"type": "ewc"}}, "needs replay.mixture"),
    ],
)
def test_what_would_keep_nothing_is_refused(sections, message):
    with pytest.raises(ValueError, match=message):
        Config.model_validate({"run_dir": "unused", **sections})


def test_rows_that_the_devices_cannot_share_are_refused():
    mesh: Any = jax.sharding.AbstractMesh((2, 1, 1), ("data", "fsdp", "tensor"))
    with pytest.raises(UserError, match=r"replay\.rate: 1 of train\.batch_size=8 rows .* take 0.25 or a multiple"):
        check_batch_fits(mesh, TrainConfig(steps=1, batch_size=8), replayed=1)


def test_a_run_that_goes_on_toward_another_base_is_refused_by_name():
    before, now = ({"params": random_params(seed=seed)} for seed in (0, 1))
    prints = [fingerprint(anchor["params"]) for anchor in (before, now)]
    # An older checkpoint has fingerprints of the anchor, a newer one of what was read for it.
    for kept in ({"anchor": prints[0]}, {"read": prints[0], "files": {}}):
        metadata: dict[str, Any] = {"base": "hf://one", **kept}
        check_anchor(before, metadata, read=prints[0], files={}, where="run")
        with pytest.raises(UserError, match=r"run: was regularised toward hf://one; .* decoder/"):
            check_anchor(now, metadata, read=prints[1], files={}, where="run")
