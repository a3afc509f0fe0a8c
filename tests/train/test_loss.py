"""The loss in parts of the target length is the loss of all logits at once, in value and in gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.loss import head_loss_sums, loss_sums

ROWS, LENGTH, EMB, VOCAB = 3, 12, 8, 40


def inputs() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    hidden, head = rng.normal(size=(ROWS, LENGTH, EMB)), rng.normal(size=(EMB, VOCAB))
    weights = np.arange(LENGTH) < np.array([12, 7, 0])[:, None]
    targets = rng.integers(0, VOCAB, (ROWS, LENGTH))
    return jnp.float32(hidden), jnp.float32(head), jnp.asarray(targets), jnp.asarray(weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_parts_give_the_loss_and_the_gradients_of_the_whole(smoothing):
    hidden, head, targets, weights = inputs()

    def whole(hidden, head):
        return loss_sums(hidden @ head, targets, weights, z_loss=0.01, label_smoothing=smoothing)

    def parts(hidden, head):
        return head_loss_sums(hidden, head, targets, weights, z_loss=0.01, label_smoothing=smoothing)

    (expected, sums), gradients = jax.value_and_grad(whole, argnums=(0, 1), has_aux=True)(hidden, head)
    (got, got_sums), got_gradients = jax.value_and_grad(parts, argnums=(0, 1), has_aux=True)(hidden, head)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    for name in sums:
        np.testing.assert_allclose(got_sums[name], sums[name], rtol=1e-6)
    for one, other in zip(got_gradients, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_logits_of_all_positions_are_never_in_memory():
    hidden, head, targets, weights = inputs()

    def loss(hidden, head):
        return head_loss_sums(hidden, head, targets, weights, z_loss=0.01, label_smoothing=0.0)[0]

    gradient = jax.grad(loss, argnums=(0, 1))
    assert f"f32[{ROWS},{LENGTH // 4},{VOCAB}]" in str(jax.make_jaxpr(gradient)(hidden, head))
    assert f"f32[{ROWS},{LENGTH},{VOCAB}]" not in str(jax.make_jaxpr(gradient)(hidden, head))
