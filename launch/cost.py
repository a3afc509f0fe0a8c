"""What a mesh costs: bytes on a device, and the time of a step by a roofline (Williams et al. 2009).

A step takes the longest of computing at the given share of the peak, of moving what must be moved through a device's memory, and
of sending what must be sent between devices: as if all three overlapped.
"""

import dataclasses
from typing import Any

from launch.accelerators import Devices
from train.config import Config, Remat

FORWARD_PASSES: dict[Remat, int] = {"none": 1, "selected": 1, "layer": 2}
USABLE = 0.9  # of a device's memory: the runtime, the collectives' buffers and fragmentation want the rest
_MANY_PARTS = 8  # times as many parts of a batch as configured


@dataclasses.dataclass(frozen=True)
class Option:
    """A mesh with the settings that trade time for memory, and what it comes to on each device (bytes, seconds)."""

    data: int
    fsdp: int
    tensor: int
    remat: Remat
    parts: int
    rows: int
    params: int
    frozen: int
    opt_state: int
    gradients: int
    activations: int
    compute_s: float
    memory_s: float
    link_s: float
    moved: float

    @property
    def state(self) -> int:
        return self.params + self.frozen + self.opt_state

    @property
    def total(self) -> int:
        return self.state + self.gradients + self.activations

    @property
    def step_s(self) -> float:
        return max(self.compute_s, self.memory_s, self.link_s)

    @property
    def complexity(self) -> tuple[int, int, int]:
        """Of the mesh: less is simpler."""
        return sum(axis > 1 for axis in (self.data, self.fsdp, self.tensor)), self.tensor, self.fsdp

    @property
    def overrides(self) -> list[str]:
        return [
            f"mesh.data={self.data}",
            f"mesh.fsdp={self.fsdp}",
            f"mesh.tensor={self.tensor}",
            f"model.remat={self.remat}",
            f"train.grad_accumulation={self.parts}",
        ]


def candidates(config: Config, facts: dict[str, Any], devices: Devices, mfu: float) -> list[Option]:
    """Every way that the batch can be divided, the best first.

    What lies within a tenth of the fastest counts as fast: the model of time is no better than that. Among those: few parts of
    the batch, no recomputation, the simplest mesh (few axes over 1; data before fsdp before tensor), little memory. Many more
    parts than configured come last: so few rows at once do not reach the share of the peak that was stated.
    """
    options = []
    parts = config.train.grad_accumulation
    while parts <= config.train.batch_size:
        for remat in facts["kept"]:
            for mesh in facts["meshes"]:
                if (option := make_option(config, facts, devices, mfu, mesh, remat, parts)) is not None:
                    options.append(option)
        parts *= 2
    fast = 1.1 * min((o.step_s for o in options if o.total <= USABLE * devices.accelerator.memory), default=0.0)
    many = _MANY_PARTS * config.train.grad_accumulation
    return sorted(
        options,
        key=lambda o: (o.parts > many, max(o.step_s, fast), o.parts, FORWARD_PASSES[o.remat], *o.complexity, o.total),
    )


def of_different_meshes(options: list[Option]) -> list[Option]:
    """The first of each mesh: those with more parts or recomputation say little more."""
    first: dict[tuple[int, int, int], Option] = {}
    for option in options:
        first.setdefault((option.data, option.fsdp, option.tensor), option)
    return list(first.values())


def make_option(
    config: Config, facts: dict[str, Any], devices: Devices, mfu: float, mesh: dict[str, int], remat: Remat, parts: int
) -> Option | None:
    data, fsdp, tensor = mesh["data"], mesh["fsdp"], mesh["tensor"]
    if config.train.batch_size % parts or config.train.batch_size // parts % (data * fsdp):
        return None
    rows = config.train.batch_size // parts // (data * fsdp)
    gradients = round(mesh["params"] * (1 if parts == 1 else 2))  # the sum, and those of the part under way
    activations = _activations(facts, mesh, rows=rows, remat=remat)
    chip = devices.accelerator
    work = (facts["flops"] + (FORWARD_PASSES[remat] - 1) * facts["forward_flops"]) / devices.count
    moved = _moved(facts, mesh, activations, parts=parts, remat=remat)
    return Option(
        data=data, fsdp=fsdp, tensor=tensor, remat=remat, parts=parts, rows=rows,
        params=mesh["params"], frozen=mesh["frozen"], opt_state=mesh["opt_state"],
        gradients=gradients, activations=activations,
        compute_s=work / (peak_flops(facts, devices) * mfu),
        memory_s=moved / chip.bandwidth if chip.bandwidth else 0.0,
        link_s=_sent_s(facts, mesh, devices, rows=rows, parts=parts, remat=remat),
        moved=moved,
    )  # fmt: skip


def _item(facts: dict[str, Any]) -> int:
    return 2 if facts["compute_dtype"] == "bfloat16" else 4


def _layer_parameters(facts: dict[str, Any]) -> int:
    """Of the largest layer, a decoder's."""
    s = facts["sizes"]
    return 8 * s["emb_dim"] * s["num_heads"] * s["head_dim"] + 3 * s["emb_dim"] * s["mlp_dim"]


def _activations(facts: dict[str, Any], mesh: dict[str, int], *, rows: int, remat: Remat) -> int:
    """What is kept for the backward pass and, at its peak, what is worked on."""
    sizes, tensor = facts["sizes"], mesh["tensor"]
    kept = _kept(facts["kept"][remat], mesh, rows)
    if remat != "none" and "none" in facts["kept"]:  # one layer's own, computed again
        layers = sizes["num_encoder_layers"] + sizes["num_decoder_layers"]
        kept += _kept(facts["kept"]["none"] | {"widest_row": 0, "weights": 0}, mesh, rows) / layers
    if mesh["fsdp"] > 1:  # whole again while they are used: a layer, embedding and head, and these two's gradients
        ends = 2 * sizes["vocab_size"] * sizes["emb_dim"]
        kept += (2 * 4 * ends + 2 * _item(facts) * _layer_parameters(facts)) / tensor
    return round(kept)


def _kept(terms: dict[str, float], mesh: dict[str, int], rows: int) -> float:
    row = terms["per_row"] + (terms["per_row_cut"] + 2 * terms["widest_row"]) / mesh["tensor"]
    return rows * row + terms["weights"] / (mesh["fsdp"] * mesh["tensor"])


def _moved(facts: dict[str, Any], mesh: dict[str, int], activations: int, *, parts: int, remat: Remat) -> float:
    """Bytes through a device's memory in a step, at least: weights in each pass, activations out and in, the update."""
    weights = facts["parameters"] * _item(facts) / mesh["tensor"]
    update = 2 * (mesh["params"] + mesh["opt_state"]) + 2 * mesh["params"]
    return parts * ((1 + FORWARD_PASSES[remat]) * weights + 2 * activations) + update


def _sent_s(
    facts: dict[str, Any], mesh: dict[str, int], devices: Devices, *, rows: int, parts: int, remat: Remat
) -> float:
    """Seconds to send what a step sends, in rings, one after the other, each at the speed of its slowest link."""
    chip, sizes = devices.accelerator, facts["sizes"]
    if chip.link is None:
        return 0.0
    data, fsdp, tensor = mesh["data"], mesh["fsdp"], mesh["tensor"]

    def link(span: int) -> float:  # of the devices that a ring spans; `tensor` is innermost, then `fsdp`, then `data`
        return chip.node_link if chip.per_node and chip.node_link and span > chip.per_node else chip.link or 1.0

    item = _item(facts)
    # Weights are gathered in each pass, gradients summed and dealt out again, in float32.
    weights = facts["parameters"] * item / tensor * (1 + FORWARD_PASSES[remat]) + 4 * facts["trained"] / tensor
    seconds = parts * weights * (fsdp - 1) / fsdp / link(tensor * fsdp)
    seconds += 2 * 4 * facts["trained"] / (fsdp * tensor) * (data - 1) / data / link(tensor * fsdp * data)
    # Two sums a layer of the encoder and three of the decoder, in each pass (Shoeybi et al. 2019, section 3).
    inputs, targets = facts["lengths"]
    sums = 2 * sizes["num_encoder_layers"] * inputs + 3 * sizes["num_decoder_layers"] * targets
    sent = 2 * sums * rows * sizes["emb_dim"] * item * (1 + FORWARD_PASSES[remat])
    return seconds + parts * sent * (tensor - 1) / tensor / link(tensor)


def peak_flops(facts: dict[str, Any], devices: Devices) -> float:
    """FLOP/s of one device. Simulated CPU devices share the machine whose peak was measured."""
    return facts["peak_flops"][devices.accelerator.kind] / (devices.count if devices.is_cpu else 1)
