"""A T5 of a few thousand parameters, and batches laid out by hand."""

import jax
import numpy as np
from flax import nnx

from train.model.t5 import T5, T5Config

TINY = T5Config(
    vocab_size=64,
    emb_dim=16,
    mlp_dim=32,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=2,
    num_decoder_layers=2,
    dropout=0.0,
)


def random_params(config: T5Config = TINY, seed: int = 0, scale: float = 1.0):
    return jax.tree.map(lambda x: x * scale, nnx.to_pure_dict(nnx.state(T5(config, nnx.Rngs(params=seed)))))


def packed(examples: list[list[tuple[list[int], list[int]]]], lengths: tuple[int, int]) -> dict[str, np.ndarray]:
    """Lays out rows of (inputs, targets) examples by hand."""
    names = (
        "encoder_input_tokens",
        "encoder_segment_ids",
        "decoder_target_tokens",
        "decoder_input_tokens",
        "decoder_segment_ids",
    )
    batch = {name: np.zeros((len(examples), lengths[name.startswith("decoder")]), np.int32) for name in names}
    for row, members in enumerate(examples):
        at, to = 0, 0
        for segment, (inputs, targets) in enumerate(members, start=1):
            batch["encoder_input_tokens"][row, at : at + len(inputs)] = inputs
            batch["encoder_segment_ids"][row, at : at + len(inputs)] = segment
            batch["decoder_target_tokens"][row, to : to + len(targets)] = targets
            batch["decoder_input_tokens"][row, to : to + len(targets)] = [0, *targets[:-1]]
            batch["decoder_segment_ids"][row, to : to + len(targets)] = segment
            at, to = at + len(inputs), to + len(targets)
    return batch


def random_examples(count: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(2, 60, rng.integers(3, 12)).tolist(), [*rng.integers(2, 60, rng.integers(2, 7)).tolist(), 1])
        for _ in range(count)
    ]
