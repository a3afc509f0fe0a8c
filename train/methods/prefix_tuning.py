"""Prefix tuning (Li & Liang 2021, arXiv 2101.00190), and with it P-tuning v2 (Liu et al. 2022, arXiv 2110.07602).

Trained keys and values in front of the examples' own, in every layer. They are no tokens and take no room in a row:
train/model/soft_prompts.py says where they stand for each example of a packed row.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import Field, PositiveInt

from t5x_tasks.common.errors import UserError
from train.methods.base import Method
from train.methods.prompt_tuning import task_index
from train.model.soft_prompts import Prefix
from train.model.t5 import T5, Params, T5Config
from train.weights import peft

Place = Literal["encoder", "decoder", "cross"]


class PrefixTuning(Method):
    """Puts `length` keys and values in front of an attention's own, in each layer.

    Trains 2 n h (Le + 2 Ld) parameters in all three places: n = length times the number of `tasks`, h = num_heads x head_dim,
    Le and Ld layers. With `hidden: r` each of the places has an MLP instead: n d + (d + 1) r + 2 h (r + 1) L, d = emb_dim, L
    the layers of its stack.
    """

    type: Literal["prefix_tuning"] = "prefix_tuning"
    length: PositiveInt = Field(default=20, le=4096, description="virtual tokens of the prefix")
    places: tuple[Place, ...] = Field(
        default=("encoder", "decoder", "cross"),
        min_length=1,
        description="self-attention of encoder and decoder, attention from the decoder to the encoder; peft has [decoder]",
    )
    hidden: PositiveInt | None = Field(
        default=None,
        le=2**16,
        description="train through an MLP with so many hidden units (section 4.3 of Li & Liang); exports hold what it gives",
    )
    init_std: float = Field(
        default=0.5, gt=0, description="of the random start of keys and values; T5's own have about 1"
    )
    tasks: tuple[str, ...] = Field(
        default=(), description="data sets that have a prefix each; empty: one prefix for all examples"
    )

    def extend(self, model: T5, rngs: nnx.Rngs) -> None:
        for place in dict.fromkeys(self.places):
            setattr(model, f"{place}_prefix", _make(self, place, model.config, rngs))

    def trains(self, path: str) -> bool:
        return path.partition("/")[0].endswith("_prefix")

    def prompt(self, dataset: str) -> tuple[int, ...]:
        index = task_index(self.tasks, dataset)
        return (-1 - index,) if len(self.tasks) > 1 else ()  # the mark of train/model/soft_prompts.py

    def merge(self, model: T5) -> None:
        raise UserError(
            f"method {self.type}: a prefix is no part of any weight, so it cannot be merged; evaluate the run itself"
        )

    def to_peft(self, added: Params) -> peft.PeftAdapter:
        if len(self.tasks) > 1:
            raise UserError(
                "method.tasks: PEFT's prefix tuning has one prefix for all; several cannot be exported together"
            )
        if set(self.places) != {"decoder"}:
            raise UserError(
                f"method.places: [{', '.join(self.places)}]; PEFT's prefix tuning of T5 has prefixes in the decoder's "
                "self-attention alone, so only a run with method.places=[decoder] can be exported"
            )
        keys, values = (np.asarray(table) for table in _table(added["decoder_prefix"]))
        layers, slots, heads, head_dim = keys.shape
        # PEFT 0.21 deals keys and values out in fours, two of which (cross-attention's) it throws away, and starts again at the
        # first layer when they run out. With twice the layers they do not run out before each layer has its own.
        table = np.zeros((slots, layers, 4, heads, head_dim), np.float32)
        table[:, :, 0], table[:, :, 1] = keys.swapaxes(0, 1), values.swapaxes(0, 1)
        config = {
            "peft_type": "PREFIX_TUNING",
            "num_virtual_tokens": slots,
            "token_dim": heads * head_dim,
            "num_attention_heads": heads,
            "num_layers": 2 * layers,
            "num_transformer_submodules": 2,
            "encoder_hidden_size": heads * head_dim,
            "prefix_projection": False,
        }
        return peft.PeftAdapter(config, {"prompt_embeddings": table.reshape(slots, -1)})


def _make(method: PrefixTuning, place: Place, config: T5Config, rngs: nnx.Rngs) -> Prefix:
    make = Free if method.hidden is None else Reparameterised
    return make(method, config.num_encoder_layers if place == "encoder" else config.num_decoder_layers, config, rngs)


class Free(Prefix):
    """Each number of the prefix is a parameter."""

    def __init__(self, method: PrefixTuning, layers: int, config: T5Config, rngs: nnx.Rngs):
        super().__init__(method.length, max(1, len(method.tasks)))
        shape = (layers, self.prefixes * self.length, config.num_heads, config.head_dim)
        axes = ("layers", "virtual", "heads", None)
        self.keys = nnx.Param(method.init_std * jax.random.normal(rngs.params(), shape, jnp.float32), logical_axes=axes)
        self.values = nnx.Param(
            method.init_std * jax.random.normal(rngs.params(), shape, jnp.float32), logical_axes=axes
        )

    def table(self) -> tuple[jax.Array, jax.Array]:
        return self.keys[...], self.values[...]


class Reparameterised(Prefix):
    """`tanh(E A + a) B + b`: one hidden vector a slot, from which all layers' keys and values are made (section 4.3)."""

    def __init__(self, method: PrefixTuning, layers: int, config: T5Config, rngs: nnx.Rngs):
        super().__init__(method.length, max(1, len(method.tasks)))
        assert method.hidden is not None
        hidden, emb, out = method.hidden, config.emb_dim, (2, config.num_heads, config.head_dim)

        def normal(shape: tuple[int, ...], std: float) -> jax.Array:
            return std * jax.random.normal(rngs.params(), shape, jnp.float32)

        slots = self.prefixes * self.length
        self.rows = nnx.Param(normal((slots, emb), 1.0), logical_axes=("virtual", "embed"))
        self.down = nnx.Param(normal((emb, hidden), emb**-0.5), logical_axes=("embed", "rank"))
        self.down_bias = nnx.Param(jnp.zeros(hidden, jnp.float32), logical_axes=("rank",))
        # tanh of unit normals has a standard deviation of 0.63
        std = method.init_std / 0.63 * hidden**-0.5
        axes = (None, "heads", None)
        self.up = nnx.Param(normal((layers, hidden, *out), std), logical_axes=("layers", "rank", *axes))
        self.up_bias = nnx.Param(jnp.zeros((layers, *out), jnp.float32), logical_axes=("layers", *axes))

    def table(self) -> tuple[jax.Array, jax.Array]:
        names = ("rows", "down", "down_bias", "up", "up_bias")
        return _table({name: getattr(self, name)[...] for name in names})


def _table(params: Params) -> tuple[jax.Array, jax.Array]:
    """Keys and values of a prefix's parameters, `[layers, slots, heads, head_dim]` each."""
    if "keys" in params:
        return params["keys"], params["values"]
    exact = jax.lax.Precision.HIGHEST
    hidden = jnp.tanh(jnp.matmul(params["rows"], params["down"], precision=exact) + params["down_bias"])
    table = jnp.einsum("nr,lrphd->lpnhd", hidden, params["up"], precision=exact) + params["up_bias"][:, :, None]
    return table[:, 0], table[:, 1]
