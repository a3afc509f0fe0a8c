"""`python -m launch plan CONFIG --devices 8xh100`: what a run would need, before machines are booked.

Sizes come from `python -m launch.plan.aot` (launch/plan/memory.py says what is exact), in processes of their own; here they
become a choice of mesh (launch/plan/cost.py), a time and a price.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
from typing import Any

from launch.plan.accelerators import Devices, gpu_topology, more_of, parse_devices, tpu_topology
from launch.plan.cost import USABLE, Option, candidates, make_option, of_different_meshes, peak_flops
from t5x_tasks.common.errors import UserError
from train import config as configuration
from train.config import Config

MFU = 0.4


_MOST_COMPILED = 3  # candidates that are compiled until one fits


_MOST_DEVICES = 65_536  # that "how many would do" looks at


# Memory is laid out before code is generated, so that the code may be poor: less than half the time.
_QUICK = {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"}


_TOPOLOGY = {"gpu": gpu_topology, "tpu": tpu_topology}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--devices",
        required=True,
        metavar="D",
        help="8xh100, 1xh200, 16xa100 (two nodes), v5e-64, v6e-16, v5p-16, 4xv5e-64 (four slices), cpu-8",
    )
    parser.add_argument(
        "--mfu", type=float, default=MFU, help="share of the peak that is reached (default: %(default)s)"
    )
    parser.add_argument(
        "--price-per-device-hour", type=float, metavar="P", help="in your currency; gives the run's cost"
    )
    parser.add_argument(
        "--compiler",
        choices=("cpu", "gpu", "tpu"),
        default="cpu",
        help="what compiles the step: for simulated CPU devices, or the own compiler of GPUs (make install EXTRA=cuda) or TPUs "
        "(pip install libtpu), which need none",
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(options: argparse.Namespace) -> int:
    if not 0 < options.mfu <= 1:
        raise UserError(f"--mfu: {options.mfu} is no share of the peak; give a number above 0, up to 1")
    price = options.price_per_device_hour
    if price is not None and not 0 <= price < math.inf:
        raise UserError(f"--price-per-device-hour: {price} is no price; give a number, 0 or more")
    config = configuration.load(options.config, options.overrides)
    plan = make_plan(config, options, parse_devices(options.devices))
    from launch.plan import text

    print(json.dumps(plan, indent=1) if options.json else text.render(plan))
    return 0 if plan["fits"] else 1


def make_plan(config: Config, options: argparse.Namespace, devices: Devices) -> dict[str, Any]:
    """The plan as plain values.

    Raises:
      UserError: the configuration leaves open what the plan needs, or its mesh does not fit the devices.
    """
    if options.compiler != "cpu":
        _TOPOLOGY[options.compiler](devices)  # says so now where there is none
    if config.mesh.slices not in ("auto", 1) and config.mesh.slices % devices.slices:
        several = f"{devices.slices} {'nodes' if devices.accelerator.per_node else 'slices'}"
        raise UserError(f"mesh.slices: {config.mesh.slices}, but {devices.name} are {several}; say auto")
    facts = _aot("shapes", options, devices)
    configured = _configured(config, facts, devices, options.mfu)
    options_here = candidates(config, facts, devices, options.mfu)
    usable = USABLE * devices.accelerator.memory
    fitting = [o for o in options_here if o.total <= usable]
    compiled: dict[Option, dict[str, int]] = {}
    chosen, margin = None, 1.0
    for option in fitting:
        if option.total * margin > usable or len(compiled) == _MOST_COMPILED:
            continue
        compiled[option] = _aot("compile", options, devices, option.overrides)
        if compiled[option]["peak"] <= usable:
            chosen = option
            break
        margin = max(margin, compiled[option]["peak"] / option.total)
    if chosen is None and fitting:  # by shapes it fits, by the program compiled for a CPU not: say both
        chosen = fitting[0]
    closest = chosen or min(options_here, key=lambda o: o.total, default=None)
    if configured is not None and configured not in compiled and configured.state + configured.gradients <= usable:
        compiled[configured] = _aot("compile", options, devices, configured.overrides)
    if closest is not None and closest not in compiled and closest.state + closest.gradients <= usable:
        compiled[closest] = _aot("compile", options, devices, closest.overrides)
    return {
        "config": options.config,
        "overrides": options.overrides,
        "devices": dataclasses.asdict(devices),
        "usable": usable,
        "compiler": options.compiler,
        "mfu": options.mfu,
        "peak_flops": peak_flops(facts, devices),
        "model": {k: facts[k] for k in ("parameters", "trained", "compute_dtype", "sizes", "lengths", "flops")},
        "optimizer": config.optimizer.type,
        "batch_size": config.train.batch_size,
        "steps": config.train.steps,
        "configured": _entry(configured, compiled, usable),
        "best": _entry(chosen, compiled, usable),
        "closest": _entry(None if chosen else closest, compiled, usable),
        "alternatives": [_entry(o, compiled, usable) for o in of_different_meshes(fitting)[:6]],
        "enough_devices": None if chosen else _enough_devices(config, options, devices),
        "launcher": devices.launcher,
        "price": options.price_per_device_hour,
        "fits": chosen is not None,
    }


def _entry(option: Option | None, compiled: dict[Option, dict[str, int]], usable: float) -> dict[str, Any] | None:
    if option is None:
        return None
    entry = dataclasses.asdict(option) | {"overrides": option.overrides, "total": option.total, "step_s": option.step_s}
    program = compiled.get(option)
    if option.state + option.gradients > usable:
        verdict = "no"  # whatever the activations
    elif program is None:
        verdict = "estimated" if option.total <= usable else "no"
    elif program["peak"] <= usable:
        verdict = "yes"
    else:
        verdict = "perhaps" if option.total <= usable else "no"
    return entry | {"compiled": program, "verdict": verdict}


def _aot(
    what: str, options: argparse.Namespace, devices: Devices, overrides: list[str] | None = None
) -> dict[str, Any]:
    command = [sys.executable, "-m", "launch.plan.aot", what, options.config, *options.overrides, *(overrides or ())]
    command += ["--devices", str(devices.count), *(["--cpu"] if devices.is_cpu else [])]
    own = what == "compile" and options.compiler != "cpu"
    command += ["--topology", _TOPOLOGY[options.compiler](devices)] if own else []
    environment = os.environ | (_QUICK if what == "compile" and not own else {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode == 2:
        raise UserError(done.stderr.strip().rpartition("\n")[2].removeprefix("error: "))
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _configured(config: Config, facts: dict[str, Any], devices: Devices, mfu: float) -> Option | None:
    """The configuration as it stands; None when it cannot be divided so (the loop would say so)."""
    axes = {"data": config.mesh.data, "fsdp": config.mesh.fsdp, "tensor": config.mesh.tensor}
    known = 1
    for size in axes.values():
        known *= max(1, size)
    axes = {name: size if size > 0 else devices.count // known for name, size in axes.items()}
    for mesh in facts["meshes"]:
        if all(mesh[name] == size for name, size in axes.items()):
            parts = config.train.grad_accumulation
            option = make_option(config, facts, devices, mfu, mesh, config.model.remat, parts)
            return None if option and option.across and config.mesh.slices != 1 else option
    return None


def _enough_devices(config: Config, options: argparse.Namespace, devices: Devices) -> str | None:
    """How many devices would suffice by shapes, a power of two times as many as these; None: not even the most looked at."""
    most = devices.count * 2 ** max(1, (_MOST_DEVICES // devices.count).bit_length() - 1)
    facts = _aot("shapes", options, dataclasses.replace(devices, count=most))
    cuts = {
        (mesh["fsdp"], mesh["tensor"]): mesh for mesh in facts["meshes"]
    }  # bytes per device do not depend on `data`
    count = devices.count
    while (count := 2 * count) <= most:
        more = more_of(devices, count)
        meshes = [{**mesh, "data": count // (f * t)} for (f, t), mesh in cuts.items() if count % (f * t) == 0]
        options_there = candidates(config, facts | {"meshes": meshes}, more, options.mfu)
        if any(o.total <= USABLE * more.accelerator.memory for o in options_there):
            return more.name
    return None
