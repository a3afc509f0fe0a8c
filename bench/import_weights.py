"""How much host memory importing weights takes, as a ratio of the model's bytes.

    python -m bench.import_weights                # XL: 2.85B parameters, 11 GB in float32
    python -m bench.import_weights --layers 6     # the same tensors, fewer of them
    python -m bench.import_weights --devices 8    # onto 8 simulated devices, fsdp=8

Writes a Hugging Face directory of the shape, cut into files of 5 GB as transformers does, and imports it in a process of
its own, whose peak resident memory it prints: program, files mapped into memory and the parameters themselves, which on a
CPU lie on the host, too. The files are sparse, all zeros: they take no room on the disk, while what is read of them takes
as much memory as anything else.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from t5x_tasks.common.errors import UserError, run_cli
from train.model.presets import FLAN_VOCAB_SIZE, PRESETS

LIMIT = 1.3  # of the model's bytes
SHARD_BYTES = 5 * 10**9
ROOM = 1.5  # of the model's bytes must be free: other work on the machine shall not be pushed out


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.import_weights", description="Host memory of an import.")
    parser.add_argument("--preset", choices=PRESETS, default="flan-t5-xl", help="default: %(default)s")
    parser.add_argument("--layers", type=int, help="of each stack, in place of the preset's")
    parser.add_argument("--devices", type=int, default=1, help="simulated ones, with fsdp (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # given to the process that imports
    chosen = parser.parse_args(arguments)
    if chosen.folder is not None:
        import_and_measure(chosen.folder, chosen.devices)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        parameters = write_model(Path(folder), chosen.preset, chosen.layers)
        model_bytes = 4 * parameters
        free = _meminfo("/proc/meminfo", "MemAvailable")
        if free < ROOM * model_bytes:
            raise UserError(
                f"{free / 1e9:.1f} GB of memory are free, {ROOM * model_bytes / 1e9:.1f} GB are wanted; say --layers"
            )
        flags = f"--xla_force_host_platform_device_count={chosen.devices}"
        done = subprocess.run(
            [sys.executable, "-m", "bench.import_weights", "--folder", folder, "--devices", str(chosen.devices)],
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    measured = json.loads(done.stdout.splitlines()[-1])
    ratio = measured["peak_bytes"] / model_bytes
    layers = f", {chosen.layers} layers a stack" if chosen.layers else ""
    print(f"{chosen.preset}{layers}: {parameters:,} parameters, {model_bytes / 1e9:.2f} GB in float32, sparse files")
    print(f"before   {measured['before_bytes'] / 1e9:6.2f} GB resident (Python, JAX)")
    print(f"peak     {measured['peak_bytes'] / 1e9:6.2f} GB resident = {ratio:.3f} x the model (limit {LIMIT})")
    print(f"share    {measured['device_bytes'] / 1e9:6.2f} GB on the fullest of {chosen.devices} device(s)")
    print(f"import   {measured['seconds']:6.1f} s by the clock")
    return int(ratio > LIMIT)


def write_model(folder: Path, preset: str, layers: int | None) -> int:
    """Writes a sparse Hugging Face directory; returns the number of parameters."""
    from train.export.hf import hf_config
    from train.model.t5 import T5Config, abstract_model
    from train.weights.hf import TABLE
    from train.weights.stream import by_path, layout

    config = T5Config(FLAN_VOCAB_SIZE, *PRESETS[preset])
    if layers:
        config = dataclasses.replace(config, num_encoder_layers=layers, num_decoder_layers=layers)
    params = abstract_model(config)[1]
    shapes = {name: slot.shape for slot in layout(params, TABLE).values() for name in slot.names}
    (folder / "config.json").write_text(json.dumps(hf_config(config)))
    sizes = {name: 4 * math.prod(shape) for name, shape in shapes.items()}
    files: list[list[str]] = [[]]
    for name in sorted(sizes):
        if sum(sizes[n] for n in files[-1]) + sizes[name] > SHARD_BYTES:
            files.append([])
        files[-1].append(name)
    weight_map = {}
    for number, names in enumerate(files, start=1):
        file = f"model-{number:05}-of-{len(files):05}.safetensors"
        header, end = {}, 0
        for name in names:
            header[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": [end, end + sizes[name]]}
            end += sizes[name]
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (folder / file).open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            out.truncate(8 + len(text) + end)
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return sum(math.prod(leaf.shape) for leaf in by_path(params).values())


def import_and_measure(folder: Path, devices: int) -> None:
    """Imports onto the mesh and prints figures of this process as JSON."""
    import jax

    from train.config import MeshConfig
    from train.model.t5 import abstract_model
    from train.parallel.mesh import make_mesh, param_shardings
    from train.params import infer_config, load_weights

    config = infer_config(folder)
    shapes, axes = abstract_model(config)[1:]
    places = param_shardings(make_mesh(MeshConfig(data=1, fsdp=devices)), axes)
    before, start = _meminfo("/proc/self/status", "VmHWM"), time.perf_counter()
    params = load_weights(folder, shapes, places, config)
    seconds = time.perf_counter() - start
    held = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves(params):
        for shard in leaf.addressable_shards:
            held[shard.device] += shard.data.nbytes
    peak = _meminfo("/proc/self/status", "VmHWM")
    measured = {"before_bytes": before, "peak_bytes": peak, "seconds": seconds, "device_bytes": max(held.values())}
    print(json.dumps(measured))


def _meminfo(file: str, key: str) -> int:
    """Reads `KEY: N kB` of a file of /proc, in bytes."""
    (line,) = [line for line in Path(file).read_text().splitlines() if line.startswith(f"{key}:")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    run_cli(main)
