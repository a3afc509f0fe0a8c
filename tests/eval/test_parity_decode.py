"""Our decoding against `generate` of transformers' PyTorch T5, token for token, in float32."""

import re

import jax
import numpy as np
import pytest

from bench import decode_parity
from eval.decoding.decoder import Decoder, until_end
from train.config import BeamConfig, GreedyConfig, MeshConfig
from train.model.t5 import T5Config, abstract_model
from train.parallel.mesh import make_mesh


def reference_model(sizes, vocab_size, seed=0):
    """A T5ForConditionalGeneration with transformers' own random weights, and its shape in our words."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    emb_dim, mlp_dim, num_heads, head_dim, encoder_layers, decoder_layers = sizes
    torch.manual_seed(seed)
    reference = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=vocab_size, d_model=emb_dim, d_ff=mlp_dim, num_heads=num_heads, d_kv=head_dim,
            num_layers=encoder_layers, num_decoder_layers=decoder_layers, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0,
        )
    ).eval()  # fmt: skip
    # transformers 5 ties the head of a new model to the embedding, whatever the configuration says; FLAN-T5's is its own.
    reference.lm_head.weight = torch.nn.Parameter(torch.randn(vocab_size, emb_dim))
    config = T5Config(
        vocab_size=vocab_size, emb_dim=emb_dim, mlp_dim=mlp_dim, num_heads=num_heads, head_dim=head_dim,
        num_encoder_layers=encoder_layers, num_decoder_layers=decoder_layers,
    )  # fmt: skip
    return reference, config


def converted(reference, config):
    """Weights of the PyTorch model as our parameters."""
    state = {name: tensor.detach().numpy() for name, tensor in reference.state_dict().items()}

    def attention(stack, layers, index, name):
        names = {"query": "q", "key": "k", "value": "v", "out": "o"}
        return {
            ours: np.stack([state[f"{stack}.block.{i}.layer.{index}.{name}.{n}.weight"].T for i in range(layers)])
            for ours, n in names.items()
        }

    def mlp(stack, layers, index):
        names = {"gate": "wi_0", "up": "wi_1", "down": "wo"}
        return {
            ours: np.stack(
                [state[f"{stack}.block.{i}.layer.{index}.DenseReluDense.{n}.weight"].T for i in range(layers)]
            )
            for ours, n in names.items()
        }

    def norm(stack, layers, index):
        return {"scale": np.stack([state[f"{stack}.block.{i}.layer.{index}.layer_norm.weight"] for i in range(layers)])}

    def bias(stack):
        return {"embedding": state[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]}

    encoder, decoder = config.num_encoder_layers, config.num_decoder_layers
    return {
        "embedding": state["shared.weight"],
        "encoder_bias": bias("encoder"),
        "encoder": {
            "attention_norm": norm("encoder", encoder, 0),
            "attention": attention("encoder", encoder, 0, "SelfAttention"),
            "mlp_norm": norm("encoder", encoder, 1),
            "mlp": mlp("encoder", encoder, 1),
        },
        "encoder_norm": {"scale": state["encoder.final_layer_norm.weight"]},
        "decoder_bias": bias("decoder"),
        "decoder": {
            "self_norm": norm("decoder", decoder, 0),
            "self_attention": attention("decoder", decoder, 0, "SelfAttention"),
            "cross_norm": norm("decoder", decoder, 1),
            "cross_attention": attention("decoder", decoder, 1, "EncDecAttention"),
            "mlp_norm": norm("decoder", decoder, 2),
            "mlp": mlp("decoder", decoder, 2),
        },
        "decoder_norm": {"scale": state["decoder.final_layer_norm.weight"]},
        "head": state["lm_head.weight"].T,
    }


def generate(reference, inputs, batch_size, **settings):
    """transformers' output for each example, up to and with the end-of-sequence token."""
    torch = pytest.importorskip("torch")
    outputs = []
    for start in range(0, len(inputs), batch_size):
        part = inputs[start : start + batch_size]
        tokens = np.zeros((len(part), max(map(len, part))), np.int64)
        for row, ids in zip(tokens, part, strict=True):
            row[: len(ids)] = ids
        batch = torch.from_numpy(tokens)
        # oneDNN would make kernels anew for each length that the cache grows to
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
            decoded = reference.generate(batch, attention_mask=(batch != 0).long(), do_sample=False, **settings)
        outputs += [until_end(row[1:]) for row in decoded.numpy()]
    return outputs


def different(ours, theirs):
    """Rows whose tokens differ."""
    return [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a.tolist() != b.tolist()]


@pytest.mark.needs_torch
@pytest.mark.needs_shared
def test_decodes_32_dialogues_as_transformers_does_token_for_token(shared_data, capsys):
    data = ["--root", str(shared_data), "--vocabulary", str(shared_data / "t5_vocab" / "spiece.model"), "--rows", "32"]
    settings = ["--batch-size", "16", "--inputs", "128", "--tokens", "16", "--beams", "1", "4", "--penalties", "1.0"]
    code = decode_parity.main([*data, *settings])
    said = capsys.readouterr().out
    assert code == 0, said
    assert said.count("32/32 rows identical") == 2
    different = [int(n) for n in re.findall(r"(\d+) different answers", said)]
    assert min(different) > 16, "the random model does not say one thing to everybody"


@pytest.mark.needs_torch
def test_all_beams_penalties_and_restrictions_give_the_tokens_of_transformers():
    reference, config = reference_model((32, 64, 2, 16, 2, 2), 32)
    reference.lm_head.weight.data *= 0.2  # several tokens are likely at each step, the end among them
    graphdef, _, _ = abstract_model(config)
    params = jax.tree.map(jax.numpy.asarray, converted(reference, config))
    rng = np.random.default_rng(1)
    inputs = [np.array([*rng.integers(2, 32, rng.integers(1, 20)), 1]) for _ in range(24)]
    mesh = make_mesh(MeshConfig(data=1, fsdp=1, tensor=1), jax.devices()[:1])

    lengths = set()
    for settings in (
        *({"beams": beams, "length_penalty": p} for beams in (2, 4, 8) for p in (0.6, 1.0, 2.0)),
        {"beams": 2, "early_stopping": True}, {"beams": 3, "early_stopping": "never"},
        {"beams": 3, "length_penalty": 0.0}, {"beams": 4, "length_penalty": -1.0},
        {"beams": 1}, {"beams": 4, "min_tokens": 5, "repetition_penalty": 1.3, "no_repeat_ngram": 2},
    ):  # fmt: skip
        ours = BeamConfig.model_validate({"max_tokens": 16, **settings})
        decoded = Decoder(graphdef, ours, mesh=mesh, batch_size=24)(params, inputs)
        expected = generate(reference, inputs, 24, **transformers_words(settings), max_new_tokens=16)
        assert different(decoded, expected) == [], settings
        lengths |= {len(x) for x in decoded}
    assert len(lengths) > 5  # hypotheses of many lengths ended and won

    restrictions = {"min_tokens": 4, "repetition_penalty": 1.2, "no_repeat_ngram": 3}
    ours = GreedyConfig.model_validate({"max_tokens": 16, **restrictions, "forbidden": ["of the test"]})
    forbidden = [(5,), (6, 7), (9, 10, 11)]
    decoded = Decoder(graphdef, ours, mesh=mesh, batch_size=24, forbidden=forbidden)(params, inputs)
    theirs = {**transformers_words(restrictions), "bad_words_ids": [list(ids) for ids in forbidden]}
    assert different(decoded, generate(reference, inputs, 24, max_new_tokens=16, **theirs)) == []


def transformers_words(settings):
    """Our settings in the words of `generate`. One beam is greedy search there, which knows no penalty of length."""
    names = {"beams": "num_beams", "min_tokens": "min_new_tokens", "no_repeat_ngram": "no_repeat_ngram_size"}
    return {names.get(key, key): value for key, value in settings.items()}
