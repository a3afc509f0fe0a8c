"""Compiling the train step: as deep as XXL in the time of small's depth, and a second start from the cache.

    python -m bench.compile                   # small's width, 8 + 8 against 24 + 24 layers
    python -m bench.compile --preset flan-t5-base --turns 5

Layers are scanned, so the program does not grow with them. Each compilation has a process of its own, the two depths in
turns; processor seconds, ratio of the medians. Then a start with an empty compilation cache, and one after it. Exits with 1
where the deep one takes more than 1.5 times as long, or the second start more than half of the first.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from t5x_tasks.common.errors import run_cli
from train.config import Config
from train.model.presets import PRESETS

DEPTHS = (8, 24)
AT_MOST, CACHED_AT_MOST = 1.5, 0.5


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compile", description="Compile time of the train step.")
    parser.add_argument("--preset", choices=PRESETS, default="flan-t5-small", help="default: %(default)s")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--layers", type=int, help=argparse.SUPPRESS)  # given to the process that compiles
    chosen = parser.parse_args(arguments)
    if chosen.layers:
        print(json.dumps(compile_once(chosen.preset, chosen.layers)))
        return 0
    turns = [{depth: start(chosen.preset, depth) for depth in DEPTHS} for _ in range(chosen.turns)]
    shallow, deep = (statistics.median(turn[depth] for turn in turns) for depth in DEPTHS)
    ratios = [turn[DEPTHS[1]] / turn[DEPTHS[0]] for turn in turns]
    print(
        f"{chosen.preset}'s width: {DEPTHS[0]} layers a stack {shallow:.1f} s, {DEPTHS[1]} {deep:.1f} s of processor time"
    )
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; at most {AT_MOST})")
    with tempfile.TemporaryDirectory() as cache:
        first, second = (start(chosen.preset, DEPTHS[1], cache) for _ in range(2))
    print(
        f"with a cache: first start {first:.1f} s, second {second:.1f} s = {second / first:.2f} (at most {CACHED_AT_MOST})"
    )
    return int(statistics.median(ratios) > AT_MOST or second > CACHED_AT_MOST * first)


def start(preset: str, layers: int, cache: str | None = None) -> float:
    """Processor seconds of XLA's compilation in a new process."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"JAX_PLATFORMS": "cpu"} | ({"JAX_COMPILATION_CACHE_DIR": cache} if cache else {})
    command = [sys.executable, "-m", "bench.compile", "--preset", preset, "--layers", str(layers)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compile_once(preset: str, layers: int) -> float:
    import jax

    from launch.plan.memory import step_program
    from train.parallel.mesh import make_mesh

    depth = {"num_encoder_layers": layers, "num_decoder_layers": layers}
    config = Config.model_validate(
        {
            "run_dir": "unused",
            "model": {"preset": preset, **depth},
            "data": {"lengths": {"inputs": 256, "targets": 64}},
            "train": {"steps": 1, "batch_size": 8, "dropout": 0.1},
        }
    )
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    with jax.set_mesh(mesh):
        program, arguments = step_program(config, mesh, vocabulary_size=0)
        lowered = program.update.lower(*arguments)
        begin = time.process_time()
        lowered.compile()
        return time.process_time() - begin


if __name__ == "__main__":
    run_cli(main)
