"""`python -m eval rate A B`: one page on which colleagues rate two systems' outputs, blind and offline. Needs no JAX."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t5x_tasks.common.errors import UserError

if TYPE_CHECKING:
    from eval.comparison.systems import System


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval rate",
        description="Writes one HTML page that opens offline: a dialogue, two summaries without names in random order, and which "
        "one is better. The ratings stay in the browser until the rater downloads them as a file; `python -m eval compare A B "
        "--ratings FILE ...` says what people prefer, how far they agree, and which scores agree with them.",
        epilog="Example: python -m eval rate before=runs/support/eval/0 after=runs/support/eval/600 --rows 60 --out rate.html",
    )
    parser.add_argument("folders", nargs="+", metavar="[NAME=]DIR", help="two systems, as for `python -m eval compare`")
    parser.add_argument("--rows", type=_positive, default=60, metavar="N", help="rows to rate (default: %(default)s)")
    parser.add_argument(
        "--out", "--output", dest="out", type=Path, default=Path("rate.html"), help="the page (default: %(default)s)"
    )
    parser.add_argument("--task", help="the task to rate, where the systems answered several")
    parser.add_argument("--split", help="its split, where they answered several")
    parser.add_argument("--seed", type=int, default=0, help="decides rows, order and sides (default: %(default)s)")
    options = parser.parse_args(arguments)

    from eval.comparison.systems import read_systems
    from eval.comparison.task import compare_task
    from eval.rating.page import render
    from eval.rating.sheet import draw
    from eval.scoring.files import write_text
    from t5x_tasks.common.output import check_writable

    output = options.out / "rate.html" if options.out.is_dir() else options.out
    check_writable(output.parent, "--out")
    systems, _ = read_systems(options.folders)
    _check_two(systems)
    task, split = _task(systems, options.task, options.split)
    comparison = compare_task(task, split, systems, samples=1)
    sheet = draw(comparison, rows=options.rows, seed=options.seed)
    if not sheet.rows:
        raise UserError(
            f"{task}, {split}: {systems[0].name} and {systems[1].name} say the same in all {sheet.common} rows; there is nothing "
            "to rate"
        )
    write_text(output, render(sheet, comparison))
    print(
        f"written to {output}: {len(sheet.rows)} of {sheet.common} rows of {task}, {split} (page {sheet.page}, seed "
        f"{sheet.seed}); {sheet.identical} rows with the same output from both are not shown"
    )
    if len(sheet.rows) < options.rows:
        print(f"note: no more rows than these {len(sheet.rows)} differ")
    print("send it to two colleagues or more; then: python -m eval compare A B --ratings FILE ...")
    return 0


def _check_two(systems: "Sequence[System]") -> None:
    if len(systems) != 2:
        names = ", ".join(system.name for system in systems)
        raise UserError(
            f"rate: needs two systems, and here {'is' if len(systems) == 1 else 'are'} {len(systems)}: {names}; name two "
            "evaluations, as RUN_DIR/eval/0 RUN_DIR/eval/600"
        )


def _task(systems: "Sequence[System]", task: str | None, split: str | None) -> tuple[str, str]:
    common = [key for key in systems[0].answers if key in systems[1].answers]
    if not common:
        raise UserError(f"rate: {systems[0].name} and {systems[1].name} answered no task in common")
    found = [key for key in common if task in (None, key[0]) and split in (None, key[1])]
    if len(found) != 1:
        listed = ", ".join(f"{task} ({split})" for task, split in common)
        what = "which task? Both answered" if found else "there is no such task among those that both answered:"
        raise UserError(f"rate: {what} {listed}; say which with --task and --split")
    return found[0]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 or more")
    return int(text)
