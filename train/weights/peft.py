"""Weights in from a LoRA directory of the `peft` library: its base, with the adapter merged in."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from t5x_tasks.errors import UserError
from train import peft
from train.methods.lora import Lora
from train.model import Params, T5Config
from train.runs import merged_params
from train.state import Model, extended_params

NAMES = {"lora_A.weight": "a", "lora_B.weight": "b", "lora_magnitude_vector": "magnitude"}
# Keys that change what the adapter computes, and the only values of them that LoRA as it is here has.
_PLAIN: dict[str, Any] = {"bias": "none", "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "lora_bias": False,
                          "fan_in_fan_out": False, "trainable_token_indices": None}  # fmt: skip


def load_peft(folder: Path, base: Params, mesh: Mesh, config: T5Config) -> Params:
    """Merges the adapter in a folder into its base.

    Args:
      base: parameters of the plain model; their memory is given up.

    Raises:
      UserError: the adapter is of a kind, or has tensors, that LoRA as it is here has not.
    """
    adapter = peft.read_peft(folder)
    theirs = adapter.config
    if other := [key for key, value in _PLAIN.items() if (theirs.get(key) or value) != value]:
        raise UserError(f"{folder / peft.CONFIG}: {other[0]} is {theirs[other[0]]!r:.60}, which cannot be read")
    layers = {"encoder": config.num_encoder_layers, "decoder": config.num_decoder_layers}
    found = peft.stacked(folder, adapter, NAMES, lambda path: layers[path.partition("/")[0]])
    method = Lora.from_peft(theirs, targets=sorted(found))
    model = Model.on(mesh, config, method)
    params = extended_params(model, base, seed=0)
    for path, tensors in found.items():
        *parents, kernel = path.split("/")
        here = functools.reduce(lambda node, name: node[name], parents, params)["adapters"][kernel]
        for name, tensor in tensors.items():
            value = tensor if name == "magnitude" else tensor.swapaxes(1, 2)
            if name not in here or here[name].shape != value.shape:
                raise UserError(
                    f"{folder}: {path}: {name} does not have the rank and sizes of {peft.CONFIG} and the model"
                )
            here[name] = jax.device_put(jnp.asarray(value), here[name].sharding)
    return merged_params(model, params)
