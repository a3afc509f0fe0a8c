"""Cross-entropy from hidden states, in parts of the positions: the logits of all are never in memory.

Parts that are nothing but padding are left out.

The loss is a sum over positions, so each part's gradient is known as soon as its logits are: it is taken at once and only
the gradients of the hidden states and of the head are kept. That needs the three products of the plain loss and no
recomputation. Logits are float32 and stay cut by the vocabulary on a mesh with `tensor`; their gradient enters its
products in the compute type.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from train.model.axes import constrain, shards

Sums = dict[str, jax.Array]  # float32 [], over the target tokens of a batch


_PARTS = 4  # at least


_POSITIONS = 4096  # of a device in a part, at most, as far as the length divides


def loss_sums(
    logits: jax.Array, targets: jax.Array, weights: jax.Array, *, z_loss: float, label_smoothing: float
) -> tuple[jax.Array, Sums]:
    """Sums over target tokens; the caller divides once by the tokens of the global batch.

    Args:
      logits: float32 `[batch, length, vocab]`.
      targets: int `[batch, length]`.
      weights: bool `[batch, length]`, False on padding.
      z_loss: weight of log(Z)^2, which keeps logits from drifting (Shazeer et al. 2018, arXiv 1804.04235, T5X's `z_loss`).
      label_smoothing: share of probability spread evenly over the vocabulary (Szegedy et al. 2016, section 7).

    Returns:
      The objective's sum, and the sums of `loss` (cross-entropy without z-loss, nats), `correct` and `tokens`.
    """
    log_z = jax.nn.logsumexp(logits, axis=-1)
    target_logits = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    if label_smoothing:
        aim = (1 - label_smoothing) * target_logits + label_smoothing * jnp.mean(logits, axis=-1)
    else:
        aim = target_logits
    cross_entropy = jnp.sum(jnp.where(weights, log_z - aim, 0.0))
    sums = {
        "loss": cross_entropy,
        # The likeliest token is the target, or as likely: XLA's argmax on a CPU takes a hundred times as long as its maximum.
        "correct": jnp.sum(jnp.where(weights, target_logits >= jnp.max(logits, axis=-1), False), dtype=jnp.float32),
        "tokens": jnp.sum(weights, dtype=jnp.float32),
    }
    return cross_entropy + z_loss * jnp.sum(jnp.where(weights, jnp.square(log_z), 0.0)), sums


def head_loss_sums(
    hidden: jax.Array, head: jax.Array, targets: jax.Array, weights: jax.Array, *, z_loss: float, label_smoothing: float
) -> tuple[jax.Array, Sums]:
    """`loss_sums` of the logits `hidden @ head`, in parts that hold targets; only the objective has a gradient.

    Args:
      hidden: `[batch, length, embed]` in the compute type.
      head: `[embed, vocab]` as it is stored.
      targets: int `[batch, length]`.
      weights: bool `[batch, length]`, False on padding.
    """
    sums: Any = _in_parts(hidden, head, targets, weights, z_loss, label_smoothing)
    return sums


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _in_parts(
    hidden: jax.Array, head: jax.Array, targets: jax.Array, weights: jax.Array, z_loss: float, label_smoothing: float
) -> tuple[jax.Array, Sums]:
    kernel, parts = _kernel(hidden, head), Parts(weights)
    hidden, targets, weights = map(parts.take, (hidden, targets, weights))

    def part(number: jax.Array, total: tuple[jax.Array, Sums]) -> tuple[jax.Array, Sums]:
        logits = _logits(parts.of(hidden, number), kernel)
        here = parts.of(targets, number), parts.of(weights, number)
        return jax.tree.map(jnp.add, total, loss_sums(logits, *here, z_loss=z_loss, label_smoothing=label_smoothing))

    return jax.lax.fori_loop(0, parts.count, part, _zeros())


def _forward(
    hidden: jax.Array, head: jax.Array, targets: jax.Array, weights: jax.Array, z_loss: float, label_smoothing: float
) -> tuple[tuple[jax.Array, Sums], tuple[jax.Array, jax.Array]]:
    kernel, parts, shape = _kernel(hidden, head), Parts(weights), hidden.shape
    hidden, targets, weights = map(parts.take, (hidden, targets, weights))

    def part(number: jax.Array, carry: Any) -> Any:
        total, d_hidden, d_kernel = carry
        here, inside = parts.of(hidden, number), parts.of(weights, number)
        aims = parts.of(targets, number)
        logits = _logits(here, kernel)
        sums = loss_sums(logits, aims, inside, z_loss=z_loss, label_smoothing=label_smoothing)
        log_z = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        # d/dlogits of log_z - aim + z_loss * log_z^2
        is_target = jnp.arange(logits.shape[-1]) == aims[..., None]
        gradient = jnp.exp(logits - log_z) * (1 + 2 * z_loss * log_z)
        gradient -= jnp.where(is_target, 1 - label_smoothing, 0.0) + label_smoothing / logits.shape[-1]
        gradient = jnp.where(inside[..., None], gradient, 0.0).astype(here.dtype)
        gradient = jax.lax.optimization_barrier(constrain(gradient, ("batch", "length", "vocab")))
        d_hidden = parts.put(d_hidden, constrain(gradient @ kernel.T, ("batch", "length", None)), number)
        own = jax.lax.dot_general(here, gradient, (((1,), (1,)), ((0,), (0,))), preferred_element_type=d_kernel.dtype)
        d_kernel = constrain(d_kernel + own, ("batch", None, "vocab"))
        return jax.tree.map(jnp.add, total, sums), d_hidden, d_kernel

    # Each group's sum stays on its devices; the devices' are summed once, after the last part.
    shape_of_sums = hidden.shape[0], *head.shape
    d_kernel = jnp.zeros(shape_of_sums, jnp.promote_types(head.dtype, jnp.float32))
    first = _zeros(), jnp.zeros_like(hidden), constrain(d_kernel, ("batch", None, "vocab"))
    total, d_hidden, d_kernel = jax.lax.fori_loop(0, parts.count, part, first)
    d_head = constrain(jnp.sum(d_kernel, axis=0), ("embed", "vocab"))
    return total, (parts.back(d_hidden, shape), d_head.astype(head.dtype))


def _backward(
    z_loss: float, label_smoothing: float, saved: tuple[jax.Array, jax.Array], gradient: tuple[jax.Array, Sums]
) -> tuple[jax.Array, jax.Array, None, None]:
    d_hidden, d_head = saved
    scale = gradient[0]
    return d_hidden * scale.astype(d_hidden.dtype), d_head * scale.astype(d_head.dtype), None, None


_in_parts.defvjp(_forward, _backward)


def head_kl_sum(
    base_hidden: jax.Array, base_head: jax.Array, hidden: jax.Array, head: jax.Array, weights: jax.Array
) -> jax.Array:
    """Sum over target tokens of KL(base || model), nats; in parts like the loss, each computed again for its gradient.

    Args:
      base_hidden: `[batch, length, embed]` of the model that is kept to; no gradient flows into it, nor into its head.
      hidden: the same of the model that is trained.
      weights: bool `[batch, length]`, False on padding.
    """
    base_kernel, kernel = (_kernel(hidden, x) for x in (jax.lax.stop_gradient(base_head), head))

    @jax.checkpoint
    def part(total: jax.Array, xs: Any) -> tuple[jax.Array, None]:
        base_hidden, hidden, weights = xs
        base = jax.nn.log_softmax(_logits(base_hidden, base_kernel))
        ours = jax.nn.log_softmax(_logits(hidden, kernel))
        return total + jnp.sum(jnp.where(weights[..., None], jnp.exp(base) * (base - ours), 0.0)), None

    return jax.lax.scan(part, jnp.float32(0), _split(jax.lax.stop_gradient(base_hidden), hidden, weights))[0]


def _kernel(hidden: jax.Array, head: jax.Array) -> jax.Array:
    """The head in the compute type, gathered over fsdp once and not in each part."""
    return constrain(head.astype(hidden.dtype), (None, "vocab"))


def _logits(hidden: jax.Array, kernel: jax.Array) -> jax.Array:
    logits = jnp.matmul(hidden, kernel, preferred_element_type=jnp.float32)
    return constrain(logits, ("batch", "length", "vocab"))


class Parts:
    """A batch's positions, those with a target first, in parts: those with nothing but padding can be left out.

    Devices that have rows of their own order only these, so nothing travels; all walk as many parts as the fullest needs. Below,
    `groups` are those devices, and `positions` are what each has: rows x length.
    """

    def __init__(self, weights: jax.Array):
        """Of bool `[batch, length]`, False on padding."""
        devices = shards("batch")
        self._groups = devices if weights.shape[0] % devices == 0 else 1  # fewer rows than devices: they lie on each
        inside = self._grouped(weights)
        positions = inside.shape[1]
        self._size = positions // _number_of_parts(positions, rows=1)
        self.count = jnp.max(-(-jnp.sum(inside, axis=1, dtype=jnp.int32) // self._size))
        self._order = jnp.argsort(~inside, axis=1)  # stable

    def take(self, x: jax.Array) -> jax.Array:
        """`[batch, length, ...]` -> `[groups, positions, ...]`, in order."""
        return _along_positions(self._grouped(x), self._order)

    def back(self, x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Undoes `take`."""
        return _along_positions(x, jnp.argsort(self._order, axis=1)).reshape(shape)

    def of(self, x: jax.Array, number: jax.Array) -> jax.Array:
        """The part of that number of what `take` took."""
        return jax.lax.dynamic_slice_in_dim(x, number * self._size, self._size, axis=1)

    def put(self, x: jax.Array, part: jax.Array, number: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(x, part, number * self._size, axis=1)

    def _grouped(self, x: jax.Array) -> jax.Array:
        return x.reshape(self._groups, -1, *x.shape[2:])


def _along_positions(x: jax.Array, order: jax.Array) -> jax.Array:
    return jnp.take_along_axis(x, order.reshape(*order.shape, *(1,) * (x.ndim - 2)), axis=1)


def _split(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """`[batch, length, ...]` -> `[parts, batch, length / parts, ...]`: with positions of all rows, so of all devices, in each."""
    batch, length = arrays[0].shape[:2]
    parts = _number_of_parts(length, rows=-(-batch // shards("batch")))
    return tuple(x.reshape(batch, parts, length // parts, *x.shape[2:]).swapaxes(0, 1) for x in arrays)


def _number_of_parts(length: int, *, rows: int) -> int:
    """The fewest parts of `length`, at least `_PARTS`, that divide it and, of so many of a device's rows, are small enough."""
    enough = (n for n in range(min(_PARTS, length), length + 1) if length % n == 0 and length * rows <= n * _POSITIONS)
    return next(enough, length)


def _zeros() -> tuple[jax.Array, Sums]:
    return jnp.float32(0), dict.fromkeys(("loss", "correct", "tokens"), jnp.float32(0))
