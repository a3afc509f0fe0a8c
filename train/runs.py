"""The parameters of a run's checkpoint. It holds what was trained; what was frozen comes from where the run began.

params = checkpoint_params(config, model, checkpoints, step)    # of the model as it was trained
params = merged_params(model, params)                           # of the plain T5 that computes the same
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from t5x_tasks.errors import UserError
from train import config as configuration
from train.checkpoints import Checkpoints
from train.config import Config
from train.fingerprint import Prints, different, digest, fingerprint, named, note
from train.log import say
from train.methods.base import join
from train.model import Params, T5Config, merge_params
from train.state import Model, load_base, rewrite


def checkpoint_params(
    config: Config, model: Model, checkpoints: Checkpoints, step: int, *, read: Prints | None = None
) -> Params:
    """All parameters of a step.

    Args:
      read: gets the fingerprints of what is read, the checkpoint's and the base's.

    Raises:
      UserError: no such step; it does not fit the model; or the base is not the one that it was trained on.
    """
    trained, frozen = model.split(model.shapes)
    metadata = checkpoints.info(step).metadata
    params = checkpoints.restore_params(step, trained)
    if read is not None:
        note(read, fingerprint(params))
    if not frozen:
        return params
    return join(params, load_frozen(config, model, metadata, where=f"step {step}", read=read))


def load_frozen(
    config: Config, model: Model, metadata: dict[str, Any], *, where: str, read: Prints | None = None
) -> Params:
    """The parameters that the method does not train, from `model.weights`; nothing, and nothing is read, if it trains all.

    Args:
      metadata: of the checkpoint that goes with them.
      where: begins the error.
      read: see `train.state.load_base`.

    Raises:
      UserError: they are not those that the checkpoint was trained with.
    """
    if not model.split(model.shapes)[1]:
        return {}
    theirs = metadata.get("config", {}).get("model", {}).get("param_dtype", config.model.param_dtype)
    if theirs != config.model.param_dtype:
        raise UserError(
            f"{where}: was trained with model.param_dtype={theirs}, not {config.model.param_dtype}; give what it was trained with"
        )
    here: Prints = {}
    frozen = model.split(load_base(config, model, read=here))[1]
    if changed := different(metadata["read"], here) if "read" in metadata else _different(metadata, "frozen", frozen):
        raise UserError(
            f"{where}: was trained on {metadata.get('base')}; model.weights={config.model.weights} is another base: "
            f"{named(changed)}; give the weights it was trained on"
        )
    note(read, here)
    return frozen


def _different(metadata: dict[str, Any], name: str, params: Params) -> list[str]:
    """Paths of other parameters than a checkpoint tells that was written before fingerprints were those of what is read."""
    return different(metadata.get(name, {}), fingerprint(params))


def merged_params(model: Model, params: Params) -> Params:
    """Folds what the method added into the weights; `params` are given up.

    What is changed by that is float32, whatever `param_dtype` is: see `Method.merge`.

    Raises:
      UserError: the plain model cannot compute the same.
    """
    plain = Model.on(model.mesh, model.config)
    if model.graphdef == plain.graphdef:
        return params
    merge = functools.partial(merge_params, model.graphdef, merge=model.method.merge)
    return rewrite(merge, params, plain.shardings)


def as_configured(model: Model, params: Params, *, where: str) -> Params:
    """Merged parameters of `model` in the types of its configuration; `params` are given up."""
    plain = Model.on(model.mesh, model.config)
    if all(x.dtype == shape.dtype for x, shape in zip(*map(jax.tree.leaves, (params, plain.shapes)), strict=True)):
        return params
    if model.graphdef != plain.graphdef and model.config.param_dtype == jnp.bfloat16:
        say(
            f"{where}: what {model.method.type} trained is rounded to model.param_dtype=bfloat16 with the weights it is merged "
            "into; a small change can be lost (float32 keeps it)"
        )

    def cast(params: Params) -> Params:
        return jax.tree.map(lambda x, shape: x.astype(shape.dtype), params, plain.shapes)

    return rewrite(cast, params, plain.shardings)


def load_run(
    run_dir: Path, step: int | None, mesh: Mesh, config: T5Config, *, own: str, read: Prints | None = None
) -> Params:
    """The weights of a run's step (None: the latest) for the plain model, in its types whatever those of the run are.

    Of its config.yaml, which may be anybody's, only `model` and `method` are used.

    Args:
      own: see `train.config.load_of_weights`.
      read: gets the fingerprints of what is read and of the run's method.

    Raises:
      UserError: no such run or step, another size of the model, or a method that cannot be merged or is code of its own.
    """
    theirs = configuration.load_of_weights(run_dir, own=own)
    unlike = [
        f"{key} is {size}, the configured model has {getattr(config, key)}"
        for key, size in theirs.model.sizes().items()
        if size != getattr(config, key)
    ]
    if unlike:
        raise UserError(
            f"{run_dir}: {'; '.join(unlike)}; set model.preset={theirs.model.preset}, or take other weights"
        )
    note(read, {"method": digest(theirs.method.described().encode())})
    as_trained = dataclasses.replace(config, param_dtype=jnp.dtype(theirs.model.param_dtype))
    model, ours = (Model.on(mesh, types, theirs.method) for types in (as_trained, config))
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step() if step is None else step
        if step is None:
            raise UserError(f"{run_dir}: no checkpoint yet; take the weights of a run that has one")
        params = merged_params(model, checkpoint_params(theirs, model, checkpoints, step, read=read))
        return as_configured(ours, params, where=f"{run_dir}: step {step}")
