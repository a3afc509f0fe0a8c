import pytest

from train.config import FLAN_VOCAB_SIZE, PRESETS
from train.flops import train_flops
from train.model import T5Config


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
    stats = {"input_tokens": 512, "target_tokens": 128}
    stats |= {"encoder_pairs": 512**2, "decoder_pairs": 128**2, "cross_pairs": 512 * 128}
    # They count a causal triangle as a full square, which is half a percent at these lengths.
    assert train_flops(T5Config(FLAN_VOCAB_SIZE, *PRESETS[preset]), stats) / 1e12 == pytest.approx(tera, rel=0.006)


def test_short_examples_in_a_row_cost_less_attention_than_one_long():
    config = T5Config(FLAN_VOCAB_SIZE, *PRESETS["flan-t5-small"])
    tokens = {"input_tokens": 512, "target_tokens": 128}
    long = train_flops(config, tokens | {"encoder_pairs": 512**2, "decoder_pairs": 128**2, "cross_pairs": 512 * 128})
    short = train_flops(
        config, tokens | {"encoder_pairs": 4 * 128**2, "decoder_pairs": 4 * 32**2, "cross_pairs": 4 * 128 * 32}
    )
    inner = 6 * 64
    saved = 8 * inner * (2 * (512**2 - 4 * 128**2) + (128**2 - 4 * 32**2) + 2 * (512 * 128 - 4 * 128 * 32))
    assert long - short == pytest.approx(6 * saved)
