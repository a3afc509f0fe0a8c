"""How people name accelerators, and a number of them: `8xh100`, `v5e-64`, `2xv5e-256`. Their figures: train/hardware.py."""

import math
import os
import re
from dataclasses import dataclass

from t5x_tasks.common.errors import UserError, suggest
from train.hardware import GPUS, TPUS, Accelerator

CORES_A_CHIP = {"v4": 2, "v5p": 2}  # their names count TensorCores: v5p-16 has eight chips, which JAX calls devices


# cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus: the topologies of a slice. Larger ones of three dimensions have
# sides that are multiples of 4, the smallest first, up to so many chips (12x16x16 of v4, 16x16x24 of v5p).
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")


_CUBIC = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")


_MOST_CHIPS = {"v4": 3072, "v5p": 6144}


@dataclass(frozen=True)
class Devices:
    """Devices to plan for.

    Attributes:
      name: as `--devices` takes it.
      count: of all.
      slices: TPU slices or GPU nodes that they are in, each with as many.
    """

    name: str
    count: int
    accelerator: Accelerator
    slices: int = 1

    @property
    def kind(self) -> str:
        """`h100`, `v5e`, `cpu`."""
        return next((name for name, known in (GPUS | TPUS).items() if known is self.accelerator), "cpu")

    @property
    def is_cpu(self) -> bool:
        return self.accelerator.kind == "cpu"

    @property
    def together(self) -> int:
        """Devices of one slice or node."""
        return self.count // self.slices

    @property
    def launcher(self) -> str | None:
        """The launcher that starts a run on several slices or nodes; None where there is one."""
        if self.slices == 1:
            return None
        if self.accelerator.per_node:
            return f"slurm --nodes {self.slices} --gpus {self.together}"
        generation = {"v5e": "v5litepod"}.get(self.kind, self.kind)  # as gcloud calls it
        cores = CORES_A_CHIP.get(self.kind, 1)
        return f"tpu-vm --accelerator {generation}-{self.together * cores} --slices {self.slices}"


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


def more_of(devices: Devices, count: int) -> Devices:
    """So many of the same, named as they are planned and booked: `v5e-64`, `8xv5e-256` (the fewest slices), `64xh100`."""
    chip, kind = devices.accelerator, devices.kind
    if kind in GPUS:
        return Devices(f"{count}x{kind}", count, chip, _nodes(count, chip))
    if kind in TPUS:
        size = max(size for size in _sizes(kind) if count % size == 0)
        slices, name = count // size, f"{kind}-{size * CORES_A_CHIP.get(kind, 1)}"
        return Devices(f"{slices}x{name}" if slices > 1 else name, count, chip, slices)
    return Devices(f"{count} such devices", count, chip)


def tpu_topology(devices: Devices) -> str:
    """The slice's shape as libtpu names it, `v5e:4x8`, and before it how many there are, `2xv5e:4x8`.

    It is as near to square, or to a cube, as so many chips can be.

    Raises:
      UserError: they are no TPUs, or v4's, of which the compiler makes two devices a chip.
    """
    name, compiled_for = devices.kind, TPUS.keys() - {"v4"}
    if name not in compiled_for:
        raise UserError(
            f"--compiler tpu: {devices.name} is none that it compiles for; those are {', '.join(sorted(compiled_for))}"
        )
    flat = name in ("v5e", "v6e")
    sides = [1, 1] if flat else [1, 1, 1]
    left = devices.together
    while left % 2 == 0:
        sides[sides.index(min(sides))] *= 2
        left //= 2
    sides[-1] *= left
    several = f"{devices.slices}x" if devices.slices > 1 else ""
    return f"{several}{name}:{'x'.join(map(str, sorted(sides)))}"


def gpu_topology(devices: Devices) -> str:
    """GPUs as launch/plan/topologies.py names them, `h100:16`.

    Raises:
      UserError: they are no GPUs.
    """
    if devices.kind not in GPUS:
        raise UserError(
            f"--compiler gpu: {devices.name} is none that it compiles for; those are {', '.join(sorted(GPUS))}"
        )
    return f"{devices.kind}:{devices.count}"


def _nodes(count: int, gpu: Accelerator) -> int:
    """The fewest nodes that hold so many GPUs, each as many."""
    return next(n for n in range(-(-count // (gpu.per_node or count)), count + 1) if count % n == 0)


def _sizes(tpu: str) -> list[int]:
    """Chips of the slices that there are, the fewest first."""
    most = _MOST_CHIPS.get(tpu)
    named = {topology_chips(tpu, topology) for topology in (_FLAT if most is None else _CUBIC)}
    return sorted(named | set(range(64, most + 1, 64) if most else ()))


def _check_slice(text: str, tpu: str, chips: float) -> None:
    """Raises UserError if a TPU has no slice of so many chips; sizes follow the names of its slices."""
    sizes = _sizes(tpu)
    if chips in sizes:
        return
    cores, most = CORES_A_CHIP.get(tpu, 1), sizes[-1]
    small = sizes[: len(_FLAT if tpu not in _MOST_CHIPS else _CUBIC)]
    there = ", ".join(f"{tpu}-{size * cores}" for size in small)
    if tpu in _MOST_CHIPS:
        there += f" and multiples of {64 * cores} up to {tpu}-{most * cores} ({cores} TensorCores a chip)"
    several = round(chips / most) if chips > most and chips % most == 0 else 4
    raise UserError(
        f"--devices: {text}: there is no such slice; there are {there}. Several slices are written {several}x{tpu}-{most * cores}"
    )


def parse_devices(text: str) -> Devices:
    """Parses `8xh100`, `v5e-64`, `4xv5e-64` (slices) or `cpu-8` (this machine's memory, divided).

    Raises:
      UserError: it is none of these, or there are no so many.
    """
    slices = 1
    if match := re.fullmatch(r"(\d+)x(\w+)", text):
        count, name = int(match[1]), match[2].lower()
        known = GPUS | TPUS
    elif match := re.fullmatch(r"(?:(\d+)x)?(\w+)-(\d+)", text):
        slices, count, name = int(match[1] or 1), int(match[3]), match[2].lower()
        name = {"v5litepod": "v5e"}.get(name, name)  # as gcloud calls it
        known = TPUS
        if match[1] and name in (*GPUS, "cpu"):
            raise UserError(f"--devices: {text}: only TPUs are in slices; write 16xh100 for two nodes, cpu-8")
    else:
        raise UserError(f"--devices: {text!r} is none; write 8xh100, v5e-64, 4xv5e-64 (slices) or cpu-8")
    if name not in known and name != "cpu":
        choices = sorted(known) + (["cpu"] if known is TPUS else [])
        raise UserError(
            f"--devices: {text}: unknown{suggest(name, choices)}; known are {', '.join([*GPUS, *TPUS, 'cpu'])}"
        )
    if name in TPUS:
        cores = CORES_A_CHIP.get(name, 1) if known is TPUS else 1
        _check_slice(text, name, count / cores)
        if slices < 1:
            raise UserError(f"--devices: {text}: there must be 1 slice or more, as in 4x{name}-{count}")
        return Devices(text, slices * count // cores, TPUS[name], slices)
    if count < 1:
        raise UserError(f"--devices: {text}: there must be 1 or more, as in 1x{name}, 8x{name}")
    if name == "cpu":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / count
        return Devices(text, count, Accelerator("cpu", None, memory, None, None, None, None, "this machine"))
    return Devices(text, count, GPUS[name], _nodes(count, GPUS[name]))
