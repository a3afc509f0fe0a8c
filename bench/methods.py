"""Steps a second of each fine-tuning method against full fine-tuning, on the same batch, in turns; and what each keeps in memory.

    python -m bench.methods                       # flan-t5-small's shape, 4 rows of 256/64, AdamW
    python -m bench.methods --methods full "lora, rank 8" --rounds 20

The methods take their steps in turns, so that whatever else the machine does is shared by all. The ratios are medians over the
rounds of full's time / the method's, by the clock and by the processor time of all threads (which a busy machine disturbs less),
with the lowest and the highest. Memory is counted from the arrays: what is trained, and the optimizer's state.
"""

import argparse
import statistics
import sys
import time
from typing import Any

METHODS: dict[str, dict[str, Any]] = {
    "full": {"type": "full"},
    "full, last 2 layers": {"type": "full", "last_layers": 2},
    "lora, rank 8": {"type": "lora", "rank": 8},
    "lora, rank 8, all kernels": {"type": "lora", "rank": 8, "targets": [".*/(query|key|value|out|gate|up|down)"]},
    "dora, rank 8": {"type": "lora", "rank": 8, "dora": True},
    "ia3": {"type": "ia3"},
    "bottleneck": {"type": "bottleneck"},
    "word embeddings": {"type": "word_embeddings", "tokens": [5, 3, 70]},
    "prompt tuning, 20 tokens": {"type": "prompt_tuning", "length": 20},
    "p-tuning, 20 tokens": {"type": "p_tuning", "length": 20},
    "prefix tuning, 20 slots": {"type": "prefix_tuning", "length": 20},
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.methods", description="Methods against full fine-tuning.")
    parser.add_argument("--preset", default="flan-t5-small")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--lengths", default="256/64", metavar="I/T")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    options = parser.parse_args(arguments)
    inputs, targets = map(int, options.lengths.split("/"))
    names = dict.fromkeys(["full", *options.methods])
    runners = {name: Runner(METHODS[name], options.preset, options.rows, (inputs, targets)) for name in names}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    for number in range(options.rounds + 1):
        for name, runner in runners.items():
            spent = runner.step()
            if number:  # the first one compiles
                times[name].append(spent)
    print(f"{options.preset}, {options.rows} rows of {options.lengths}, {options.rounds} steps of each in turns")
    print(
        f"{'method':27} {'steps/s':>7} {'by the clock':>18} {'by the processor':>18} {'trained':>11} {'optimizer state':>15}"
    )
    for name, runner in runners.items():
        rate = 1 / statistics.median(clock for clock, _ in times[name])
        clock, processor = (_ratio([t[i] for t in times["full"]], [t[i] for t in times[name]]) for i in (0, 1))
        memory = f"{runner.optimizer_bytes / 1e6:.2f} MB"
        print(f"{name:27} {rate:7.2f} {clock:>18} {processor:>18} {runner.trained:11,} {memory:>15}")
    return 0


def _ratio(full: list[float], other: list[float]) -> str:
    ratios = sorted(a / b for a, b in zip(full, other, strict=True))
    return f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"


class Runner:
    """A method's model and state, and its step on the batch that all methods get."""

    def __init__(self, values: dict[str, Any], preset: str, rows: int, lengths: tuple[int, int]):
        import jax
        import numpy as np

        from bench.meshes import random_batch
        from train.config import Config
        from train.model_spec import open_model
        from train.optimizer import make_optimizer, make_schedule
        from train.parallel.mesh import global_batch, make_mesh
        from train.params import load_params
        from train.state import first_state, state_shapes
        from train.step import make_train_step
        from train.trees import flat

        sections = {
            "run_dir": "unused",
            "model": {"preset": preset, "weights": "random"},
            "method": values,
            "optimizer": {"type": "adamw"},
            "train": {"steps": 1000, "batch_size": rows, "dropout": 0.0},
            "mesh": {"data": 1},
        }
        config = Config.model_validate(sections)
        mesh = make_mesh(config.mesh, jax.devices()[:1])
        self._mesh = mesh
        model = open_model(config, 2048, mesh)
        schedule = make_schedule(config.optimizer, 1000)
        optimizer = make_optimizer(config.optimizer, schedule, model.split(model.axes)[0])
        shapes = state_shapes(model, optimizer)
        shardings = jax.tree.map(lambda s: s.sharding, shapes)
        batch = random_batch(np.random.default_rng(0), rows=rows, lengths=lengths, vocab=2000)
        prompt = config.method.prompt("any")
        batch["encoder_input_tokens"][:, : len(prompt)] = (
            prompt  # in the place of other tokens: the same length for all
        )
        with jax.set_mesh(mesh):
            self._update = make_train_step(model.graphdef, optimizer, schedule, config.train, shardings)
            params, self._frozen = model.split(load_params(config, model))
            self._state = first_state(params, optimizer, 0, shapes)
            self._batch = global_batch(mesh, batch, parts=1)
        self.trained = sum(x.size for x in flat(params).values())
        self.optimizer_bytes = sum(x.nbytes for x in jax.tree.leaves(self._state.opt_state))

    def step(self) -> tuple[float, float]:
        """Takes a step; returns its seconds, by the clock and of the processor."""
        import jax

        with jax.set_mesh(self._mesh):
            start, start_processor = time.perf_counter(), time.process_time()
            self._state, metrics = self._update(self._state, self._frozen, self._batch)
            jax.block_until_ready((self._state, metrics))
            return time.perf_counter() - start, time.process_time() - start_processor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
