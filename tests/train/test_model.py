import jax
import jax.numpy as jnp
import pytest

from train.model.axes import RULES
from train.model.layers import relative_position_bucket
from train.model.presets import FLAN_VOCAB_SIZE, PRESETS
from train.model.t5 import T5Config, abstract_model


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
