"""The fused path of attention beside XLA's, forward and backward with the gradient of the bias.

    python -m bench.attention                     # on this machine's accelerator: times, in turns, and how far they differ
    python -m bench.attention --compile v5e:2x2   # without one: what the TPU's compiler (pip install libtpu) makes of each

Of large's 16 heads of 64, 16,384 tokens a device, in bfloat16, packed. Compiled only, nothing runs: bytes of memory besides
inputs and outputs, and bytes that go through the device's memory, as the compiler counts them; that is no time. Exits with 1
where the paths differ by more than a twentieth.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from t5x_tasks.errors import UserError, run_cli

LENGTHS = (512, 1024, 2048)
TOKENS, HEADS, HEAD_DIM, ROUNDS = 16384, 16, 64, 10


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.attention", description="Paths of attention, side by side.")
    parser.add_argument("--compile", metavar="TOPOLOGY", help="compile for a TPU slice that is not here, as v5e:2x2")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="N")
    chosen = parser.parse_args(arguments)
    if chosen.compile:
        os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}
        for length in chosen.lengths:
            show_compiled(chosen.compile, length)
        return 0
    import jax

    fused = {"tpu": "pallas", "gpu": "cudnn"}.get(jax.default_backend())
    if fused is None:
        raise UserError("bench.attention: no accelerator here; give --compile v5e:2x2")
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    return int(max(measure(fused, length) for length in chosen.lengths) > 0.05)


def make(path: Any, shapes: dict[str, Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Value and gradients by a path, and the shapes that it takes."""
    import jax
    import jax.numpy as jnp

    from train.attention import attention, segment_mask

    def run(q: Any, k: Any, v: Any, bias: Any, ids: Any) -> Any:
        def loss(q: Any, k: Any, v: Any, bias: Any) -> Any:
            y = attention(q, k, v, mask=segment_mask(ids, ids), bias=bias, path=path)
            return jnp.sum(jnp.square(y.astype(jnp.float32)))

        return jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(q, k, v, bias)

    return jax.jit(run), tuple(shapes[name] for name in ("q", "q", "q", "bias", "ids"))


def shapes_of(length: int, rows: int, place: Callable[..., Any]) -> dict[str, Any]:
    """`place(whether it is cut by rows)` -> a sharding."""
    import jax
    import jax.numpy as jnp

    return {
        "q": jax.ShapeDtypeStruct((rows, length, HEADS, HEAD_DIM), jnp.bfloat16, sharding=place(True)),
        "bias": jax.ShapeDtypeStruct((1, HEADS, length, length), jnp.float32, sharding=place(False)),
        "ids": jax.ShapeDtypeStruct((rows, length), jnp.int32, sharding=place(True)),
    }


def show_compiled(topology: str, length: int) -> None:
    import jax
    from jax.sharding import NamedSharding

    from train import memory, sharding
    from train.config import MeshConfig

    devices = memory.tpu_devices(topology)
    mesh = sharding.make_mesh(MeshConfig(), devices)
    rows = TOKENS // length * len(devices)
    shapes = shapes_of(length, rows, lambda by_rows: NamedSharding(mesh, sharding.spec(("batch",) if by_rows else ())))
    line = f"{topology} T={length}"
    for path in ("xla", "pallas"):
        run, takes = make(path, shapes)
        with jax.set_mesh(mesh):
            compiled: Any = run.trace(*takes).lower(lowering_platforms=("tpu",)).compile()  # type: ignore[attr-defined]
        temporary = compiled.memory_analysis().temp_size_in_bytes
        line += f" | {path}: {temporary / 1e6:,.0f} MB besides, {compiled.cost_analysis()['bytes accessed'] / 1e9:.2f} GB moved"
    print(line, flush=True)


def measure(fused: str, length: int) -> float:
    """Prints one line; returns the largest difference of a result, in XLA's norm."""
    import jax
    import jax.numpy as jnp

    rows = TOKENS // length
    keys = jax.random.split(jax.random.key(0), 4)
    q, k, v = (jax.random.normal(key, (rows, length, HEADS, HEAD_DIM), jnp.bfloat16) for key in keys[:3])
    inputs = (q / HEAD_DIM**0.5, k, v, jax.random.normal(keys[3], (1, HEADS, length, length)))
    ids = jnp.broadcast_to(jnp.arange(length) * 4 // length + 1, (rows, length))
    runs = {path: make(path, shapes_of(length, rows, lambda _: None))[0] for path in ("xla", fused)}
    results = {path: jax.block_until_ready(run(*inputs, ids)) for path, run in runs.items()}
    times: dict[str, list[float]] = {path: [] for path in runs}
    for _ in range(ROUNDS):
        for path, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*inputs, ids))
            times[path].append(time.perf_counter() - start)
    pairs = zip(jax.tree.leaves(results["xla"]), jax.tree.leaves(results[fused]), strict=True)
    differences = [float(jnp.linalg.norm((a - b).ravel()) / jnp.linalg.norm(a.ravel())) for a, b in pairs]
    ratios = [a / b for a, b in zip(times["xla"], times[fused], strict=True)]
    print(
        f"T={length} xla {1000 * statistics.median(times['xla']):.2f} ms, xla / {fused} {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); difference of value, q, k, v, bias: "
        + ", ".join(f"{difference:.1e}" for difference in differences),
        flush=True,
    )
    return max(differences)


if __name__ == "__main__":
    run_cli(main)
