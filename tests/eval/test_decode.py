"""Claims of greedy and beam search on a small random model. Parity with transformers: test_parity_decode.py."""

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

from eval.beam import beam_search, best_continuations
from eval.decode import Decoder, batches
from eval.greedy import greedy_search
from train.config import BeamConfig, GreedyConfig, MeshConfig
from train.model import T5Config, abstract_model, init_params
from train.sharding import make_mesh

REPOSITORY = Path(__file__).parents[2]
MAX_TOKENS = 16
CONFIG = T5Config(
    vocab_size=128, emb_dim=32, mlp_dim=64, num_heads=4, head_dim=8, num_encoder_layers=2, num_decoder_layers=2
)
GREEDY = GreedyConfig(max_tokens=MAX_TOKENS)
BEAM = BeamConfig(beams=3, max_tokens=MAX_TOKENS, length_penalty=0.7, early_stopping=False)


@pytest.fixture(scope="module")
def model():
    graphdef, _, _ = abstract_model(CONFIG)
    params = init_params(CONFIG, 0)
    # far from uniform, so that rounding decides nothing; not the embedding, or the model would repeat itself
    params["head"] = 0.7 * jax.random.normal(jax.random.key(1), params["head"].shape)
    params["head"] = params["head"].at[:, 1].multiply(2.0)  # and sequences end now and then
    return nnx.merge(graphdef, params)


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = [3, 70, 9, 1, 30, 64, 65, 12, 20, 5]
    return [np.append(rng.integers(3, 128, n - 1), 1).astype(np.int32) for n in lengths]


@pytest.fixture(scope="module")
def decode(model):
    graphdef, state = nnx.split(model)
    mesh = make_mesh(MeshConfig(data=1, fsdp=1, tensor=1), jax.devices()[:1])
    decoders = {}  # each compiles for itself

    def run(inputs, settings, batch_size):
        key = repr(settings), batch_size
        if key not in decoders:
            decoders[key] = Decoder(graphdef, settings, mesh=mesh, batch_size=batch_size)
        return [row.tolist() for row in decoders[key](nnx.to_pure_dict(state), inputs)]

    return run


def padded(rows, length):
    return jnp.array([np.pad(row, (0, length - len(row))) for row in rows])


def teacher_forced(model, inputs, tokens):
    """Log-probabilities of all next tokens, from the whole sequence at once, without a cache: [batch, time, vocab]."""
    return jax.nn.log_softmax(_logits(model, inputs, tokens), axis=-1)


@nnx.jit
def _logits(model, inputs, tokens):
    shifted = jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1]
    return model(
        {
            "encoder_input_tokens": inputs,
            "encoder_segment_ids": (inputs != 0).astype(jnp.int32),
            "decoder_input_tokens": shifted,
            "decoder_segment_ids": jnp.ones_like(shifted),
        }
    )


@pytest.mark.parametrize("settings", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_neither_neighbours_nor_padding_change_an_output(decode, inputs, settings):
    alone = [decode([row], settings, 4)[0] for row in inputs[:4]]  # padded to 64 or 128, each by itself
    together = decode(inputs, settings, 4)
    assert together[:4] == alone
    assert len({tuple(row) for row in together}) > 2


def test_greedy_with_its_cache_takes_the_argmax_of_the_whole_decoder(model, inputs):
    batch = padded(inputs, 96)
    tokens = greedy_search(model, batch, max_tokens=MAX_TOKENS)
    best = np.argmax(teacher_forced(model, batch, tokens), axis=-1)
    ended = np.cumsum(np.asarray(tokens) == 1, axis=1) - (np.asarray(tokens) == 1) > 0  # behind the end
    assert np.array_equal(np.where(ended, 0, best), tokens)
    assert ended.any() and not ended.all(axis=1).any()


def test_one_beam_is_greedy_search(decode, inputs):
    assert decode(inputs, BEAM.model_copy(update={"beams": 1}), 4) == decode(inputs, GREEDY, 4)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
def test_score_of_a_beam_is_the_log_probability_of_its_tokens_over_the_penalty(model, inputs, length_penalty):
    batch = padded(inputs, 96)
    best = beam_search(
        model, batch, beams=3, max_tokens=MAX_TOKENS, length_penalty=length_penalty, early_stopping=False
    )
    log_probs = teacher_forced(model, batch, best.tokens)
    chosen = np.take_along_axis(np.asarray(log_probs), np.asarray(best.tokens)[..., None], axis=-1)[..., 0]
    for row in range(len(inputs)):
        ends = np.flatnonzero(best.tokens[row] == 1)
        length = ends[0] + 1 if len(ends) else MAX_TOKENS
        assert best.scores[row] == pytest.approx(chosen[row, :length].sum() / length**length_penalty, abs=1e-4)


def test_beam_search_finds_more_probable_sequences_than_greedy_search(model, inputs):
    batch = padded(inputs, 96)

    def log_probability(tokens):
        chosen = jnp.take_along_axis(teacher_forced(model, batch, tokens), tokens[..., None], axis=-1)[..., 0]
        return jnp.sum(jnp.where(jnp.cumsum(tokens == 1, axis=1) - (tokens == 1) > 0, 0, chosen), axis=1)

    greedy = log_probability(greedy_search(model, batch, max_tokens=MAX_TOKENS))
    beam = beam_search(model, batch, beams=4, max_tokens=MAX_TOKENS, length_penalty=0.0, early_stopping=False)
    assert jnp.sum(log_probability(beam.tokens)) > jnp.sum(greedy)


@pytest.mark.parametrize("vocab", [384, 100])
def test_best_continuations_are_the_top_of_all_log_probabilities(vocab):
    rng = np.random.default_rng(0)
    logits = jnp.array(rng.normal(size=(5, 3, vocab)).round(1), jnp.float32)  # rounded: with ties
    scores = jnp.array(rng.normal(size=(5, 3)), jnp.float32)
    everything = (jax.nn.log_softmax(logits) + scores[..., None]).reshape(5, -1)
    expected, index = jax.lax.top_k(everything, 6)
    best, beams, tokens = best_continuations(logits, scores, 6)
    np.testing.assert_allclose(best, expected, atol=1e-5)
    np.testing.assert_array_equal(beams * vocab + tokens, index)


def test_batches_cover_all_examples_once_with_few_lengths():
    lengths = np.random.default_rng(0).integers(1, 600, 101)
    cut = list(batches(lengths.tolist(), 16))
    assert sorted(np.concatenate([indices for indices, _ in cut]).tolist()) == list(range(101))
    assert {length for _, length in cut} <= {64, 128, 256, 512, 1024}
    assert all(lengths[indices].max() <= length for indices, length in cut)
    assert [len(indices) for indices, _ in cut] == [16] * 6 + [5]


def test_an_output_without_end_is_as_long_as_max_tokens(decode, inputs):
    tokens = decode(inputs, GreedyConfig(max_tokens=2), 16)
    assert all(len(row) == 2 or row[-1] == 1 for row in tokens)
    assert any(len(row) == 2 and 1 not in row for row in tokens)


_EIGHT_DEVICES = """
import json, sys
import jax, numpy as np
from eval.decode import Decoder
from train.config import BeamConfig, GreedyConfig, MeshConfig
from train.model import T5Config, abstract_model, init_params
from train.sharding import make_mesh, param_shardings

config = T5Config(vocab_size=128, emb_dim=32, mlp_dim=64, num_heads=4, head_dim=8, num_encoder_layers=2, num_decoder_layers=2)
graphdef, _, axes = abstract_model(config)
params = init_params(config, 0)
params["head"] = 0.7 * jax.random.normal(jax.random.key(1), params["head"].shape)
rng = np.random.default_rng(0)
inputs = [np.append(rng.integers(3, 128, n), 1) for n in (3, 20, 7, 66, 12)]
output = []
for mesh in (
    make_mesh(MeshConfig(data=1, fsdp=1, tensor=1), jax.devices()[:1]),
    make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)),
):
    placed = jax.device_put(params, param_shardings(mesh, axes))
    for settings in (GreedyConfig(max_tokens=8), BeamConfig(beams=3, max_tokens=8)):
        tokens = Decoder(graphdef, settings, mesh=mesh, batch_size=3)(placed, inputs)
        output.append([row.tolist() for row in tokens])
print(json.dumps(output))
"""


def test_eight_devices_decode_what_one_decodes():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", _EIGHT_DEVICES], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    greedy_1, beam_1, greedy_8, beam_8 = json.loads(result.stdout.splitlines()[-1])
    assert greedy_8 == greedy_1
    assert beam_8 == beam_1
    assert greedy_1 != beam_1
