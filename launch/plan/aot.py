"""`python -m launch.plan.aot shapes|compile CONFIG --devices N`: what a train step needs, as JSON (launch/plan/memory.py).

`python -m launch plan` starts it: a process simulates as many CPU devices as it was started with, so each number of devices
needs its own. With `--topology v5e:8x8`, `2xv5e:8x8` (two slices) or `h100:8` the own compiler of such TPUs or GPUs compiles
for them, and needs none; see launch/plan/topologies.py.
"""

import argparse
import json
from typing import Any

from t5x_tasks.common.errors import run_cli
from t5x_tasks.common.streams import require_output
from train import config as configuration
from train.config import Config
from train.methods import Method


def _resolved(config: Config) -> tuple[Config, int]:
    """The method resolved, and the vocabulary's size; where neither needs the vocabulary, it need not be here."""
    known = config.model.vocab_size or config.model.preset.startswith("flan-")
    if known and type(config.method).resolve is Method.resolve:
        return config, 0
    from t5x_tasks.common.vocabulary import Vocabulary
    from train.model_spec import resolve_method

    vocabulary = Vocabulary.load(config.model.vocabulary)
    return resolve_method(config, vocabulary), vocabulary.size


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m launch.plan.aot", description="Plans a train step without devices."
    )
    parser.add_argument(
        "what",
        choices=("shapes", "compile"),
        help="bytes of every mesh, from shapes; of the configured mesh, from its program",
    )
    parser.add_argument("config", metavar="CONFIG")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--devices", type=int, required=True, metavar="N")
    parser.add_argument(
        "--cpu", action="store_true", help="plan for this CPU: measure its peak, and compute in float32"
    )
    parser.add_argument(
        "--topology",
        metavar="T",
        help="compile for these, v5e:8x8, 2xv5e:8x8 or h100:8, in place of CPU devices",
    )
    options = parser.parse_intermixed_args(arguments)
    config = configuration.load(options.config, options.overrides)
    if not options.cpu:  # what `auto` is on GPUs and TPUs, which are not here
        plain = {"compute_dtype": "bfloat16"} | ({} if options.topology else {"attention": "xla"})
        update = {key: value for key, value in plain.items() if getattr(config.model, key) == "auto"}
        config = config.model_copy(update={"model": config.model.model_copy(update=update)})
    import jax  # after --help

    from launch.plan import memory
    from train.model.flops import measured_cpu_flops
    from train.parallel.mesh import make_mesh

    jax.config.update("jax_platforms", "cpu")
    config, size = _resolved(config)
    if options.what == "compile" and options.topology:
        answer: dict[str, Any] = memory.compile_for(config, options.topology, vocabulary_size=size)
    elif options.what == "compile":
        jax.config.update("jax_num_cpu_devices", options.devices)
        mesh = make_mesh(config.mesh.model_copy(update={"slices": 1}))  # simulated devices have no links
        answer = memory.compile_step(config, mesh, vocabulary_size=size)
    else:
        answer = memory.describe(config, devices=options.devices, vocabulary_size=size)
        if options.cpu:
            answer["peak_flops"] = {"cpu": measured_cpu_flops()}
    require_output()
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    run_cli(main)
