"""The anchor of a run: what its regulariser pulls to, and what its replay compares with. Made before the first step, and again
by a resumed run, from the same weights and data; it is in no checkpoint.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from train.config import Config
from train.data.batches import Batches
from train.data.open import fisher_examples
from train.log import say
from train.methods.base import Method
from train.model.fingerprint import Prints, different, digest, fingerprint, named
from train.model.loss import head_loss_sums
from train.model.t5 import Params
from train.model_spec import ModelSpec
from train.parallel.mesh import replicated
from train.params import load_params
from train.regularizer import EWC, Anchor, needs_anchor
from train.trees import flat, join

_ROWS = 8  # that go to the device at once for the Fisher information


def open_fisher(config: Config, vocabulary: Vocabulary) -> Batches | None:
    """The examples that the importance of parameters is estimated on, with EWC.

    Raises:
      UserError: the data of the tasks to keep cannot be read.
    """
    return fisher_examples(config, vocabulary, rows=_ROWS) if isinstance(config.regularizer, EWC) else None


def make_anchor(
    config: Config,
    model: ModelSpec,
    fisher: Batches | None,
    *,
    start: tuple[Params, Params] | None = None,
    read: Prints | None = None,
) -> Anchor | None:
    """The parameters before training and, with EWC, their importance; None where no step asks for them.

    Args:
      fisher: of `open_fisher`.
      start: what is trained and what is frozen, before training; they are copied. None: they are loaded.
      read: gets the fingerprints of what is read when they are loaded.

    Raises:
      UserError: the weights cannot be loaded, or the data of the tasks to keep are damaged.
    """
    regularizer = config.regularizer
    if not needs_anchor(regularizer, config.replay):
        return None
    params, frozen = model.split(load_params(config, model, read=read)) if start is None else start
    anchor = {"params": params if start is None else jax.tree.map(jnp.copy, params)}  # the step gives its own away
    if isinstance(regularizer, EWC):
        assert fisher is not None, "open_fisher gives it"
        rows = _examples(fisher, regularizer.examples)
        anchor["importance"] = diagonal_fisher(model.graphdef, params, frozen, rows, mesh=model.mesh)
        sums, sizes = zip(*((jnp.sum(x), x.size) for x in flat(anchor["importance"]).values()), strict=True)
        say(
            f"regularizer: Fisher information of {regularizer.examples} examples of {config.replay.mixture}: "
            f"mean {float(sum(sums)) / sum(sizes):.3g} a parameter; regularizer.weight multiplies it"
        )
    return anchor


def anchor_shapes(config: Config, params: Any) -> Anchor | None:
    """The anchor as `jax.ShapeDtypeStruct`; `params` are the shapes of what is trained."""
    if not needs_anchor(config.regularizer, config.replay):
        return None
    importance = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32, sharding=x.sharding), params)
    return {"params": params} | ({"importance": importance} if isinstance(config.regularizer, EWC) else {})


def start_files(method: Method, anchor: Anchor | None) -> Prints:
    """Fingerprints of the method's own files that an anchor is made from."""
    return {} if anchor is None else {file.name: digest(file.read_bytes()) for file in method.files()}


def check_anchor(anchor: Anchor | None, metadata: dict[str, Any], *, read: Prints, files: Prints, where: str) -> None:
    """Raises UserError when a run is to resume toward other weights than before.

    An anchor is computed from the base, the method and the seed. The base is compared as it was read; the method and the seed
    are the configuration's, which may not differ anyway.

    Args:
      metadata: of the run's checkpoint.
      read: of what was read for the anchor.
      files: as `start_files` gives them.
    """
    if anchor is None:
        return
    if "read" in metadata:
        changed = different(metadata["read"], read) + different(metadata.get("files", {}), files)
    else:  # a checkpoint from before fingerprints were those of what is read
        changed = different(metadata.get("anchor", {}), fingerprint(anchor["params"]))
    if changed:
        raise UserError(
            f"{where}: was regularised toward {metadata.get('base')}; model.weights is another base now: {named(changed)}; "
            "give the weights it began with"
        )


def _examples(fisher: Batches, count: int) -> Iterator[dict[str, np.ndarray]]:
    """At most `count` examples of the tasks to keep, one a row."""
    for batch in fisher:
        yield {name: rows[:count] for name, rows in batch.arrays.items()}
        count -= _ROWS
        if count <= 0:
            return


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
    place = replicated(mesh)
    return {
        name: jax.make_array_from_callback(rows.shape, place, lambda index, rows=rows: rows[index])
        for name, rows in batch.items()
    }
