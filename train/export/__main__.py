"""`python -m train.export RUN_DIR --to hf OUT`: takes the model of a run, or other weights, away as other tools open them."""

import argparse
from pathlib import Path

from t5x_tasks.common.errors import run_cli
from train.export.export import export


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train.export",
        description="Writes the weights of a run, or those of another format, into a folder of their own.",
        epilog="Examples: python -m train.export runs/dialogsum_base --to hf exported/dialogsum_base; "
        "python -m train.export hf://google/flan-t5-xl --to t5x exported/flan_t5_xl",
    )
    parser.add_argument(
        "source", metavar="RUN_DIR", help="folder of the run; or a Hugging Face directory, hf://ID, or a T5X checkpoint"
    )
    parser.add_argument(
        "--to",
        choices=("hf", "t5x", "peft"),
        required=True,
        help="hf: a Hugging Face directory for AutoModelForSeq2SeqLM and AutoTokenizer; t5x: a T5X checkpoint; "
        "peft: of a run, what was trained as the library peft opens it",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make; must not exist, or be empty")
    parser.add_argument(
        "--step", help="of a run: latest (default), best (see checkpoint.best), or a number; other weights: none"
    )
    parser.add_argument(
        "--vocabulary", help="SentencePiece model, its folder or hf://ID; only for weights that bring none (T5X) to hf"
    )
    args = parser.parse_args(argv)
    step = export(args.source, args.out, to=args.to, which=args.step, vocabulary=args.vocabulary)
    print(f"{'' if step is None else f'step {step} of '}{args.source} -> {args.out}")


if __name__ == "__main__":
    run_cli(main)
