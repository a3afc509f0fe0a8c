"""Claims that hold for every method: it trains what it says and nothing else, learns, resumes bit for bit, can be merged."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.logits import logits_of

from t5x_tasks.common.errors import UserError
from train.checkpoints.checkpointer import Checkpoints
from train.loop import train
from train.methods import parse_method
from train.model.presets import FLAN_VOCAB_SIZE, PRESETS
from train.model.t5 import T5Config, abstract_model, init_params
from train.model_spec import merged_params
from train.optimizer import make_optimizer, make_schedule
from train.params import checkpoint_params, load_frozen
from train.rundir.provenance import metadata
from train.state import first_state, state_shapes
from train.step import make_validation_step
from train.trees import flat, split

# Each method, and what it trains in a T5 with `d` = emb_dim, `h` = num_heads x head_dim, `m` = mlp_dim, `e` and `n` layers of
# encoder and decoder, `v` pieces and `b` numbers of the two position biases: the formulas of the docstrings.
METHODS: dict[str, tuple[dict[str, Any], Any]] = {
    "full": ({"type": "full"}, lambda d, h, m, e, n, v, b: 2 * v * d + b + _encoder(d, h, m) * e + _decoder(d, h, m) * n + 2 * d),
    "full, encoder frozen": (
        {"type": "full", "freeze": ["embedding", "encoder.*"]},
        lambda d, h, m, e, n, v, b: v * d + b // 2 + _decoder(d, h, m) * n + d,
    ),
    "full, last layer": (
        {"type": "full", "last_layers": 1},
        lambda d, h, m, e, n, v, b: v * d + _encoder(d, h, m) + _decoder(d, h, m) + 2 * d,
    ),
    "lora": ({"type": "lora", "rank": 4, "dropout": 0.1}, lambda d, h, m, e, n, v, b: 4 * (d + h) * (2 * e + 4 * n)),
    "dora": (
        {"type": "lora", "rank": 4, "dora": True, "rslora": True, "targets": ["decoder/.*"]},
        lambda d, h, m, e, n, v, b: n * (4 * (8 * (d + h) + 3 * (d + m)) + 6 * h + 3 * d + 2 * m),
    ),
    "ia3": ({"type": "ia3"}, lambda d, h, m, e, n, v, b: (2 * h + m) * e + (4 * h + m) * n),
    "bottleneck": (
        {"type": "bottleneck", "size": 8},
        lambda d, h, m, e, n, v, b: (2 * 8 * d + 8 + d) * (2 * e + 3 * n),
    ),
    "prefix_tuning": (
        {"type": "prefix_tuning", "length": 5},
        lambda d, h, m, e, n, v, b: 2 * 5 * h * (e + 2 * n),
    ),
    "prefix_tuning through an MLP": (
        {"type": "prefix_tuning", "length": 5, "hidden": 16, "places": ["encoder", "decoder"]},
        lambda d, h, m, e, n, v, b: 2 * (5 * d + (d + 1) * 16) + 2 * h * 17 * (e + n),
    ),
    "p_tuning": (
        {"type": "p_tuning", "length": 5, "hidden": 8},
        lambda d, h, m, e, n, v, b: 5 * d + 64 * (d + 9) + 64 * 25 + 16 * 17 + d * 17,
    ),
    "p_tuning through an MLP": (
        {"type": "p_tuning", "length": 5, "hidden": 8, "network": "mlp"},
        lambda d, h, m, e, n, v, b: 5 * d + 8 * (d + 1) + d * 9,
    ),
    "word_embeddings": ({"type": "word_embeddings", "tokens": [5, 3, 70]}, lambda d, h, m, e, n, v, b: 3 * d),
    "word_embeddings of the templates": ({"type": "word_embeddings"}, None),
}  # fmt: skip
UNMERGED = {
    "bottleneck": "no linear maps",
    "prefix_tuning": "no part of any weight",
    "p_tuning": "no row of the embedding",
}
COUNTED = [name for name, (_, formula) in METHODS.items() if formula]
# "full": see tests/train/test_loop.py
TRAINED = [name for name in METHODS if name not in ("full", "word_embeddings") and "MLP" not in name]


def _encoder(d: int, h: int, m: int) -> int:
    return 2 * d + 4 * d * h + 3 * d * m


def _decoder(d: int, h: int, m: int) -> int:
    return _encoder(d, h, m) + d + 4 * d * h


@pytest.mark.parametrize("preset", ["flan-t5-small", "flan-t5-base", "flan-t5-xxl"])
@pytest.mark.parametrize("name", COUNTED)
def test_it_trains_as_many_parameters_as_its_docstring_says(name, preset):
    values, formula = METHODS[name]
    method = parse_method(values)
    d, m, heads, head_dim, e, n = PRESETS[preset]
    _, shapes, _ = abstract_model(T5Config(FLAN_VOCAB_SIZE, *PRESETS[preset]), method.extend)
    trained = sum(x.size for x in jax.tree.leaves(split(shapes, method.trains)[0]))
    assert trained == formula(d, heads * head_dim, m, e, n, FLAN_VOCAB_SIZE, 2 * 32 * heads)


@pytest.mark.parametrize("name", TRAINED)
def test_what_it_declares_changes_and_everything_else_is_the_same_to_the_bit(name, trained):
    it = trained(METHODS[name][0])
    before, after = flat(it.before), flat(it.after)
    assert before.keys() == after.keys()
    same = {path for path in before if np.array_equal(before[path], after[path])}
    assert same == {path for path in before if not it.model.method.trains(path)}
    assert 0 < len(same) < len(before)


@pytest.mark.parametrize("name", TRAINED)
def test_its_loss_falls_on_support_chats(name, trained):
    losses = trained(METHODS[name][0]).losses
    assert np.mean(losses[-5:]) < losses[0] - 0.01


@pytest.mark.parametrize("name", TRAINED)
def test_resumed_from_its_checkpoint_it_computes_the_same_to_the_bit(name, trained):
    it = trained(METHODS[name][0])
    jax.tree.map(np.testing.assert_array_equal, it.resumed, it.after)


@pytest.mark.parametrize("name", TRAINED)
def test_a_packed_batch_has_the_loss_of_its_examples(name, trained):
    it = trained(METHODS[name][0])
    packed = next(batch for batch in it.batches if batch["encoder_segment_ids"].max() > 1)
    rows = [
        {key: _only(packed, key, row, segment) for key in packed}
        for row in range(len(packed["encoder_segment_ids"]))
        for segment in range(1, packed["encoder_segment_ids"][row].max() + 1)
    ]
    assert len(rows) > len(packed["encoder_segment_ids"])
    trained_params, frozen = it.model.split(it.after)
    step = make_validation_step(it.model.graphdef)
    together = step(trained_params, frozen, jax.tree.map(lambda x: x[None], packed))
    alone = step(trained_params, frozen, {key: jnp.stack([row[key] for row in rows])[None] for key in packed})
    assert float(together["tokens"]) == float(alone["tokens"])
    np.testing.assert_allclose(together["loss"], alone["loss"], rtol=1e-5)


def _only(batch: dict[str, np.ndarray], key: str, row: int, segment: int) -> np.ndarray:
    """One example of a packed row, in a row of its own from the start."""
    side = key.partition("_")[0]
    chosen = batch[f"{side}_segment_ids"][row] == segment
    values = np.zeros_like(batch[key][row])
    values[: chosen.sum()] = 1 if key.endswith("segment_ids") else batch[key][row][chosen]
    return values


@pytest.mark.parametrize("name", [name for name in TRAINED if name not in UNMERGED])
def test_merged_the_plain_model_computes_the_same(name, trained):
    it = trained(METHODS[name][0])
    copies = jax.tree.map(lambda x: x.copy(), it.after)  # merging takes their memory
    logits = logits_of(it.model.graphdef, it.after, it.batches[0])
    plain = logits_of(abstract_model(it.model.config)[0], merged_params(it.model, copies), it.batches[0])
    inside = it.batches[0]["decoder_segment_ids"] > 0
    np.testing.assert_allclose(plain[inside], logits[inside], rtol=1e-4, atol=1e-4)
    assert np.abs(logits - logits_of(it.model.graphdef, it.before, it.batches[0]))[inside].max() > 1e-2


@pytest.mark.parametrize("name", TRAINED)
def test_it_starts_as_its_base_exactly_if_it_says_so(name, trained):
    it = trained(METHODS[name][0])
    if it.model.method.prompt("support_chats"):  # the base has no embedding for the tokens in front
        assert not it.model.method.starts_as_base
        return
    base = init_params(it.model.config, 0)
    logits = logits_of(it.model.graphdef, it.before, it.batches[0])
    plain = logits_of(abstract_model(it.model.config)[0], base, it.batches[0])
    inside = it.batches[0]["decoder_segment_ids"] > 0
    assert np.allclose(plain[inside], logits[inside], rtol=1e-4, atol=1e-4) == it.model.method.starts_as_base


@pytest.mark.parametrize("name", UNMERGED)
def test_what_no_weight_computes_is_not_merged(name, trained):
    it = trained(METHODS[name][0])
    with pytest.raises(UserError, match=rf"{UNMERGED[name]}.* cannot be merged"):
        merged_params(it.model, it.after)


def test_a_checkpoint_holds_what_is_trained_and_is_small(trained):
    it = trained(METHODS["lora"][0])
    numbers = sum(x.size for x in jax.tree.leaves(it.model.split(it.model.shapes)[0]))
    size = sum(f.stat().st_size for f in (it.checkpoint / "10").rglob("*") if f.is_file())
    assert size < 4 * 3 * numbers + 200_000  # the parameters, two moments, and what describes them


def test_a_checkpoint_of_lora_of_rank_8_of_flan_t5_small_is_below_10_megabytes(make_config, make_model, tmp_path):
    own = ("emb_dim", "mlp_dim", "num_heads", "head_dim", "num_encoder_layers", "num_decoder_layers")
    preset = dict.fromkeys(own) | {"preset": "flan-t5-small"}
    config = make_config("unused", {"type": "lora", "rank": 8}, model=preset)
    model = make_model(config)
    schedule = make_schedule(config.optimizer, 1)
    optimizer = make_optimizer(config.optimizer, schedule, model.split(model.axes)[0])
    shapes = state_shapes(model, optimizer)
    draw = np.random.default_rng(0)  # numbers that compress no better than weights do
    trained, frozen = model.split(model.shapes)
    params = jax.tree.map(lambda s: jax.device_put(draw.normal(size=s.shape).astype(s.dtype), s.sharding), trained)
    prints = dict.fromkeys(flat(frozen), "01234567")
    with jax.set_mesh(model.mesh), Checkpoints(tmp_path) as checkpoints:
        state = first_state(params, optimizer, 0, shapes)
        checkpoints.save(1, state, position={"block": 0, "row": 0}, metadata=metadata(config, {}, prints))
    size = sum(f.stat().st_size for f in (tmp_path / "1").rglob("*") if f.is_file())
    assert 4 * 3 * 344_064 < size < 10e6


def test_a_checkpoint_on_another_base_is_refused_by_name(trained, make_config):
    it = trained(METHODS["lora"][0])
    config = make_config("unused", METHODS["lora"][0], train={"seed": 1})  # of the random base
    with pytest.raises(UserError, match=r"trained on random; model\.weights=random is another base: decoder"):
        load_frozen(config, it.model, it.info, where="step 10")


def test_a_run_that_is_resumed_and_evaluated_reads_its_base_again(run_dir, make_config, make_model, tmp_path):
    method = METHODS["lora"][0]
    for steps in (10, 20):
        assert train(make_config(tmp_path / "run", method, train={"steps": steps})) == 0
    config = make_config(run_dir, method)
    found = []
    for folder in (run_dir, tmp_path / "run"):
        with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
            found.append(checkpoint_params(config, make_model(config), checkpoints, 20))
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert flat(found[0]).keys() == flat(make_model(config).shapes).keys()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"type": "lora", "targets": [".*/qery"]}, r"method\.targets: '\.\*/qery' matches no parameter"),
        ({"type": "lora", "targets": ["*"]}, "is no regular expression"),
        ({"type": "full", "freeze": [".*"]}, "nothing is left to train"),
        ({"type": "full", "last_layers": 3}, "3 of the encoder's 2"),
    ],
)
def test_a_method_that_does_not_fit_the_model_is_refused(method, message, make_config, tmp_path):
    with pytest.raises(UserError, match=message):
        train(make_config(tmp_path / "run", method))
    assert not (tmp_path / "run").exists()
