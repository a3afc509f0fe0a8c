"""Weights in: Hugging Face directories and hub ids, with peft's LoRA, T5X checkpoints, our own runs.

They are told apart by their files. Whatever the format, a parameter goes part by part to the devices that hold it (stream.py).

    hf.py     Hugging Face directories
    peft.py   LoRA of peft's on them
    t5x.py    T5X checkpoints
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

import jax

from t5x_tasks.errors import UserError, one_line
from t5x_tasks.hub import SCHEME, parse_hub_id, skip_retries_if_unreachable
from train.config import MeshConfig
from train.fingerprint import Prints, fingerprint, note
from train.model import Params, T5Config
from train.sharding import make_mesh
from train.weights.hf import infer_hf, open_hf
from train.weights.stream import place
from train.weights.t5x import CHECKPOINT, find_t5x, infer_t5x, open_t5x

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


def resolve(weights: str) -> Path:
    """Finds the folder of `model.weights`: a local one, or that of hf://ID or hf://ID@REVISION after fetching it.

    Of a T5X folder that holds one checkpoint_<step>, that is it.

    Raises:
      UserError: no such folder, no such repository, or the hub is out of reach and its cache has not got it.
    """
    if weights.startswith("gs://"):
        raise UserError(
            f"model.weights: {weights}: buckets are not read; run `gcloud storage cp -r {weights} DIR` and give DIR"
        )
    if not weights.startswith(SCHEME):
        folder = Path(weights).expanduser()
        if not folder.is_dir():
            raise UserError(
                f"model.weights: {weights}: no such folder; give hf://ID, a Hugging Face directory, a T5X checkpoint, one of "
                "our runs, or random"
            )
        return find_t5x(folder) or folder
    folder = _fetch(weights, ["*.safetensors", "*.json", "spiece.model"])
    if not any(folder.glob("*.safetensors")):  # offline, a cache that has only the vocabulary counts as the repository
        raise UserError(f"model.weights: {weights}: no safetensors in {folder}; {_how_to_get(weights)}")
    return folder


def _fetch(weights: str, files: list[str]) -> Path:
    """The folder of the hub's cache with these files of a repository. UserError: it is out of reach."""
    hub = parse_hub_id(weights)
    try:
        skip_retries_if_unreachable()
        from huggingface_hub import snapshot_download

        # Folders in a repository hold other formats of the same weights.
        return Path(
            snapshot_download(hub.repository, revision=hub.revision, allow_patterns=files, ignore_patterns=["*/*"])
        )
    except Exception as error:  # no network, no such repository, no access, no valid id
        reason = one_line(error, most=160)
        raise UserError(f"model.weights: {weights} cannot be fetched ({reason}); {_how_to_get(weights)}") from error


def _how_to_get(weights: str) -> str:
    hub = parse_hub_id(weights)
    at = f" --revision {hub.revision}" if hub.revision else ""
    return (
        f"get online, or run `hf download {hub.repository}{at} --local-dir DIR` on a machine that is, and set "
        "model.weights=DIR"
    )


def describe(weights: str) -> Literal["Hugging Face", "random", "a run", "an adapter", "a T5X checkpoint"]:
    """What kind of weights `model.weights` names. Of a repository of the hub only small files are fetched.

    Raises:
      UserError: see `resolve`.
    """
    from train.peft import is_peft  # imports this package

    if weights == "random":
        return "random"
    of_hub = weights.startswith(SCHEME)
    folder = _fetch(weights, ["*.json"]) if of_hub else resolve(weights)
    if is_run(folder):
        return "a run"
    if is_peft(folder):
        return "an adapter"
    if (folder / CHECKPOINT).is_file():
        return "a T5X checkpoint"
    if of_hub and not (folder / "config.json").is_file():  # offline, with a cache that has other files of it
        raise UserError(f"model.weights: {weights}: no config.json in {folder}; {_how_to_get(weights)}")
    return "Hugging Face"


def load(
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
      folder: as `resolve` returns it.
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
    from train.peft import base_of, is_peft  # imports this package

    if is_run(folder):
        return _load_run(folder, shardings, config, own, read)
    if is_peft(folder):
        from train.weights.peft import load_peft

        base = load(resolve(base_of(folder)), shapes, shardings, config, own=own, read=read)
        return load_peft(folder, base, _mesh(shardings), config, read=read)
    opening = open_t5x if (folder / CHECKPOINT).is_file() else open_hf
    tensors, slots = opening(folder, shapes, config)
    params = place(shapes, shardings, tensors, slots)
    if read is not None:
        note(read, fingerprint(params))
    return params


def infer(folder: Path) -> T5Config:
    """Reads the model's shape from a Hugging Face directory, a T5X checkpoint, or the base of a LoRA directory.

    Raises:
      UserError: it is none, or not a T5 1.1.
    """
    from train.peft import base_of, is_peft  # imports this package

    if is_peft(folder):
        with _reading(folder):
            return infer(resolve(base_of(folder)))
    return infer_t5x(folder) if (folder / CHECKPOINT).is_file() else infer_hf(folder)


def is_run(folder: Path) -> bool:
    """Whether this is RUN_DIR, which stands for its latest checkpoint, or RUN_DIR/checkpoints/<step>."""
    if folder.name.isdecimal() and folder.absolute().parent.name == "checkpoints":
        folder = folder.absolute().parents[1]
    return (folder / "config.yaml").is_file()


def _load_run(folder: Path, shardings: Params | None, config: T5Config, own: str, read: Prints | None) -> Params:
    """Loads a checkpoint of a run; Orbax reads each device's part and no more."""
    from train.runs import load_run

    mesh = _mesh(shardings)
    if (folder / "config.yaml").is_file():
        return load_run(folder, None, mesh, config, own=own, read=read)
    return load_run(folder.absolute().parents[1], int(folder.name), mesh, config, own=own, read=read)


def _mesh(shardings: Params | None) -> jax.sharding.Mesh:
    if shardings is None:
        return make_mesh(MeshConfig(), jax.devices()[:1])
    return jax.tree.leaves(shardings)[0].mesh
