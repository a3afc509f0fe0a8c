"""The one table of accelerators: peak, memory, bandwidths and links, from their makers' data sheets. Imports no JAX."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Accelerator:
    """One device.

    Attributes:
      kind: how JAX's `device_kind` begins.
      peak_flops: dense bfloat16 peak without sparsity, FLOP/s; None: has to be measured.
      memory: bytes (decimal gigabytes of the data sheet).
      bandwidth: of its memory, bytes/s; None: unknown.
      link: bytes/s that it sends to the others of its node or slice, in one direction; None: unknown.
      per_node: devices that `link` joins at most; None: a TPU slice of any size.
      node_link: bytes/s that it sends between nodes, or slices, in one direction; None: unknown.
      source: of these figures.
    """

    kind: str
    peak_flops: float | None
    memory: float
    bandwidth: float | None
    link: float | None
    per_node: int | None
    node_link: float | None
    source: str


_INFINIBAND = 50e9  # 400 Gbit/s per GPU, as in NVIDIA's DGX H100 and H200; DGX A100 has half
_NVIDIA, _CLOUD = "NVIDIA data sheet, SXM", "cloud.google.com/tpu/docs"

GPUS = {
    "a100": Accelerator("NVIDIA A100", 312e12, 80e9, 2.039e12, 300e9, 8, _INFINIBAND / 2, f"{_NVIDIA}, 80 GB"),
    "h100": Accelerator("NVIDIA H100", 989e12, 80e9, 3.35e12, 450e9, 8, _INFINIBAND, f"{_NVIDIA}, 80 GB"),
    "h200": Accelerator("NVIDIA H200", 989e12, 141e9, 4.8e12, 450e9, 8, _INFINIBAND, f"{_NVIDIA}, 141 GB"),
}
# Google gives the bandwidth between chips in both directions together. That of the data-centre network, which joins slices, it
# gives for a Pod of 256 chips (v5e 6.4, v6e 25.6 Tbit/s: what their hosts' network cards add up to, so in one direction) or for
# a chip (v5p, 50 Gbit/s), and for v4 not at all.
TPUS = {
    "v4": Accelerator("TPU v4", 275e12, 32e9, 1.228e12, 2400e9 / 8 / 2, None, None, f"{_CLOUD}/v4"),
    "v5e": Accelerator("TPU v5e", 197e12, 16e9, 0.819e12, 1600e9 / 8 / 2, None, 6.4e12 / 8 / 256, f"{_CLOUD}/v5e"),
    "v5p": Accelerator("TPU v5p", 459e12, 95e9, 2.765e12, 4800e9 / 8 / 2, None, 50e9 / 8, f"{_CLOUD}/v5p"),
    "v6e": Accelerator("TPU v6", 918e12, 32e9, 1.64e12, 3584e9 / 8 / 2, None, 25.6e12 / 8 / 256, f"{_CLOUD}/v6e"),
}

# Beginning of `device_kind` -> peak, FLOP/s; longer names first. Here stand besides: H100s with other peaks than SXM's, and other
# names of TPUs ("TPU v6 lite" is Trillium).
PEAK_FLOPS = {
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    **{known.kind: known.peak_flops for known in (*GPUS.values(), *TPUS.values()) if known.peak_flops is not None},
    "TPU v5 lite": TPUS["v5e"].peak_flops or 0.0,
    "TPU v5": TPUS["v5p"].peak_flops or 0.0,
}
