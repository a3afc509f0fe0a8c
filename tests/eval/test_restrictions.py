"""Restrictions and the candidates of sampling against transformers' own logits processors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eval.decoding.logits_processors import restrict
from eval.decoding.sample import candidates, draw, id_words, row_keys
from t5x_tasks.common.errors import UserError
from train.config import GreedyConfig, SampleConfig

VOCAB, MAX_TOKENS = 24, 12
FORBIDDEN = [(5,), (7, 8), (7, 9), (0, 11), (3, 4, 6)]


def state(position, rows=40):
    """Scores, and outputs of few different tokens, so that much of them repeats; behind `position` stands nothing."""
    rng = np.random.default_rng(position)
    tokens = rng.integers(2, 10, (rows, MAX_TOKENS))
    tokens[:, position:] = 0
    return rng.normal(size=(rows, VOCAB)).astype(np.float32), tokens.astype(np.int32)


def processors(settings, forbidden):
    """Those that `generate` makes of the same settings, in its order; the output starts with one token."""
    transformers = pytest.importorskip("transformers")
    made = []
    if settings.repetition_penalty != 1:
        made.append(transformers.RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    if settings.no_repeat_ngram:
        made.append(transformers.NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram))
    if forbidden:
        made.append(transformers.NoBadWordsLogitsProcessor([list(ids) for ids in forbidden], eos_token_id=1))
    if settings.min_tokens:
        made.append(transformers.MinNewTokensLengthLogitsProcessor(1, settings.min_tokens, 1))
    return made


@pytest.mark.needs_torch
@pytest.mark.parametrize("position", [0, 1, 2, 7, MAX_TOKENS - 1])
@pytest.mark.parametrize(
    "restriction",
    [
        {"repetition_penalty": 1.7},
        {"repetition_penalty": 0.6, "min_tokens": 3},
        {"no_repeat_ngram": 1},
        {"no_repeat_ngram": 2},
        {"no_repeat_ngram": 3, "min_tokens": 2},
        {"forbidden": ("some",)},
        {"repetition_penalty": 1.2, "no_repeat_ngram": 2, "forbidden": ("some",), "min_tokens": 8},
    ],
    ids=str,
)
def test_scores_become_what_transformers_makes_of_them(restriction, position):
    torch = pytest.importorskip("torch")
    settings = GreedyConfig.model_validate({"max_tokens": MAX_TOKENS, **restriction})
    forbidden = FORBIDDEN if settings.forbidden else []
    scores, tokens = state(position)
    expected = torch.from_numpy(scores)
    history = torch.from_numpy(np.pad(tokens[:, :position], ((0, 0), (1, 0))).astype(np.int64))
    for processor in processors(settings, forbidden):
        expected = processor(history, expected)
    ours = restrict(jnp.array(scores), jnp.array(tokens), jnp.int32(position), settings, forbidden)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-6)
    if position > 6:
        assert not np.array_equal(ours, scores)


@pytest.mark.needs_torch
@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.5},
        {"top_k": 5},
        {"top_p": 0.6},
        {"top_p": 0.01},
        {"temperature": 2.0, "top_k": 7, "top_p": 0.8},
    ],
    ids=str,
)
def test_the_same_tokens_can_be_drawn_with_the_same_probabilities_as_in_transformers(settings):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    scores, _ = state(3)
    expected = torch.from_numpy(scores)
    if "temperature" in settings:
        expected = transformers.TemperatureLogitsWarper(settings["temperature"])(None, expected)
    if "top_k" in settings:
        expected = transformers.TopKLogitsWarper(settings["top_k"])(None, expected)
    if "top_p" in settings:
        expected = transformers.TopPLogitsWarper(settings["top_p"])(None, expected)
    logits, tokens = candidates(jnp.array(scores)[:, None], SampleConfig(**settings))
    probabilities = np.zeros_like(scores)
    index = np.broadcast_to(np.arange(VOCAB), scores.shape) if tokens is None else np.asarray(tokens[:, 0])
    np.put_along_axis(probabilities, index, np.asarray(jax.nn.softmax(logits[:, 0], axis=-1)), axis=-1)
    np.testing.assert_allclose(probabilities, expected.softmax(-1).numpy(), atol=1e-6)


def test_tokens_are_drawn_as_often_as_they_are_probable():
    settings = SampleConfig(samples=50, top_k=3, temperature=0.7)
    ids = jnp.array([id_words(str(i)) for i in range(80)])
    logits = jnp.broadcast_to(jnp.array(state(1)[0][:1]), (80, 50, VOCAB))
    drawn = np.asarray(draw(logits, row_keys(ids, settings), settings)).ravel()
    scores, tokens = candidates(logits[:, :1], settings)
    assert tokens is not None
    expected = dict(zip(tokens[0, 0].tolist(), jax.nn.softmax(scores[0, 0]).tolist(), strict=True))
    assert set(drawn) == set(expected)
    assert all(np.mean(drawn == token) == pytest.approx(p, abs=0.03) for token, p in expected.items())


def test_random_numbers_hang_on_seed_id_and_number_of_the_sample():
    def keys(seed, *ids):
        settings = SampleConfig(seed=seed, samples=2)
        data = jax.random.key_data(row_keys(jnp.array([id_words(i) for i in ids]), settings))
        return [tuple(key) for row in np.asarray(data).tolist() for key in row]

    assert keys(0, "a", "b")[2:] == keys(0, "b")
    assert len({*keys(0, "a", "b"), *keys(1, "a")}) == 6


def test_forbidden_texts_are_split_by_the_vocabulary_and_what_it_cannot_spell_is_named(vocabulary):
    spelled = vocabulary.encode_batch(["Monday"])[0].tolist()
    assert vocabulary.spell(("Monday", 17), "eval.decode.forbidden") == [tuple(spelled), (17,)]
    for wrong in ("漢", "", 10**6):
        with pytest.raises(UserError, match=r"eval\.decode\.forbidden: "):
            vocabulary.spell((wrong,), "eval.decode.forbidden")
