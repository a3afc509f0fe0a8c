"""The parameters of a run's checkpoint. It holds what was trained; what was frozen comes from where the run began.

params = checkpoint_params(config, model, checkpoints, step)    # of the model as it was trained
params = merged_params(config, model, params)                   # of the plain T5 that computes the same
"""

import functools
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from t5x_tasks.errors import UserError
from train import config as configuration
from train import fingerprint
from train.checkpoints import Checkpoints
from train.config import Config
from train.methods.base import join
from train.model import Params, T5Config, merge_params
from train.state import Model, load_base, rewrite


def checkpoint_params(config: Config, model: Model, checkpoints: Checkpoints, step: int) -> Params:
    """All parameters of a step.

    Raises:
      UserError: no such step; it does not fit the model; or the base is not the one that it was trained on.
    """
    trained, frozen = model.split(model.shapes)
    metadata = checkpoints.info(step).metadata
    params = checkpoints.restore_params(step, trained)
    if not frozen:
        return params
    return join(params, load_frozen(config, model, metadata, where=f"step {step}"))


def load_frozen(config: Config, model: Model, metadata: dict[str, Any], *, where: str) -> Params:
    """The parameters that the method does not train, from `model.weights`; nothing, and nothing is read, if it trains all.

    Args:
      metadata: of the checkpoint that goes with them.
      where: begins the error.

    Raises:
      UserError: they are not those that the checkpoint was trained with.
    """
    if not model.split(model.shapes)[1]:
        return {}
    frozen = model.split(load_base(config, model))[1]
    stored = metadata.get("frozen", {})
    if changed := fingerprint.different(stored, fingerprint.fingerprint(frozen)):
        raise UserError(
            f"{where}: was trained on {metadata.get('base')}; model.weights={config.model.weights} is another base: {changed[0]}"
            f"{f' and {len(changed) - 1} more tensors' if len(changed) > 1 else ''} differ(s); give the weights it was trained on"
        )
    return frozen


def merged_params(model: Model, params: Params) -> Params:
    """Folds what the method added into the weights; `params` are given up.

    Raises:
      UserError: the plain model cannot compute the same.
    """
    plain = Model.on(model.mesh, model.config)
    if model.graphdef == plain.graphdef:
        return params
    merge = functools.partial(merge_params, model.graphdef, merge=model.method.merge)
    return rewrite(merge, params, plain.shardings)


def load_run(run_dir: Path, step: int | None, mesh: Mesh, config: T5Config, *, own: str) -> Params:
    """The weights of a run's step (None: the latest) for the plain model.

    Of its config.yaml, which may be anybody's, only `model` and `method` are used.

    Args:
      own: see `train.config.load_of_weights`.

    Raises:
      UserError: no such run or step, another size of the model, or a method that cannot be merged or is code of its own.
    """
    theirs = configuration.load_of_weights(run_dir, own=own)
    different = [
        f"{key} is {size}, the configured model has {getattr(config, key)}"
        for key, size in theirs.model.sizes().items()
        if size != getattr(config, key)
    ]
    if different:
        raise UserError(
            f"{run_dir}: {'; '.join(different)}; set model.preset={theirs.model.preset}, or take other weights"
        )
    model = Model.on(mesh, config, theirs.method)
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step() if step is None else step
        if step is None:
            raise UserError(f"{run_dir}: no checkpoint yet; take the weights of a run that has one")
        return merged_params(model, checkpoint_params(theirs, model, checkpoints, step))
