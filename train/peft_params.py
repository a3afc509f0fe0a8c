"""Parameters from a LoRA directory of the `peft` library: its base, with the adapter merged in."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from t5x_tasks.common.errors import UserError
from train.methods.lora import Lora
from train.model.fingerprint import Prints, digest, note
from train.model.t5 import Params, T5Config
from train.model_spec import ModelSpec, as_configured, extended_params, merged_params
from train.weights import peft
from train.weights.stream import FLOAT_TYPES

NAMES = {"lora_A.weight": "a", "lora_B.weight": "b", "lora_magnitude_vector": "magnitude"}


# Keys of adapter_config.json that are read.
_READ = {"peft_type", "base_model_name_or_path", "revision", "r", "lora_alpha", "use_rslora", "use_dora"}


# Keys that do not change what a trained adapter computes. What it changes, its tensors' names say. The settings of a start
# (eva_config, ...) and of a kind (megatron_core, ...) do nothing without the key that chooses it, which _check_plain refuses.
_WITHOUT_EFFECT = {
    "auto_mapping", "inference_mode", "peft_version", "task_type", "runtime_config",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout",
    "eva_config", "corda_config", "lora_ga_config", "loftq_config", "megatron_core", "qalora_group_size",
}  # fmt: skip


# Values, other than nothing, that leave LoRA plain: PiSSA, OLoRA and others start by changing the base.
_PLAIN: dict[str, tuple[Any, ...]] = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "eva")}


def load_peft(folder: Path, base: Params, mesh: Mesh, config: T5Config, *, read: Prints | None = None) -> Params:
    """Merges the adapter in a folder into its base.

    Args:
      base: parameters of the plain model; their memory is given up.
      read: gets the adapter's fingerprint.

    Raises:
      UserError: the adapter is of a kind, or has tensors, that LoRA as it is here has not.
    """
    theirs = peft.read_config(folder)
    _check_plain(folder, theirs)
    found = peft.by_kernel(folder, peft.open_adapter(folder), NAMES)
    method = Lora.from_peft(theirs, targets=sorted(found), where=str(folder / peft.CONFIG))
    _check_tensors(folder, found, method, base)
    note(read, {peft.WEIGHTS: _fingerprint(found, method)})
    model = ModelSpec.on(mesh, config, method)
    params = extended_params(model, base, seed=0)
    for path, layers in found.items():
        added = _at(params, path, "adapters")
        for name in layers[min(layers)]:
            values = [np.asarray(tensors[name].read(), np.float32) for _, tensors in sorted(layers.items())]
            values = np.stack(values if name == "magnitude" else [value.T for value in values])
            # The layers that the adapter leaves alone keep what a start adds: nothing, and the length of the base's weights.
            added[name] = _with_rows(added[name], np.array(sorted(layers)), values)
    return as_configured(model, merged_params(model, params), where=str(folder))


def _check_plain(folder: Path, theirs: dict[str, Any]) -> None:
    """Raises UserError for keys that are set and are not known to leave the adapter plain LoRA, one that is new among them."""
    known = _READ | _WITHOUT_EFFECT
    other = {key: value for key, value in theirs.items() if key not in known and value}  # null, false, {}: not set
    other = {
        key: value for key, value in other.items() if not any(value is v or value == v for v in _PLAIN.get(key, ()))
    }
    if other:
        named = ", ".join(f"{key} is {value!r:.60}" for key, value in sorted(other.items()))
        raise UserError(
            f"{folder / peft.CONFIG}: {named:.400}, which cannot be read; merge it with peft, and give what "
            "`merge_and_unload().save_pretrained(DIR)` writes"
        )


def _check_tensors(folder: Path, found: peft.Layers, method: Lora, base: Params) -> None:
    """Raises UserError for the first tensor that is missing, of another shape than the model and the rank want, or no float."""
    for path, layers in found.items():
        count, fan_in, fan_out = _at(base, path).shape
        wanted = {"a": (method.rank, fan_in), "b": (fan_out, method.rank)}
        wanted |= {"magnitude": (fan_out,)} if method.dora else {}
        for layer, tensors in layers.items():
            where = f"{folder / peft.WEIGHTS}: {path}, layer {layer}"
            if layer >= count:
                raise UserError(f"{where}: the model has {count} layers; give the adapter's own base")
            if tensors.keys() != wanted.keys():
                raise UserError(f"{where}: has {', '.join(sorted(tensors))}, must have {', '.join(wanted)}")
            for name, shape in wanted.items():
                if tensors[name].shape != shape or tensors[name].dtype not in FLOAT_TYPES:
                    raise UserError(
                        f"{where}: {name} is {tensors[name].dtype} {list(tensors[name].shape)}, which does not have the rank "
                        f"and sizes of {peft.CONFIG} and the model: {list(shape)}"
                    )


def _at(params: Params, path: str, above: str = "") -> Any:
    """The parameter at a path, as `encoder/attention/query`; with `above`, what lies under that name beside it."""
    *parents, name = path.split("/")
    node: Any = params
    for key in (*parents, *([above] if above else []), name):
        node = node[key]
    return node


def _with_rows(stack: jax.Array, rows: np.ndarray, values: np.ndarray) -> jax.Array:
    put = jax.jit(
        lambda stack, rows, values: stack.at[rows].set(values), out_shardings=stack.sharding, donate_argnums=0
    )
    return put(stack, rows, values)


def _fingerprint(found: peft.Layers, method: Lora) -> str:
    """Eight hexadecimal digits of what is read from an adapter: its kernels' tensors, and what the method says of them."""
    parts = [
        part
        for path, layers in sorted(found.items())
        for layer, tensors in sorted(layers.items())
        for name, tensor in sorted(tensors.items())
        for value in [tensor.read()]
        for part in (f"{path} {layer} {name} {value.dtype.str}".encode(), np.ascontiguousarray(value).tobytes())
    ]
    return digest(method.described().encode(), *parts)
