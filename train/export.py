"""`python -m train.export RUN_DIR --to hf OUT`: takes the model of a run away, as other tools open it."""

import argparse
from pathlib import Path
from typing import Any

from t5x_tasks.errors import UserError, run_cli


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train.export",
        description="Writes the weights of a run, with configuration and tokenizer, into a folder of their own.",
        epilog="Example: python -m train.export runs/dialogsum_base --to hf exported/dialogsum_base",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder of the run")
    parser.add_argument(
        "--to",
        choices=("hf",),
        required=True,
        help="hf: a Hugging Face directory for AutoModelForSeq2SeqLM and AutoTokenizer",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make; must not exist, or be empty")
    parser.add_argument("--step", default="latest", help="latest (default), best (by validation loss), or a number")
    args = parser.parse_args(argv)
    step = export(args.run_dir, args.out, args.step)
    print(f"step {step} of {args.run_dir} -> {args.out}")


def export(run_dir: Path, out: Path, which: str) -> int:
    """Exports a checkpoint; returns its step.

    Raises:
      UserError: no run, no such checkpoint, or something lies at `out` already.
    """
    from train import config as configuration

    config = configuration.load(run_dir, [])
    if which not in ("latest", "best") and not which.isdecimal():
        raise UserError(f"--step: {which!r} is none of latest, best and a number")

    import jax

    jax.config.update("jax_platforms", "cpu")  # XXL in float32 fits a host, hardly an accelerator
    from jax.sharding import SingleDeviceSharding

    from t5x_tasks.vocabulary import Vocabulary
    from train.checkpoints import Checkpoints
    from train.export_hf import check_free, save_hf
    from train.model import abstract_model
    from train.state import model_config

    check_free(out)
    vocabulary = Vocabulary.load(config.model.vocabulary)
    model = model_config(config, vocabulary.size)
    host = SingleDeviceSharding(jax.devices("cpu")[0])
    shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=host), abstract_model(model)[1])
    folder = run_dir / "checkpoints"
    with Checkpoints(folder, best_metric="validation_loss", read_only=True) as checkpoints:
        found = checkpoints.latest_step() if which == "latest" else checkpoints.best_step()
        step = int(which) if which.isdecimal() else found
        if step is None:
            lacks = "no checkpoint yet" if which == "latest" else "no checkpoint with a validation loss; name a step"
            raise UserError(f"{folder}: {lacks}")
        params = checkpoints.restore_params(step, shapes)
    save_hf(params, model, out, vocabulary.path, _generation(config.eval.decode.model_dump()))
    return step


def _generation(decode: dict[str, Any]) -> dict[str, Any]:
    """The run's own way of decoding under the names of transformers' GenerationConfig."""
    names = {"beams": "num_beams", "max_tokens": "max_new_tokens"}
    return {names.get(key, key): value for key, value in decode.items() if key != "type"}


if __name__ == "__main__":
    run_cli(main)
