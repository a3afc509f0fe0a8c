"""Claims of teacher-forced log-likelihoods: they are those of the model's own logits, whatever is beside a target."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eval.decoding.likelihood import LogLikelihood
from train.config import MeshConfig
from train.model.t5 import T5Config, abstract_model, init_params
from train.parallel.mesh import make_mesh

REPOSITORY = Path(__file__).parents[2]
CONFIG = T5Config(
    vocab_size=64, emb_dim=16, mlp_dim=32, num_heads=2, head_dim=8, num_encoder_layers=1, num_decoder_layers=2
)


def sentences(seed: int, lengths: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.append(rng.integers(3, 64, n - 1), 1).astype(np.int32) for n in lengths]


INPUTS = [sentences(0, [9, 70, 3, 65])[row] for row in (0, 1, 0, 2, 3, 0, 1)]  # row 0 has three targets, row 1 two
TARGETS = sentences(1, [4, 1, 17, 16, 30, 5, 2])


@pytest.fixture(scope="module")
def params():
    return init_params(CONFIG, 0)


@pytest.fixture(scope="module")
def direct(params):
    """Each target alone, without padding, from the logits of a training batch."""
    graphdef, _, _ = abstract_model(CONFIG)
    model = nnx.merge(graphdef, params)
    sums = []
    for ids, target in zip(INPUTS, TARGETS, strict=True):
        batch = {
            "encoder_input_tokens": ids[None],
            "encoder_segment_ids": np.ones((1, len(ids)), np.int32),
            "decoder_input_tokens": np.append(0, target[:-1])[None],
            "decoder_segment_ids": np.ones((1, len(target)), np.int32),
        }
        log_probabilities = jax.nn.log_softmax(model(jax.tree.map(jnp.asarray, batch))[0])
        sums.append(float(log_probabilities[np.arange(len(target)), target].sum()))
    return np.array(sums)


def scorer(batch_size: int) -> LogLikelihood:
    mesh = make_mesh(MeshConfig(data=1, fsdp=1, tensor=1), jax.devices()[:1])
    return LogLikelihood(abstract_model(CONFIG)[0], mesh=mesh, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_log_likelihoods_are_those_of_the_logits_in_the_order_given(params, direct, batch_size):
    sums, lengths = scorer(batch_size)(params, INPUTS, TARGETS)
    assert lengths.tolist() == [len(target) for target in TARGETS]
    np.testing.assert_allclose(sums, direct, rtol=1e-5, atol=1e-4)


def test_nothing_to_score_gives_nothing(params):
    sums, lengths = scorer(4)(params, [], [])
    assert len(sums) == len(lengths) == 0


_ON_EIGHT = """
import json, jax
from eval.decoding.likelihood import LogLikelihood
from tests.eval.test_likelihood import CONFIG, INPUTS, TARGETS
from train.config import MeshConfig
from train.model.t5 import abstract_model, init_params
from train.parallel.mesh import make_mesh, param_shardings

graphdef, _, axes = abstract_model(CONFIG)
mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
params = jax.device_put(init_params(CONFIG, 0), param_shardings(mesh, axes))
found = LogLikelihood(graphdef, mesh=mesh, batch_size=4)(params, INPUTS, TARGETS)
print(json.dumps(found.sums.tolist()))
"""


def test_eight_devices_find_what_one_finds(direct):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", _ON_EIGHT], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(json.loads(result.stdout), direct, rtol=1e-4, atol=1e-3)
