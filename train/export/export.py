"""Takes the model of a run, or other weights, away as other tools open them: `python -m train.export` (__main__.py).

What is written appears at once and whole, or not at all (folder.py).

    hf.py       a Hugging Face directory
    t5x.py      a T5X checkpoint
    peft.py     an adapter of the library peft
    card.py     the model card in it
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t5x_tasks.common.errors import UserError

if TYPE_CHECKING:
    from train.config import Config, DecodeConfig
    from train.model.t5 import Params, T5Config
    from train.model_spec import ModelSpec


@dataclass(frozen=True)
class Weights:
    """Weights to export. `read` is called once everything else is known to be right.

    Attributes:
      vocabulary: None where the format needs none.
      decode: the run's `eval.decode`.
      card: the model card.
    """

    step: int | None
    model: "T5Config"
    vocabulary: Path | None
    decode: "DecodeConfig"
    card: str
    read: "Callable[[], Params]"


def export(source: str, out: Path, *, to: str, which: str | None = None, vocabulary: str | None = None) -> int | None:
    """Exports a checkpoint of a run, or other weights; returns the step, None of other weights.

    Raises:
      UserError: no such weights, no such checkpoint, no vocabulary, or something lies at `out` already.
    """
    from train.params import is_run

    run = is_run(Path(source))
    if which is not None and not run:
        raise UserError(f"--step: {source} is no run: it has one set of weights; leave --step away")
    if which not in (None, "latest", "best") and not which.isdecimal():
        raise UserError(f"--step: {which!r} is none of latest, best and a number")

    import jax

    jax.config.update("jax_platforms", "cpu")  # XXL in float32 fits a host, hardly an accelerator

    from t5x_tasks.common.vocabulary import Vocabulary
    from train.export.folder import check_free
    from train.export.hf import generation_config, save_hf
    from train.export.t5x import save_t5x

    check_free(out)
    if to == "peft":
        if not run:
            raise UserError(
                f"--to peft: {source} is no run, so nothing was trained apart from the weights; use --to hf"
            )
        return _adapter(Path(source), which or "latest", vocabulary, out)
    if run:
        chosen = _of_run(Path(source), which or "latest", vocabulary)
    else:
        chosen = _of_others(source, vocabulary, needs_vocabulary=to == "hf")
    generation = {}
    if to == "hf":
        assert chosen.vocabulary is not None
        generation = generation_config(chosen.decode, Vocabulary(chosen.vocabulary))
    params = chosen.read()
    if to == "t5x":
        save_t5x(params, out, chosen.step or 0)
    else:
        assert chosen.vocabulary is not None
        save_hf(params, chosen.model, out, chosen.vocabulary, generation, card=chosen.card)
    return chosen.step


@dataclass(frozen=True)
class _Run:
    """A run, its model on this host, and one of its steps."""

    folder: Path
    config: "Config"
    model: "ModelSpec"
    vocabulary: Path
    step: int


def _open_run(run_dir: Path, which: str, vocabulary: str | None) -> _Run:
    import jax

    from t5x_tasks.common.vocabulary import Vocabulary
    from train import config as configuration
    from train.model_spec import open_model
    from train.parallel.mesh import make_mesh
    from train.selection import read_checkpoints

    if run_dir.name.isdecimal() and not (run_dir / "config.yaml").is_file():  # RUN_DIR/checkpoints/<step>
        run_dir, which = run_dir.absolute().parents[1], run_dir.name
    if vocabulary is not None:
        raise UserError("--vocabulary: a run has its own, in config.yaml; leave --vocabulary away")
    config = configuration.load(run_dir, [])
    pieces = Vocabulary.load(config.model.vocabulary)
    mesh = make_mesh(configuration.MeshConfig(), jax.devices()[:1])
    model = open_model(config, pieces.size, mesh)
    folder = run_dir / "checkpoints"
    with read_checkpoints(run_dir) as checkpoints:
        found = checkpoints.latest_step() if which == "latest" else checkpoints.best_step()
        step = int(which) if which.isdecimal() else found
        if step is None:
            lacks = "no checkpoint yet" if which == "latest" else "no checkpoint with what ranks them; name a step"
            raise UserError(f"{folder}: {lacks}")
        checkpoints.info(step)  # UserError, if there is no such step
    return _Run(run_dir, config, model, pieces.path, step)


def _of_run(run_dir: Path, which: str, vocabulary: str | None) -> Weights:
    """The weights of the plain model that computes what the run's does."""
    from train.checkpoints.checkpointer import Checkpoints
    from train.export.card import run_card
    from train.model_spec import merged_params
    from train.params import checkpoint_params

    run = _open_run(run_dir, which, vocabulary)

    def read() -> "Params":
        with Checkpoints(run.folder / "checkpoints", read_only=True) as checkpoints:
            return merged_params(run.model, checkpoint_params(run.config, run.model, checkpoints, run.step))

    card = run_card(run.config, run.folder, run.step)
    return Weights(run.step, run.model.config, run.vocabulary, run.config.eval.decode, card, read)


def _adapter(run_dir: Path, which: str, vocabulary: str | None, out: Path) -> int:
    """Writes what a run trained for peft. Returns the step.

    Of the base only its kind is looked at: peft loads what transformers does.
    """
    from t5x_tasks.common.hub import SCHEME, HubId, parse_hub_id
    from train.checkpoints.checkpointer import Checkpoints
    from train.export.card import run_card
    from train.export.peft import save_peft
    from train.params import describe_weights

    run = _open_run(run_dir, which, vocabulary)
    base = run.config.model.weights
    if (kind := describe_weights(base)) != "Hugging Face":
        began = "random weights" if kind == "random" else f"{base}, {kind}"
        raise UserError(
            f"--to peft: {run_dir} began from {began}, which peft cannot load; use --to hf (a method that cannot be merged needs "
            "a base in that format: train on what --to hf makes of it)"
        )
    with Checkpoints(run.folder / "checkpoints", read_only=True) as checkpoints:
        trained = checkpoints.restore_params(run.step, run.model.split(run.model.shapes)[0])
    found = parse_hub_id(base) if base.startswith(SCHEME) else HubId(str(Path(base).expanduser().absolute()), None)
    card = run_card(run.config, run.folder, run.step, adapter=True)
    save_peft(run.config.method.to_peft(trained), out, found.repository, revision=found.revision, card=card)
    return run.step


def _of_others(source: str, vocabulary: str | None, *, needs_vocabulary: bool) -> Weights:
    from t5x_tasks.common.vocabulary import locate_vocabulary
    from train.config import EvalConfig
    from train.export.card import converted_card
    from train.model.t5 import abstract_model
    from train.params import infer_config, load_weights
    from train.weights.locate import resolve_weights

    if "://" not in source and not Path(source).expanduser().is_dir():
        raise UserError(
            f"{source}: no such folder; give a run's, a Hugging Face directory, hf://ID, or a T5X checkpoint"
        )
    folder = resolve_weights(source)
    model = infer_config(folder)
    pieces = None
    if needs_vocabulary:
        if vocabulary is None and not (folder / "spiece.model").is_file():
            raise UserError(f"{source}: no spiece.model there; say --vocabulary, as hf://google/flan-t5-base")
        pieces = locate_vocabulary(vocabulary or folder)
    shapes = abstract_model(model)[1]
    decode, card = EvalConfig().decode, converted_card(source)
    return Weights(None, model, pieces, decode, card, lambda: load_weights(folder, shapes, None, model))
