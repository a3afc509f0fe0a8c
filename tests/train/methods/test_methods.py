"""What holds for every method: it trains what it says and nothing else, learns, resumes to the bit, can be merged."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from t5x_tasks.errors import UserError
from train import config as configuration
from train.checkpoints import Checkpoints
from train.config import FLAN_VOCAB_SIZE, PRESETS
from train.loop import train
from train.methods import parse_method
from train.methods.base import flat, split
from train.model import T5Config, abstract_model
from train.runs import checkpoint_params, merged_params
from train.state import load_params

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
}  # fmt: skip


def _encoder(d: int, h: int, m: int) -> int:
    return 2 * d + 4 * d * h + 3 * d * m


def _decoder(d: int, h: int, m: int) -> int:
    return _encoder(d, h, m) + d + 4 * d * h


def of(name: str) -> dict[str, Any]:
    return METHODS[name][0]


def saved(run_dir: Path, step: int, model: Any) -> dict[str, jax.Array]:
    config = configuration.load(run_dir, [])
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        return checkpoint_params(config, model, checkpoints, step)


@pytest.mark.parametrize("preset", ["flan-t5-small", "flan-t5-base", "flan-t5-xxl"])
@pytest.mark.parametrize("name", METHODS)
def test_it_trains_as_many_parameters_as_its_docstring_says(name, preset):
    values, formula = METHODS[name]
    method = parse_method(values)
    d, m, heads, head_dim, e, n = PRESETS[preset]
    _, shapes, _ = abstract_model(T5Config(FLAN_VOCAB_SIZE, *PRESETS[preset]), method.extend)
    trained = sum(x.size for x in jax.tree.leaves(split(shapes, method.trains)[0]))
    assert trained == formula(d, heads * head_dim, m, e, n, FLAN_VOCAB_SIZE, 2 * 32 * heads)


@pytest.mark.parametrize("name", METHODS)
def test_what_it_declares_changes_and_everything_else_is_the_same_to_the_bit(name, run, make_model):
    run_dir = run(of(name))
    config = configuration.load(run_dir, [])
    model = make_model(config)
    before, after = (flat(p) for p in (load_params(config, model), saved(run_dir, 20, model)))
    assert before.keys() == after.keys()
    same = {path for path in before if np.array_equal(before[path], after[path])}
    assert same == {path for path in before if not model.method.trains(path)}
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        on_disk = checkpoints.restore_params(20, model.split(model.shapes)[0])  # UserError if there were more
    assert flat(on_disk).keys() == before.keys() - same


@pytest.mark.parametrize("name", METHODS)
def test_its_loss_falls(name, run):
    rows = [json.loads(line) for line in (run(of(name)) / "metrics.jsonl").read_text().splitlines()]
    assert np.mean([row["loss"] for row in rows[-5:]]) < rows[0]["loss"] - 0.02


@pytest.mark.parametrize("name", METHODS)
def test_stopped_and_resumed_it_computes_the_same_to_the_bit(name, run, make_config, make_model, tmp_path):
    whole = run(of(name))
    for steps in (10, 20):
        assert train(make_config(tmp_path / "run", of(name), train={"steps": steps})) == 0
    model = make_model(configuration.load(whole, []))
    jax.tree.map(np.testing.assert_array_equal, saved(tmp_path / "run", 20, model), saved(whole, 20, model))


@pytest.mark.parametrize("name", METHODS)
def test_merged_the_plain_model_computes_the_same(name, run, make_model):
    run_dir = run(of(name))
    model = make_model(configuration.load(run_dir, []))
    params = saved(run_dir, 20, model)
    rng = np.random.default_rng(0)
    batch = {
        f"{side}_{what}": rng.integers(2, 100, (2, 12)).astype(np.int32)
        for side, what in (("encoder", "input_tokens"), ("decoder", "input_tokens"))
    }
    batch |= {f"{side}_segment_ids": np.repeat([[1] * 7 + [2] * 5], 2, 0) for side in ("encoder", "decoder")}
    logits = nnx.merge(model.graphdef, params)(batch)
    plain = nnx.merge(abstract_model(model.config)[0], merged_params(model, params))(batch)
    np.testing.assert_allclose(plain, logits, rtol=1e-5, atol=1e-5)


def test_a_checkpoint_on_another_base_is_refused_by_name(run, make_model):
    run_dir = run(of("lora"))
    config = configuration.load(run_dir, ["train.seed=1"])  # of the random base
    with (
        Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints,
        pytest.raises(UserError, match=r"trained on random; model\.weights=random is another base: decoder"),
    ):
        checkpoint_params(config, make_model(config), checkpoints, 20)


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
