"""The fused path of attention beside XLA's, forward and backward with the gradient of the bias.

    python -m bench.attention                     # on this machine's accelerator: times, in turns, and how far they differ
    python -m bench.attention --compile v5e:2x2   # without one: what the TPU's compiler (pip install libtpu) makes of each

Of large's 16 heads of 64, 16,384 tokens per device, in bfloat16, packed. Compiled only, nothing runs: bytes of memory besides
inputs and outputs, and bytes that go through the device's memory, as the compiler counts them; that is no time. Exits with 1
where the paths differ by more than a run would accept (train/model/attention/choose.py).
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

from t5x_tasks.common.errors import UserError, run_cli

LENGTHS = (512, 1024, 2048)
TOKENS, HEADS, HEAD_DIM, ROUNDS, CALLS = 16384, 16, 64, 5, 10


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.attention", description="Paths of attention, side by side.")
    parser.add_argument("--compile", metavar="TOPOLOGY", help="compile for a TPU slice that is not here, as v5e:2x2")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="N")
    parser.add_argument("--paths", nargs="+", help="beside xla; default: the device's fused ones")
    chosen = parser.parse_args(arguments)
    import jax

    from train.model.attention.choose import FUSED, TOLERANCE

    if chosen.compile:
        jax.config.update("jax_platforms", "cpu")
        for length in chosen.lengths:
            show_compiled(chosen.compile, length)
        return 0
    fused = chosen.paths or FUSED.get(jax.default_backend())
    if fused is None:
        raise UserError("bench.attention: no accelerator here; give --compile v5e:2x2")
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    return int(not max(measure(fused, length) for length in chosen.lengths) <= TOLERANCE["bfloat16"])


def show_compiled(topology: str, length: int) -> None:
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding

    from launch.plan import topologies
    from train.config import MeshConfig
    from train.model.attention.choose import value_and_gradients
    from train.model.axes import spec
    from train.parallel.mesh import make_mesh

    devices = topologies.devices(topology)
    mesh = make_mesh(MeshConfig(), devices)
    rows = TOKENS // length * len(devices)

    def of(shape: tuple[int, ...], dtype: Any, first: str | None = "batch") -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec((first,))))

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


def measure(fused: Sequence[Any], length: int) -> float:
    """Prints a line for each path; returns the largest difference of a result, in XLA's norm."""
    import jax
    import jax.numpy as jnp

    from train.model.attention.choose import difference, value_and_gradients

    rows = TOKENS // length
    *keys, last = jax.random.split(jax.random.key(0), 5)
    weight, q, k, v = (jax.random.normal(key, (rows, length, HEADS, HEAD_DIM), jnp.bfloat16) for key in keys)
    ids = jnp.broadcast_to(jnp.arange(length) * 4 // length + 1, (rows, length))
    inputs = ids, ids, weight, q / HEAD_DIM**0.5, k, v, jax.random.normal(last, (1, HEADS, length, length))
    times: dict[str, list[float]] = {path: [] for path in ("xla", *fused)}
    results: dict[str, list[jax.Array]] = {}
    for number in range(ROUNDS + 1):
        for path, spent in times.items():
            start = time.perf_counter()
            for _ in range(CALLS if number else 1):  # the first compiles
                results[path] = value_and_gradients(path, *inputs, causal=False)
            jax.block_until_ready(results[path])
            if number:
                spent.append((time.perf_counter() - start) / CALLS)
    worst = 0.0
    for path, spent in times.items():
        ratios = [a / b for a, b in zip(times["xla"], spent, strict=True)]
        differences = [float(difference(a, b)) for a, b in zip(results["xla"], results[path], strict=True)]
        worst = max([worst, *differences])
        print(
            f"T={length} {path:8} {1000 * statistics.median(spent):7.3f} ms, xla / {path} {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}); difference of value, q, k, v, bias: "
            + ", ".join(f"{one:.1e}" for one in differences),
            flush=True,
        )
    return worst


if __name__ == "__main__":
    run_cli(main)
