"""Adapters in the layout of the `peft` library: adapter_config.json and adapter_model.safetensors.

A method says in `to_peft` what it is there; the names are those of transformers' modules (train/weights/hf.py), layer by layer.
Checked against peft 0.21; the library itself is not needed here.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5x_tasks.common.errors import UserError
from train.model.t5 import Params
from train.trees import flat
from train.weights.hf import TABLE, SafeTensor, open_safetensors, read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


PREFIX = "base_model.model."  # of every tensor: the model inside peft's wrapper


_MODULES = {path: name.removesuffix(".weight") for name, path, _ in TABLE}


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter as peft saves it.

    Attributes:
      config: of adapter_config.json, without what says where the base is.
      tensors: of adapter_model.safetensors.
    """

    config: dict[str, Any]
    tensors: dict[str, np.ndarray]


def is_peft(folder: Path) -> bool:
    """Whether a folder holds an adapter of peft's."""
    return (folder / CONFIG).is_file()


def base_of(folder: Path) -> str:
    """The weights that an adapter belongs to, as `model.weights`. UserError: it does not say, or is no LoRA."""
    config = read_config(folder)
    if config.get("peft_type") != "LORA":
        raise UserError(f"{folder}: an adapter of the type {config.get('peft_type')!r:.60}; only LORA can be read")
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base, str) or not base:
        raise UserError(f"{folder / CONFIG}: lacks base_model_name_or_path; write the base's hub id or folder there")
    if os.path.isdir(os.path.expanduser(base)):  # noqa: PTH111, PTH112 (no error for a user or a name that cannot be)
        return base  # a folder has no revisions; peft ignores it there, too
    if revision is not None and not isinstance(revision, str):
        raise UserError(f"{folder / CONFIG}: revision is {revision!r:.60}, must be a branch, tag or commit of the base")
    return f"hf://{base}@{revision}" if revision else f"hf://{base}"


def adapters(added: Params) -> Iterator[tuple[str, dict[str, Any]]]:
    """The adapters at kernels: path of the kernel, as `encoder/attention/query`, and its parameters by name."""
    found: dict[str, dict[str, Any]] = {}
    for path, value in flat(added).items():
        module, name, leaf = re.fullmatch(r"(.*)/adapters/([^/]*)/([^/]*)", path).groups()  # pyright: ignore
        found.setdefault(f"{module}/{name}", {})[leaf] = value
    yield from found.items()


def by_layer(
    added: Params, tensors: Callable[[str, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Tensors under their names in peft.

    Args:
      tensors: from the path of a kernel and the parameters of one layer of its adapter, by their names here, to those of a
        module in peft by theirs.
    """
    named = {}
    for path, stacked in adapters(added):
        values = {name: np.asarray(value) for name, value in stacked.items()}
        for layer in range(len(next(iter(values.values())))):
            module = PREFIX + _MODULES[path].format(i=layer)
            for name, tensor in tensors(path, {name: value[layer] for name, value in values.items()}).items():
                named[f"{module}.{name}"] = np.ascontiguousarray(tensor)
    return named


def module_pattern(paths: list[str]) -> str:
    """The regular expression for `target_modules` that matches the modules of these kernels, and no others."""
    return "|".join(re.escape(_MODULES[path]).replace(re.escape("{i}"), r"\d+") for path in sorted(paths))


def read_config(folder: Path) -> dict[str, Any]:
    """Reads an adapter's adapter_config.json. UserError: it is not there, or no JSON."""
    return read_json(folder / CONFIG)


def open_adapter(folder: Path) -> dict[str, SafeTensor]:
    """Reads the header of an adapter's tensors. UserError: the file is not there or not whole; a pickle is not read."""
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder}: has no {WEIGHTS} (a pickle is not read); save it again with a peft of today")
    return open_safetensors(folder / WEIGHTS)


# Kernel's path -> layer -> a tensor's name here -> the tensor, as peft lays it out.
Layers = dict[str, dict[int, dict[str, SafeTensor]]]


def by_kernel(folder: Path, tensors: Mapping[str, SafeTensor], names: Mapping[str, str]) -> Layers:
    """The inverse of `by_layer`: the tensors of each kernel, of those layers that the adapter changes.

    Args:
      names: of a module's tensors in peft -> here.

    Raises:
      UserError: tensors that belong to no kernel of T5, all in one line.
    """
    patterns = {
        path: re.compile(re.escape(PREFIX + module).replace(re.escape("{i}"), r"(\d+)") + r"\.(.+)")
        for path, module in _MODULES.items()
        if "{i}" in module
    }
    found: Layers = {}
    unknown = []
    for tensor_name, tensor in tensors.items():
        matched = [(path, m) for path, pattern in patterns.items() if (m := pattern.fullmatch(tensor_name))]
        if not matched or matched[0][1][2] not in names:
            unknown.append(tensor_name)
            continue
        path, match = matched[0]
        found.setdefault(path, {}).setdefault(int(match[1]), {})[names[match[2]]] = tensor
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise UserError(f"{folder / WEIGHTS}: {', '.join(sorted(unknown)[:3])}{more}: not of a kernel of this model")
    if not found:
        raise UserError(f"{folder / WEIGHTS}: holds no tensor; save the adapter again")
    return found
