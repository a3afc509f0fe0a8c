"""Rematerialisation changes memory and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from launch.plan.memory import trace_kept
from train.config import Config, ModelConfig
from train.model.t5 import T5Config, abstract_model, init_params

TINY = T5Config(vocab_size=64, emb_dim=16, mlp_dim=32, num_heads=2, head_dim=8, num_encoder_layers=2,
                num_decoder_layers=2, dropout=0.3)  # fmt: skip


def gradients(config: T5Config):
    graphdef = abstract_model(config)[0]
    segments = {"encoder": [[1] * 7 + [2] * 3], "decoder": [[1] * 4 + [2]]}
    batch = {f"{side}_segment_ids": jnp.asarray(ids) for side, ids in segments.items()}
    batch |= {f"{side}_input_tokens": 3 + jnp.arange(len(ids[0]))[None] for side, ids in segments.items()}

    def f(params):
        return jnp.sum(jnp.square(nnx.merge(graphdef, params).hidden(batch, jax.random.key(0))))

    return jax.jit(jax.grad(f))(init_params(config, 0))


def test_every_policy_gives_the_same_gradients_scanned_or_written_out():
    expected = gradients(TINY)
    for policy, scanned in (
        ("selected", True),
        ("layer", True),
        ("selected", False),
    ):
        got = gradients(dataclasses.replace(TINY, remat=policy, scan_layers=scanned))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, expected)


def test_selected_keeps_less_than_all_and_layer_only_what_goes_into_each():
    sizes = {
        "emb_dim": 64,
        "mlp_dim": 128,
        "num_heads": 1,
        "head_dim": 64,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
    }
    kept = {}
    for policy in ("none", "selected", "layer"):
        model = {"vocab_size": 128, "compute_dtype": "float32", "remat": policy, **sizes}
        lengths = {"inputs": 16, "targets": 8}
        config = Config.model_validate({"run_dir": "unused", "model": model, "data": {"lengths": lengths}})
        kept[policy] = trace_kept(config, vocabulary_size=128).per_row
    # The input of each layer, in float32.
    of_input = 4 * 64 * 2 * (16 + 8)
    assert of_input <= kept["layer"] < 1.2 * of_input
    assert kept["layer"] < kept["selected"] < 0.9 * kept["none"]


@pytest.mark.parametrize(("given", "policy"), [(True, "layer"), (False, "none"), ("selected", "selected")])
def test_true_and_false_are_still_read(given, policy):
    assert ModelConfig(remat=given).remat == policy
