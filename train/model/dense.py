"""Matrix products with a hand-written backward pass, and dropout."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from train.model.axes import constrain

PRODUCT = "product"  # name of what remat=selected keeps


class Dropout:
    """Draws T5's dropout masks from one key: each call a new mask, shared along the length (as T5X does).

    One mask for all positions of a row needs `length` times fewer random bits; on a CPU they would cost a quarter of the
    step. Without a key it does nothing.
    """

    def __init__(self, rate: float, key: jax.Array | None):
        self._rate, self._key, self._calls = rate, key, 0

    def mask(self, shape: tuple[int, ...], rate: float | None = None) -> jax.Array | None:
        """Float32 mask of zeros and 1 / (1 - rate), or None when nothing is dropped. An adapter has a `rate` of its own."""
        rate = self._rate if rate is None else rate
        if self._key is None or rate == 0:
            return None
        self._calls += 1
        keep = jax.random.bernoulli(jax.random.fold_in(self._key, self._calls), 1 - rate, shape)
        return keep / (1 - rate)

    def __call__(self, x: jax.Array, rate: float | None = None) -> jax.Array:
        """`[batch, length, dim]` -> the same, dropped."""
        mask = self.mask((x.shape[0], 1, x.shape[2]), rate)
        return x if mask is None else x * mask.astype(x.dtype)


NO_DROPOUT = Dropout(0.0, None)


@jax.custom_vjp
def dense(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel` in the type of `x`: `[..., in]`, `[in, out]` as it is stored -> `[..., out]`.

    In the backward pass the cotangent feeds two products. XLA on a CPU otherwise computes it anew for each of them, once
    element by element in transposed order: for the gated GELU that took a sixth of flan-t5-small's step. The kernel's
    gradient leaves the product in the kernel's own type, so in bfloat16 it is not rounded before it is summed.
    """
    return x @ kernel.astype(x.dtype)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return dense(x, kernel), (x, kernel)


def _backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    x, gradient = jax.lax.optimization_barrier((x, gradient))
    return gradient @ kernel.astype(gradient.dtype).T, _d_kernel(x, gradient, kernel)


def _d_kernel(x: jax.Array, gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """The kernel's gradient, from `[..., in]` and `[..., out]`."""
    # Positions as one axis: contracting two, XLA on a CPU would first transpose `x` out of the stack of all layers.
    d_kernel = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]),
        gradient.reshape(-1, gradient.shape[-1]),
        (((0,), (0,)), ((), ())),
        preferred_element_type=jnp.promote_types(x.dtype, kernel.dtype),
    )
    return d_kernel.astype(kernel.dtype)


dense.defvjp(_forward, _backward)


@jax.custom_vjp
def joined_dense(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`dense` of `[..., heads, head_dim]` as `[..., in]`, in = heads x head_dim.

    What is kept is `x` as it comes: attention's own backward pass keeps it, too, and so it is kept once.
    """
    return dense(_joined(x), kernel)


def _joined(x: jax.Array) -> jax.Array:
    return x.reshape(*x.shape[:-2], -1)


def _joined_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return joined_dense(x, kernel), (x, kernel)


def _joined_backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    d_x, d_kernel = _backward((_joined(x), kernel), gradient)
    return d_x.reshape(x.shape), d_kernel


joined_dense.defvjp(_joined_forward, _joined_backward)


@jax.custom_vjp
def gated_dense(gate: jax.Array, up: jax.Array, mask: jax.Array | None, kernel: jax.Array) -> jax.Array:
    """`(gelu(gate) * up * mask) @ kernel`: `[..., in]` twice, dropout's mask or None, `[in, out]` -> `[..., out]`.

    Only `gate` and `up` are kept for the backward pass, which then goes over them once: the gated product, which the kernel's
    gradient needs, and the gradients of both come from one loop, with one tanh.
    """
    return _gated(gate, up, mask) @ kernel.astype(gate.dtype)


@functools.partial(jax.checkpoint, prevent_cse=False)  # inside a scan nothing could merge the two computations
def gated(gate: jax.Array, up: jax.Array, mask: jax.Array | None) -> jax.Array:
    """`gelu(gate) * up * mask`, GELU in its tanh form (Shazeer 2020); `gate` and `up` alone are kept."""
    return _gated(gate, up, mask)


def _gated(gate: jax.Array, up: jax.Array, mask: jax.Array | None) -> jax.Array:
    y = jax.nn.gelu(gate, approximate=True) * up
    return constrain(y if mask is None else y * mask, ("batch", "length", "mlp"))


def _gated_forward(gate: jax.Array, up: jax.Array, mask: jax.Array | None, kernel: jax.Array) -> tuple[jax.Array, Any]:
    return gated_dense(gate, up, mask, kernel), (gate, up, mask, kernel)


def _gated_backward(saved: Any, gradient: jax.Array) -> tuple[Any, ...]:
    gate, up, mask, kernel = saved
    d_y = constrain(gradient @ kernel.astype(gradient.dtype).T, ("batch", "length", "mlp"))
    # So that XLA does not make the product before `d_y` is there, in a loop of its own.
    mask, d_y = jax.lax.optimization_barrier((mask, d_y))
    y, pull = jax.vjp(lambda gate, up: _gated(gate, up, mask), gate, up)
    return *pull(d_y), None, _d_kernel(y, gradient, kernel)


gated_dense.defvjp(_gated_forward, _gated_backward)
