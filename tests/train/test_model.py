import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.attention import attention, relative_position_bucket, segment_mask
from train.config import FLAN_VOCAB_SIZE, PRESETS
from train.model import T5Config, abstract_model
from train.sharding import RULES


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("flan-t5-small", 76_961_152),
        ("flan-t5-base", 247_577_856),
        ("flan-t5-large", 783_150_080),
        ("flan-t5-xl", 2_849_757_184),
        ("flan-t5-xxl", 11_135_332_352),
    ],
)
def test_presets_have_the_published_number_of_parameters(preset, parameters):
    _, shapes, _ = abstract_model(T5Config(FLAN_VOCAB_SIZE, *PRESETS[preset]))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == parameters


def test_every_parameter_has_a_known_logical_name_for_every_axis():
    _, shapes, axes = abstract_model(T5Config(FLAN_VOCAB_SIZE, *PRESETS["t5-tiny"]))
    named = jax.tree.leaves(axes, is_leaf=lambda a: isinstance(a, tuple))
    for shape, names in zip(jax.tree.leaves(shapes), named, strict=True):
        assert len(names) == len(shape.shape)
        assert set(names) <= set(RULES)


def test_buckets_are_exact_near_and_logarithmic_far():
    options = {"bidirectional": True, "num_buckets": 32, "max_distance": 128}
    buckets = relative_position_bucket(jnp.arange(-200, 201), **options)
    by_distance = dict(zip(range(-200, 201), buckets.tolist(), strict=True))
    assert [by_distance[-d] for d in range(8)] == list(range(8))
    assert by_distance[1] == 17
    assert by_distance[-8] == 8
    assert by_distance[-128] == by_distance[-200] == 15
    causal = relative_position_bucket(jnp.arange(-200, 5), **{**options, "bidirectional": False})
    assert causal[-4:].tolist() == [0, 0, 0, 0], "the future has no distance"
    assert causal.max() == 31


def test_attention_is_the_textbook_formula_without_scaling():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 5, 3, 4)).astype(np.float32) for _ in range(3))
    bias = rng.normal(size=(1, 3, 5, 5)).astype(np.float32)
    segments = np.array([[1, 1, 2, 2, 2], [1, 1, 1, 1, 0]])
    mask = segment_mask(jnp.asarray(segments), jnp.asarray(segments), causal=True)
    got = attention(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v), mask=mask, bias=jnp.asarray(bias))
    for b in range(2):
        for h in range(3):
            for i in range(5):
                allowed = [j for j in range(i + 1) if segments[b, i] == segments[b, j]]
                logits = np.array([q[b, i, h] @ k[b, j, h] + bias[0, h, i, j] for j in allowed])
                weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
                np.testing.assert_allclose(got[b, i, h], weights @ v[b, allowed, h], rtol=1e-4, atol=1e-5)


def test_gradient_reaches_the_bias():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(1, 4, 2, 3)), jnp.float32) for _ in range(3))
    mask = jnp.ones((1, 1, 4, 4), bool)

    def f(bias):
        return jnp.sum(jnp.square(attention(q, k, v, mask=mask, bias=bias)))

    bias = jnp.asarray(rng.normal(size=(1, 2, 4, 4)), jnp.float32)
    gradient, step = jax.grad(f)(bias), jnp.zeros_like(bias).at[0, 1, 2, 3].set(1e-2)
    numeric = (f(bias + step) - f(bias - step)) / 2e-2
    assert float(gradient[0, 1, 2, 3]) == pytest.approx(float(numeric), rel=1e-2)


def test_dropping_keys_is_dropping_attention_weights_alike_for_all_queries():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(1, 4, 2, 3)), jnp.float32) for _ in range(3))
    mask, keep = jnp.ones((1, 1, 4, 4), bool), jnp.array([1.0, 0.0, 1.0, 1.0]).reshape(1, 4, 1, 1) / 0.75
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k), axis=-1)
    dropped = weights * keep.reshape(1, 1, 1, 4)
    expected = jnp.einsum("bhqk,bkhd->bqhd", dropped, v)
    np.testing.assert_allclose(attention(q, k, v, mask=mask, key_dropout=keep), expected, rtol=1e-5, atol=1e-6)


def test_attention_has_the_gradients_of_the_plain_formula():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(3, n, 2, 4)), jnp.float32) for n in (5, 6, 6))
    bias = jnp.asarray(rng.normal(size=(1, 2, 5, 6)), jnp.float32)
    # The third row has nothing to attend to: its gradients are zero.
    mask = segment_mask(
        jnp.array([[1, 1, 2, 2, 0], [1] * 5, [1] * 5]), jnp.array([[1, 1, 2, 2, 0, 0], [1] * 6, [2] * 6])
    )

    def plain(q, k, v, bias):
        logits = jnp.where(mask, jnp.einsum("bqhd,bkhd->bhqk", q, k) + bias, -1e9)
        return jnp.sum(jnp.sin(jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), v)))

    def ours(q, k, v, bias):
        return jnp.sum(jnp.sin(attention(q, k, v, mask=mask, bias=bias)))

    expected, got = (jax.grad(f, argnums=(0, 1, 2, 3))(q, k, v, bias) for f in (plain, ours))
    assert not np.any(got[0][2])
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
