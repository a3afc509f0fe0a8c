"""The train step of each size on this machine's accelerator: model FLOPs utilisation, rows a second, memory, compile time.

    python -m bench.mfu                                          # small, base, large, XL at 512/128
    python -m bench.mfu --presets flan-t5-large --rows 64 --attention xla cudnn tokamax --remat none selected
    python -m bench.mfu --presets flan-t5-large --scan-layers true false
    python -m bench.mfu --presets flan-t5-large --profile 15     # which kernels the time goes to

Random weights, packed rows without padding, each of two to four examples of random tokens, dropout 0.05, Adafactor, bfloat16 with
float32 parameters, on one device. Each setting has a process of its own, so that its peak of memory is its own. MFU counts what
the examples need (train/model/flops.py): no recomputation, no pairs of positions from different examples. `--least` is the MFU
below which it exits with 1.
"""

import argparse
import collections
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from t5x_tasks.common.errors import UserError, run_cli
from train.model.presets import PRESETS

ROWS = {"flan-t5-small": 512, "flan-t5-base": 256, "flan-t5-large": 128, "flan-t5-xl": 32}  # a step: fits 80 GB
STEPS, ROUNDS = 5, 3


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mfu", description="The train step on an accelerator.")
    parser.add_argument("--presets", nargs="+", default=list(ROWS), choices=PRESETS, metavar="PRESET")
    parser.add_argument(
        "--rows", type=int, help="of a step; default: " + ", ".join(f"{v} ({k})" for k, v in ROWS.items())
    )
    parser.add_argument("--lengths", default="512/128", metavar="I/T")
    parser.add_argument(
        "--attention", nargs="+", default=["auto"], metavar="PATH", help="model.attention; default: auto"
    )
    parser.add_argument("--remat", nargs="+", default=["selected"], help="model.remat; default: selected")
    parser.add_argument(
        "--scan-layers", nargs="+", default=["true"], choices=("true", "false"), help="model.scan_layers; default: true"
    )
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="show the N kernels that take most time")
    parser.add_argument("--least", type=float, default=0.0, metavar="MFU")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # a setting, as JSON: in this process
    chosen = parser.parse_args(arguments)
    if chosen.alone:
        measure(**json.loads(chosen.alone))
        return 0
    reached = []
    settings = itertools.product(chosen.presets, chosen.attention, chosen.remat, chosen.scan_layers)
    for preset, attention, remat, scan_layers in settings:
        setting = {
            "preset": preset, "rows": chosen.rows or ROWS.get(preset, 8), "lengths": chosen.lengths,
            "attention": attention, "remat": remat, "scan_layers": scan_layers == "true", "profile": chosen.profile,
        }  # fmt: skip
        command = [sys.executable, "-m", "bench.mfu", "--alone", json.dumps(setting)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        *lines, last = ended.stdout.splitlines() or [""]
        print("\n".join(lines), flush=True)
        if ended.returncode:  # as where memory is short
            print(f"{preset} {attention} {remat} {scan_layers}: ended with {ended.returncode}", flush=True)
        reached.append(0.0 if ended.returncode else float(last))
    return int(min(reached) < chosen.least)


def measure(
    *, preset: str, rows: int, lengths: str, attention: str, remat: str, scan_layers: bool, profile: int
) -> None:
    """Prints what one setting took, and its MFU alone on the last line."""
    import jax
    import numpy as np

    from train.config import Config
    from train.model.flops import peak_flops
    from train.model.presets import FLAN_VOCAB_SIZE
    from train.model_spec import open_model, t5_config
    from train.parallel.mesh import global_batch, make_mesh
    from train.params import load_params
    from train.program import Program
    from train.state import first_state

    device = jax.devices()[0]
    if device.platform == "cpu":
        raise UserError("bench.mfu: no accelerator here")
    inputs, targets = map(int, lengths.split("/"))
    sections = {
        "run_dir": "unused",
        "model": {
            "preset": preset, "weights": "random", "attention": attention, "remat": remat, "scan_layers": scan_layers,
        },
        "data": {"mixture": "none", "lengths": {"inputs": inputs, "targets": targets}},
        "train": {"steps": 1000, "batch_size": rows, "dropout": 0.05},
    }  # fmt: skip
    config = Config.model_validate(sections)
    mesh = make_mesh(config.mesh, [device])
    start = time.perf_counter()
    t5_config(config, FLAN_VOCAB_SIZE)  # where `attention` is auto, the fused path proves itself
    proof_s = time.perf_counter() - start
    with jax.set_mesh(mesh):
        model = open_model(config, FLAN_VOCAB_SIZE, mesh)
        program = Program.of(config, model, total_steps=1000)
        state = first_state(load_params(config, model), program.optimizer, 0, program.state)
        arrays, stats = packed(np.random.default_rng(0), rows, inputs, targets)
        batch = global_batch(mesh, arrays, parts=1)
        start = time.perf_counter()
        update = program.update.lower(state, {}, batch).compile()
        compile_s = time.perf_counter() - start
        for _ in range(3):
            state, metrics = update(state, {}, batch)
        jax.block_until_ready(state)
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(STEPS):
                state, metrics = update(state, {}, batch)
            jax.block_until_ready((state, metrics))
            seconds.append((time.perf_counter() - start) / STEPS)
        table = []
        if profile:
            with tempfile.TemporaryDirectory() as folder:
                with jax.profiler.trace(folder):
                    for _ in range(3):
                        state, metrics = update(state, {}, batch)
                    jax.block_until_ready(state)
                table = kernels(Path(folder), steps=3)
    peak, _ = peak_flops()
    flops = model.flops().update(stats)
    mfu = [flops / s / peak for s in seconds]
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use", float("nan"))
    layers = "scanned" if scan_layers else "written out"
    print(
        f"{preset}, {rows} x {lengths}, attention {model.config.attention}, remat {remat}, layers {layers}: "
        f"MFU {statistics.median(mfu):.1%} "
        f"({min(mfu):.1%} to {max(mfu):.1%}), {rows / statistics.median(seconds):.1f} rows/s, "
        f"{1000 * statistics.median(seconds):.1f} ms, peak {memory / 1e9:.1f} GB, compiled in {compile_s:.0f} s, "
        f"path of attention chosen in {proof_s:.1f} s, "
        f"loss {float(metrics['loss']):.3f}; {device.device_kind}, jax {jax.__version__}"
    )
    for name, milliseconds, calls in table[:profile]:
        print(f"  {milliseconds:8.2f} ms  {calls:6.0f} x  {name}")
    if table:
        print(f"  {sum(row[1] for row in table):8.2f} ms of kernels a step")
    print(statistics.median(mfu))


def packed(draw: Any, rows: int, inputs: int, targets: int) -> tuple[dict[str, Any], dict[str, int]]:
    """A batch without padding, and what train/model/flops.py counts of it."""
    import numpy as np

    arrays, segments = {}, draw.integers(2, 5, rows)
    for side, length in (("encoder", inputs), ("decoder", targets)):
        ids = np.stack([np.arange(length) * n // length + 1 for n in segments]).astype(np.int32)
        name = "encoder_input_tokens" if side == "encoder" else "decoder_target_tokens"
        arrays |= {name: draw.integers(3, 32000, (rows, length)).astype(np.int32), f"{side}_segment_ids": ids}
        arrays[f"{side}_positions"] = np.zeros_like(ids)
    arrays["decoder_input_tokens"] = np.pad(arrays["decoder_target_tokens"], ((0, 0), (1, 0)))[:, :-1]
    counts = [
        [np.bincount(row, minlength=6) for row in arrays[f"{side}_segment_ids"]] for side in ("encoder", "decoder")
    ]
    encoder, decoder = np.array(counts[0]), np.array(counts[1])
    stats = {
        "input_tokens": rows * inputs, "target_tokens": rows * targets, "encoder_pairs": int((encoder**2).sum()),
        "decoder_pairs": int((decoder**2).sum()), "cross_pairs": int((encoder * decoder).sum()),
    }  # fmt: skip
    return arrays, stats


def kernels(folder: Path, *, steps: int) -> list[tuple[str, float, float]]:
    """(name, milliseconds a step, calls a step) of the device's kernels, those that take most first."""
    import jax

    total, calls = collections.Counter[str](), collections.Counter[str]()
    for file in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            if not plane.name.startswith("/device:"):
                continue
            for line in plane.lines:
                if "Stream" not in line.name:  # the others say the same by step, module and operation
                    continue
                for event in line.events:
                    total[event.name] += event.duration_ns / 1e6 / steps
                    calls[event.name] += 1
    return [(name, spent, calls[name] / steps) for name, spent in total.most_common()]


if __name__ == "__main__":
    run_cli(main)
