"""`python -m t5x_tasks suggest CARD`: proposes templates for a card; nothing is written into it.

Writing and ranking them takes a model: `python -m eval suggest`, which takes the
same arguments and is started by this. Imports neither `train` nor `eval`.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t5x_tasks.common.errors import UserError

if TYPE_CHECKING:
    from t5x_tasks.card.card import Card


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `python -m t5x_tasks suggest` and `python -m eval suggest` share."""
    parser.add_argument("card", metavar="CARD", help="file, or the name of a shipped data set")
    parser.add_argument("-n", type=int, default=10, metavar="N", help="how many proposals (default 10)")
    parser.add_argument(
        "--weights",
        metavar="W",
        help="run directory, Hugging Face directory or hf://owner/name: this model writes templates and ranks all",
    )
    parser.add_argument("--vocabulary", metavar="V", help="of the weights, if they do not tell")
    parser.add_argument("--limit", type=int, default=64, metavar="N", help="rows that are ranked on (default 64)")
    parser.add_argument("--score", action="store_true", help="rank by the card's first metric: decodes all rows, slow")
    parser.add_argument(
        "--lengths", default="512/128", type=lengths, metavar="I/T", help="tokens that fit (default 512/128)"
    )
    parser.add_argument("--root", metavar="DATA", help="folder that mirrors data sets")


def lengths(text: str) -> tuple[int, int]:
    """Reads `512/128`: tokens of inputs and targets."""
    inputs, _, targets = text.partition("/")
    if not (inputs.isdigit() and targets.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not INPUTS/TARGETS, as in 512/128")
    return int(inputs), int(targets)


def suggest(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code.

    Raises:
      UserError: no such card, or one whose templates are not its own.
    """
    if not arguments.weights:
        raise UserError(
            "--weights: is missing: templates are written by a model; name a run or a Hugging Face directory"
        )
    command = [sys.executable, "-m", "eval", "suggest", *_as_written(arguments)]
    print(f"with weights: python {' '.join(command[1:])}", file=sys.stderr, flush=True)
    return subprocess.run(command, check=False).returncode


def find_card(name: str) -> "Card":
    """Loads the card of a file, or a shipped one by its name.

    Raises:
      UserError: neither; or a card over a collection that others have templated.
    """
    from t5x_tasks.card.catalog import load_catalog
    from t5x_tasks.card.load import load_card

    if Path(name).suffix or Path(name).is_file():
        card = load_card(name)
    else:
        card = load_catalog().cards.get(name)
        if card is None:
            raise UserError(f"{name}: neither a file nor a shipped data set; `python -m t5x_tasks list` shows those")
    if card.source.templated:
        raise UserError(
            f"{card.path}: its rows were worded by others (source.type templated): there is nothing to suggest"
        )
    return card


def print_suggestions(
    name: str,
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    proposals: Sequence[tuple[str, str]],
    taken: set[str],
) -> None:
    """Prints a table, and the proposals as lines of a card.

    Args:
      name: of the card, as the user wrote it.
      proposals: (inputs, targets) of those that are no template yet, the best first.
      taken: ids of the card's templates.
    """
    from t5x_tasks.commands.describe import print_rows
    from t5x_tasks.common.located_yaml import quoted

    if not proposals:
        raise UserError(f"{name}: the model writes no other template that could be used")
    print_rows([header, *lines])
    print(f"\nTo take one, paste its lines under `templates:` of {name}, or into the file that it names there:\n")
    free = (f"s{number:02}" for number in range(len(taken) + len(proposals)) if f"s{number:02}" not in taken)
    for id, (inputs, targets) in zip(free, proposals, strict=False):
        print(f"  - id: {id}")
        print(f"    inputs: {quoted(inputs)}")
        print(f"    targets: {quoted(targets)}")


def one_line(text: str) -> str:
    """Returns a template for a table: line breaks as signs."""
    return text.replace("\n\n", " ¶ ").replace("\n", " ⏎ ")


def _as_written(arguments: argparse.Namespace) -> list[str]:
    written = [arguments.card, "-n", str(arguments.n), "--limit", str(arguments.limit)]
    written += ["--weights", arguments.weights, "--lengths", "/".join(map(str, arguments.lengths))]
    for key in ("vocabulary", "root"):
        if value := getattr(arguments, key):
            written += [f"--{key}", value]
    return [*written, *(["--score"] if arguments.score else [])]
