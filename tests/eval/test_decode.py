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

from eval.decoding.beam import beam_search, best_continuations
from eval.decoding.decoder import Decoder, batches
from eval.decoding.greedy import most_likely, one_by_one
from train.config import BeamConfig, GreedyConfig, MeshConfig, SampleConfig
from train.model.t5 import T5Config, abstract_model, init_params
from train.parallel.mesh import make_mesh

REPOSITORY = Path(__file__).parents[2]
MAX_TOKENS = 16
CONFIG = T5Config(
    vocab_size=128, emb_dim=32, mlp_dim=64, num_heads=4, head_dim=8, num_encoder_layers=2, num_decoder_layers=2
)
GREEDY = GreedyConfig(max_tokens=MAX_TOKENS)
BEAM = BeamConfig(beams=3, max_tokens=MAX_TOKENS, length_penalty=0.7, early_stopping=False)
SAMPLE = SampleConfig(max_tokens=MAX_TOKENS, temperature=0.8, top_k=20, top_p=0.9, samples=2, repetition_penalty=1.1)


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
        outputs = {}
        ids = [str(row.tolist()) for row in inputs]  # wherever an example stands, it has the same id
        for batch in decoders[key].stream(nnx.to_pure_dict(state), inputs, ids=ids):
            outputs |= zip(batch.indices, ([o.tolist() for o in several] for several in batch.outputs), strict=True)
        return [outputs[i] for i in range(len(inputs))]

    return run


def greedy_search(model, batch):
    return one_by_one(model, batch, rows=1, max_tokens=MAX_TOKENS, choose=lambda logits, *_: most_likely(logits))[:, 0]


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


@pytest.mark.parametrize("settings", [GREEDY, BEAM, SAMPLE], ids=["greedy", "beam", "sample"])
def test_neither_neighbours_nor_padding_nor_place_change_an_output(decode, inputs, settings):
    alone = [decode([row], settings, 4)[0] for row in inputs[:4]]  # padded to 64 or 96, each by itself
    assert decode(inputs, settings, 4)[:4] == alone
    long = [np.append(np.full(95, 3 + i % 120), 1) for i in range(60)]
    crowd = decode([*long[:30], *inputs[:4], *long[30:]], settings, 64)  # all in one batch, packed among long ones
    assert crowd[30:34] == alone
    assert len({str(outputs) for outputs in crowd}) > 2


def test_samples_of_an_example_differ_and_follow_the_seed(decode, inputs):
    drawn = decode(inputs, SAMPLE, 4)
    assert all(len(samples) == 2 for samples in drawn)
    assert sum(first != second for first, second in drawn) > 5
    assert decode(inputs, SAMPLE.model_copy(update={"seed": 1}), 4) != drawn


def test_what_is_done_is_left_out_and_the_rest_comes_as_before(model, inputs):
    graphdef, state = nnx.split(model)
    mesh = make_mesh(MeshConfig(data=1, fsdp=1, tensor=1), jax.devices()[:1])
    decoder = Decoder(graphdef, GREEDY, mesh=mesh, batch_size=4)
    whole = list(decoder.stream(nnx.to_pure_dict(state), inputs))
    done = {*whole[0].indices, *whole[2].indices[:1]}
    rest = list(decoder.stream(nnx.to_pure_dict(state), inputs, done=done))
    assert [batch.indices for batch in rest] == [batch.indices for batch in whole[1:]]
    assert str(rest) == str(whole[1:])


def test_greedy_with_its_cache_takes_the_argmax_of_the_whole_decoder(model, inputs):
    batch = padded(inputs, 96)
    tokens = greedy_search(model, batch)
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

    greedy = log_probability(greedy_search(model, batch))
    beam = beam_search(model, batch, beams=4, max_tokens=MAX_TOKENS, length_penalty=0.0, early_stopping=False)
    assert jnp.sum(log_probability(beam.tokens)) > jnp.sum(greedy)


@pytest.mark.parametrize("vocab", [384, 100])
def test_best_continuations_are_the_top_of_all_scores(vocab):
    rng = np.random.default_rng(0)
    logits = jnp.array(rng.normal(size=(5, 3, vocab)).round(1), jnp.float32)  # rounded: with ties
    scores = jnp.array(rng.normal(size=(5, 3)), jnp.float32)
    everything = (logits + scores[..., None]).reshape(5, -1)
    expected, index = jax.lax.top_k(everything, 6)
    best, beams, tokens = best_continuations(logits, scores, 6)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(beams * vocab + tokens, index)


def test_batches_cover_all_examples_once_with_few_lengths():
    lengths = np.random.default_rng(0).integers(1, 600, 101)
    cut = list(batches(lengths.tolist(), 16))
    assert sorted(np.concatenate([indices for indices, _ in cut]).tolist()) == list(range(101))
    assert {length for _, length in cut} <= {64, 96, 128, 192, 256, 384, 512, 768}
    assert all(lengths[indices].max() <= length for indices, length in cut)
    assert [len(indices) for indices, _ in cut] == [16] * 6 + [5]


def test_an_output_without_end_is_as_long_as_max_tokens(decode, inputs):
    tokens = decode(inputs, GreedyConfig(max_tokens=2), 16)
    assert all(len(row) == 2 or row[-1] == 1 for [row] in tokens)
    assert any(len(row) == 2 and 1 not in row for [row] in tokens)


_EIGHT_DEVICES = """
import json, sys
import jax, numpy as np
from eval.decoding.decoder import Decoder
from train.config import BeamConfig, GreedyConfig, MeshConfig, SampleConfig
from train.model.t5 import T5Config, abstract_model, init_params
from train.parallel.mesh import make_mesh, param_shardings

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
    for settings in (GreedyConfig(max_tokens=8), BeamConfig(beams=3, max_tokens=8), SampleConfig(max_tokens=8, top_p=0.9)):
        tokens = Decoder(graphdef, settings, mesh=mesh, batch_size=3)(placed, inputs, ids=list("abcde"))
        output.append([row.tolist() for row in tokens])
print(json.dumps(output))
"""


def test_eight_devices_decode_what_one_decodes():
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", _EIGHT_DEVICES], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    outputs = json.loads(result.stdout.splitlines()[-1])
    assert outputs[3:] == outputs[:3]
    assert len({str(rows) for rows in outputs}) == 3
