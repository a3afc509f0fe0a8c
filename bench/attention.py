"""The fused path of attention beside XLA's, forward and backward with the gradient of the bias.

    python -m bench.attention                     # on this machine's accelerator: times, in turns, and how far they differ
    python -m bench.attention --compile v5e:2x2   # without one: what the TPU's compiler (pip install libtpu) makes of each

Of large's 16 heads of 64, 16,384 tokens a device, in bfloat16, packed. Compiled only, nothing runs: bytes of memory besides
inputs and outputs, and bytes that go through the device's memory, as the compiler counts them; that is no time. Exits with 1
where the paths differ by more than a run would accept (train/attention_path.py).
"""

import argparse
import statistics
import time
from typing import Any

from t5x_tasks.errors import UserError, run_cli

LENGTHS = (512, 1024, 2048)
TOKENS, HEADS, HEAD_DIM, ROUNDS = 16384, 16, 64, 10


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.attention", description="Paths of attention, side by side.")
    parser.add_argument("--compile", metavar="TOPOLOGY", help="compile for a TPU slice that is not here, as v5e:2x2")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="N")
    chosen = parser.parse_args(arguments)
    import jax

    from train.attention_path import FUSED, TOLERANCE

    if chosen.compile:
        jax.config.update("jax_platforms", "cpu")
        for length in chosen.lengths:
            show_compiled(chosen.compile, length)
        return 0
    fused = FUSED.get(jax.default_backend())
    if fused is None:
        raise UserError("bench.attention: no accelerator here; give --compile v5e:2x2")
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    return int(max(measure(fused, length) for length in chosen.lengths) > TOLERANCE["bfloat16"])


def show_compiled(topology: str, length: int) -> None:
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding

    from train import memory, sharding
    from train.attention_path import value_and_gradients
    from train.config import MeshConfig

    devices = memory.tpu_devices(topology)
    mesh = sharding.make_mesh(MeshConfig(), devices)
    rows = TOKENS // length * len(devices)

    def of(shape: tuple[int, ...], dtype: Any, first: str | None = "batch") -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, sharding.spec((first,))))

    ids, x = of((rows, length), jnp.int32), of((rows, length, HEADS, HEAD_DIM), jnp.bfloat16)
    bias = of((1, HEADS, length, length), jnp.float32, None)
    line = f"{topology} T={length}"
    for path in ("xla", "pallas"):
        with jax.set_mesh(mesh):
            traced: Any = value_and_gradients.trace(path, ids, ids, x, x, x, x, bias, causal=False)
            compiled = traced.lower(lowering_platforms=("tpu",)).compile()
        besides, moved = compiled.memory_analysis().temp_size_in_bytes, compiled.cost_analysis()["bytes accessed"]
        line += f" | {path}: {besides / 1e6:,.0f} MB besides, {moved / 1e9:.2f} GB moved"
    print(line, flush=True)


def measure(fused: Any, length: int) -> float:
    """Prints one line; returns the largest difference of a result, in XLA's norm."""
    import jax
    import jax.numpy as jnp

    from train.attention_path import difference, value_and_gradients

    rows = TOKENS // length
    *keys, last = jax.random.split(jax.random.key(0), 5)
    weight, q, k, v = (jax.random.normal(key, (rows, length, HEADS, HEAD_DIM), jnp.bfloat16) for key in keys)
    ids = jnp.broadcast_to(jnp.arange(length) * 4 // length + 1, (rows, length))
    inputs = ids, ids, weight, q / HEAD_DIM**0.5, k, v, jax.random.normal(last, (1, HEADS, length, length))
    results: dict[str, list[jax.Array]] = {}
    times: dict[str, list[float]] = {"xla": [], fused: []}
    for number in range(ROUNDS + 1):
        for path, spent in times.items():
            start = time.perf_counter()
            results[path] = jax.block_until_ready(value_and_gradients(path, *inputs, causal=False))
            if number:  # the first compiles
                spent.append(time.perf_counter() - start)
    differences = [float(difference(a, b)) for a, b in zip(results["xla"], results[fused], strict=True)]
    ratios = [a / b for a, b in zip(times["xla"], times[fused], strict=True)]
    print(
        f"T={length} xla {1000 * statistics.median(times['xla']):.2f} ms, xla / {fused} {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); difference of value, q, k, v, bias: "
        + ", ".join(f"{one:.1e}" for one in differences),
        flush=True,
    )
    return max(differences)


if __name__ == "__main__":
    run_cli(main)
