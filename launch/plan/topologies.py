"""Devices that are not here, for the compilers that make programs for them: a TPU's in libtpu, a GPU's in JAX's CUDA plugin.

Neither needs its device. What a program for them takes of memory is then known to the byte, before machines are booked.
"""

import importlib.util
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from t5x_tasks.common.errors import UserError
from train.hardware import GPUS, Accelerator
from train.model.attention import Path


class _Gpu(NamedTuple):
    """Figures of a GPU for XLA's compiler, beside train/hardware.py. From NVIDIA's white papers, data sheets and CUDA's guide."""

    name: str
    capability: str
    multiprocessors: int
    float32_units: int  # of a multiprocessor; where it is not told, no fusion seems worth while
    clock_ghz: float
    l2: int
    shared_memory: int  # bytes of a multiprocessor
    shared_memory_of_block: int  # bytes at most


_HOPPER = ("major: 9 feature_extension: ACCELERATED_FEATURES", 132, 128, 1.98)


_HOPPER_SHARED = (228 * 2**10, 227 * 2**10)


_GPUS = {
    "a100": _Gpu("NVIDIA A100-SXM4-80GB", "major: 8", 108, 64, 1.41, 40 * 2**20, 164 * 2**10, 163 * 2**10),
    "h100": _Gpu("NVIDIA H100 80GB HBM3", *_HOPPER, 50 * 2**20, *_HOPPER_SHARED),
    "h200": _Gpu("NVIDIA H200", *_HOPPER, 60 * 2**20, *_HOPPER_SHARED),
}


_GPUS_A_NODE = 8


def devices(topology: str) -> list[Any]:
    """Devices to compile for: of a TPU slice, `v5e:8x8`, of several, `2xv5e:8x8`, or GPUs in nodes of eight, `h100:16`.

    Raises:
      UserError: the compiler is not installed, or knows no such devices.
    """
    name, _, shape = topology.partition(":")
    return _gpu_devices(name, int(shape)) if name in _GPUS else _tpu_devices(topology)


def fused_path(found: list[Any]) -> Path:
    """The path of attention that a run on these devices would take by itself (train/model/attention/choose.py)."""
    if found[0].platform == "tpu":
        return "pallas"
    # cuDNN makes its plans on the device itself: for one that is not here nothing can be compiled with it.
    hopper = float(found[0].compute_capability) >= 9.0
    return "tokamax" if hopper and importlib.util.find_spec("tokamax") else "xla"


def needed_memory(message: str) -> int | None:
    """Bytes that a program would need, from what a TPU's compiler says when a chip has less; None: it says something else."""
    used = re.search(r"(?:Used |temporaries \()([\d.]+)([KMGT])\)? (?:of|exceeds)", message)
    return None if used is None else round(float(used[1]) * 2 ** (10 * (1 + "KMGT".index(used[2]))))


def _tpu_devices(topology: str) -> list[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("a TPU's compiler is in the package libtpu: pip install libtpu (it needs no TPU)")
    # A single chip is less than the host of four that libtpu assumes.
    alone = {"chips_per_host_bounds": (1, 1, 1)} if set(topology.partition(":")[2]) <= {"1", "x"} else {}
    several = re.match(r"(\d+)x", topology)
    slices, one = (int(several[1]), topology[several.end() :]) if several else (1, topology)
    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=one, num_slices=slices, **alone)
        return list(described.devices)
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"libtpu has no slice {topology}: {str(error).splitlines()[0]}") from error


def _gpu_devices(name: str, count: int) -> list[Any]:
    plugins = ("jax_cuda13_plugin", "jax_cuda12_plugin")
    if not any(importlib.util.find_spec(plugin) for plugin in plugins):
        raise UserError("a GPU's compiler is in JAX's CUDA plugin: make install EXTRA=cuda (it needs no GPU)")
    nodes, rest = divmod(count, _GPUS_A_NODE)
    shape = f"1x1x{count}" if rest or nodes == 1 else f"1x{nodes}x{_GPUS_A_NODE}"
    described = topologies.get_topology_desc(
        platform="cuda", topology_name=name, target_config=_described(_GPUS[name], GPUS[name]), topology=shape
    )
    return list(described.devices)


def _described(gpu: _Gpu, known: Accelerator) -> str:
    """A GPU as XLA's `GpuTargetConfigProto` in text."""
    return f"""
        gpu_device_info {{
          name: "{gpu.name}" device_vendor: "NVIDIA Corporation"
          cuda_compute_capability {{ {gpu.capability} }}
          core_count: {gpu.multiprocessors} fpus_per_core: {gpu.float32_units} clock_rate_ghz: {gpu.clock_ghz}
          device_memory_size: {round(known.memory)} memory_bandwidth: {round(known.bandwidth or 0)}
          l2_cache_size: {gpu.l2} ecc_enabled: true
          shared_memory_per_block: 49152 shared_memory_per_block_optin: {gpu.shared_memory_of_block}
          shared_memory_per_core: {gpu.shared_memory}
          threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
          registers_per_block_limit: 65536 registers_per_core_limit: 65536
          thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
          block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
          device_address_bits: 64 pcie_bandwidth: 34359738368
          driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0" dnn_version: "9.10.0"
        }}
        platform_name: "CUDA"
        dnn_version_info {{ major: 9 minor: 10 }}
        device_description_str: "{gpu.name}"
    """
