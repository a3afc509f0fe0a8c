"""Floating-point operations that a batch needs, and what the devices could do at best: model FLOPs utilisation (MFU)."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from train.model import T5Config

# Dense bfloat16 peak a device, FLOP/s, from the makers' data sheets (without sparsity). Longer names first.
PEAK_FLOPS = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "TPU v6": 918e12,  # "TPU v6 lite", Trillium
    "TPU v5p": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
}


def train_flops(config: T5Config, stats: Mapping[str, int]) -> float:
    """FLOPs of one update that trains every parameter: three times those of the forward pass.

    What the examples need and nothing else: padding, recomputation, and pairs of positions from different examples or from
    the future do not count, so that packing badly or recomputing shows as a lower MFU.

    Args:
      config: the model's shape.
      stats: of the global batch: `input_tokens`, `target_tokens`, and pairs of positions that attend to each other:
        `encoder_pairs` (sum of input length squared), `decoder_pairs` (of target length squared), `cross_pairs`.
    """
    emb, inner, mlp = config.emb_dim, config.num_heads * config.head_dim, config.mlp_dim
    inputs, targets = stats["input_tokens"], stats["target_tokens"]
    encoder = config.num_encoder_layers * (
        inputs * (4 * emb * inner + 3 * emb * mlp) + 2 * inner * stats["encoder_pairs"]
    )
    decoder = config.num_decoder_layers * (
        targets * (6 * emb * inner + 3 * emb * mlp)  # self-attention, query and output of cross-attention, MLP
        + inputs * 2 * emb * inner  # keys and values of cross-attention
        + inner * (stats["decoder_pairs"] + targets)  # causal: half of 2 * pairs
        + 2 * inner * stats["cross_pairs"]
    )
    head = targets * emb * config.vocab_size
    return 3.0 * 2 * (encoder + decoder + head)


def peak_flops() -> tuple[float, str]:
    """Peak FLOP/s of all devices of the run, and where the figure is from."""
    devices = jax.devices()
    kind = devices[0].device_kind
    if devices[0].platform == "cpu":
        return measured_cpu_flops(), "float32 matrix product measured on this CPU"
    for name, peak in PEAK_FLOPS.items():
        if kind.startswith(name):
            return peak * len(devices), f"{len(devices)} x {name}, bfloat16, data sheet"
    return float("nan"), f"unknown for {kind}"


def measured_cpu_flops(size: int = 1536) -> float:
    """Best of a few float32 matrix products, FLOP/s: a CPU has no data sheet that says what its cores reach."""
    device = jax.local_devices(backend="cpu")[0]
    a = jax.device_put(jnp.ones((size, size), jnp.float32), device)
    product: Any = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    times = []
    for _ in range(4):
        start = time.perf_counter()
        product(a, a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)
