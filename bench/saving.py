"""How long a checkpoint holds up training: `save`, which goes on in the background, beside waiting for it.

    python -m bench.saving [--megabytes 400]

Both in turns, on the same state in a temporary folder, the median of five each; compare the ratio, not the times.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.saving", description="Time that a save holds up the loop.")
    parser.add_argument("--megabytes", type=int, default=400, help="of the state (default: %(default)s)")
    megabytes = parser.parse_args(arguments).megabytes
    import jax
    import jax.numpy as jnp

    from train.checkpoints.checkpointer import Checkpoints

    keys = jax.random.split(jax.random.key(0), 8)
    params = {f"w{i}": jax.random.normal(key, (megabytes * 10**6 // 32,)) for i, key in enumerate(keys)}
    state = jax.block_until_ready({"step": jnp.int32(0), "params": params})
    times: dict[str, list[float]] = {"in the background": [], "waited for": []}
    with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder)) as checkpoints:
        for step in range(2 * (ROUNDS + 1)):
            name, wait = list(zip(times, (False, True), strict=True))[step % 2]
            start = time.perf_counter()
            checkpoints.save(step, state, position={}, metadata={}, wait=wait)
            if step > 1:  # the first of each warms up
                times[name].append(time.perf_counter() - start)
            checkpoints.wait()
    background, waited = (statistics.median(t) for t in times.values())
    print(
        f"{megabytes} MB: held up {1000 * background:.0f} ms in the background, {1000 * waited:.0f} ms when waited for"
    )
    print(f"ratio {100 * background / waited:.1f}%")


if __name__ == "__main__":
    main(sys.argv[1:])
