"""Low-rank adaptation: LoRA (Hu et al. 2021, arXiv 2106.09685), with rank-stabilised scaling and DoRA as options."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import Field, PositiveInt, ValidationError

from t5x_tasks.common.errors import UserError
from train.methods.base import Method, hang
from train.model.adapters import Adapter
from train.model.dense import Dropout
from train.model.t5 import T5, Params
from train.weights import peft


class Lora(Method):
    """Adds to each target kernel W `[in, out]` a product A B of rank r, scaled by alpha / r.

    Trains r (in + out) parameters a layer and target, with `dora` out more. With the default targets, all attention's queries
    and values, that is r (d + h) (2 Le + 4 Ld): d = emb_dim, h = num_heads x head_dim, Le and Ld layers.
    """

    starts_as_base: ClassVar[bool] = True
    type: Literal["lora"] = "lora"
    rank: PositiveInt = Field(default=8, le=2**16, description="rank of the product of A and B")
    alpha: float = Field(
        default=16.0, gt=0, le=float(np.finfo(np.float32).max), description="the product is scaled by alpha / rank"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of the input of A")
    targets: tuple[str, ...] = Field(
        default=(".*/(query|value)",),
        min_length=1,
        description="regular expressions that match whole paths of kernels: `decoder/.*`, `.*/(query|key|value|out)`",
    )
    rslora: bool = Field(
        default=False, description="scale by alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732): for high ranks"
    )
    dora: bool = Field(
        default=False, description="train the length of each output's weights apart (Liu et al. 2024, arXiv 2402.09353)"
    )

    @property
    def scale(self) -> float:
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    def extend(self, model: T5, rngs: nnx.Rngs) -> None:
        hang(model, self.targets, lambda _, kernel: LowRank(self, kernel, rngs), key="method.targets")

    def to_peft(self, added: Params) -> peft.PeftAdapter:
        def of_layer(_: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            tensors = {"lora_A.weight": values["a"].T, "lora_B.weight": values["b"].T}
            return tensors | ({"lora_magnitude_vector": values["magnitude"]} if self.dora else {})

        config = {
            "peft_type": "LORA",
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rslora,
            "use_dora": self.dora,
            "bias": "none",
            "target_modules": peft.module_pattern([path for path, _ in peft.adapters(added)]),
        }
        return peft.PeftAdapter(config, peft.by_layer(added, of_layer))

    @classmethod
    def from_peft(cls, config: Mapping[str, Any], *, targets: Iterable[str], where: str) -> "Lora":
        """The method of an adapter_config.json, at these kernels; what it lacks has peft's defaults.

        Raises:
          UserError: a number in it cannot be; begins with `where`.
        """
        given = {"r": config.get("r", 8), "lora_alpha": config.get("lora_alpha", 8)}
        given |= {key: config.get(key) or False for key in ("use_rslora", "use_dora")}
        names = {"rank": "r", "alpha": "lora_alpha", "rslora": "use_rslora", "dora": "use_dora"}
        values = {ours: given[theirs] for ours, theirs in names.items()}
        try:
            return cls.model_validate(values | {"targets": tuple(map(re.escape, targets))}, strict=True)
        except ValidationError as error:
            key = names[str(error.errors()[0]["loc"][0])]
            raise UserError(f"{where}: {key} is {given[key]!r:.60}, which LoRA cannot have; save it again") from None


class LowRank(Adapter):
    """`x W + scale (dropout(x) A) B`; with DoRA times `magnitude / norm(W + scale A B)`, the norm as a constant (section 4.3).

    As in PEFT, A starts uniform in +-1 / sqrt(in), B with zeros: the model starts as the base.
    """

    def __init__(self, method: Lora, kernel: nnx.Param, rngs: nnx.Rngs):
        layers, fan_in, fan_out = kernel.shape
        stacked, axis_in, axis_out = kernel.get_metadata("logical_axes")
        self.scale, self.dropout, self.dora = method.scale, method.dropout, method.dora
        bound = fan_in**-0.5
        a = jax.random.uniform(rngs.params(), (layers, fan_in, method.rank), jnp.float32, -bound, bound)
        self.a = nnx.Param(a, logical_axes=(stacked, axis_in, "rank"))
        self.b = nnx.Param(
            jnp.zeros((layers, method.rank, fan_out), jnp.float32), logical_axes=(stacked, "rank", axis_out)
        )
        if self.dora:
            self.magnitude = nnx.Param(_norm(kernel[...]), logical_axes=(stacked, axis_out))

    def __call__(self, x: jax.Array, kernel: jax.Array, dropout: Dropout) -> jax.Array:
        a, b = self.a[...].astype(x.dtype), self.b[...].astype(x.dtype)
        y = x @ kernel.astype(x.dtype) + self.scale * ((dropout(x, self.dropout) @ a) @ b)
        if not self.dora:
            return y
        return y * (self.magnitude[...] / jax.lax.stop_gradient(_norm(self._sum(kernel)))).astype(x.dtype)

    def merged(self, kernel: jax.Array) -> jax.Array:
        whole = self._sum(kernel)
        return whole * (self.magnitude[...] / _norm(whole))[:, None, :] if self.dora else whole

    def _sum(self, kernel: jax.Array) -> jax.Array:
        product = jnp.matmul(self.a[...], self.b[...], precision=jax.lax.Precision.HIGHEST)
        return kernel.astype(jnp.float32) + self.scale * product


def _norm(kernel: jax.Array) -> jax.Array:
    """Length of each output's weights: `[..., in, out]` -> float32 `[..., out]`."""
    return jnp.sqrt(jnp.sum(jnp.square(kernel.astype(jnp.float32)), axis=-2))
