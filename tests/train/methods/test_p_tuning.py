"""P-tuning: the network of the paper, pseudo tokens anywhere in a template, and the same logits without the network."""

import jax
import numpy as np
import pytest
from helpers.logits import logits_of

from t5x_tasks.common.errors import UserError
from train.data.open import open_training
from train.methods import parse_method
from train.methods.p_tuning import PTuning, _embeddings
from train.model_spec import ModelSpec, merged_params
from train.params import load_params
from train.trees import flat


def params_of(model: ModelSpec, config) -> dict:
    """Of a run before its first step, its pseudo tokens made so large that they matter."""
    params = load_params(config, model)
    mlp = params["prompt"]["mlp"]
    return params | {"prompt": params["prompt"] | {"mlp": mlp | {"out": 20 * mlp["out"]}}}


@pytest.mark.needs_torch
def test_the_network_is_that_of_the_paper():
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    lstm = torch.nn.LSTM(12, 5, num_layers=2, bidirectional=True, batch_first=True)
    mlp = torch.nn.Sequential(torch.nn.Linear(10, 10), torch.nn.ReLU(), torch.nn.Linear(10, 12))
    rows = torch.randn(7, 12)
    with torch.no_grad():
        expected = mlp(lstm(rows[None])[0])[0].numpy()

    def both(name: str, layer: int) -> np.ndarray:
        ways = [getattr(lstm, f"{name}_l{layer}{way}").detach().numpy() for way in ("", "_reverse")]
        return np.stack([way.T for way in ways])

    layers = {
        f"layer_{n}": {
            "input": both("weight_ih", n),
            "state": both("weight_hh", n),
            "bias": both("bias_ih", n) + both("bias_hh", n),
        }
        for n in (0, 1)
    }
    ours = {"in": mlp[0].weight.T, "in_bias": mlp[0].bias, "out": mlp[2].weight.T, "out_bias": mlp[2].bias}
    params = {"rows": rows, "lstm": layers, "mlp": ours}
    params = jax.tree.map(lambda x: x if isinstance(x, np.ndarray) else x.detach().numpy(), params)
    np.testing.assert_allclose(_embeddings(params), expected, atol=1e-6)


def test_pseudo_tokens_stand_anywhere_in_the_template_and_without_the_network_the_logits_are_the_same(
    make_card, make_config, make_model, vocabulary
):
    template = {"id": "t", "inputs": "[p0..p3] {dialogue} [p4] Summary:", "targets": "{summary}"}
    data = {"mixture": "tiny", "cards": [str(make_card(templates=[template]))]}
    config = make_config("unused", {"type": "p_tuning", "hidden": 8}, data=data)
    assert (config.method.length, config.method.in_templates, config.method.prompt("tiny")) == (
        5,
        vocabulary.size - 1,
        (),
    )

    batch = next(iter(open_training(config, vocabulary).batches)).arrays
    tokens = batch["encoder_input_tokens"]
    anchor = vocabulary.encode_batch(["Summary:"])[0]
    tail = [vocabulary.size - 5, *anchor, 1]  # [p4] Summary:
    starts = np.flatnonzero((batch["encoder_positions"] == 0) & (batch["encoder_segment_ids"] > 0))
    ends = np.flatnonzero(tokens == 1)
    assert len(starts) == len(ends) > 1
    for start, end in zip(starts, ends, strict=True):
        np.testing.assert_array_equal(tokens.reshape(-1)[start : start + 4], vocabulary.size - 1 - np.arange(4))
        np.testing.assert_array_equal(tokens.reshape(-1)[end - len(tail) + 1 : end + 1], tail)

    model = make_model(config)
    params = params_of(model, config)
    logits = logits_of(model.graphdef, params, batch)
    plain = ModelSpec.on(model.mesh, model.config)
    base = load_params(config.model_copy(update={"method": plain.method}), plain)
    merged = merged_params(model, params)
    inside = batch["decoder_segment_ids"] > 0
    np.testing.assert_allclose(logits_of(plain.graphdef, merged, batch)[inside], logits[inside], atol=1e-5)
    assert np.abs(logits_of(plain.graphdef, base, batch) - logits)[inside].max() > 0.05
    changed = [path for path, x in flat(base).items() if not np.array_equal(x, flat(merged)[path])]
    assert changed == ["embedding"]
    rows = np.flatnonzero((np.asarray(base["embedding"]) != np.asarray(merged["embedding"])).any(axis=1))
    np.testing.assert_array_equal(rows, vocabulary.size - 5 + np.arange(5))


def test_in_front_of_the_inputs_what_is_exported_as_a_prompt_gives_the_same_logits(
    make_card, make_config, make_model, vocabulary
):
    data = {"mixture": "tiny", "cards": [str(make_card())]}
    method = {"type": "p_tuning", "length": 6, "hidden": 8, "network": "mlp"}
    config = make_config("unused", method, data=data)
    batch = next(iter(open_training(config, vocabulary).batches)).arrays
    assert (batch["encoder_input_tokens"] < 0).any()
    model = make_model(config)
    params = params_of(model, config)
    rows = config.method.to_peft(params).tensors["prompt_embeddings"]
    prompt = make_model(config.model_copy(update={"method": parse_method({"type": "prompt_tuning", "length": 6})}))
    np.testing.assert_array_equal(
        logits_of(prompt.graphdef, params | {"prompt": {"rows": rows}}, batch), logits_of(model.graphdef, params, batch)
    )


def test_what_stands_in_templates_is_no_prompt_of_peft():
    with pytest.raises(UserError, match="`--to hf` writes them into the rows"):
        PTuning(in_templates=99).to_peft({})
