"""python -m t5x_tasks list | show NAME | preview NAME | check CARD | new NAME --from FILE | dialogues FILE... |
suggest CARD | prepare CONFIG"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from t5x_tasks.commands.suggest import add_arguments, lengths
from t5x_tasks.common.errors import run_cli
from t5x_tasks.common.streams import require_output

if TYPE_CHECKING:
    from t5x_tasks.common.vocabulary import Vocabulary


def main(argv: list[str]) -> int | None:
    arguments = _parser().parse_args(argv)
    if arguments.run in (_list, _show, _preview, _check, _suggest):  # they write no files
        require_output()
    return arguments.run(arguments)


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
        "--lengths", default="512/128", type=lengths, metavar="I/T", help="tokens that fit (default 512/128)"
    )

    command = commands.add_parser("list", parents=[common, more], help="all data sets and mixtures")
    command.set_defaults(run=_list)
    command = commands.add_parser(
        "show", parents=[common, more, vocabulary], help="a data set or mixture: source, rates, lengths"
    )
    command.add_argument("name", metavar="NAME", help="data set, task, or mixture of data sets")
    command.add_argument("--steps", type=int, default=1000, metavar="N", help="count epochs at so many (default 1000)")
    command.add_argument("--batch-size", type=int, default=64, metavar="N", help="packed rows per step (default 64)")
    command.set_defaults(run=_show)
    command = commands.add_parser(
        "preview", parents=[common, more, vocabulary], help="examples exactly as the model gets them"
    )
    command.add_argument("name", metavar="NAME", help="task or mixture")
    command.add_argument("-n", type=int, default=3, metavar="N", help="rows of each data set (default 3)")
    command.add_argument("--split", default="train", help="split that is shown (default train)")
    command.set_defaults(run=_preview)
    command = commands.add_parser(
        "check",
        parents=[common, vocabulary],
        help="validate a card and read all of its data",
        description="Validates a card and reads all of its data. It runs the functions that the card names (source, transforms, "
        "codecs) and imports its metrics: check only cards whose code you would run.",
    )
    command.add_argument("card", metavar="CARD", help="file")
    command.set_defaults(run=_check)
    command = commands.add_parser("new", help="write a card for a file of rows, and check it")
    command.add_argument("name", metavar="NAME", help="of the new data set: letters, digits and _")
    command.add_argument(
        "--from",
        dest="train",
        required=True,
        type=Path,
        metavar="FILE",
        help="its training rows: .jsonl, .csv, .tsv or .parquet, plain or compressed",
    )
    command.add_argument("--validation", type=Path, metavar="FILE", help="its validation rows")
    command.add_argument("--test", type=Path, metavar="FILE", help="its test rows")
    command.add_argument("--output", type=Path, metavar="CARD.yaml", help="default: NAME.yaml beside the training rows")
    command.add_argument(
        "--category",
        default="",
        metavar="C",
        help="summarization, classification, qa ... (default: by the names of the fields)",
    )
    command.add_argument(
        "--fields",
        metavar="A=COL,B=COL",
        help="the inputs and, last, the target (default: columns with usual names, as dialogue and summary); COL.KEY is a key "
        "inside one, and COL.KEY+COL.KEY the speakers and texts of messages: dialogue=log.by+log.said,summary=recap",
    )
    command.set_defaults(run=_new)
    command = commands.add_parser(
        "dialogues",
        help="group a table with one message per row into dialogues, and join their summaries",
        description="Groups a table with one message per row (.jsonl, .csv, .tsv, .parquet; also compressed) into dialogues, "
        "joins what another table says of each, and writes them as JSON Lines for `new`. Overwrites nothing.",
    )
    command.add_argument(
        "files",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="messages; several files of the same columns are concatenated",
    )
    command.add_argument("--by", default="", metavar="COLUMN", help="identifies the dialogue of a message")
    command.add_argument(
        "--speaker", metavar="COLUMN", action="append", default=[],
        help="who wrote it; may be repeated: the first that is not blank",
    )  # fmt: skip
    command.add_argument("--text", default="", metavar="COLUMN", help="what it says")
    command.add_argument(
        "--order", metavar="COLUMN", action="append", default=[],
        help="numbers or ISO times by which messages are sorted; repeated, as for a day and a time, they are joined by a space "
        "(default: the order of the file)",
    )  # fmt: skip
    command.add_argument(
        "--time-format", default="", metavar="FORMAT", help="of --order, as in strptime: '%%d.%%m.%%Y %%H:%%M'"
    )
    command.add_argument(
        "--answers", type=Path, metavar="TABLE", help="file with one row per dialogue, as a summary; dialogues without one "
        "are left out (default: all are kept)",
    )  # fmt: skip
    command.add_argument(
        "--answers-by", default="", metavar="COLUMN", help="identifies the dialogue there (default: as --by)"
    )
    command.add_argument(
        "--output", type=Path, metavar="OUT.jsonl", help="default: FILE.dialogues.jsonl beside the first FILE"
    )
    command.set_defaults(run=_dialogues)
    command = commands.add_parser("suggest", help="propose more templates for a card; writes nothing")
    add_arguments(command)
    command.set_defaults(run=_suggest)
    command = commands.add_parser("prepare", help="write the token cache of a run, for training and evaluation")
    command.add_argument("config", metavar="CONFIG", help="a YAML file")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over the file's")
    command.set_defaults(run=_prepare)
    return parser


def _vocabulary(arguments: argparse.Namespace) -> "Vocabulary | None":
    from t5x_tasks.common.vocabulary import Vocabulary

    return Vocabulary.load(arguments.vocabulary) if arguments.vocabulary else None


# Each command imports what it needs: `--help` has to be quick.


def _list(arguments: argparse.Namespace) -> None:
    from t5x_tasks.commands.describe import print_table

    print_table(arguments.cards, arguments.root)


def _show(arguments: argparse.Namespace) -> None:
    from t5x_tasks.card.catalog import load_catalog
    from t5x_tasks.commands.describe import show
    from t5x_tasks.commands.describe_mixture import show_mixture

    catalog = load_catalog(arguments.cards)
    where = (arguments.name, catalog, arguments.root, _vocabulary(arguments), arguments.lengths)
    if arguments.name in catalog.mixtures:
        show_mixture(*where, steps=arguments.steps, batch_size=arguments.batch_size)
    else:
        show(*where)


def _preview(arguments: argparse.Namespace) -> None:
    from t5x_tasks.card.catalog import load_catalog
    from t5x_tasks.commands.describe import preview

    preview(
        arguments.name,
        load_catalog(arguments.cards),
        arguments.root,
        _vocabulary(arguments),
        arguments.lengths,
        split=arguments.split,
        num_rows=arguments.n,
    )


def _check(arguments: argparse.Namespace) -> None:
    from t5x_tasks.commands.describe import check

    check(arguments.card, arguments.root, _vocabulary(arguments), arguments.lengths)


def _new(arguments: argparse.Namespace) -> None:
    from t5x_tasks.commands.new_card import new_card, parse_fields

    files = {
        split: path for split in ("train", "validation", "test") if (path := getattr(arguments, split)) is not None
    }
    fields = parse_fields(arguments.fields) if arguments.fields else None
    new_card(arguments.name, files, output=arguments.output, category=arguments.category, fields=fields)


def _dialogues(arguments: argparse.Namespace) -> None:
    from t5x_tasks.commands.dialogues import dialogues

    given = {name: value for name, value in vars(arguments).items() if name not in ("run", "files")}
    dialogues(arguments.files, **given)


def _suggest(arguments: argparse.Namespace) -> int:
    from t5x_tasks.commands.suggest import suggest

    return suggest(arguments)


def _prepare(arguments: argparse.Namespace) -> None:
    from t5x_tasks.commands.prepare_run import prepare_run

    prepare_run(arguments.config, arguments.overrides)


if __name__ == "__main__":
    run_cli(main)
