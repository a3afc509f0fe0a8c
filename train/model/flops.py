"""Floating-point operations that a batch needs, and what the devices could do at best: model FLOPs utilisation (MFU)."""

import collections
import dataclasses
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from train.hardware import PEAK_FLOPS
from train.model.t5 import T5Config


@dataclasses.dataclass(frozen=True)
class Flops:
    """FLOPs that each unit of a batch needs: a token of inputs or targets, a pair of positions that attend to each other."""

    input_tokens: float = 0.0
    target_tokens: float = 0.0
    encoder_pairs: float = 0.0
    decoder_pairs: float = 0.0
    cross_pairs: float = 0.0

    def __call__(self, stats: Mapping[str, int]) -> float:
        """FLOPs of a batch.

        Args:
          stats: of the global batch: `input_tokens`, `target_tokens`, and pairs of positions that attend to each other:
            `encoder_pairs` (sum of input length squared), `decoder_pairs` (of target length squared), `cross_pairs`.
        """
        return float(sum(getattr(self, field.name) * stats[field.name] for field in dataclasses.fields(self)))


class Passes(NamedTuple):
    forward: Flops
    update: Flops  # forward and backward


def count_flops(config: T5Config, shapes: Mapping[str, Any], trains: Callable[[str], bool]) -> Passes:
    """FLOPs of an update as the method at hand needs them.

    A product with a kernel takes one pass forward, one for the gradient of its input, if something that is trained lies before
    it, and one for its own gradient, if it is trained itself. So full fine-tuning takes three times the forward pass; a method
    that freezes the kernels, about two; what lies before everything that is trained, one.

    What the examples need and nothing else: padding, recomputation, and pairs of positions from different examples or from the
    future do not count, so that packing badly or recomputing shows as a lower MFU. Not counted, for they are few: what is taken
    number by number, the slots of prefixes, the network that makes a prompt. Nor is the pass of the model before training that
    replay's KL takes.

    Args:
      config: the model's shape.
      shapes: of all parameters by their paths, as `encoder/attention/query`.
      trains: whether the parameter at a path is trained.
    """
    forward, update = (collections.defaultdict[str, float](float) for _ in range(2))

    def products(paths: list[str], *, through: bool, through_cross: bool = False) -> None:
        for path in paths:
            if len(shapes[path].shape) < 2 or path.rsplit("/", 1)[-1] in ("scale", "magnitude") or "_bias" in path:
                continue
            of_encoded = re.search(r"cross_attention/(adapters/)?(key|value)", path) is not None
            of_input = through_cross if of_encoded else through
            unit = "input_tokens" if of_encoded or path.startswith("encoder") else "target_tokens"
            flops = 2.0 * math.prod(shapes[path].shape)
            forward[unit] += flops
            update[unit] += flops * (1 + of_input + trains(path))

    def attention(pairs: str, layers: int, *, through: bool) -> None:
        """Logits and values; a decoder's own pairs are half of the square, the later ones being masked."""
        flops = 2.0 * 2 * config.num_heads * config.head_dim * layers / (2 if pairs == "decoder_pairs" else 1)
        forward[pairs] += flops
        update[pairs] += flops * (3 if through else 1)
        if pairs == "decoder_pairs":  # and the diagonal, whole
            forward["target_tokens"] += flops
            update["target_tokens"] += flops * (3 if through else 1)

    def parts(stack: str) -> list[tuple[list[str], int]]:
        """Paths and number of layers of a stack's parts, the lower one first."""
        found = []
        cut = any(path.startswith(f"{stack}/lower/") for path in shapes)
        for part in (f"{stack}/lower/", f"{stack}/upper/") if cut else (f"{stack}/",):
            paths = [path for path in shapes if path.startswith(part)]
            found.append((paths, shapes[paths[0]].shape[0]))
        return found

    def trained(*prefixes: str) -> bool:
        return any(path.startswith(prefixes) and trains(path) for path in shapes)

    embedding = trained("embedding", "prompt", "adapters/")
    through = embedding or trained("encoder_bias", "encoder_prefix")
    for paths, layers in parts("encoder"):
        through |= any(map(trains, paths))
        products(paths, through=through)
        attention("encoder_pairs", layers, through=through)
    encoded = through or trained("encoder_norm")
    through = encoded or embedding or trained("decoder_bias", "decoder_prefix", "cross_prefix")
    for paths, layers in parts("decoder"):
        through |= any(map(trains, paths))
        products(paths, through=through, through_cross=encoded)
        attention("decoder_pairs", layers, through=through)
        attention("cross_pairs", layers, through=through)
    products(["head"], through=through or trained("decoder_norm"))
    return Passes(Flops(**forward), Flops(**update))


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


def measured_cpu_flops(size: int = 1024) -> float:
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
