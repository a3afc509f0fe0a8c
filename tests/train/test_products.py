"""Products with a backward pass of their own have the gradients of the plain formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.model.dense import dense, gated, gated_dense, joined_dense


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def assert_same_gradients(ours, plain, *inputs):
    (weight,) = arrays(ours(*inputs).shape)

    def gradients(f):
        return jax.jit(jax.grad(lambda *x: jnp.sum(f(*x) * weight), argnums=tuple(range(len(inputs)))))(*inputs)

    np.testing.assert_allclose(ours(*inputs), plain(*inputs), rtol=1e-6)
    for got, expected in zip(gradients(ours), gradients(plain), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_dense():
    assert_same_gradients(dense, lambda x, kernel: x @ kernel, *arrays((2, 5, 8), (8, 3)))


def test_joined_dense():
    assert_same_gradients(joined_dense, lambda x, kernel: x.reshape(2, 5, 8) @ kernel, *arrays((2, 5, 2, 4), (8, 3)))


@pytest.mark.parametrize("dropped", [False, True])
def test_gated_dense(dropped):
    gate, up, kernel = arrays((2, 5, 8), (2, 5, 8), (8, 3))
    mask = jnp.asarray(np.random.default_rng(1).random((2, 1, 8)) < 0.7) / 0.7 if dropped else None

    def plain(gate, up, kernel):
        y = jax.nn.gelu(gate, approximate=True) * up
        return (y if mask is None else y * mask) @ kernel

    assert_same_gradients(lambda gate, up, kernel: gated_dense(gate, up, mask, kernel), plain, gate, up, kernel)
    np.testing.assert_allclose(gated(gate, up, mask) @ kernel, plain(gate, up, kernel), rtol=1e-6)
