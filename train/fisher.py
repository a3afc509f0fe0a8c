"""The diagonal of the Fisher information, which EWC weighs parameters by.

    F_i = 1/N sum_n (d log p(y_n | x_n) / d theta_i)^2

over N examples of the data, `log p` the sum over an example's target tokens, without dropout: the *empirical* Fisher, with the
answers of the data and not the model's own (Kunstner et al. 2019, arXiv 1905.12558, on how the two differ). The square is taken
for each example by itself: squares of a batch's gradient would be another number.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from train import sharding
from train.loss import head_loss_sums
from train.methods.base import join

Params = dict[str, Any]


def diagonal_fisher(
    graphdef: nnx.GraphDef, params: Params, frozen: Params, rows: Iterable[dict[str, np.ndarray]], *, mesh: Mesh
) -> Params:
    """The diagonal, float32, of the parameters that are trained, in their places on the mesh.

    Examples go through the model one after the other, each over the whole mesh: parameters are cut as in training, but
    devices along `data` repeat each other's work, which a few hundred examples can bear.

    Args:
      params: what is trained.
      frozen: the others.
      rows: batches of unpacked rows, one example each, the same in all processes; empty rows do not count.
    """
    shardings = jax.tree.map(lambda x: x.sharding, params)
    add = _adder(graphdef, shardings)
    zeros = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), params)
    fisher: Any = jax.jit(lambda: jax.tree.map(jnp.zeros_like, zeros), out_shardings=shardings)()
    count = 0
    for batch in rows:
        count += int(np.count_nonzero(batch["decoder_segment_ids"].any(axis=1)))
        fisher = add(fisher, params, frozen, _everywhere(batch, mesh))
    if count == 0:
        raise ValueError("no example to estimate the Fisher information on")
    return jax.tree.map(lambda f: f / count, fisher)


def _adder(graphdef: nnx.GraphDef, shardings: Params) -> Callable[..., Params]:
    def log_likelihood(params: Params, frozen: Params, row: dict[str, jax.Array]) -> jax.Array:
        model = nnx.merge(graphdef, join(params, frozen))
        batch = jax.tree.map(lambda x: x[None], row)
        targets, inside = batch["decoder_target_tokens"], batch["decoder_segment_ids"] > 0
        hidden = model.hidden(batch)
        return -head_loss_sums(hidden, model.head[...], targets, inside, z_loss=0.0, label_smoothing=0.0)[0]

    def add(fisher: Params, params: Params, frozen: Params, batch: dict[str, jax.Array]) -> Params:
        def one(fisher: Params, row: dict[str, jax.Array]) -> tuple[Params, None]:
            gradient = jax.grad(log_likelihood)(params, frozen, row)
            return jax.tree.map(lambda f, g: f + jnp.square(g.astype(jnp.float32)), fisher, gradient), None

        return jax.lax.scan(one, fisher, batch)[0]

    return jax.jit(add, donate_argnums=0, out_shardings=shardings)


def _everywhere(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """The same rows on every device."""
    place = sharding.replicated(mesh)
    return {
        name: jax.make_array_from_callback(rows.shape, place, lambda index, rows=rows: rows[index])
        for name, rows in batch.items()
    }
