"""Weights in from a Hugging Face T5 1.1 / FLAN-T5 directory: safetensors, one file or several, float32, bfloat16 or float16.

`TABLE` is the whole correspondence. Linear layers lie as [out, in] there and as [in, out] here, where the layers of a
stack are one array besides. Both ways only move numbers: import followed by export gives float32 tensors back bit for bit.
"""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5x_tasks.common.errors import UserError, one_line
from train.model.presets import PRESETS
from train.model.t5 import Params, T5Config
from train.weights.stream import LARGEST, Index, Slot, Table, Tensor, check_tensors, layout

logger = logging.getLogger(__name__)

TABLE: Table = (
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
TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class SafeTensor:
    """A tensor of a safetensors file.

    The file is opened for each reading: it is mapped into memory, and pages that were read count as the process's own
    until it is closed. Kept open, a model would be there twice.
    """

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    def __getitem__(self, index: Index, /) -> np.ndarray:
        from safetensors import safe_open

        with safe_open(self.file, framework="np") as opened:
            return opened.get_slice(self.name)[index]

    def read(self) -> np.ndarray:
        return self[(slice(None),) * len(self.shape)]


def open_hf(folder: Path, shapes: Params, config: T5Config) -> tuple[dict[str, Tensor], dict[str, Slot]]:
    """Opens and checks a directory with config.json and model.safetensors, or its shards and index.

    Returns:
      Every tensor by its name, and the place of each of our parameters among them.

    Raises:
      UserError: not such a folder, another architecture or size, or tensors missing, unknown, misshapen: all in one line.
    """
    tied = _check_config(folder, config)
    tensors = _open(folder)
    if tied and "lm_head.weight" not in tensors and "shared.weight" in tensors:
        logger.warning("%s: has no lm_head.weight; the output layer starts as a copy of the embedding", folder)
        tensors["lm_head.weight"] = tensors["shared.weight"]
    copies = [name for name in EMBEDDING_COPIES if name in tensors]
    if copies and "shared.weight" not in tensors:  # all of them are one tensor, by whichever name it was saved
        tensors["shared.weight"] = tensors[copies[0]]
    slots = layout(shapes, TABLE)
    check_tensors(folder, tensors, slots, unused=(UNUSED,), copies=dict.fromkeys(copies, "shared.weight"))
    return tensors, slots


def infer_hf(folder: Path) -> T5Config:
    """Reads the model's shape from config.json. UserError: it is of another architecture, or lacks a size."""
    file = folder / "config.json"
    theirs = read_json(file)
    names = {"vocab_size": "vocab_size", "emb_dim": "d_model", "mlp_dim": "d_ff", "num_heads": "num_heads",
             "head_dim": "d_kv", "num_encoder_layers": "num_layers"}  # fmt: skip
    if lacking := [name for name in names.values() if name not in theirs]:
        raise UserError(f"{file}: lacks {', '.join(lacking)}; give the directory of a T5 1.1 or FLAN-T5")
    more = {"num_decoder_layers": theirs["num_layers"], "relative_attention_num_buckets": 32,
            "relative_attention_max_distance": 128}  # fmt: skip
    sizes = {name: theirs[name] for name in names.values()} | {
        key: theirs.get(key) or value for key, value in more.items()
    }
    rates = {
        "layer_norm_epsilon": theirs.get("layer_norm_epsilon", 1e-6),
        "dropout_rate": theirs.get("dropout_rate", 0.1),
    }
    layers = len(_open(folder))  # no more than tensors
    limits = {"num_layers": layers, "num_decoder_layers": layers}
    bad = [key for key, value in sizes.items() if type(value) is not int or not 0 < value <= limits.get(key, LARGEST)]
    bad += [key for key, value in rates.items() if type(value) not in (int, float) or not 0 <= value < 1]
    if bad:
        shown = ", ".join(f"{key} is {(sizes | rates)[key]!r:.40}" for key in bad)
        raise UserError(f"{file}: {shown}, which no T5 has; fetch the directory again")
    config = T5Config(
        **{ours: sizes[name] for ours, name in names.items()},
        num_decoder_layers=sizes["num_decoder_layers"],
        relative_position_buckets=sizes["relative_attention_num_buckets"],
        relative_position_max_distance=sizes["relative_attention_max_distance"],
        norm_epsilon=rates["layer_norm_epsilon"],
        dropout=rates["dropout_rate"],
    )
    _check_config(folder, config)
    return config


def _open(folder: Path) -> dict[str, Tensor]:
    """Reads the headers of the safetensors files."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        files = [single]
    elif index.is_file():
        files = _shards(index)
    elif any(folder.glob("*.bin")):
        raise UserError(
            f"{folder}: has its weights only as pickles (pytorch_model.bin), which are not loaded; convert them where "
            "PyTorch is: T5ForConditionalGeneration.from_pretrained(DIR).save_pretrained(NEW) writes model.safetensors"
        )
    else:
        raise UserError(
            f"{folder}: no model.safetensors and no model.safetensors.index.json; give a Hugging Face directory"
        )
    tensors: dict[str, Tensor] = {}
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: is named in {index.name} but is not there; fetch the whole directory")
        found = open_safetensors(file)
        if twice := sorted(found.keys() & tensors.keys()):
            raise UserError(
                f"{file}: holds {twice[0]}, as another file of {index.name} does; fetch the directory again"
            )
        tensors |= found
    return tensors


def _shards(index: Path) -> list[Path]:
    """The files that an index names. UserError: it names none, or something that is no file of its own folder."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{index}: weight_map must say in which file each tensor lies; fetch the directory again")
    for name in weight_map.values():
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\\0]+\.safetensors", name):
            raise UserError(f"{index}: weight_map names {name!r:.80}, which is no .safetensors file beside it")
    return [index.parent / name for name in sorted(set(weight_map.values()))]


def open_safetensors(file: Path) -> dict[str, SafeTensor]:
    """Reads the header of a safetensors file. UserError: it is damaged."""
    from safetensors import SafetensorError, safe_open

    tensors = {}
    try:
        with safe_open(file, framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a dict)
                part = opened.get_slice(name)
                dtype = part.get_dtype()
                tensors[name] = SafeTensor(file, name, tuple(part.get_shape()), TYPES.get(dtype or "", str(dtype)))
    except SafetensorError as error:
        raise UserError(f"{file}: no whole safetensors file ({one_line(error, most=120)}); fetch it again") from None
    return tensors


def _check_config(folder: Path, config: T5Config) -> bool:
    """Compares config.json with the configured model; returns whether transformers would tie a missing output layer.

    Keys that the file lacks have the defaults of transformers' T5Config.
    """
    file = folder / "config.json"
    theirs = read_json(file)
    kind = theirs.get("model_type", "t5")
    if kind != "t5":
        raise UserError(f"{file}: model_type is {kind!r:.60}, only 't5' (FLAN-T5, T5 1.1) can be loaded")
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
        f"{key} is {json.dumps(given[key]):.60}, the configured model has {value}"
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
    """The settings that decide the function which the model computes, under the names of transformers' T5Config."""
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


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON object. UserError: there is none."""
    if not file.is_file():
        raise UserError(
            f"{file}: no such file; give a Hugging Face directory, a T5X checkpoint (the folder with the file `checkpoint`) "
            "or one of our runs"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid JSON ({one_line(error, most=120)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: must hold a JSON object")
    return content
