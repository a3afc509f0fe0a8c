"""The cost of a mesh: bytes per device, and the time of a step by a roofline (Williams et al. 2009).

A step takes the longest of computing at the given share of the peak, of moving what must be moved through a device's memory, and
of sending what must be sent between devices: as if all three overlapped. Inside a TPU slice or a node of GPUs links are fast,
between them slow.
"""

import dataclasses
import math
from typing import Any

from launch.plan.accelerators import Devices
from train.config import Config
from train.model.presets import Remat

FORWARD_PASSES: dict[Remat, int] = {"none": 1, "selected": 1, "layer": 2}


USABLE = 0.9  # of a device's memory: the runtime, the collectives' buffers and fragmentation want the rest


_MANY_PARTS = 8  # times as many parts of a batch as configured


@dataclasses.dataclass(frozen=True)
class Option:
    """A mesh with the settings that trade time for memory, and what it comes to on each device (bytes, seconds).

    Attributes:
      across: copies of the model are cut across slices or nodes, which a run does with `mesh.slices=1` alone.
      crossing: bytes that a device sends to other slices or nodes in a step.
    """

    data: int
    fsdp: int
    tensor: int
    across: bool
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
    crossing: float

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
            *(["mesh.slices=1"] if self.across else []),
            f"model.remat={self.remat}",
            f"train.grad_accumulation={self.parts}",
        ]


def candidates(config: Config, facts: dict[str, Any], devices: Devices, mfu: float) -> list[Option]:
    """Every way that the batch can be divided, the best first.

    What lies within a tenth of the fastest counts as fast: the model of time is no better than that. Among those: few parts of
    the batch, no recomputation, copies of the model whole in a slice or node, the simplest mesh (few axes over 1; data before
    fsdp before tensor), little memory. Many more parts than configured come last: so few rows at once do not reach the share of
    the peak that was stated.
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
        key=lambda o: (
            o.parts > many,
            max(o.step_s, fast),
            o.parts,
            FORWARD_PASSES[o.remat],
            o.across,
            *o.complexity,
            o.total,
        ),
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
    """The option; None: the batch cannot be divided so, or a copy of the model would be in several TPU slices.

    That is what a run refuses, too, unless the configuration says `mesh.slices=1`. Nodes of GPUs are joined well enough to be
    considered.
    """
    data, fsdp, tensor = mesh["data"], mesh["fsdp"], mesh["tensor"]
    across = data % devices.slices != 0
    if across and devices.accelerator.per_node is None and config.mesh.slices != 1:
        return None
    if config.train.batch_size % parts or config.train.batch_size // parts % (data * fsdp):
        return None
    rows = config.train.batch_size // parts // (data * fsdp)
    gradients = mesh["params"] + (
        mesh["summed"] if parts > 1 else 0
    )  # of the part under way, and the float32 sum of all
    activations = _activations(facts, mesh, rows=rows, remat=remat)
    chip = devices.accelerator
    work = (facts["flops"] + (FORWARD_PASSES[remat] - 1) * facts["forward_flops"]) / devices.count
    moved = _moved(facts, mesh, activations, parts=parts, remat=remat)
    sent = _sent(facts, mesh, devices, rows=rows, parts=parts, remat=remat)
    return Option(
        data=data, fsdp=fsdp, tensor=tensor, across=across, remat=remat, parts=parts, rows=rows,
        params=mesh["params"], frozen=mesh["frozen"], opt_state=mesh["opt_state"],
        gradients=gradients, activations=activations,
        compute_s=work / (peak_flops(facts, devices) * mfu),
        memory_s=moved / chip.bandwidth if chip.bandwidth else 0.0,
        link_s=(sent.inside / chip.link if chip.link else 0.0) + (sent.across / chip.node_link if chip.node_link else 0.0),
        moved=moved, crossing=sent.across,
    )  # fmt: skip


def _item(facts: dict[str, Any]) -> int:
    return 2 if facts["compute_dtype"] == "bfloat16" else 4


def _layer_parameters(facts: dict[str, Any]) -> int:
    """Of the largest layer, a decoder's."""
    s = facts["sizes"]
    return 8 * s["emb_dim"] * s["num_heads"] * s["head_dim"] + 3 * s["emb_dim"] * s["mlp_dim"]


def _activations(facts: dict[str, Any], mesh: dict[str, int], *, rows: int, remat: Remat) -> int:
    """Bytes kept for the backward pass and, at its peak, worked on."""
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


@dataclasses.dataclass(frozen=True)
class _Sent:
    """Bytes that a device sends in a step, inside its slice or node and across to others."""

    inside: float
    across: float


def _sent(
    facts: dict[str, Any], mesh: dict[str, int], devices: Devices, *, rows: int, parts: int, remat: Remat
) -> _Sent:
    """The time of a step's collectives, in rings, one after the other.

    What spans slices or nodes goes in two rings: a sum is made inside, where each device gets a part of it, these parts are
    summed across, and the results gathered inside. So of the gradients there crosses 2 x (4 bytes x trained / (fsdp x tensor x
    data inside a slice)) x (slices - 1) / slices a device. GPUs come to the same by several rings at once, each through the
    network card of another GPU. As in the programs that are compiled for TPUs, gradients are summed in each part of a batch, and
    the embedding's twice, for the encoder's inputs and for the decoder's.
    """
    data, fsdp, tensor = mesh["data"], mesh["fsdp"], mesh["tensor"]
    sizes, item = facts["sizes"], _item(facts)
    # Weights are gathered in each pass, gradients summed and dealt out again, in float32.
    weights = facts["parameters"] * item / tensor * (1 + FORWARD_PASSES[remat]) + 4 * facts["trained"] / tensor
    gradients = 2 * 4 * (facts["trained"] + facts["embedding"]) / (fsdp * tensor)
    # Two sums a layer of the encoder and three of the decoder, in each pass (Shoeybi et al. 2019, section 3).
    inputs, targets = facts["lengths"]
    sums = 2 * sizes["num_encoder_layers"] * inputs + 3 * sizes["num_decoder_layers"] * targets
    activations = 2 * sums * rows * sizes["emb_dim"] * item * (1 + FORWARD_PASSES[remat])
    inside = across = 0.0
    # `tensor` is innermost, then `fsdp`, then `data`: of a ring of `size` devices one in `apart` of the mesh is a member.
    for sent, size, apart in (
        (parts * activations, tensor, 1),
        (parts * weights, fsdp, tensor),
        (parts * gradients, data, fsdp * tensor),
    ):
        near = math.gcd(size, max(1, devices.together // apart))  # members in one slice or node
        inside += sent * (near - 1) / near
        across += sent / near * (1 - near / size)
    return _Sent(inside, across)


def peak_flops(facts: dict[str, Any], devices: Devices) -> float:
    """FLOP/s of one device. Simulated CPU devices share the machine whose peak was measured."""
    return facts["peak_flops"][devices.accelerator.kind] / (devices.count if devices.is_cpu else 1)
