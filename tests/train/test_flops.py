import jax.numpy as jnp
import pytest

from train.methods import Full, Method
from train.methods.lora import Lora
from train.methods.prompt_tuning import PromptTuning
from train.model.flops import Passes, count_flops
from train.model.presets import FLAN_VOCAB_SIZE, PRESETS
from train.model.t5 import T5Config, abstract_model
from train.trees import flat

ROW = {"input_tokens": 512, "target_tokens": 128}
ROW |= {"encoder_pairs": 512**2, "decoder_pairs": 128**2, "cross_pairs": 512 * 128}


def flops_of(preset: str, method: Method | None = None) -> Passes:
    method = method or Full()
    config = T5Config(FLAN_VOCAB_SIZE, *PRESETS[preset], compute_dtype=jnp.bfloat16)
    return count_flops(config, flat(abstract_model(config, method.extend)[1]), method.trains)


@pytest.mark.parametrize(
    ("preset", "tera"),
    # 3 x forward FLOPs of a sequence of 512/128, NVIDIA Rosetta's T5X tables (small to XXL)
    [
        ("flan-t5-small", 0.110),
        ("flan-t5-base", 0.438),
        ("flan-t5-large", 1.504),
        ("flan-t5-xl", 5.47),
        ("flan-t5-xxl", 21.4),
    ],
)
def test_flops_of_a_full_row_agree_with_the_published_ones(preset, tera):
    flops = flops_of(preset)
    # They count a causal triangle as a full square, which is half a percent at these lengths.
    assert flops.update(ROW) / 1e12 == pytest.approx(tera, rel=0.006)
    assert flops.update(ROW) == pytest.approx(3 * flops.forward(ROW))


def test_short_examples_in_a_row_cost_less_attention_than_one_long():
    short = {"encoder_pairs": 4 * 128**2, "decoder_pairs": 4 * 32**2, "cross_pairs": 4 * 128 * 32}
    update = flops_of("flan-t5-small").update
    saved = 8 * 6 * 64 * (2 * (512**2 - 4 * 128**2) + (128**2 - 4 * 32**2) + 2 * (512 * 128 - 4 * 128 * 32))
    assert update(ROW) - update(ROW | short) == pytest.approx(6 * saved)


def test_frozen_kernels_need_no_gradient_of_their_own_and_nothing_before_what_is_trained_needs_any():
    forward = flops_of("flan-t5-base").forward(ROW)
    # With a prompt before everything, each product and attention's pairs have gradients of what comes in, kernels none.
    prompt = flops_of("flan-t5-base", PromptTuning(length=20)).update(ROW)
    pairs = 12 * 12 * 64 * (2 * 2 * 512**2 + 2 * (128**2 + 128) + 2 * 2 * 512 * 128)
    assert prompt == pytest.approx(2 * forward + pairs)
    # Rank 8 at queries and values: 12 x (2 + 4) kernels of 2 x 768 x 8, three times as full fine-tuning would.
    lora = flops_of("flan-t5-base", Lora(rank=8))
    added = 2 * 2 * 768 * 8 * 12 * (3 * 512 + 3 * 128)
    assert lora.forward(ROW) == pytest.approx(forward + added)
    assert lora.update(ROW) == pytest.approx(2 * forward + pairs + 3 * added)
    head = flops_of("flan-t5-base", Full(freeze=("(?!head).*",))).update(ROW)
    assert head == pytest.approx(forward + 2 * 128 * 768 * FLAN_VOCAB_SIZE)


def test_a_frozen_encoder_is_only_run_forward_when_what_feeds_it_is_frozen_too():
    part = flops_of("flan-t5-base", Full(freeze=("encoder.*", "embedding")))
    whole = flops_of("flan-t5-base")
    # Less two passes of the encoder, and the gradients that cross-attention's keys and values would hand down to it.
    encoder = 12 * (512 * (4 * 768 * 768 + 3 * 768 * 2048) * 2 + 2 * 2 * 768 * 512**2)
    handed_down = 12 * 512 * 2 * 2 * 768 * 768
    assert part.update(ROW) == pytest.approx(whole.update(ROW) - 2 * encoder - handed_down)
