"""Where parameters come from: random, a Hugging Face directory, a T5X checkpoint, a peft adapter, one of our runs.

params = load_params(config, model)                             # before training
params = checkpoint_params(config, model, checkpoints, step)    # of a step, as the model was trained
params = load_weights(folder, shapes, shardings, model_config)  # of any folder, for the plain model
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.hub import SCHEME
from t5x_tasks.common.vocabulary import Vocabulary
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config, MeshConfig
from train.model.fingerprint import Prints, different, digest, fingerprint, named, note
from train.model.t5 import ADDED, Params, T5Config, init_params
from train.model_spec import ModelSpec, as_configured, extended_params, merged_params
from train.parallel.mesh import make_mesh
from train.trees import flat, join
from train.weights.hf import infer_hf, open_hf
from train.weights.locate import fetch_weights, how_to_get, resolve_weights
from train.weights.stream import place
from train.weights.t5x import CHECKPOINT, infer_t5x, open_t5x

# The folders being read, each of which is the base of the one before: adapters and runs name theirs.
_chain: ContextVar[tuple[Path, ...]] = ContextVar("chain", default=())


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Raises UserError where a folder is its own base, by way of others or at once."""
    here = folder.resolve()
    if here in _chain.get():
        raise UserError(
            f"{folder}: is its own base (model.weights, base_model_name_or_path); name the weights it began with"
        )
    token = _chain.set((*_chain.get(), here))
    try:
        yield
    finally:
        _chain.reset(token)


def describe_weights(weights: str) -> Literal["Hugging Face", "random", "a run", "an adapter", "a T5X checkpoint"]:
    """The kind of weights that `model.weights` names. Of a repository of the hub only small files are fetched.

    Raises:
      UserError: see `resolve_weights`.
    """
    from train.weights.peft import is_peft  # imports this package

    if weights == "random":
        return "random"
    of_hub = weights.startswith(SCHEME)
    folder = fetch_weights(weights, ["*.json"]) if of_hub else resolve_weights(weights)
    if is_run(folder):
        return "a run"
    if is_peft(folder):
        return "an adapter"
    if (folder / CHECKPOINT).is_file():
        return "a T5X checkpoint"
    if of_hub and not (folder / "config.json").is_file():  # offline, with a cache that has other files of it
        raise UserError(f"model.weights: {weights}: no config.json in {folder}; {how_to_get(weights)}")
    return "Hugging Face"


def load_weights(
    folder: Path,
    shapes: Params,
    shardings: Params | None,
    config: T5Config,
    *,
    own: str = "full",
    read: Prints | None = None,
) -> Params:
    """Loads weights, tensor by tensor, each part straight to the devices that hold it.

    Args:
      folder: as `resolve_weights` returns it.
      shapes: the parameters, as anything that has a `shape` and a `dtype`; bfloat16 and float16 become that dtype.
      shardings: of each parameter; None: the default device.
      config: must agree with what the folder says of itself.
      own: `method.type` of the user's configuration: the only code outside flan-t5x that a run's weights may need.
      read: gets the fingerprints of what is read, of an adapter and a run that of their base among them.

    Returns:
      The parameters. The host holds one parameter (all layers) besides those on its own devices.

    Raises:
      UserError: no weights there, another architecture or size, or tensors missing, unknown, misshapen: all in one line.
    """
    with _reading(folder):
        return _load(folder, shapes, shardings, config, own, read)


def _load(
    folder: Path, shapes: Params, shardings: Params | None, config: T5Config, own: str, read: Prints | None
) -> Params:
    from train.weights.peft import base_of, is_peft  # imports this package

    if is_run(folder):
        return _load_run(folder, shardings, config, own, read)
    if is_peft(folder):
        from train.peft_params import load_peft

        base = load_weights(resolve_weights(base_of(folder)), shapes, shardings, config, own=own, read=read)
        return load_peft(folder, base, _mesh(shardings), config, read=read)
    opening = open_t5x if (folder / CHECKPOINT).is_file() else open_hf
    tensors, slots = opening(folder, shapes, config)
    params = place(shapes, shardings, tensors, slots)
    if read is not None:
        note(read, fingerprint(params))
    return params


def infer_config(folder: Path) -> T5Config:
    """Reads the model's shape from a Hugging Face directory, a T5X checkpoint, or the base of a LoRA directory.

    Raises:
      UserError: it is none, or not a T5 1.1.
    """
    from train.weights.peft import base_of, is_peft  # imports this package

    if is_peft(folder):
        with _reading(folder):
            return infer_config(resolve_weights(base_of(folder)))
    return infer_t5x(folder) if (folder / CHECKPOINT).is_file() else infer_hf(folder)


def is_run(folder: Path) -> bool:
    """Whether this is RUN_DIR, which stands for its latest checkpoint, or RUN_DIR/checkpoints/<step>."""
    if folder.name.isdecimal() and folder.absolute().parent.name == "checkpoints":
        folder = folder.absolute().parents[1]
    return (folder / "config.yaml").is_file()


def _load_run(folder: Path, shardings: Params | None, config: T5Config, own: str, read: Prints | None) -> Params:
    """Loads a checkpoint of a run; Orbax reads each device's part and no more."""
    pass

    mesh = _mesh(shardings)
    if (folder / "config.yaml").is_file():
        return load_run(folder, None, mesh, config, own=own, read=read)
    return load_run(folder.absolute().parents[1], int(folder.name), mesh, config, own=own, read=read)


def _mesh(shardings: Params | None) -> jax.sharding.Mesh:
    if shardings is None:
        return make_mesh(MeshConfig(), jax.devices()[:1])
    return jax.tree.leaves(shardings)[0].mesh


def load_params(config: Config, model: ModelSpec, *, read: Prints | None = None) -> Params:
    """All parameters before training, the same on every mesh but for the last bits of what is computed from others.

    The base is `model.weights`, or random from `train.seed`; what the method adds starts from the base, the seed, and the
    texts and files that the method names.

    Args:
      read: see `load_base`.

    Raises:
      UserError: see `load_base`, or a text or file of the method's cannot be used.
    """
    vocabulary = functools.partial(Vocabulary.load, config.model.vocabulary)
    return model.method.start(load_base(config, model, read=read), seed=config.train.seed, vocabulary=vocabulary)


def find_base(config: Config) -> Path | None:
    """The folder of `model.weights`, fetched if need be; None of random ones. UserError: see `weights.resolve_weights`."""
    return None if config.model.weights == "random" else _resolve(config.model.weights)


@functools.cache  # a run looks early whether they are there, and asks the hub once
def _resolve(name: str) -> Path:

    return resolve_weights(name)


def load_base(config: Config, model: ModelSpec, *, read: Prints | None = None) -> Params:
    """All parameters, those that the method freezes as they always are; what it adds may still lack its start.

    Args:
      read: gets the fingerprints of what decides the frozen parameters: of the base as it is read, and of the method where that
        freezes something it adds.

    Raises:
      UserError: the weights are not there or do not fit the model; the message names the tensors.
    """
    base = ModelSpec.on(model.mesh, model.config)
    if (folder := find_base(config)) is None:
        init = functools.partial(init_params, model.config, config.train.seed)
        params = jax.jit(init, out_shardings=base.shardings)()
        if read is not None:
            note(read, fingerprint(params))
    else:
        params = load_weights(folder, base.shapes, base.shardings, model.config, own=config.method.type, read=read)
    if any(ADDED.intersection(path.split("/")) for path in flat(model.split(model.shapes)[1])):
        note(read, {"method": digest(model.method.described().encode(), str(config.train.seed).encode())})
    return extended_params(model, params, seed=config.train.seed)


def checkpoint_params(
    config: Config, model: ModelSpec, checkpoints: Checkpoints, step: int, *, read: Prints | None = None
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
    config: Config, model: ModelSpec, metadata: dict[str, Any], *, where: str, read: Prints | None = None
) -> Params:
    """The parameters that the method does not train, from `model.weights`; nothing, and nothing is read, if it trains all.

    Args:
      metadata: of the checkpoint that goes with them.
      where: begins the error.
      read: see `train.params.load_base`.

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
    model, ours = (ModelSpec.on(mesh, types, theirs.method) for types in (as_trained, config))
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step() if step is None else step
        if step is None:
            raise UserError(f"{run_dir}: no checkpoint yet; take the weights of a run that has one")
        params = merged_params(model, checkpoint_params(theirs, model, checkpoints, step, read=read))
        return as_configured(ours, params, where=f"{run_dir}: step {step}")
