"""How tensors of any format become our parameters: each read once, by parts, straight to the devices that hold them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from t5x_tasks.common.errors import UserError
from train.model.t5 import Params

FLOAT_TYPES = ("float32", "bfloat16", "float16")
LARGEST = 2**20  # of any size of a model that is told from its files; the largest vocabulary of a T5 is 2^18
# Foreign name ({i} counts the layers), our path, whether ours is theirs transposed.
Table = tuple[tuple[str, str, bool], ...]
Index = tuple[slice, ...]


class Tensor(Protocol):
    """A tensor on disk; only what is asked for is read."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str:
        """numpy's name of the type, `bfloat16` among them; of other types the format's own word."""
        ...

    def __getitem__(self, index: Index, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Slot:
    """Where one of our parameters is in another format."""

    names: tuple[str, ...]  # one a layer, or the only one
    shape: tuple[int, ...]  # of each, as it is there
    axes: tuple[int, ...]  # our axis behind each of its axes

    @property
    def a_layer_each(self) -> bool:
        return 0 not in self.axes


def by_path(tree: Params) -> dict[str, Any]:
    """{"encoder": {"mlp": {"up": x}}} -> {"encoder/mlp/up": x}, in the tree's order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def layout(shapes: Params, table: Table, layer_axis: int = 0) -> dict[str, Slot]:
    """Finds the place of each parameter: our path -> slot.

    Args:
      shapes: the parameters, as anything that has a `shape`.
      table: of the format. Where the name of a stack's parameter has no {i}, one tensor holds all layers.
      layer_axis: where such a tensor has its axis of layers.
    """
    places = {path: (name, transposed) for name, path, transposed in table}
    slots = {}
    for path, leaf in by_path(shapes).items():
        name, transposed = places[path]
        stacked = path.startswith(("encoder/", "decoder/"))
        axes = list(range(stacked, len(leaf.shape)))
        axes = axes[::-1] if transposed else axes
        names = (name,)
        if "{i}" in name:
            names = tuple(name.format(i=i) for i in range(leaf.shape[0]))
        elif stacked:
            axes.insert(layer_axis, 0)
        slots[path] = Slot(names, tuple(leaf.shape[axis] for axis in axes), tuple(axes))
    return slots


def place(shapes: Params, shardings: Params | None, tensors: Mapping[str, Tensor], slots: Mapping[str, Slot]) -> Params:
    """Reads every parameter to its devices, one after the other.

    jax.make_array_from_callback would read a part again for each device with a copy of it, and chunks of a file that hold
    parts of several devices for each of them. Here a process reads what its own devices need of a parameter once, and
    cuts that; it is gone from the host before the next parameter.
    """
    leaves = by_path(shapes)
    places = {} if shardings is None else by_path(shardings)
    arrays = []
    for path, leaf in leaves.items():
        arrays.append(_place(leaf, places.get(path), tensors, slots[path]))
    return jax.tree.unflatten(jax.tree.structure(shapes), arrays)


def _place(leaf: Any, sharding: Any, tensors: Mapping[str, Tensor], slot: Slot) -> jax.Array:
    if sharding is None:
        return jax.block_until_ready(jnp.asarray(_read(tensors, slot, [range(n) for n in leaf.shape], leaf.dtype)))
    parts = {
        device: [range(*cut.indices(size)) for cut, size in zip(index, leaf.shape, strict=True)]
        for device, index in sharding.addressable_devices_indices_map(leaf.shape).items()
    }
    # The smallest box around all of them: of a mesh's devices, a process has neighbours.
    box = [range(min(r.start for r in axis), max(r.stop for r in axis)) for axis in zip(*parts.values(), strict=True)]
    values = _read(tensors, slot, box, leaf.dtype)
    arrays = []
    for device, part in parts.items():
        cut = tuple(slice(r.start - b.start, r.stop - b.start) for r, b in zip(part, box, strict=True))
        arrays.append(jax.block_until_ready(jax.device_put(values[cut], device)))
    return jax.make_array_from_single_device_arrays(leaf.shape, sharding, arrays)


def _read(tensors: Mapping[str, Tensor], slot: Slot, ranges: list[range], dtype: Any) -> np.ndarray:
    """Reads the given range of each of our axes."""
    out = np.empty([len(r) for r in ranges], dtype)
    theirs = tuple(slice(ranges[axis].start, ranges[axis].stop) for axis in slot.axes)
    order = np.argsort(slot.axes)
    if not slot.a_layer_each:
        out[...] = tensors[slot.names[0]][theirs].transpose(order)
        return out
    for row, layer in enumerate(ranges[0]):
        out[row] = tensors[slot.names[layer]][theirs].transpose(order)
    return out


@dataclass(frozen=True)
class Outgoing:
    """One of our tensors as another format has it."""

    leaf: Any
    layer: int | None
    axes: tuple[int, ...]
    nbytes: int

    def read(self) -> np.ndarray:
        # Cut on the device: of a parameter in an accelerator's memory only this layer comes over.
        values = np.asarray(self.leaf if self.layer is None else self.leaf[self.layer])
        return np.ascontiguousarray(values.transpose(self.axes))


def foreign_tensors(params: Params, slots: Mapping[str, Slot]) -> dict[str, Outgoing]:
    """Takes parameters apart into the tensors of another format, by their names there."""
    tensors = {}
    for path, leaf in by_path(params).items():
        slot = slots[path]
        axes = tuple(axis - slot.a_layer_each for axis in slot.axes)
        for layer, name in enumerate(slot.names):
            part = layer if slot.a_layer_each else None
            tensors[name] = Outgoing(leaf, part, axes, leaf.nbytes // len(slot.names))
    return tensors


def check_tensors(
    where: Path,
    tensors: Mapping[str, Tensor],
    slots: Mapping[str, Slot],
    *,
    unused: Iterable[str] = (),
    copies: Mapping[str, str] | None = None,
) -> None:
    """Raises one UserError with everything that does not fit.

    Args:
      where: named in the message.
      unused: names that may be there and are not read.
      copies: name -> name of the tensor that it must be equal to, if it is there.
    """
    copies = {name: original for name, original in (copies or {}).items() if name in tensors}
    wanted = {name: slot.shape for slot in slots.values() for name in slot.names}
    known = wanted | {name: wanted[original] for name, original in copies.items()}
    here = {name: tensors[name] for name in known if name in tensors}
    problems = {
        "missing": [name for name in wanted if name not in tensors],
        "not of this model": [name for name in tensors if name not in known and name not in unused],
        "misshapen": [
            f"{name} {list(tensor.shape)}, must be {list(known[name])}"
            for name, tensor in here.items()
            if tuple(tensor.shape) != known[name]
        ],
        "of no float type": [
            f"{name} {tensor.dtype}" for name, tensor in here.items() if tensor.dtype not in FLOAT_TYPES
        ],
    }
    if not any(problems.values()):
        different = [name for name, original in copies.items() if not _equal(tensors[name], tensors[original])]
        problems = {f"not equal to {', '.join(set(copies.values()))}, which they copy": different}
    refuse(where, problems)


def refuse(where: Path, problems: Mapping[str, list[str]]) -> None:
    """Raises UserError with all `problems`, what -> names of tensors, unless there are none."""
    if any(problems.values()):
        text = "; ".join(f"{len(names)} tensor(s) {what}: {_first(names)}" for what, names in problems.items() if names)
        raise UserError(f"{where}: {text}; the weights must be those of a whole T5 1.1 of the configured size")


def _first(names: list[str], limit: int = 10) -> str:
    return ", ".join(f"{name:.150}" for name in names[:limit]) + (
        f" and {len(names) - limit} more" if len(names) > limit else ""
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    """Compares by rows: the embedding of XL is 263 MB."""
    rows = max(1, 2**24 // max(1, math.prod(a.shape[1:])))
    rest = (slice(None),) * (len(a.shape) - 1)
    cuts = [slice(start, min(start + rows, a.shape[0])) for start in range(0, a.shape[0], rows)]
    return all(np.array_equal(a[(cut, *rest)], b[(cut, *rest)]) for cut in cuts)
