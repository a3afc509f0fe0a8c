"""Accelerators that a plan knows, from their makers' data sheets, and how people name a number of them."""

import math
import os
import re
from dataclasses import dataclass

from t5x_tasks.errors import UserError, suggest


@dataclass(frozen=True)
class Accelerator:
    """One device.

    Attributes:
      kind: its name in train/flops.py PEAK_FLOPS, the dense bfloat16 peak.
      memory: bytes (decimal gigabytes of the data sheet).
      bandwidth: of its memory, bytes/s; None: unknown.
      link: bytes/s that it sends to the others of its node or slice, in one direction; None: unknown.
      per_node: devices that `link` joins; between nodes it is `node_link`. A TPU slice is one "node" of any size.
      node_link: bytes/s a device between nodes.
      source: of these figures.
    """

    kind: str
    memory: float
    bandwidth: float | None
    link: float | None
    per_node: int | None
    node_link: float | None
    source: str


_INFINIBAND = 50e9  # 400 Gbit/s a GPU, as in NVIDIA's DGX H100 and H200; DGX A100 has half
_NVIDIA, _CLOUD = "NVIDIA data sheet, SXM", "cloud.google.com/tpu/docs"
GPUS = {
    "a100": Accelerator("NVIDIA A100", 80e9, 2.039e12, 300e9, 8, _INFINIBAND / 2, f"{_NVIDIA}, 80 GB"),
    "h100": Accelerator("NVIDIA H100", 80e9, 3.35e12, 450e9, 8, _INFINIBAND, f"{_NVIDIA}, 80 GB"),
    "h200": Accelerator("NVIDIA H200", 141e9, 4.8e12, 450e9, 8, _INFINIBAND, f"{_NVIDIA}, 141 GB"),
}
# Google gives the bandwidth between chips in both directions together.
TPUS = {
    "v4": Accelerator("TPU v4", 32e9, 1.228e12, 2400e9 / 8 / 2, None, None, f"{_CLOUD}/v4"),
    "v5e": Accelerator("TPU v5e", 16e9, 0.819e12, 1600e9 / 8 / 2, None, None, f"{_CLOUD}/v5e"),
    "v5p": Accelerator("TPU v5p", 95e9, 2.765e12, 4800e9 / 8 / 2, None, None, f"{_CLOUD}/v5p"),
    "v6e": Accelerator("TPU v6", 32e9, 1.64e12, 3584e9 / 8 / 2, None, None, f"{_CLOUD}/v6e"),
}
CORES_A_CHIP = {"v4": 2, "v5p": 2}  # their names count TensorCores: v5p-16 has eight chips, which JAX calls devices

# cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus: the topologies of a slice. Larger ones of three dimensions have
# sides that are multiples of 4, the smallest first, up to so many chips (12x16x16 of v4, 16x16x24 of v5p).
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBIC = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
_MOST_CHIPS = {"v4": 3072, "v5p": 6144}


@dataclass(frozen=True)
class Devices:
    name: str
    count: int
    accelerator: Accelerator

    @property
    def is_cpu(self) -> bool:
        return self.accelerator.kind == "cpu"


def topology_chips(tpu: str, topology: str) -> int:
    """Chips of a slice of a topology, `4x4` or `2x2x2`.

    Raises:
      UserError: this TPU has no such slice.
    """
    sides = [int(side) for side in topology.split("x")] if re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", topology) else []
    chips = math.prod(sides)
    most = _MOST_CHIPS.get(tpu)
    if most is None:
        known, there = topology in _FLAT, f"are {', '.join(_FLAT)}"
    else:
        cubic = len(sides) == 3 and not any(side % 4 for side in sides) and sides == sorted(sides) and chips <= most
        known = topology in _CUBIC or cubic
        there = f"are {', '.join(_CUBIC)} and AxBxC of multiples of 4, A <= B <= C, up to {most} chips"
    if not known:
        raise UserError(f"--topology: {topology}: {tpu} has no such slice; its topologies {there}")
    return chips


def as_booked(name: str, count: int) -> str:
    """So many chips or GPUs of the kind of `v5e-16` or `8xh100`: `v5e-64`, `8 slices of v5e-256`, `64 such devices`."""
    tpu = name.partition("-")[0].lower()
    if tpu not in TPUS:
        return f"{count} such devices"
    most, cores = _MOST_CHIPS.get(tpu, 256), CORES_A_CHIP.get(tpu, 1)
    slices = -(-count // most)
    return f"{slices} slices of {tpu}-{most * cores}" if slices > 1 else f"{tpu}-{count * cores}"


def tpu_topology(devices: Devices) -> str:
    """The slice's shape as libtpu names it, `v5e:4x8`: as near to square, or to a cube, as so many chips can be.

    Raises:
      UserError: they are no TPUs, or v4's, of which the compiler makes two devices a chip.
    """
    name = next((name for name, chip in TPUS.items() if chip is devices.accelerator), None)
    if name is None or name == "v4":
        known = ", ".join(sorted(TPUS.keys() - {"v4"}))
        raise UserError(f"--compiler tpu: {devices.name} is none that it compiles for; those are {known}")
    flat = name in ("v5e", "v6e")
    sides = [1, 1] if flat else [1, 1, 1]
    left = devices.count
    while left % 2 == 0:
        sides[sides.index(min(sides))] *= 2
        left //= 2
    sides[-1] *= left
    return f"{name}:{'x'.join(map(str, sorted(sides)))}"


def gpu_topology(devices: Devices) -> str:
    """GPUs as train/topologies.py names them, `h100:16`.

    Raises:
      UserError: they are no GPUs.
    """
    name = next((name for name, gpu in GPUS.items() if gpu is devices.accelerator), None)
    if name is None:
        raise UserError(
            f"--compiler gpu: {devices.name} is none that it compiles for; those are {', '.join(sorted(GPUS))}"
        )
    return f"{name}:{devices.count}"


def _check_slice(text: str, tpu: str, chips: float) -> None:
    """Raises UserError if a TPU has no slice of so many chips; sizes are said as its slices are named."""
    most = _MOST_CHIPS.get(tpu)
    sizes = sorted({topology_chips(tpu, topology) for topology in (_FLAT if most is None else _CUBIC)})
    if chips in sizes or (most and chips % 64 == 0 and 0 < chips <= most):
        return
    cores = CORES_A_CHIP.get(tpu, 1)
    there = ", ".join(f"{tpu}-{size * cores}" for size in sizes)
    if most:
        there += f" and multiples of {64 * cores} up to {tpu}-{most * cores} ({cores} TensorCores a chip)"
    raise UserError(
        f"--devices: {text}: there is no such slice; there are {there}. Of several slices (tpu-vm --slices) plan one, with its "
        "share of train.batch_size"
    )


def parse_devices(text: str) -> Devices:
    """Parses `8xh100`, `v5e-64` or `cpu-8` (this machine's memory, divided).

    Raises:
      UserError: it is none of these, or there are no so many.
    """
    if match := re.fullmatch(r"(\d+)x(\w+)", text):
        count, name = int(match[1]), match[2].lower()
        known = GPUS | TPUS
    elif match := re.fullmatch(r"(\w+)-(\d+)", text):
        count, name = int(match[2]), match[1].lower()
        name = {"v5litepod": "v5e"}.get(name, name)  # as gcloud calls it
        known = TPUS
    else:
        raise UserError(f"--devices: {text!r} is none; write 8xh100, v5e-64 or cpu-8")
    if name not in known and name != "cpu":
        choices = sorted(known) + (["cpu"] if known is TPUS else [])
        raise UserError(
            f"--devices: {text}: unknown{suggest(name, choices)}; known are {', '.join([*GPUS, *TPUS, 'cpu'])}"
        )
    if name in TPUS:
        cores = CORES_A_CHIP.get(name, 1) if known is TPUS else 1
        _check_slice(text, name, count / cores)
        return Devices(text, count // cores, TPUS[name])
    if count < 1:
        raise UserError(f"--devices: {text}: there must be 1 or more, as in 1x{name}, 8x{name}")
    if name == "cpu":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / count
        return Devices(text, count, Accelerator("cpu", memory, None, None, None, None, "this machine"))
    return Devices(text, count, GPUS[name])
