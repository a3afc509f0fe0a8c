"""Weights in from a Hugging Face T5 1.1 / FLAN-T5 directory (safetensors), and out to one that transformers opens.

`TABLE` is the whole correspondence. Linear layers lie as [out, in] there and as [in, out] here, where the layers of a
stack are one array besides. Both ways only move numbers: import followed by export gives float32 tensors back bit for bit.
"""

import json
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5x_tasks.errors import UserError
from train.config import PRESETS
from train.model import Params, T5Config

logger = logging.getLogger(__name__)

# Hugging Face's name ({i} counts the layers), our path, whether ours is theirs transposed.
TABLE: tuple[tuple[str, str, bool], ...] = (
    ("shared.weight", "embedding", False),
    ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "encoder_bias/embedding", False),
    ("encoder.block.{i}.layer.0.layer_norm.weight", "encoder/attention_norm/scale", False),
    ("encoder.block.{i}.layer.0.SelfAttention.q.weight", "encoder/attention/query", True),
    ("encoder.block.{i}.layer.0.SelfAttention.k.weight", "encoder/attention/key", True),
    ("encoder.block.{i}.layer.0.SelfAttention.v.weight", "encoder/attention/value", True),
    ("encoder.block.{i}.layer.0.SelfAttention.o.weight", "encoder/attention/out", True),
    ("encoder.block.{i}.layer.1.layer_norm.weight", "encoder/mlp_norm/scale", False),
    ("encoder.block.{i}.layer.1.DenseReluDense.wi_0.weight", "encoder/mlp/gate", True),
    ("encoder.block.{i}.layer.1.DenseReluDense.wi_1.weight", "encoder/mlp/up", True),
    ("encoder.block.{i}.layer.1.DenseReluDense.wo.weight", "encoder/mlp/down", True),
    ("encoder.final_layer_norm.weight", "encoder_norm/scale", False),
    ("decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "decoder_bias/embedding", False),
    ("decoder.block.{i}.layer.0.layer_norm.weight", "decoder/self_norm/scale", False),
    ("decoder.block.{i}.layer.0.SelfAttention.q.weight", "decoder/self_attention/query", True),
    ("decoder.block.{i}.layer.0.SelfAttention.k.weight", "decoder/self_attention/key", True),
    ("decoder.block.{i}.layer.0.SelfAttention.v.weight", "decoder/self_attention/value", True),
    ("decoder.block.{i}.layer.0.SelfAttention.o.weight", "decoder/self_attention/out", True),
    ("decoder.block.{i}.layer.1.layer_norm.weight", "decoder/cross_norm/scale", False),
    ("decoder.block.{i}.layer.1.EncDecAttention.q.weight", "decoder/cross_attention/query", True),
    ("decoder.block.{i}.layer.1.EncDecAttention.k.weight", "decoder/cross_attention/key", True),
    ("decoder.block.{i}.layer.1.EncDecAttention.v.weight", "decoder/cross_attention/value", True),
    ("decoder.block.{i}.layer.1.EncDecAttention.o.weight", "decoder/cross_attention/out", True),
    ("decoder.block.{i}.layer.2.layer_norm.weight", "decoder/mlp_norm/scale", False),
    ("decoder.block.{i}.layer.2.DenseReluDense.wi_0.weight", "decoder/mlp/gate", True),
    ("decoder.block.{i}.layer.2.DenseReluDense.wi_1.weight", "decoder/mlp/up", True),
    ("decoder.block.{i}.layer.2.DenseReluDense.wo.weight", "decoder/mlp/down", True),
    ("decoder.final_layer_norm.weight", "decoder_norm/scale", False),
    ("lm_head.weight", "head", True),
)
# Further names under which transformers 4 saved the embedding. They must hold the same numbers.
EMBEDDING_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# In checkpoints made before 2021, and used by nothing: cross-attention has no position bias.
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
FLOAT_TYPES = ("F32", "BF16", "F16")


@dataclass(frozen=True)
class Slot:
    """Where one of our parameters lies in a Hugging Face checkpoint."""

    names: tuple[str, ...]  # one a layer, or the only one
    shape: tuple[int, ...]  # of each, as it lies there
    stacked: bool
    transposed: bool


def layout(shapes: Params) -> dict[str, Slot]:
    """Finds the place of each parameter: our path -> slot. `shapes` is a tree of anything that has a `shape`."""
    table = {path: (name, transposed) for name, path, transposed in TABLE}
    slots = {}
    for path, leaf in by_path(shapes).items():
        name, transposed = table[path]
        stacked = "{i}" in name
        shape = tuple(leaf.shape[1:] if stacked else leaf.shape)
        names = tuple(name.format(i=i) for i in range(leaf.shape[0])) if stacked else (name,)
        slots[path] = Slot(names, shape[::-1] if transposed else shape, stacked, transposed)
    return slots


def by_path(tree: Params) -> dict[str, Any]:
    """{"encoder": {"mlp": {"up": x}}} -> {"encoder/mlp/up": x}, in the tree's order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def resolve(weights: str) -> Path:
    """Finds the folder of `model.weights`: a local one, or that of a hub id after fetching it into the hub's cache.

    Raises:
      UserError: no such folder, no such repository, or the hub is out of reach and its cache has not got it.
    """
    if not weights.startswith("hf://"):
        folder = Path(weights).expanduser()
        if not folder.is_dir():
            raise UserError(
                f"model.weights: {weights}: no such folder; give hf://ID, a Hugging Face directory, or random"
            )
        return folder
    repository = weights.removeprefix("hf://")
    get = (
        f"get online, or run `hf download {repository} --local-dir DIR` on a machine that is, and set model.weights=DIR"
    )
    try:
        from huggingface_hub import snapshot_download

        files = ["*.safetensors", "*.json", "spiece.model"]
        # Folders in a repository hold other formats of the same weights.
        folder = Path(snapshot_download(repository, allow_patterns=files, ignore_patterns=["*/*"]))
    except Exception as error:  # no network, no such repository, no access, no valid id
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"model.weights: {weights} cannot be fetched ({reason}); {get}") from error
    if not any(folder.glob("*.safetensors")):  # offline, a cache that has only the vocabulary counts as the repository
        raise UserError(f"model.weights: {weights}: no safetensors in {folder}; {get}")
    return folder


def load_hf(folder: Path, shapes: Params, shardings: Params | None, config: T5Config) -> Params:
    """Loads weights, tensor by tensor, each part straight to the devices that hold it.

    Args:
      folder: has config.json, and model.safetensors or its shards and index; float32, bfloat16 or float16.
      shapes: the parameters, as anything that has a `shape`.
      shardings: of each parameter; None: the default device.
      config: must agree with config.json.

    Returns:
      The parameters in float32. The host holds one parameter (all layers) besides them.

    Raises:
      UserError: not such a folder, another architecture or size, or tensors missing, unknown, misshapen: all in one line.
    """
    tied = _check_config(folder, config)
    slots = layout(shapes)
    with ExitStack() as stack:
        tensors = _open(folder, stack)
        if tied and "lm_head.weight" not in tensors and "shared.weight" in tensors:
            logger.warning("%s: has no lm_head.weight; the output layer starts as a copy of the embedding", folder)
            tensors["lm_head.weight"] = tensors["shared.weight"]
        _check_tensors(folder, tensors, slots)

        def read(path: str, shape: tuple[int, ...], index: Any) -> np.ndarray:
            # `index`: one slice an axis of the parameter, what one device holds.
            slot = slots[path]
            ranges = [range(*part.indices(size)) for part, size in zip(index, shape, strict=True)]
            out = np.empty([len(r) for r in ranges], np.float32)
            layers, inner = (ranges[0], ranges[1:]) if slot.stacked else (range(1), ranges)
            inner = inner[::-1] if slot.transposed else inner
            for row, layer in enumerate(layers):
                part = tensors[slot.names[layer]][tuple(slice(r.start, r.stop) for r in inner)]
                out[row if slot.stacked else ...] = part.T if slot.transposed else part
            return out

        def place(path: str, leaf: Any, sharding: Any) -> jax.Array:
            if sharding is None:
                return jnp.asarray(read(path, leaf.shape, (slice(None),) * len(leaf.shape)))
            return jax.make_array_from_callback(leaf.shape, sharding, lambda index: read(path, leaf.shape, index))

        leaves = by_path(shapes)
        places = {} if shardings is None else by_path(shardings)
        arrays = [place(path, leaf, places.get(path)) for path, leaf in leaves.items()]
        jax.block_until_ready(arrays)
    return jax.tree.unflatten(jax.tree.structure(shapes), arrays)


def _open(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Opens the safetensors files and maps each tensor's name to a lazy slice; only headers are read."""
    from safetensors import SafetensorError, safe_open

    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        files = [single]
    elif index.is_file():
        files = [folder / name for name in sorted(set(_read_json(index).get("weight_map", {}).values()))]
    elif any(folder.glob("*.bin")):
        raise UserError(
            f"{folder}: has its weights only as pickles (pytorch_model.bin), which are not loaded; convert them where "
            "PyTorch is: T5ForConditionalGeneration.from_pretrained(DIR).save_pretrained(NEW) writes model.safetensors"
        )
    else:
        raise UserError(
            f"{folder}: no model.safetensors and no model.safetensors.index.json; give a Hugging Face directory"
        )
    tensors = {}
    for file in files:
        try:
            opened = stack.enter_context(safe_open(file, framework="np"))
        except FileNotFoundError:
            raise UserError(f"{file}: is named in {index.name} but is not there; fetch the whole directory") from None
        except SafetensorError as error:
            raise UserError(f"{file}: no whole safetensors file ({error}); fetch it again") from None
        tensors.update({name: opened.get_slice(name) for name in opened.keys()})  # noqa: SIM118 (not a dict)
    return tensors


def _check_tensors(folder: Path, tensors: dict[str, Any], slots: dict[str, Slot]) -> None:
    wanted = {name: slot.shape for slot in slots.values() for name in slot.names}
    copies = [name for name in EMBEDDING_COPIES if name in tensors]
    if copies and "shared.weight" not in tensors:  # all of them are one tensor, by whichever name it was saved
        tensors["shared.weight"] = tensors[copies[0]]
    known = wanted | dict.fromkeys(EMBEDDING_COPIES, wanted["shared.weight"])
    misshapen = [
        f"{name} {tensors[name].get_shape()}, must be {list(shape)}"
        for name, shape in known.items()
        if name in tensors and tuple(tensors[name].get_shape()) != shape
    ]
    types = {name: tensor.get_dtype() for name, tensor in tensors.items() if name in known}
    problems = {
        "missing": [name for name in wanted if name not in tensors],
        "not of this model": [name for name in tensors if name not in known and name != UNUSED],
        "misshapen": misshapen,
        "of no float type": [f"{name} {dtype}" for name, dtype in types.items() if dtype not in FLOAT_TYPES],
    }
    if not any(problems.values()):
        differing = [n for n in copies if not np.array_equal(tensors[n][...], tensors["shared.weight"][...])]
        problems = {"not equal to shared.weight, which they copy": differing}
    if any(problems.values()):
        text = "; ".join(f"{len(names)} tensor(s) {what}: {_first(names)}" for what, names in problems.items() if names)
        raise UserError(f"{folder}: {text}; the weights must be those of a whole T5 1.1 of the configured size")


def _first(names: Iterable[str], limit: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _check_config(folder: Path, config: T5Config) -> bool:
    """Compares config.json with the configured model; returns whether transformers would tie a missing output layer.

    Keys that the file lacks have the defaults of transformers' T5Config.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{file}: no such file; model.weights must be a Hugging Face directory")
    theirs = _read_json(file)
    kind = theirs.get("model_type", "t5")
    if kind != "t5":
        raise UserError(f"{file}: model_type is {kind!r}, only 't5' (FLAN-T5, T5 1.1) can be loaded")
    # transformers 5 writes `tie_word_embeddings: true` for every T5, and ties the output layer only if the weights have
    # none. There T5 1.1 is the one that does not scale the decoder's output.
    tied = theirs.get("tie_word_embeddings", True)
    if tied and theirs.get("scale_decoder_outputs", True):
        raise UserError(
            f"{file}: a tied checkpoint (tie_word_embeddings), T5 1.0, whose output layer is its embedding; only T5 1.1 and "
            "FLAN-T5, which have an lm_head of their own, can be loaded: try hf://google/flan-t5-base"
        )
    defaults = {"num_decoder_layers": theirs.get("num_layers"), "relative_attention_num_buckets": 32,
                "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6, "feed_forward_proj": "relu"}  # fmt: skip
    ours = hf_sizes(config)
    given = {key: theirs.get(key, defaults.get(key)) for key in ours}
    different = [
        f"{key} is {json.dumps(given[key])}, the configured model has {value}"
        for key, value in ours.items()
        if given[key] != value
    ]
    if different:
        keys = ("d_model", "d_ff", "num_heads", "d_kv", "num_layers", "num_decoder_layers")
        fitting = [name for name, sizes in PRESETS.items() if sizes == tuple(given[key] for key in keys)]
        sizes_differ = any(given[key] != ours[key] for key in keys)
        hint = f"set model.preset={fitting[0]}" if fitting and sizes_differ else "change model.*"
        raise UserError(f"{file}: {'; '.join(different)}; {hint}, or take other weights")
    return tied


def hf_sizes(config: T5Config) -> dict[str, Any]:
    """What decides the function that the model computes, under the names of transformers' T5Config."""
    return {
        "vocab_size": config.vocab_size,
        "d_model": config.emb_dim,
        "d_ff": config.mlp_dim,
        "d_kv": config.head_dim,
        "num_heads": config.num_heads,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "relative_attention_num_buckets": config.relative_position_buckets,
        "relative_attention_max_distance": config.relative_position_max_distance,
        "layer_norm_epsilon": config.norm_epsilon,
        "feed_forward_proj": "gated-gelu",
    }


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: must hold a JSON object")
    return content
