"""Prompt tuning: what it trains, packed as apart, its starts, and the same logits and answers as `peft`."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from eval.decoding.decoder import Decoder
from t5x_tasks.common.errors import UserError
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.config import GreedyConfig, MeshConfig
from train.data.open import open_training, validation_batches
from train.export.hf import save_hf
from train.export.peft import save_peft
from train.loop import train
from train.methods import parse_method
from train.methods.prompt_tuning import PromptTuning
from train.model.presets import FLAN_VOCAB_SIZE, PRESETS
from train.model.t5 import T5, T5Config, abstract_model
from train.parallel.mesh import make_mesh
from train.params import checkpoint_params, load_params
from train.step import make_validation_step
from train.trees import flat, split

METHOD = {"type": "prompt_tuning", "length": 12}
OPTIMIZER = {"optimizer": {"type": "adamw", "learning_rate": 0.3}}


def extended(config: T5Config, method: PromptTuning, seed: int = 0) -> T5:
    """A random model with random prompts."""
    model = T5(config, nnx.Rngs(seed))
    method.extend(model, nnx.Rngs(seed))
    rows = model.prompt.rows  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    rows[...] = jax.random.normal(jax.random.key(1), rows.shape)
    return model


@pytest.mark.parametrize("preset", ["flan-t5-small", "flan-t5-base", "flan-t5-xxl"])
def test_it_trains_as_many_parameters_as_its_docstring_says(preset):
    method = parse_method({"type": "prompt_tuning", "length": 20, "tasks": ["a", "b", "c"]})
    _, shapes, _ = abstract_model(T5Config(FLAN_VOCAB_SIZE, *PRESETS[preset]), method.extend)
    assert sum(x.size for x in jax.tree.leaves(split(shapes, method.trains)[0])) == 3 * 20 * PRESETS[preset][0]


def test_the_prompt_changes_everything_else_is_the_same_to_the_bit_and_the_loss_falls(
    make_config, make_model, tmp_path
):
    steps = {"steps": 20, "batch_size": 2, "validation_examples": 64}
    run_dir = tmp_path / "run"
    train(make_config(run_dir, METHOD, **OPTIMIZER, train=steps, checkpoint={"every_steps": 1}))
    config = configuration.load(run_dir, [])
    model = make_model(config)
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        after = flat(checkpoint_params(config, model, checkpoints, 20))
    before = flat(load_params(config, model))
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    assert changed == {"prompt/rows"}
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert losses[-1] < losses[0] - 0.01  # of random weights a prompt moves little


def test_stopped_and_resumed_it_computes_the_same_to_the_bit_without_the_file_it_started_from(
    make_config, make_model, tmp_path
):
    method = {"type": "prompt_tuning", "length": 4, "init": {"type": "file", "path": str(tmp_path / "p.npy")}}
    np.save(tmp_path / "p.npy", np.ones((4, 32)))
    sizes = {"batch_size": 2, "dropout": 0.1, "validation_examples": 0}
    for run_dir, steps in (("whole", (4,)), ("parts", (2, 4))):
        np.save(tmp_path / "p.npy", np.ones((4, 32)))
        for n in steps:
            assert train(make_config(tmp_path / run_dir, method, train={"steps": n, **sizes}, **OPTIMIZER)) == 0
            (tmp_path / "p.npy").unlink(missing_ok=True)
    model = make_model(configuration.load(tmp_path / "whole", []))
    found = []
    for run_dir in ("whole", "parts"):
        with Checkpoints(tmp_path / run_dir / "checkpoints", read_only=True) as checkpoints:
            found.append(checkpoints.restore_params(4, model.split(model.shapes)[0])["prompt"]["rows"])
    np.testing.assert_array_equal(*found)


def test_packed_and_unpacked_losses_agree_and_each_data_set_reads_its_own_prompt(make_config, vocabulary, make_model):
    sums = {}
    method = {
        "type": "prompt_tuning",
        "length": 12,
        "tasks": ["dialogsum", "support_chats"],
        "init": {"type": "uniform"},
    }
    for pack in (True, False):
        data = {"mixture": "support_chats", "lengths": {"inputs": 512, "targets": 96}, "pack": pack}
        config = make_config(
            Path("unused"), method, data=data, train={"steps": 1, "batch_size": 4, "validation_examples": 10**6}
        )
        model = make_model(config)
        trained, frozen = model.split(load_params(config, model))
        trained = jax.tree.map(lambda x: 20 * x, trained)  # so that it matters
        step = make_validation_step(model.graphdef)
        total: dict[str, float] = {}
        batches = validation_batches(config, vocabulary).batches
        for batch in batches:
            tokens = batch.arrays["encoder_input_tokens"]
            assert set(tokens[tokens < 0]) == set(range(-24, -12))  # of the second prompt
            assert (tokens[(batch.arrays["encoder_positions"] == 0) & (tokens != 0)] == -13).all()
            arrays = {name: jax.numpy.asarray(rows[None]) for name, rows in batch.arrays.items()}
            for name, value in step(trained, frozen, arrays).items():
                total[name] = total.get(name, 0) + float(value)
        sums[pack] = total | {"examples": sum(b.stats["examples"] for b in batches)}
    assert sums[True]["examples"] == sums[False]["examples"]
    assert sums[True]["tokens"] == sums[False]["tokens"]
    assert sums[True]["loss"] == pytest.approx(sums[False]["loss"], rel=1e-5)


def test_a_prompt_takes_room_in_the_row(make_config, vocabulary):
    data = {"mixture": "support_chats", "lengths": "auto"}
    lengths = [
        open_training(make_config(Path("unused"), method, data=data), vocabulary).lengths.inputs
        for method in ({"type": "full"}, {"type": "prompt_tuning", "length": 128})
    ]
    assert lengths[1] >= lengths[0] + 128


def test_the_starts_are_those_of_the_paper(make_config, make_model, vocabulary):
    def start(init: dict[str, Any], length: int = 6) -> tuple[np.ndarray, np.ndarray]:
        config = make_config(Path("unused"), {"type": "prompt_tuning", "length": length, "init": init})
        params = load_params(config, make_model(config))
        return np.asarray(params["prompt"]["rows"]), np.asarray(params["embedding"])

    rows, table = start({"type": "uniform"}, length=100)
    assert np.abs(rows).max() <= 0.5
    assert rows.std() == pytest.approx(0.5 / 3**0.5, rel=0.05)
    rows, table = start({"type": "vocabulary", "pieces": 50}, length=50)
    np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(table[3:53], axis=0), rtol=1e-6)  # each once
    rows, table = start({"type": "labels", "labels": ["refund", "invoice"]})
    for row, ids in zip(rows, vocabulary.encode_batch(["refund", "invoice"]), strict=False):
        np.testing.assert_allclose(row, table[ids].mean(0), rtol=1e-5, atol=1e-6)
    assert all((np.abs(table - row).max(axis=1) < 1e-6).any() for row in rows[2:])
    rows, table = start({"type": "text", "text": "Summarize."}, length=20)
    np.testing.assert_allclose(rows, table[np.resize(vocabulary.encode_batch(["Summarize."])[0], 20)], rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            {"tasks": ["suport_chats"]},
            r"method\.tasks: there is no prompt for support_chats, did you mean suport_chats",
        ),
        ({"init": {"type": "file", "path": "no_such.npy"}}, "neither a .npy nor a PEFT directory"),
        ({"length": 1, "init": {"type": "labels", "labels": ["a", "b"]}}, r"2 labels for method\.length=1"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(method, message, make_config, tmp_path):
    with pytest.raises(UserError, match=message):
        train(make_config(tmp_path / "run", {"type": "prompt_tuning", **method}))
    assert not (tmp_path / "run").exists()


@pytest.mark.needs_peft
def test_peft_opens_the_prompt_and_gives_the_same_logits_and_answers(tmp_path, vocabulary_path):
    import torch  # pyright: ignore[reportMissingImports]
    from peft import PeftModel  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForSeq2SeqLM

    config = T5Config(
        vocab_size=2560, emb_dim=16, mlp_dim=24, num_heads=2, head_dim=8, num_encoder_layers=2, num_decoder_layers=2
    )
    method = PromptTuning(length=7)
    model = extended(config, method)
    params = nnx.to_pure_dict(nnx.state(model))
    save_peft(method.to_peft(params), tmp_path / "adapter", base=None)
    save_hf({name: tree for name, tree in params.items() if name != "prompt"}, config, tmp_path / "hf", vocabulary_path)
    theirs = PeftModel.from_pretrained(
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hf"), str(tmp_path / "adapter")
    )

    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(3, 2400, (3, 9)), rng.integers(3, 2400, (3, 5))
    ours = np.concatenate([np.tile(method.prompt("any"), (3, 1)), inputs], axis=1).astype(np.int32)
    batch = {
        "encoder_input_tokens": ours,
        "encoder_segment_ids": np.ones_like(ours),
        "decoder_input_tokens": targets.astype(np.int32),
        "decoder_segment_ids": np.ones(targets.shape, np.int32),
    }
    with torch.no_grad():
        attended = torch.ones(inputs.shape)
        logits = theirs(
            input_ids=torch.tensor(inputs), attention_mask=attended, decoder_input_ids=torch.tensor(targets)
        ).logits
        said = theirs.generate(
            input_ids=torch.tensor(inputs), attention_mask=attended, max_new_tokens=8, do_sample=False, num_beams=1
        )
    np.testing.assert_allclose(model(batch), logits.numpy(), atol=1e-4)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    decoder = Decoder(nnx.graphdef(model), GreedyConfig(max_tokens=8), mesh=mesh, batch_size=4)
    for mine, other in zip(decoder(params, list(ours)), said.numpy(), strict=True):
        np.testing.assert_array_equal(mine, other[1 : 1 + len(mine)])
