"""Where what a fine-tuning method adds hangs in the model: at products with kernels, and at embedded tokens.

The modules of train/model/t5.py multiply through `Projections`; a method (train/methods) puts an `Adapter` in the place of
a product.
"""

import abc

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from train.model.dense import PRODUCT, Dropout, dense, gated, gated_dense, joined_dense


class Adapter(nnx.Module):
    """Replaces a product `x @ kernel` for a fine-tuning method; see train/methods.

    It hangs in the module that has the kernel, so its parameters have a leading axis of layers like the kernel's.
    """

    @abc.abstractmethod
    def __call__(self, x: jax.Array, kernel: jax.Array, dropout: Dropout) -> jax.Array:
        """`[..., in]` in the compute type, `[in, out]` as it is stored -> `[..., out]` in the compute type."""

    @abc.abstractmethod
    def merged(self, kernel: jax.Array) -> jax.Array:
        """`[layers, in, out]` -> the kernel whose plain product does the same, for layers of weights without adapters; float32.

        Raises:
          UserError: no kernel does.
        """


class EmbeddingAdapter(nnx.Module):
    """Changes embedded tokens for a fine-tuning method; it is `T5.adapters["embedding"]`."""

    @abc.abstractmethod
    def __call__(self, tokens: jax.Array, embedded: jax.Array) -> jax.Array:
        """int `[...]`, `[..., embed]` in the compute type -> the same."""

    @abc.abstractmethod
    def merged(self, embedding: jax.Array) -> jax.Array:
        """`[vocab, embed]` -> the table that alone does the same. UserError: no table does."""


class Projections(nnx.Module):
    """A module that multiplies with kernels `[layers, in, out]`, its parameters of three axes.

    Attributes:
      adapters: of some kernels, by the name of the kernel; empty unless a fine-tuning method hangs some in.
    """

    def __init__(self) -> None:
        self.adapters = nnx.Dict()

    def project(self, x: jax.Array, name: str, dropout: Dropout) -> jax.Array:
        """`[..., in]` -> `[..., out]` by the kernel of that name."""
        kernel, adapter = getattr(self, name)[...], self.adapters.get(name)
        y = dense(x, kernel) if adapter is None else adapter(x, kernel, dropout)
        return checkpoint_name(y, PRODUCT)

    def project_joined(self, x: jax.Array, name: str, dropout: Dropout) -> jax.Array:
        """`[..., heads, head_dim]` -> `[..., out]` by the kernel of that name, whose `in` is heads x head_dim."""
        kernel, adapter = getattr(self, name)[...], self.adapters.get(name)
        if adapter is None:
            y = joined_dense(x, kernel)
        else:
            y = adapter(x.reshape(*x.shape[:-2], -1), kernel, dropout)
        return checkpoint_name(y, PRODUCT)

    def project_gated(self, gate: jax.Array, up: jax.Array, name: str, dropout: Dropout) -> jax.Array:
        """`gelu(gate) * up`, dropped, by the kernel of that name: `[..., in]` twice -> `[..., out]`."""
        kernel, adapter = getattr(self, name)[...], self.adapters.get(name)
        mask = dropout.mask((gate.shape[0], 1, gate.shape[2]))
        mask = None if mask is None else mask.astype(gate.dtype)
        if adapter is None:
            y = gated_dense(gate, up, mask, kernel)
        else:
            y = adapter(gated(gate, up, mask), kernel, dropout)
        return checkpoint_name(y, PRODUCT)
