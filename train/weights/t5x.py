"""Weights in from a T5X checkpoint of T5 1.1, the form in which Google published FLAN-T5.

A checkpoint is a folder: the file `checkpoint`, a tree in flax's msgpack, and beside it one zarr array for each large
tensor, read through TensorStore (t5x/checkpoints.py). The tree's `optimizer/target` holds the parameters: the small ones
as they are, for the others a TensorStore spec that names their folder. Layers are apart (`encoder/layers_3/mlp/...`) or,
where T5X scanned over them, one array (`encoder/encoder/mlp/...`, the axis of layers second unless it was told otherwise).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5x_tasks.common.errors import UserError, one_line
from train.model.presets import PRESETS
from train.model.t5 import Params, T5Config
from train.weights.stream import LARGEST, Index, Slot, Table, Tensor, check_tensors, layout, refuse

CHECKPOINT = "checkpoint"  # the msgpack file
VERSION = 3  # since 2021; T5X itself reads none below 2, whose bfloat16 lies as uint16

TABLE: Table = (
    ("token_embedder/embedding", "embedding", False),
    ("encoder/relpos_bias/rel_embedding", "encoder_bias/embedding", True),
    ("encoder/layers_{i}/pre_attention_layer_norm/scale", "encoder/attention_norm/scale", False),
    ("encoder/layers_{i}/attention/query/kernel", "encoder/attention/query", False),
    ("encoder/layers_{i}/attention/key/kernel", "encoder/attention/key", False),
    ("encoder/layers_{i}/attention/value/kernel", "encoder/attention/value", False),
    ("encoder/layers_{i}/attention/out/kernel", "encoder/attention/out", False),
    ("encoder/layers_{i}/pre_mlp_layer_norm/scale", "encoder/mlp_norm/scale", False),
    ("encoder/layers_{i}/mlp/wi_0/kernel", "encoder/mlp/gate", False),
    ("encoder/layers_{i}/mlp/wi_1/kernel", "encoder/mlp/up", False),
    ("encoder/layers_{i}/mlp/wo/kernel", "encoder/mlp/down", False),
    ("encoder/encoder_norm/scale", "encoder_norm/scale", False),
    ("decoder/relpos_bias/rel_embedding", "decoder_bias/embedding", True),
    ("decoder/layers_{i}/pre_self_attention_layer_norm/scale", "decoder/self_norm/scale", False),
    ("decoder/layers_{i}/self_attention/query/kernel", "decoder/self_attention/query", False),
    ("decoder/layers_{i}/self_attention/key/kernel", "decoder/self_attention/key", False),
    ("decoder/layers_{i}/self_attention/value/kernel", "decoder/self_attention/value", False),
    ("decoder/layers_{i}/self_attention/out/kernel", "decoder/self_attention/out", False),
    ("decoder/layers_{i}/pre_cross_attention_layer_norm/scale", "decoder/cross_norm/scale", False),
    ("decoder/layers_{i}/encoder_decoder_attention/query/kernel", "decoder/cross_attention/query", False),
    ("decoder/layers_{i}/encoder_decoder_attention/key/kernel", "decoder/cross_attention/key", False),
    ("decoder/layers_{i}/encoder_decoder_attention/value/kernel", "decoder/cross_attention/value", False),
    ("decoder/layers_{i}/encoder_decoder_attention/out/kernel", "decoder/cross_attention/out", False),
    ("decoder/layers_{i}/pre_mlp_layer_norm/scale", "decoder/mlp_norm/scale", False),
    ("decoder/layers_{i}/mlp/wi_0/kernel", "decoder/mlp/gate", False),
    ("decoder/layers_{i}/mlp/wi_1/kernel", "decoder/mlp/up", False),
    ("decoder/layers_{i}/mlp/wo/kernel", "decoder/mlp/down", False),
    ("decoder/decoder_norm/scale", "decoder_norm/scale", False),
    ("decoder/logits_dense/kernel", "head", False),
)
SCANNED = re.compile(r"(encoder|decoder)/(?:\1|layers)/")  # what scalable_t5 calls the scanned block, now and at first


@dataclass(frozen=True)
class ZarrTensor:
    """An array that TensorStore has open."""

    store: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.store.shape)

    @property
    def dtype(self) -> str:
        return self.store.dtype.name

    def __getitem__(self, index: Index, /) -> np.ndarray:
        try:
            return self.store[index].read().result()
        except ValueError as error:  # tensorstore's for a chunk that is not what the metadata say
            folder = self.store.spec().to_json()["kvstore"]["path"]
            raise UserError(f"{folder}: is damaged ({one_line(error, most=300)}); fetch it again") from None


@dataclass(frozen=True)
class MemoryTensor:
    """A small array out of the msgpack file."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> str:
        return self.values.dtype.name

    def __getitem__(self, index: Index, /) -> np.ndarray:
        return self.values[index]


def open_t5x(folder: Path, shapes: Params, config: T5Config) -> tuple[dict[str, Tensor], dict[str, Slot]]:
    """Opens and checks a checkpoint; as `open_hf`."""
    tensors = _open(folder)
    _check_sizes(folder, tensors, config)
    scanned = any(SCANNED.match(name) for name in tensors)
    table, axis = (_scanned_table(tensors), _layer_axis(tensors)) if scanned else (TABLE, 0)
    if scanned:
        _one_bias_a_stack(folder, tensors, axis, config)
    slots = layout(shapes, table, axis)
    check_tensors(folder, tensors, slots)
    return tensors, slots


def infer_t5x(folder: Path) -> T5Config:
    """Reads the model's shape from those of its tensors. UserError: there are not enough of them for that."""
    sizes, lacking = _sizes(_open(folder))
    refuse(folder, {"missing": lacking})
    keys = ("vocab_size", "emb_dim", "mlp_dim", "num_heads", "head_dim", "num_encoder_layers", "num_decoder_layers")
    if bad := [f"{key} is {sizes.get(key)}" for key in keys if not 0 < sizes.get(key, 0) <= LARGEST]:
        raise UserError(f"{folder}: by its tensors' shapes {', '.join(bad)}, which no T5 has; fetch it again")
    return T5Config(**sizes, dropout=0.1)


def find_t5x(folder: Path) -> Path | None:
    """Returns the folder of the checkpoint at `folder`: itself, or its only checkpoint_<step>. UserError: there are several."""
    if (folder / CHECKPOINT).is_file():
        return folder
    steps = sorted(path.parent for path in folder.glob(f"checkpoint_*/{CHECKPOINT}"))
    if len(steps) > 1:
        raise UserError(f"{folder}: holds {len(steps)} T5X checkpoints ({', '.join(p.name for p in steps)}); name one")
    return steps[0] if steps else None


def read_tree(folder: Path) -> dict[str, Any]:
    """Reads the msgpack file. Nothing in it is executed: flax's extension types are arrays and numbers."""
    from flax.serialization import msgpack_restore

    file = folder / CHECKPOINT
    content = file.read_bytes()
    if content.startswith(b"model_checkpoint_path"):
        raise UserError(f"{file}: of a TensorFlow checkpoint, which is not loaded; fetch the T5X or Hugging Face form")
    try:
        tree: Any = msgpack_restore(content)
        version, target = int(tree["version"]), dict(tree["optimizer"]["target"])
    except Exception as error:  # whatever msgpack and flax make of foreign or cut-off bytes
        raise UserError(
            f"{file}: not the msgpack file of a T5X checkpoint ({type(error).__name__}: {error}); fetch it again"
        ) from None
    if version < VERSION:
        raise UserError(
            f"{file}: version {version} of T5X's format, only {VERSION} can be read; save it again with T5X"
        )
    return target


def _open(folder: Path) -> dict[str, Tensor]:
    """Opens every array; of the zarr arrays only the metadata are read. Names are those of the tree, joined by /."""
    import tensorstore

    tensors: dict[str, Tensor] = {}
    opening: dict[str, Any] = {}
    problems: dict[str, list[str]] = {"of no kind that T5X writes": [], "whose zarr array cannot be read": []}
    for name, leaf in _leaves(read_tree(folder)).items():
        if isinstance(leaf, np.ndarray):
            tensors[name] = MemoryTensor(leaf)
        elif isinstance(leaf, dict) and (path := _array_path(leaf)) is not None:
            # Only the name of its folder is believed: the spec is somebody else's, and may name any place.
            spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(folder.absolute() / path)}}
            opening[name] = tensorstore.open(spec, open=True, read=True)
        else:
            problems["of no kind that T5X writes"].append(name)
    for name, future in opening.items():
        try:
            tensors[name] = ZarrTensor(future.result())
        except ValueError:  # tensorstore's for what is not there and what is no array
            problems["whose zarr array cannot be read"].append(name)
    stores = {name: tensor.store for name, tensor in tensors.items() if isinstance(tensor, ZarrTensor)}
    # TensorStore ends the process where it has no memory for a chunk.
    problems["in chunks of more than 2 GiB, which T5X never writes"] = huge = [
        name for name, store in stores.items() if _chunk_bytes(store) > 2**31
    ]
    # A chunk that is not there would be read as zeros.
    problems["with chunks that are not there (fetch it again)"] = [
        name for name, store in stores.items() if name not in huge and not _whole(store)
    ]
    refuse(folder, problems)
    return tensors


def _leaves(tree: dict[Any, Any]) -> dict[str, Any]:
    """The leaves, by their path in the tree, which may be deeper than functions can call themselves."""
    leaves: dict[str, Any] = {}
    todo: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    while todo:
        way, node = todo.pop()
        if isinstance(node, dict) and not {"driver", "kvstore"} <= node.keys():
            todo += [((*way, str(key)), child) for key, child in reversed(node.items())]
        else:
            leaves["/".join(way)] = node
    return leaves


def _array_path(spec: dict[str, Any]) -> str | None:
    """`target.encoder.layers_0.mlp.wo.kernel`; before TensorStore 0.1.14 it stood beside `kvstore`, not in it."""
    store = spec["kvstore"]
    path = (store.get("path") if isinstance(store, dict) else None) or spec.get("path")
    name = Path(path).name if isinstance(path, str) else ""
    plain = name.isprintable() and name not in ("", "..")  # TensorStore's error for others names no file
    return name if spec["driver"] == "zarr" and plain else None


def _chunk_bytes(store: Any) -> int:
    return math.prod(store.chunk_layout.read_chunk.shape) * store.dtype.numpy_dtype.itemsize


def _whole(store: Any) -> bool:
    """Whether all chunks of a zarr array are there: files called 0.0, 0.1 (or 0/0, 0/1) and so on."""
    folder = Path(store.spec().to_json()["kvstore"]["path"])
    chunks = math.prod(
        -(-size // chunk) for size, chunk in zip(store.shape, store.chunk_layout.read_chunk.shape, strict=True)
    )
    return sum(1 for file in folder.rglob("[0-9]*") if file.is_file()) >= chunks


def _scanned_table(tensors: Mapping[str, Tensor]) -> Table:
    blocks = {match[1]: match[0] for match in map(SCANNED.match, tensors) if match}
    return tuple(
        (re.sub(r"^(encoder|decoder)/layers_\{i\}/", lambda m: blocks.get(m[1], m[0]), name), path, transposed)
        for name, path, transposed in TABLE
    )


def _layer_axis(tensors: Mapping[str, Tensor]) -> int:
    """1, unless norms show that it is 0: T5X's `param_scan_axis`."""
    for name, tensor in tensors.items():
        if SCANNED.match(name) and name.endswith("norm/scale") and "token_embedder/embedding" in tensors:
            return int(tensor.shape[:1] == tensors["token_embedder/embedding"].shape[-1:])
    return 1


def _one_bias_a_stack(folder: Path, tensors: dict[str, Tensor], axis: int, config: T5Config) -> None:
    """Puts the bias that scanned layers each have a copy of under its name in TABLE, if it is one bias.

    T5X's scalable_t5 computes it inside the layers. Trained apart, the copies would be another model than T5 1.1.
    """
    apart = []
    layers = {"encoder": config.num_encoder_layers, "decoder": config.num_decoder_layers}
    for name in [name for name in tensors if SCANNED.match(name) and name.endswith("relpos_bias/rel_embedding")]:
        wanted = [config.num_heads, config.relative_position_buckets]
        wanted.insert(axis, layers[name.split("/")[0]])
        if tensors[name].shape != tuple(wanted):
            continue  # refused with all others that do not fit
        values = np.moveaxis(tensors.pop(name)[(slice(None),) * 3], axis, 0)
        if any(layer.tobytes() != values[0].tobytes() for layer in values):
            apart.append(name)
        tensors[f"{name.split('/')[0]}/relpos_bias/rel_embedding"] = MemoryTensor(values[0])
    refuse(folder, {"different in each layer, where T5 1.1 has one for the stack": apart})


def _sizes(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], list[str]]:
    """Reads what shapes tell: sizes under their names in T5Config, and the tensors that would be needed for the others."""
    sizes: dict[str, Any] = {}
    lacking: list[str] = []

    def shape(pattern: str, what: str) -> tuple[int, ...]:
        found = next((tensors[name].shape for name in sorted(tensors) if re.fullmatch(pattern, name)), None)
        if found is None:
            lacking.append(what)
        return found or ()

    block = r"(?:encoder|layers(?:_\d+)?)"
    if len(embedding := shape("token_embedder/embedding", "token_embedder/embedding")) == 2:
        sizes["vocab_size"], sizes["emb_dim"] = embedding
    if up := shape(rf"encoder/{block}/mlp/wi_0/kernel", "encoder/layers_0/mlp/wi_0/kernel"):
        sizes["mlp_dim"] = up[-1]
    bias = shape(rf"encoder/(?:{block}/)?relpos_bias/rel_embedding", "encoder/relpos_bias/rel_embedding")
    if len(bias) > 1:
        sizes["relative_position_buckets"] = bias[-1]
        sizes["num_heads"] = bias[_layer_axis(tensors) == 0 and len(bias) == 3]
        if query := shape(rf"encoder/{block}/attention/query/kernel", "encoder/layers_0/attention/query/kernel"):
            sizes["head_dim"] = query[-1] // max(1, sizes["num_heads"])
    for stack in ("encoder", "decoder"):
        layers = {match[1] for name in tensors if (match := re.match(rf"{stack}/layers_(\d+)/", name))}
        scales = [t for n, t in tensors.items() if re.match(rf"{stack}/(?:{stack}|layers)/.*norm/scale$", n)]
        scales = [scale for scale in scales if len(scale.shape) == 2]
        if layers or scales:
            sizes[f"num_{stack}_layers"] = len(layers) or scales[0].shape[_layer_axis(tensors)]
        else:
            lacking.append(f"{stack}/layers_0")
    return sizes, lacking


def _check_sizes(folder: Path, tensors: Mapping[str, Tensor], config: T5Config) -> None:
    """Raises UserError with the sizes that differ: easier read than the shapes of all tensors."""
    sizes, _ = _sizes(tensors)
    different = [
        f"{key} is {size}, the configured model has {getattr(config, key)}"
        for key, size in sizes.items()
        if size != getattr(config, key)
    ]
    if different:
        keys = ("emb_dim", "mlp_dim", "num_heads", "head_dim", "num_encoder_layers", "num_decoder_layers")
        fitting = [name for name, preset in PRESETS.items() if preset == tuple(sizes.get(key) for key in keys)]
        hint = f"set model.preset={fitting[0]}" if fitting else "change model.*"
        raise UserError(f"{folder}: {'; '.join(different)}; {hint}, or take other weights")
