"""P-tuning (Liu et al. 2021, arXiv 2103.10385): pseudo tokens whose embeddings come from a small network while they are trained.

They stand where a card's templates have them, `[p0..p9] {dialogue} [p10] Summary:`, around anchor words and fields
(t5x_tasks/card/template.py), or in front of the inputs as in prompt tuning. The network is dropped in the end: what is
exported are the embeddings it gives.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import Field, PositiveInt

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.template import count_pseudo_tokens
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.data_config import DataConfig
from train.methods.base import Method
from train.methods.prompt_tuning import prompt_adapter
from train.model.soft_prompts import Prompt
from train.model.t5 import T5, Params
from train.weights import peft

_LSTM_LAYERS = 2  # of the paper's code


class PTuning(Method):
    """Trains embeddings of n = `length` pseudo tokens, and the network (section 3.2) that they go through.

    Trains n d + r (d + 1) + d (r + 1) parameters with the MLP, and with the LSTM n d + 8 r (d + r + 1) + 8 r (3 r + 1) +
    2 r (2 r + 1) + d (2 r + 1): d = emb_dim, r = hidden. When the network is dropped n d are left.
    """

    type: Literal["p_tuning"] = "p_tuning"
    length: PositiveInt = Field(
        default=20,
        le=4096,
        description="pseudo tokens in front of the inputs; where the templates of the data have some, those are trained instead",
    )
    network: Literal["lstm", "mlp"] = Field(
        default="lstm", description="lstm: two layers in both directions, then an MLP, as in the paper; mlp: only one"
    )
    hidden: PositiveInt = Field(default=256, le=2**16, description="units of the LSTM in each direction, or of the MLP")
    in_templates: int | None = Field(
        default=None, description="id of the first pseudo token's piece; said by us when the templates have them"
    )

    def resolve(self, data: DataConfig, vocabulary: Vocabulary) -> "PTuning":
        catalog = load_catalog(data.cards)
        if self.in_templates is not None or not catalog.knows(data.mixture):
            return self
        pairs = catalog.resolve(data.mixture)
        found = max(count_pseudo_tokens(variant.inputs) for _, variant in pairs)
        return self.model_copy(update={"length": found, "in_templates": vocabulary.size - 1}) if found else self

    def extend(self, model: T5, rngs: nnx.Rngs) -> None:
        model.prompt = PseudoTokens(self, model.config.emb_dim, rngs)

    def trains(self, path: str) -> bool:
        return path.startswith("prompt/")

    def prompt(self, dataset: str) -> tuple[int, ...]:
        return () if self.in_templates is not None else tuple(range(-1, -1 - self.length, -1))

    def merge(self, model: T5) -> None:
        """Writes the embeddings into the rows of the sentinels that stand for pseudo tokens in templates."""
        if self.in_templates is None:
            raise UserError(
                f"method {self.type}: pseudo tokens in front of the inputs have no row of the embedding, so they cannot be "
                "merged; `--to peft`, or put them into the templates of a card"
            )
        assert model.prompt is not None
        rows = self.in_templates - jnp.arange(self.length)
        embedding = model.embedding[...].astype(
            jnp.float32
        )  # whatever it is held in: the rows that are set are float32
        model.embedding.set_value(embedding.at[rows].set(model.prompt.table()))
        del model.prompt

    def to_peft(self, added: Params) -> peft.PeftAdapter:
        if self.in_templates is not None:
            raise UserError(
                "--to peft: PEFT's prompts are in front of the inputs, these pseudo tokens in the templates; `--to hf` writes "
                "them into the rows of <extra_id_0>, <extra_id_1>, ..., which then stand for them in the text"
            )
        return prompt_adapter(np.asarray(_embeddings(added["prompt"])))


class PseudoTokens(Prompt):
    """The embeddings of the pseudo tokens, through the network."""

    def __init__(self, method: PTuning, emb_dim: int, rngs: nnx.Rngs):
        self.first = method.in_templates

        def param(*shape: int, fan: int | None = None, axes: tuple[str | None, ...] = ()) -> nnx.Param:
            """Uniform in +-1 / sqrt(fan), as PyTorch's LSTM and Linear start; without `fan` normal."""
            if fan is None:
                value = jax.random.normal(rngs.params(), shape, jnp.float32)
            else:
                value = jax.random.uniform(rngs.params(), shape, jnp.float32, -(fan**-0.5), fan**-0.5)
            return nnx.Param(value, logical_axes=axes or ("rank",) * len(shape))

        r = method.hidden
        self.rows = param(method.length, emb_dim, axes=("virtual", "embed"))
        inner = emb_dim if method.network == "mlp" else 2 * r
        if method.network == "lstm":
            self.lstm = nnx.Dict()
            for layer in range(_LSTM_LAYERS):
                into = 2 * r if layer else emb_dim
                self.lstm[f"layer_{layer}"] = nnx.Dict(
                    {
                        "input": param(2, into, 4 * r, fan=r, axes=(None, "rank" if layer else "embed", "rank")),
                        "state": param(2, r, 4 * r, fan=r, axes=(None, "rank", "rank")),
                        "bias": param(2, 4 * r, fan=r, axes=(None, "rank")),
                    }
                )
        width = r if method.network == "mlp" else 2 * r
        self.mlp = nnx.Dict(
            {
                "in": param(inner, width, fan=inner, axes=("embed" if method.network == "mlp" else "rank", "rank")),
                "in_bias": param(width, fan=inner),
                "out": param(width, emb_dim, fan=width, axes=("rank", "embed")),
                "out_bias": param(emb_dim, fan=width, axes=("embed",)),
            }
        )

    def table(self) -> jax.Array:
        return _embeddings(nnx.to_pure_dict(nnx.state(self)))

    def __call__(self, tokens: jax.Array, embedded: jax.Array) -> jax.Array:
        if self.first is not None:
            virtual = tokens - self.first - 1  # pieces of sentinels run downwards, as ids of virtual tokens do
            length = self.rows.shape[0]
            tokens = jnp.where((virtual < 0) & (virtual >= -length), virtual, tokens)
        return super().__call__(tokens, embedded)


def _embeddings(params: Params) -> jax.Array:
    """The network's outputs, `[length, embed]`."""
    with jax.default_matmul_precision("highest"):
        x = params["rows"]
        for _, layer in sorted(params.get("lstm", {}).items()):
            ways = [_lstm(x[::way], {name: p[i] for name, p in layer.items()})[::way] for i, way in enumerate((1, -1))]
            x = jnp.concatenate(ways, axis=-1)
        mlp = params["mlp"]
        return jax.nn.relu(x @ mlp["in"] + mlp["in_bias"]) @ mlp["out"] + mlp["out_bias"]


def _lstm(x: jax.Array, layer: Params) -> jax.Array:
    """`[length, in]` -> `[length, hidden]`: Hochreiter & Schmidhuber 1997 with forget gates, as PyTorch's LSTM."""
    zero = jnp.zeros(layer["state"].shape[0], x.dtype)

    def step(carry: Any, gates: jax.Array) -> Any:
        state, cell = carry
        entry, forget, new, out = jnp.split(gates + state @ layer["state"], 4)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(entry) * jnp.tanh(new)
        state = jax.nn.sigmoid(out) * jnp.tanh(cell)
        return (state, cell), state

    return jax.lax.scan(step, (zero, zero), x @ layer["input"] + layer["bias"])[1]
