"""(IA)^3: rescaled activations (Liu et al. 2022, arXiv 2205.05638)."""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import Field

from train.methods.base import Method, hang
from train.model.adapters import Adapter
from train.model.dense import Dropout
from train.model.t5 import T5, Params
from train.weights import peft


class IA3(Method):
    """Multiplies keys, values and the inside of the MLP, number by number, with learned vectors that start at one (section 3.3).

    Trains (2 h + m) Le + (4 h + m) Ld parameters with the default targets: h = num_heads x head_dim, m = mlp_dim, Le and Ld
    layers.
    """

    starts_as_base: ClassVar[bool] = True
    type: Literal["ia3"] = "ia3"
    outputs: tuple[str, ...] = Field(
        default=(".*/(key|value)",),
        description="kernels whose output is rescaled, regular expressions as LoRA's targets",
    )
    inputs: tuple[str, ...] = Field(default=(".*/mlp/down",), description="kernels whose input is rescaled; these win")

    def extend(self, model: T5, rngs: nnx.Rngs) -> None:
        hang(model, self.outputs, lambda path, kernel: Rescale(kernel, self.side(path)), key="method.outputs")
        hang(model, self.inputs, lambda path, kernel: Rescale(kernel, self.side(path)), key="method.inputs")

    def to_peft(self, added: Params) -> peft.PeftAdapter:
        def of_layer(path: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"ia3_l": np.expand_dims(values["scale"], 0 if self.side(path) == "input" else 1)}

        paths = [path for path, _ in peft.adapters(added)]
        config = {
            "peft_type": "IA3",
            "target_modules": peft.module_pattern(paths),
            "feedforward_modules": peft.module_pattern([path for path in paths if self.side(path) == "input"]),
        }
        return peft.PeftAdapter(config, peft.by_layer(added, of_layer))

    def side(self, path: str) -> Literal["input", "output"]:
        """Which side of a kernel is rescaled."""
        return "input" if any(re.fullmatch(pattern, path) for pattern in self.inputs) else "output"


class Rescale(Adapter):
    """`(x W) * scale`, or `(x * scale) W`."""

    def __init__(self, kernel: nnx.Param, side: Literal["input", "output"]):
        self.side = side
        axis = 1 if side == "input" else 2
        names = kernel.get_metadata("logical_axes")
        ones = jnp.ones((kernel.shape[0], kernel.shape[axis]), jnp.float32)
        self.scale = nnx.Param(ones, logical_axes=(names[0], names[axis]))

    def __call__(self, x: jax.Array, kernel: jax.Array, dropout: Dropout) -> jax.Array:
        scale, kernel = self.scale[...].astype(x.dtype), kernel.astype(x.dtype)
        return (x * scale) @ kernel if self.side == "input" else (x @ kernel) * scale

    def merged(self, kernel: jax.Array) -> jax.Array:
        return kernel.astype(jnp.float32) * jnp.expand_dims(self.scale[...], 2 if self.side == "input" else 1)
