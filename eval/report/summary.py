"""The summary of a run: scores before and after against the floor, three examples, the loss curve.

`python -m eval.report.summary RUN_DIR` reads what `python -m train` and `python -m eval` wrote. Imports no JAX.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.comparison.systems import read_metrics, read_predictions
from eval.diagnostics.show import diagnostics_table, worst_made_up
from eval.score_names import decimals
from t5x_tasks.common.errors import UserError, run_cli
from t5x_tasks.common.terminal import escaped, raw_output
from train.rundir.metrics import METRICS, read_rows

WIDTH = 100  # of text in plain output


_RANKING = (
    "rougeL",
    "f1",
    "accuracy",
    "exact_match",
)  # scores of rows that can tell a weaker example from a better one


_QUANTILES = ((0.25, "a weaker one"), (0.5, "a middling one"), (0.75, "a better one"))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval.report.summary",
        description="Shows an evaluated run: scores of its checkpoints beside LEAD-3, three examples, and the loss as a picture.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path)
    options = parser.parse_args(arguments)
    summarize(options.run_dir)
    return 0


def summarize(run_dir: Path) -> None:
    """Prints the summary of a run and writes RUN_DIR/loss.png.

    Raises:
      UserError: the folder holds no evaluation.
    """
    results = load_results(run_dir / "eval")
    if not results:
        raise UserError(f"{run_dir / 'eval'}: holds no <step>/metrics.json; run `python -m eval {run_dir}` first")
    tasks = list(dict.fromkeys(task for result in results.values() for task in result["tasks"]))
    for task in tasks:
        # Scores of different rows or decodings are no before and after: each split, limit and decoding has its own table.
        tables: dict[tuple[str, int | None, str], dict[int, dict[str, Any]]] = {}
        for step, result in results.items():
            if task in result["tasks"]:
                settings = (result["split"], result.get("limit"), json.dumps(result.get("decode")))
                tables.setdefault(settings, {})[step] = result["tasks"][task]
        for (split, *_), steps in tables.items():
            last = run_dir / "eval" / str(max(steps)) / task / "predictions.jsonl"
            columns = {_column(step): scores for step, scores in steps.items()}
            print_scores(task, columns, split=split, predictions=last)
    task = tasks[0]
    print_examples(run_dir / "eval", task, [step for step in results if task in results[step]["tasks"]])
    picture = draw_loss(run_dir)
    print("Where everything lies:")
    for path, what in (
        (run_dir / "config.yaml", "the resolved configuration"),
        (run_dir / "metrics.jsonl", "loss, speed and more of each logged step"),
        (picture, "the loss curve"),
        (run_dir / "checkpoints", "checkpoints"),
        (run_dir / "report.html", "before and after side by side, every example: open it in a browser"),
        *((run_dir / "eval" / str(step), f"scores and predictions, {_column(step)}") for step in results),
    ):
        if path is not None and path.exists():
            print(f"  {path}  {what}")


def load_results(folder: Path) -> dict[int, dict[str, Any]]:
    """Reads FOLDER/<step>/metrics.json, by step, ascending. UserError: one is broken."""
    steps = sorted(int(path.parent.name) for path in folder.glob("*/metrics.json") if path.parent.name.isdecimal())
    found = {step: read_metrics(folder / str(step)) for step in steps}
    return {step: {"split": "test", **head, "tasks": tasks} for step, (head, tasks) in found.items()}


def print_scores(
    task: str, columns: Mapping[str, dict[str, Any]], *, split: str, predictions: Path | None = None
) -> None:
    """Prints the scores of one task: a row a metric, the floor first, then a column for each of `columns`; - where one lacks it.

    Below them the diagnostics of summaries, where there are any.

    Args:
      columns: title -> what metrics.json says of the task.
      predictions: those of the last column, to show what they make up.
    """
    first = next(iter(columns.values()))
    lead = first.get("baselines", {}).get("lead_3", {})
    header = ["", *(["LEAD-3"] if lead else []), *columns]
    rows = []
    for name in dict.fromkeys(name for column in columns.values() for name in column["metrics"]):
        floor = [f"{lead[name]['value']:.{decimals(name)}f}" if name in lead else "-"] if lead else []
        rows.append([name, *floor, *(_cell(name, column["metrics"].get(name)) for column in columns.values())])
    title = f"{task}, {first['n']} rows of {split}"
    print_table(title, header, rows)
    print("(with 95% bootstrap interval)")
    for column, result in columns.items():
        counts = [f"{n} {name.replace('_', ' ')}" for name, n in result.get("counts", {}).items() if n is not None]
        if counts:
            print(f"{column}: {', '.join(counts)}")
    if table := diagnostics_table(columns):
        print()
        print_table(f"{task}, what the scores do not see", *table)
        for column, result in columns.items():
            if caution := result.get("diagnostics", {}).get("made_up_per_100", {}).get("caution"):
                print(f"{column}: {caution}")
    if predictions is not None and predictions.is_file():
        for line in worst_made_up(_by_id(predictions).values()):
            _print_text("", line)
    print()


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A rich table on a terminal, aligned plain text elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(escaped(title)), title_justify="left")
        for i, name in enumerate(header):
            table.add_column(Text(escaped(name)), justify="right" if i else "left")
        for row in rows:
            table.add_row(*(Text(escaped(cell)) for cell in row))
        Console(file=raw_output()).print(table)
        return
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    print(title)
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def print_examples(folder: Path, task: str, steps: Sequence[int]) -> None:
    """Prints three examples at the quartiles of the last step's scores: what is typical, not what looks best."""
    answers = {step: _by_id(folder / str(step) / task / "predictions.jsonl") for step in steps}
    last = answers[steps[-1]]
    metric = next((name for name in _RANKING if all(name in row["scores"] for row in last.values())), None)
    ranked = sorted(last.values(), key=lambda row: row["scores"][metric] if metric else 0.0)
    for quantile, label in _QUANTILES:
        row = ranked[int(quantile * (len(ranked) - 1))]
        score = f", {metric} {row['scores'][metric]:.1f}" if metric else ""
        print(f"--- {task} {row['id']}: {label}{score}")
        _print_text("", row.get("dialogue", row["inputs"]))
        for reference in row["references"]:
            _print_text("reference: ", reference)
        for step in steps:
            if row["id"] in answers[step]:
                _print_text(f"{_column(step)}: ", answers[step][row["id"]]["prediction"] or "(nothing)")
        print()


def draw_loss(run_dir: Path) -> Path | None:
    """Draws RUN_DIR/loss.png from metrics.jsonl; None if nothing was logged."""
    if not (logged := read_rows(run_dir / METRICS)):
        return None
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, label in (("loss", "training"), ("validation_loss", "validation")):
        points = [(row["step"], row[key]) for row in logged if row.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if key == "validation_loss" else None)
    axes.set_xlabel("step")
    axes.set_ylabel("loss a target token (nats)")
    axes.set_title(str(run_dir), parse_math=False)  # a name may hold dollars
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend()
    picture = run_dir / "loss.png"
    temporary = picture.with_name("loss.tmp.png")
    figure.savefig(temporary, dpi=150)
    temporary.replace(picture)
    return picture


def _column(step: int) -> str:
    return f"step {step}" if step else "before training"


def _cell(name: str, score: dict[str, float] | None) -> str:
    if score is None:
        return "-"
    value, low, high = (f"{score[key]:.{decimals(name)}f}" for key in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def _by_id(path: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in read_predictions(path)}


def _print_text(label: str, text: str) -> None:
    for line in text.split("\n"):
        print(textwrap.fill(f"{label}{line}", WIDTH, initial_indent="  ", subsequent_indent="    "))
        label = "  " if label else ""


if __name__ == "__main__":
    run_cli(main)
