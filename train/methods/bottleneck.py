"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751)."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field, PositiveInt

from t5x_tasks.common.errors import UserError
from train.methods.base import Method, hang
from train.model.adapters import Adapter
from train.model.dense import Dropout
from train.model.t5 import T5


class Bottleneck(Method):
    """Puts a small residual MLP behind each sublayer, before the model's own residual sum (section 2.1).

    Trains 2 d s + s + d parameters a layer and target, (2 Le + 3 Ld) times with the default targets: d = emb_dim, s = size, Le
    and Ld layers. With `targets: [".*/mlp/down"]` it is the leaner form of Pfeiffer et al. 2021 (arXiv 2005.00247).
    """

    starts_as_base: ClassVar[bool] = True
    type: Literal["bottleneck"] = "bottleneck"
    size: PositiveInt = Field(default=64, le=2**16, description="units in the middle")
    targets: tuple[str, ...] = Field(
        default=(".*/out", ".*/mlp/down"),
        min_length=1,
        description="kernels behind which they stand, as LoRA's targets",
    )

    def extend(self, model: T5, rngs: nnx.Rngs) -> None:
        hang(model, self.targets, lambda _, kernel: Residual(self.size, kernel, rngs), key="method.targets")


class Residual(Adapter):
    """`y + relu(y D + b) U + c` with `y = x W`. U, b and c start with zeros: the model starts as the base."""

    def __init__(self, size: int, kernel: nnx.Param, rngs: nnx.Rngs):
        layers, _, dim = kernel.shape
        stacked, _, axis = kernel.get_metadata("logical_axes")
        down = dim**-0.5 * jax.random.normal(rngs.params(), (layers, dim, size), jnp.float32)
        self.down = nnx.Param(down, logical_axes=(stacked, axis, "rank"))
        self.down_bias = nnx.Param(jnp.zeros((layers, size), jnp.float32), logical_axes=(stacked, "rank"))
        self.up = nnx.Param(jnp.zeros((layers, size, dim), jnp.float32), logical_axes=(stacked, "rank", axis))
        self.up_bias = nnx.Param(jnp.zeros((layers, dim), jnp.float32), logical_axes=(stacked, axis))

    def __call__(self, x: jax.Array, kernel: jax.Array, dropout: Dropout) -> jax.Array:
        y = x @ kernel.astype(x.dtype)
        down, down_bias, up, up_bias = (
            p[...].astype(x.dtype) for p in (self.down, self.down_bias, self.up, self.up_bias)
        )
        return y + jax.nn.relu(y @ down + down_bias) @ up + up_bias

    def merged(self, kernel: jax.Array) -> jax.Array:
        raise UserError("method bottleneck: its adapters are no linear maps, so they cannot be merged into the weights")
