"""The sizes of the T5 1.1 family, and names of settings of the model. Imports no JAX: the configuration reads it."""

from typing import Literal

# T5 1.1 shapes: Raffel et al. 2020 (arXiv 1910.10683) and t5x/examples/t5/t5_1_1; FLAN-T5 keeps them.
# (emb_dim, mlp_dim, num_heads, head_dim, encoder layers, decoder layers)
PRESETS = {
    "t5-tiny": (64, 192, 2, 32, 2, 2),  # ours: for the quick start and tests on a CPU
    "flan-t5-small": (512, 1024, 6, 64, 8, 8),
    "flan-t5-base": (768, 2048, 12, 64, 12, 12),
    "flan-t5-large": (1024, 2816, 16, 64, 24, 24),
    "flan-t5-xl": (2048, 5120, 32, 64, 24, 24),
    "flan-t5-xxl": (4096, 10240, 64, 64, 24, 24),
}


FLAN_VOCAB_SIZE = 32128  # 32,000 pieces and 100 extra ids, padded to a multiple of 128


PresetName = Literal["t5-tiny", "flan-t5-small", "flan-t5-base", "flan-t5-large", "flan-t5-xl", "flan-t5-xxl"]


Remat = Literal["none", "selected", "layer"]
