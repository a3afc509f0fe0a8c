"""Prefix tuning: packed, each example has its own prefix and no other; the same logits and answers as `peft`."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from helpers.logits import logits_of

from eval.decoding.decoder import Decoder
from t5x_tasks.common.errors import UserError
from train.config import GreedyConfig, MeshConfig
from train.export.hf import save_hf
from train.export.peft import save_peft
from train.methods import Full, Method, parse_method
from train.methods.prefix_tuning import PrefixTuning
from train.model.t5 import T5, Params, T5Config, abstract_model
from train.parallel.mesh import make_mesh

# Layers of both stacks as many: transformers sizes the cache of `generate` by the encoder's.
CONFIG = T5Config(
    vocab_size=2560, emb_dim=16, mlp_dim=24, num_heads=2, head_dim=8, num_encoder_layers=2, num_decoder_layers=2
)


def made(method: Method) -> tuple[nnx.GraphDef, Params]:
    """A random model that the method extended."""
    graphdef = abstract_model(CONFIG, method.extend)[0]

    def make() -> Params:
        model = T5(CONFIG, nnx.Rngs(0))
        method.extend(model, nnx.Rngs(0))
        return nnx.to_pure_dict(nnx.state(model))

    return graphdef, jax.jit(make)()


def row(*examples: tuple[list[int], list[int]], lengths: tuple[int, int] = (24, 12)) -> dict[str, np.ndarray]:
    """A row of packed (inputs, targets)."""
    batch = {}
    for number, side in enumerate(("encoder", "decoder")):
        tokens, segments = np.zeros((2, 1, lengths[number]), np.int32)
        end = 0
        for segment, example in enumerate(examples, start=1):
            ids = example[number] if side == "encoder" else [0, *example[number][:-1]]
            tokens[0, end : end + len(ids)], segments[0, end : end + len(ids)] = ids, segment
            end += len(ids)
        batch |= {f"{side}_input_tokens": tokens, f"{side}_segment_ids": segments}
    return batch


def test_in_a_packed_row_each_example_has_its_own_prefix_as_if_it_were_alone():
    rng = np.random.default_rng(0)
    examples = [(rng.integers(3, 2400, n).tolist(), rng.integers(3, 2400, m).tolist()) for n, m in ((7, 5), (11, 6))]
    method = PrefixTuning(length=3, tasks=("one", "other"), init_std=1.0)
    marked = [([*method.prompt(task), *ins], outs) for task, (ins, outs) in zip(method.tasks, examples, strict=True)]
    graphdef, params = made(method)
    together = np.asarray(logits_of(graphdef, params, row(*marked)))
    (alone, _), (plain, base) = made(PrefixTuning(length=3)), made(Full())
    end = 0
    for number, example in enumerate(examples):
        # The same prefix alone: no tasks, so no mark either.
        own = {
            f"{place}_prefix": {name: x[:, 3 * number :][:, :3] for name, x in params[f"{place}_prefix"].items()}
            for place in method.places
        }
        logits = np.asarray(logits_of(alone, params | own, row(example)))[:, : len(example[1])]
        np.testing.assert_allclose(together[:, end : end + len(example[1])], logits, atol=1e-5)
        without = np.asarray(logits_of(plain, base, row(example)))[:, : len(example[1])]
        assert np.abs(without - logits).max() > 0.05 * np.abs(without).max()  # it does something
        end += len(example[1])


def test_decoding_step_by_step_sees_the_prefixes_as_teacher_forcing_does():
    rng = np.random.default_rng(1)
    method = PrefixTuning(length=3, tasks=("one", "other"), init_std=1.0)
    graphdef, params = made(method)
    inputs = [
        np.array([*method.prompt(task), *rng.integers(3, 2400, n), 1], np.int32)
        for task, n in (("one", 9), ("other", 5))
    ]
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    decoder = Decoder(graphdef, GreedyConfig(max_tokens=8), mesh=mesh, batch_size=2)
    for ids, said in zip(inputs, decoder(params, inputs), strict=True):
        logits = np.asarray(logits_of(graphdef, params, row((ids.tolist(), said.tolist()))))[0, : len(said)]
        np.testing.assert_array_equal(logits.argmax(-1), said)


def test_there_is_a_prefix_for_each_task_and_none_for_others():
    method = parse_method({"type": "prefix_tuning", "length": 4, "tasks": ["a", "b"]})
    assert (method.prompt("a"), method.prompt("b.inverted")) == ((-1,), (-2,))
    assert sum(x.size for x in jax.tree.leaves(made(method)[1]["cross_prefix"])) == 2 * 2 * 8 * 16
    with pytest.raises(UserError, match=r"method\.tasks: there is no prompt for c"):
        method.prompt("c")


@pytest.mark.needs_peft
def test_peft_opens_what_the_mlp_makes_and_gives_the_same_logits_and_answers(tmp_path: Path, vocabulary_path: Path):
    import torch  # pyright: ignore[reportMissingImports]
    from peft import PeftModel  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForSeq2SeqLM

    method = PrefixTuning(length=5, places=("decoder",), hidden=6, init_std=1.0)
    graphdef, params = made(method)
    save_peft(method.to_peft(params), tmp_path / "adapter", base=None)
    base = {name: tree for name, tree in params.items() if not name.endswith("_prefix")}
    save_hf(base, CONFIG, tmp_path / "hf", vocabulary_path)
    plain = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hf")
    theirs = PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()

    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(3, 2400, (3, 9)), rng.integers(3, 2400, (3, 5))
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": targets}
    batch |= {f"{side}_segment_ids": np.ones_like(batch[f"{side}_input_tokens"]) for side in ("encoder", "decoder")}
    batch = {name: value.astype(np.int32) for name, value in batch.items()}
    ids = torch.tensor(inputs)
    with torch.no_grad():
        logits = theirs(input_ids=ids, decoder_input_ids=torch.tensor(targets)).logits.numpy()
        said = theirs.generate(input_ids=ids, max_new_tokens=8, do_sample=False, num_beams=1).numpy()
    ours = np.asarray(logits_of(graphdef, params, batch))
    np.testing.assert_allclose(ours, logits, atol=1e-4)
    assert np.abs(ours - np.asarray(logits_of(*made(Full()), batch))).max() > 0.05 * np.abs(ours).max()
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    decoder = Decoder(graphdef, GreedyConfig(max_tokens=8), mesh=mesh, batch_size=4)
    for mine, other in zip(decoder(params, list(batch["encoder_input_tokens"])), said, strict=True):
        np.testing.assert_array_equal(mine, other[1 : 1 + len(mine)])


@pytest.mark.parametrize(
    ("keys", "message"), [({}, r"method\.places=\[decoder\]"), ({"tasks": ("a", "b")}, "one prefix for all")]
)
def test_what_peft_has_not_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        PrefixTuning(length=2, **keys).to_peft({})
