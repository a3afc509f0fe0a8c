"""Full fine-tuning, also with frozen parts."""

import re
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from t5x_tasks.common.errors import UserError
from train.methods.base import Method, matches
from train.trees import flat

if TYPE_CHECKING:
    from flax import nnx

    from train.model.t5 import T5

_BELOW = ("embedding", "encoder_bias/embedding", "decoder_bias/embedding")  # what feeds the first layers


class Full(Method):
    """Every parameter of the model is trained, but those that are frozen.

    Trains what the model has, less what `freeze` matches; with `last_layers: k`, k layers of each stack, the two last norms and
    the head. A layer of the encoder has e = 2 d + 4 d h + 3 d m parameters, one of the decoder e + d + 4 d h (d = emb_dim, h =
    num_heads x head_dim, m = mlp_dim).
    """

    starts_as_base: ClassVar[bool] = True
    type: Literal["full"] = "full"
    freeze: tuple[str, ...] = Field(
        default=(), description="regular expressions that match whole paths: `embedding`, `encoder.*`, `.*_norm/scale`"
    )
    last_layers: PositiveInt | None = Field(
        default=None,
        description="train only so many layers of each stack and what comes after them; what feeds the first layers "
        "(embedding, position biases) is frozen too",
    )

    def extend(self, model: "T5", rngs: "nnx.Rngs") -> None:
        """Adds nothing; cuts the stacks where the frozen layers end."""
        from flax import nnx

        paths = flat(nnx.to_pure_dict(nnx.state(model)))
        for pattern in self.freeze:
            matches(pattern, paths, key="method.freeze")
        if not any(map(self.trains, paths)):
            raise UserError("method.freeze: matches every parameter, so nothing is left to train")
        if self.last_layers is not None:
            for name in ("encoder", "decoder"):
                depth = model.config.num_encoder_layers if name == "encoder" else model.config.num_decoder_layers
                if self.last_layers > depth:
                    raise UserError(
                        f"method.last_layers: {self.last_layers} of the {name}'s {depth}; take a smaller number"
                    )
                if self.last_layers < depth:
                    setattr(model, name, _cut(getattr(model, name), depth - self.last_layers))

    def trains(self, path: str) -> bool:
        stack, *rest = path.split("/")
        if self.last_layers is not None and (path in _BELOW or rest[:1] == ["lower"]):
            return False
        path = "/".join([stack, *(rest[1:] if rest[:1] == ["upper"] else rest)])
        return not any(re.fullmatch(pattern, path) for pattern in self.freeze)

    def merge(self, model: "T5") -> None:
        import jax
        import jax.numpy as jnp
        from flax import nnx

        from train.model.t5 import CutStack

        for name in ("encoder", "decoder"):
            if isinstance(stack := getattr(model, name), CutStack):
                graphdef, lower = nnx.split(stack.lower)
                layers = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), lower, nnx.state(stack.upper))
                setattr(model, name, nnx.merge(graphdef, layers))


def _cut(block: "nnx.Module", depth: int) -> "nnx.Module":
    """A block of stacked layers -> its first `depth` layers and the others."""
    import jax
    from flax import nnx

    from train.model.t5 import CutStack

    graphdef, layers = nnx.split(block)
    lower = nnx.merge(graphdef, jax.tree.map(lambda x: x[:depth], layers))
    return CutStack(lower, nnx.merge(graphdef, jax.tree.map(lambda x: x[depth:], layers)))
