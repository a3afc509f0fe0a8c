"""python -m t5x_tasks list | show NAME | preview NAME | check CARD | prepare CONFIG [key=value ...]"""

import argparse
from typing import TYPE_CHECKING

from t5x_tasks.errors import run_cli

if TYPE_CHECKING:
    from t5x_tasks.vocabulary import Vocabulary


def main(argv: list[str]) -> None:
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m t5x_tasks",
        description="Data sets as tasks: what there is, what the model sees of it, and the token cache.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--root", metavar="DATA", help="folder that mirrors data sets: DATA/<dataset>/<split>.jsonl[.gz]"
    )
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument(
        "--cards", action="append", default=[], metavar="CARD", help="more cards: a file or folder; may be repeated"
    )
    vocabulary = argparse.ArgumentParser(add_help=False)
    vocabulary.add_argument(
        "--vocabulary", metavar="V", help="SentencePiece model, its folder, or hf://owner/name: show tokens"
    )
    vocabulary.add_argument(
        "--lengths", default="512/128", type=_lengths, metavar="I/T", help="tokens that fit (default 512/128)"
    )

    command = commands.add_parser("list", parents=[common, more], help="all data sets")
    command.set_defaults(run=_list)
    command = commands.add_parser(
        "show", parents=[common, more, vocabulary], help="a data set: source, splits, templates, lengths"
    )
    command.add_argument("name", metavar="NAME")
    command.set_defaults(run=_show)
    command = commands.add_parser(
        "preview", parents=[common, more, vocabulary], help="examples exactly as the model gets them"
    )
    command.add_argument("name", metavar="NAME", help="task or mixture")
    command.add_argument("-n", type=int, default=3, metavar="N", help="rows (default 3)")
    command.add_argument("--split", default="train")
    command.set_defaults(run=_preview)
    command = commands.add_parser(
        "check", parents=[common, vocabulary], help="validate a card and read all of its data"
    )
    command.add_argument("card", metavar="CARD", help="file")
    command.set_defaults(run=_check)
    command = commands.add_parser("prepare", help="write the token cache of a run, for training and evaluation")
    command.add_argument("config", metavar="CONFIG")
    command.add_argument("overrides", nargs="*", metavar="key=value")
    command.set_defaults(run=_prepare)
    return parser


def _lengths(text: str) -> tuple[int, int]:
    inputs, _, targets = text.partition("/")
    if not (inputs.isdigit() and targets.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not INPUTS/TARGETS, as in 512/128")
    return int(inputs), int(targets)


def _vocabulary(arguments: argparse.Namespace) -> "Vocabulary | None":
    from t5x_tasks.vocabulary import Vocabulary

    return Vocabulary.load(arguments.vocabulary) if arguments.vocabulary else None


# Each command imports what it needs: `--help` has to be quick.


def _list(arguments: argparse.Namespace) -> None:
    from t5x_tasks.describe import print_table

    print_table(arguments.cards, arguments.root)


def _show(arguments: argparse.Namespace) -> None:
    from t5x_tasks.describe import show

    show(arguments.name, arguments.cards, arguments.root, _vocabulary(arguments), arguments.lengths)


def _preview(arguments: argparse.Namespace) -> None:
    from t5x_tasks.describe import preview

    preview(
        arguments.name,
        arguments.cards,
        arguments.root,
        _vocabulary(arguments),
        arguments.lengths,
        split=arguments.split,
        num_rows=arguments.n,
    )


def _check(arguments: argparse.Namespace) -> None:
    from t5x_tasks.describe import check

    check(arguments.card, arguments.root, _vocabulary(arguments), arguments.lengths)


def _prepare(arguments: argparse.Namespace) -> None:
    from t5x_tasks.prepare_run import prepare_run

    prepare_run(arguments.config, arguments.overrides)


if __name__ == "__main__":
    run_cli(main)
