"""Weights out in T5X's layout: what T5X, and train/weights/t5x.py, read. One tensor a layer, as T5X's own T5 1.1 has them."""

from pathlib import Path
from typing import Any

import numpy as np

from train.export.folder import appearing, check_free
from train.model.t5 import Params
from train.weights.stream import foreign_tensors, layout
from train.weights.t5x import CHECKPOINT, TABLE, VERSION

CHUNK_BYTES = 64 * 2**20  # what T5X aims at
COMPRESSOR = {"id": "gzip", "level": 1}


def save_t5x(params: Params, folder: Path, step: int) -> None:
    """Writes a T5X checkpoint of the parameters alone; it appears at once and whole, or not at all.

    There is no state of an optimizer in it. T5X starts from it with `assignment_map = ((r"state.*", None),)`.

    Args:
      params: arrays that this process can read whole; stored as they are, float32 or bfloat16.
      folder: must not exist, or be empty. It is itself the checkpoint (T5X calls such a folder checkpoint_<step>).
      step: that the checkpoint says it is of.

    Raises:
      UserError: there is something at `folder`.
    """
    from flax.serialization import msgpack_serialize

    check_free(folder)
    with appearing(folder) as partial:
        target: dict[str, Any] = {}
        for name, tensor in foreign_tensors(params, layout(params, TABLE)).items():
            *parents, last = name.split("/")
            node = target
            for parent in parents:
                node = node.setdefault(parent, {})
            # As T5X does, which writes what it shards as zarr: kernels and the embedding.
            small = last in ("scale", "rel_embedding")
            node[last] = (
                tensor.read() if small else _write_zarr(partial, f"target.{name.replace('/', '.')}", tensor.read())
            )
        state = {"step": np.array(step, np.int32)}
        tree = {"version": VERSION, "optimizer": {"target": target, "state": state}}
        (partial / CHECKPOINT).write_bytes(msgpack_serialize(tree))


def _write_zarr(folder: Path, name: str, values: np.ndarray) -> dict[str, Any]:
    """Writes an array in chunks of whole rows; returns the spec that stands for it in the tree, its path relative."""
    import tensorstore

    rows = max(1, min(len(values), CHUNK_BYTES * len(values) // values.nbytes))
    dtype = "bfloat16" if values.dtype.name == "bfloat16" else values.dtype.str
    metadata = {
        "chunks": [rows, *values.shape[1:]],
        "compressor": COMPRESSOR,
        "dtype": dtype,
        "shape": list(values.shape),
    }
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(folder / name)}, "metadata": metadata}
    # A chunk of zeros is written like any other, so that one which is missing can be told.
    store = tensorstore.open({**spec, "store_data_equal_to_fill_value": True}, create=True).result()
    store.write(values).result()
    return {**spec, "kvstore": {"driver": "file", "path": name}}
