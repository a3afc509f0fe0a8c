"""`python -m eval compare`: before against after, several systems, what was forgotten, in one report. Needs no JAX."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.comparison.systems import Answers
    from eval.comparison.task import Comparison
    from eval.report.ratings import RatedPair


_MOST_SYSTEMS = 6  # of which all are shown; of more, the first and the last checkpoint of each run


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval compare",
        description="Compares evaluated checkpoints, runs and predictions on the same rows, and writes report.html (one file "
        "that opens offline), report.csv and report.md. The model before training, or else the first, is what the others are "
        "compared with. Several runs give a matrix of tasks and runs: what was learned, what was forgotten; also as a table and "
        "a figure.",
        epilog="Example: python -m eval compare runs/support runs/multitask theirs=scores/their_predictions",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="[NAME=]DIR",
        help="a run, its eval/<step>, or the --output of `python -m eval score`",
    )
    parser.add_argument("--output", type=Path, help="the HTML file (default: report.html in the first folder)")
    parser.add_argument("--title", help="of the report")
    parser.add_argument(
        "--bootstrap-samples", type=_positive, metavar="N", help="resamples (default: as eval.bootstrap_samples)"
    )
    parser.add_argument(
        "--ratings",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="what raters saved of one page of `python -m eval rate`: the report says what they prefer",
    )
    options = parser.parse_args(arguments)

    from eval.comparison.systems import name_and_folder
    from eval.report.matrix import figure
    from eval.report.page import render
    from eval.report.plain import csv_text, forgetting_table, markdown_text
    from eval.scoring.files import write_text
    from t5x_tasks.common.output import check_writable

    if options.output:
        check_writable(options.output if options.output.is_dir() else options.output.parent, "--output")
    contents = gather(options.folders, title=options.title, samples=options.bootstrap_samples, ratings=options.ratings)
    output = options.output or name_and_folder(options.folders[0])[1] / "report.html"
    if output.is_dir():
        output /= "report.html"
    page = render(contents)
    markdown = markdown_text(contents, str(output))
    write_text(output, page)
    write_text(output.with_suffix(".csv"), csv_text(contents.comparisons))
    write_text(output.with_suffix(".md"), markdown)
    for task, split, lines in contents.verdicts():
        for line in lines:
            print(f"{task}, {split}: {line}")
    if contents.ratings is not None:
        rated = contents.ratings
        print(f"{rated.comparison.task}, {rated.comparison.split}: {rated.headline}")
        print(rated.agreement_text)
    for note in contents.notes:
        print(f"note: {note}")
    beside = [output.with_suffix(".csv").name, output.with_suffix(".md").name]
    if contents.matrix is not None:
        chart = output.with_name(f"{output.stem}_forgetting.svg")
        figure(contents.matrix, chart)
        print("\n".join(forgetting_table(contents.matrix)))
        beside.append(chart.name)
    print(f"written to {output} ({len(page.encode()) / 1e6:.1f} MB), and beside it {', '.join(beside)}")
    return 0


def gather(
    folders: Sequence[str], *, title: str | None = None, samples: int | None = None, ratings: Sequence[Path] = ()
):
    """Reads the folders and works out all that the report tells.

    Args:
      ratings: files of raters of one page of `python -m eval rate`.

    Raises:
      UserError: a folder holds no evaluation, a file is broken, or systems cannot be compared.
    """
    from eval.comparison.forgetting import forgetting
    from eval.comparison.seeds import caution, grouped
    from eval.comparison.sensitivity import choices, families, sensitivities
    from eval.comparison.systems import read_systems
    from eval.comparison.task import FEWEST_ROWS, compare_task
    from eval.report.page import Contents
    from eval.scoring.bootstrap import SAMPLES
    from eval.scoring.score_task import remarks

    samples = samples or SAMPLES
    found, runs = read_systems(folders)
    systems = _chosen(grouped(found, folders))
    notes = []
    if sum(len(system.seeds) or 1 for system in systems) < len(found):
        notes.append(
            f"Of {len(found)} evaluated checkpoints the first and the last of each run are compared; all are in the curves. "
            "To compare others, name their folders: RUN_DIR/eval/<step>."
        )
    tasks = list(dict.fromkeys(key for system in systems for key in system.answers))
    comparisons = [compare_task(task, split, systems, samples=samples) for task, split in tasks]
    for comparison in comparisons:
        missing = [system.name for system in systems if system.name not in [s.name for s in comparison.systems]]
        if missing and len(systems) > 1:
            notes.append(f"{comparison.task}, {comparison.split}: not answered by {', '.join(missing)}.")
        if comparison.n < FEWEST_ROWS:
            notes.append(
                f"{comparison.task}, {comparison.split}: {comparison.n} rows are too few for a verdict; evaluate at least "
                f"{FEWEST_ROWS}."
            )
        for i, column in enumerate(comparison.columns):
            for one in column.seeds or (column,):
                named = f"{comparison.task}, {comparison.split}, {one.system.name}"
                notes += [f"{named}: {one.few_found}."] * bool(one.few_found)
                notes += [f"{named}: {remark}." for remark in remarks(one.summary.get("counts", {}), one.summary["n"])]
            if i and (other := comparison.other_settings(0, i)):
                notes.append(
                    f"{comparison.task}, {comparison.split}: {', '.join(other)} of {column.system.name} and of "
                    f"{comparison.systems[0].name} were computed with different settings, so no difference is given; score both "
                    "anew with the same metrics."
                )
    limits = {str(a.head.get("decode")) for system in systems for a in system.answers.values() if a.head.get("decode")}
    if len(limits) > 1:
        notes.append(
            "The systems were decoded in different ways, so a difference may come from decoding; see the table."
        )
    of_families = families(comparisons)
    in_families = {id(comparison) for family in of_families.values() for comparison in family}
    shown = [comparison for comparison in comparisons if id(comparison) not in in_families] or comparisons
    measured = [sensitivity for family in of_families.values() for sensitivity in sensitivities(family)]
    return Contents(
        title=title or _title(systems, shown),
        systems=systems,
        runs=runs,
        comparisons=[*shown, *(c for c in comparisons if id(c) not in {id(one) for one in shown})],
        shown=shown,
        over_steps=_over_steps(found),
        sensitivities=measured,
        choices=choices(measured),
        matrix=forgetting(shown, systems, samples=samples) if len(shown) > 1 else None,
        notes=notes,
        unsure=caution(systems),
        samples=samples,
        ratings=_rated(comparisons, ratings) if ratings else None,
    )


def _rated(comparisons: "Sequence[Comparison]", paths: Sequence[Path]) -> "RatedPair":
    from eval.rating.files import read_ratings
    from eval.report.ratings import rated_pair

    return rated_pair(comparisons, read_ratings(paths))


def _chosen(systems: list) -> list:
    if len(systems) <= _MOST_SYSTEMS:
        return systems
    last = {id(system.run): system for system in systems if system.run and system.step}
    starts = {system.name for system in systems if any(step == 0 for _, step in system.places)}
    return [s for s in systems if s.name in starts or s.run is None or not s.step or last[id(s.run)] is s]


def _over_steps(systems: list) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """task, split -> run -> (step, main score); of runs with three checkpoints or more that were evaluated as the last was."""
    from eval.score_names import main_score

    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    last: dict[tuple[str, str, str], tuple[int, list[Any]]] = {}
    for system in systems:
        for (task, split), answers in system.answers.items():
            if system.run is not None and system.step is not None:
                key, made = (system.run.name, task, split), (system.step, _how(answers))
                last[key] = max(last.get(key, made), made, key=lambda made: made[0])
    for system in systems:
        if system.run is None or system.step is None:
            continue
        for (task, split), answers in system.answers.items():
            if _how(answers) != last[system.run.name, task, split][1]:
                continue
            if (score := main_score(answers.summary["metrics"])) is not None:
                points = curves.setdefault(f"{score} of {task}, {split},", {}).setdefault(system.run.name, [])
                points.append((system.step, answers.summary["metrics"][score]["value"]))
    kept = {
        name: {run: points for run, points in of_task.items() if len(points) > 2} for name, of_task in curves.items()
    }
    return {name: {run: sorted(points) for run, points in of_task.items()} for name, of_task in kept.items() if of_task}


def _how(answers: "Answers") -> list[Any]:
    return [answers.head.get("limit"), answers.head.get("decode")]


def _title(systems: list, comparisons: list) -> str:
    tasks = list(dict.fromkeys(comparison.task.partition(".")[0] for comparison in comparisons))
    names = [system.name for system in systems]
    what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{', '.join(tasks[:3])}{' and more' * (len(tasks) > 3)}: {what}"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 or more")
    return int(text)
