"""`python -m eval score`: scores anybody's predictions. Needs no JAX, no TensorFlow, no model and no vocabulary."""

import argparse
import contextlib
import json
from pathlib import Path

from eval.scoring.spreadsheets import from_cell
from t5x_tasks.card.source import CsvSource, JsonlSource
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.output import check_writable
from t5x_tasks.common.values import known_columns
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import COMPRESSED, kind_of, source_of

_SHOWN = 3  # ids named in a message


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval score",
        description="Scores predictions with the metrics of a task and writes metrics.json and <task>/predictions.jsonl, as "
        "`python -m eval` does for its own.",
    )
    parser.add_argument("--task", required=True, help="a task or mixture, for example dialogsum")
    parser.add_argument(
        "--predictions", required=True, type=Path, help="JSON Lines, CSV, TSV or Parquet: rows with id and prediction"
    )
    parser.add_argument("--root", help="folder that mirrors data sets: ROOT/<dataset>/<split>.jsonl[.gz]")
    parser.add_argument("--output", type=Path, help="folder of the results (default: PREDICTIONS without its ending)")
    parser.add_argument("--split", default="test", help="the split that was answered (default: test)")
    parser.add_argument("--cards", nargs="*", default=(), help="more cards: files or folders")
    parser.add_argument(
        "--metrics", nargs="+", default=(), metavar="METRIC", help="in place of the card's, for example rouge py_rouge"
    )
    parser.add_argument(
        "--bootstrap-samples", type=_positive, metavar="N", help="resamples (default: as eval.bootstrap_samples)"
    )
    options = parser.parse_args(arguments)

    from eval.examples import read_questions
    from eval.report.summary import print_scores
    from eval.scoring.bootstrap import SAMPLES
    from eval.scoring.made import write_made
    from eval.scoring.results import write_metrics, write_predictions
    from eval.scoring.score_task import remarks, score_task
    from t5x_tasks.metrics import load_metric
    from train.rundir.origin import FINGERPRINT, short_digest

    for metric in options.metrics:
        load_metric(metric)  # before the time is spent
    answers = read_predictions(options.predictions)
    questions = read_questions(
        options.task, options.split, cards=options.cards, root=options.root, metrics=options.metrics
    )
    predictions = match(answers, [example.id for example in questions.examples], options)
    output = options.output or _own_folder(options.predictions)
    if (output / options.task / "predictions.jsonl").resolve() == options.predictions.resolve():
        raise UserError(f"{output}: the results would take the place of {options.predictions}; choose another --output")
    check_writable(output, "--output")
    # of a model and a vocabulary that we did not see
    unknown: dict[str, int | None] = {"truncated_inputs": None, "truncated_references": None, "unknown_tokens": None}
    scores = score_task(questions, predictions, counts=unknown, bootstrap_samples=options.bootstrap_samples or SAMPLES)
    rows = write_predictions(output, options.task, scores.rows)
    said = short_digest({id: text for id, (_, text) in answers.items()})
    source = {"weights": str(options.predictions), FINGERPRINT: said}
    head = {"step": None, "split": options.split, "limit": None, **source, "decode": None}
    written = write_metrics(output, head, {options.task: scores.summary})
    write_made(output / options.task)
    print_scores(options.task, {"predictions": scores.summary}, split=options.split, predictions=rows)
    for remark in remarks(scores.summary["counts"], scores.summary["n"]):
        print(f"note: {remark}")
    print(f"written to {written}")
    return 0


def read_predictions(path: Path) -> dict[str, tuple[str, str]]:
    """Reads id -> (its place in the file, prediction).

    The file is JSON Lines, CSV, TSV or Parquet, by its name; with any other name, JSON Lines.

    Raises:
      UserError: no such file, a row without `id` or a text `prediction`, or an id that stands twice.
    """
    if not path.exists() or path.is_dir():
        raise UserError(f"{path}: no such file; --predictions names a file of rows with id and prediction")
    jsonl = JsonlSource(type="jsonl", train=(str(path),))
    source = source_of({"train": path}, path.parent) if kind_of(path) else jsonl
    answers: dict[str, tuple[str, str]] = {}
    for place, row in read_file(path, source):
        if isinstance(source, CsvSource):
            row = {key: from_cell(text) for key, text in row.items()}
        for key in ("id", "prediction"):
            if key not in row:
                hint = suggest(key, row) or f"; it has {known_columns(row)}"
                raise UserError(f"{place}: no {key!r}, and each row needs an id and a prediction{hint}")
        id, prediction = str(row["id"]), row["prediction"]
        if row["id"] is None or not id.strip():
            raise UserError(f"{place}: 'id' is blank; it names a row of the task")
        if not isinstance(prediction, str):
            raise UserError(f"{place}: 'prediction' must be a text, not {prediction!r:.60}")
        if id in answers:
            raise UserError(f"{place}: id {id!r} stands at {answers[id][0]}, too; give each row one prediction")
        answers[id] = place, prediction
    if not answers:
        raise UserError(f"{path}: no rows; write an id and a prediction for each row of the task")
    return answers


def _own_folder(predictions: Path) -> Path:
    """PREDICTIONS without its endings. UserError: it holds the scores of other predictions."""
    plain = predictions.with_suffix("") if predictions.suffix.lower() in COMPRESSED else predictions
    output = plain.with_suffix("" if plain.suffix else ".scores")
    with contextlib.suppress(OSError, ValueError):
        theirs = json.loads((output / "metrics.json").read_text(encoding="utf-8")).get("weights")
        if theirs != str(predictions):
            raise UserError(f"{output}: holds the scores of {theirs}; give another --output")
    return output


def match(answers: dict[str, tuple[str, str]], ids: list[str], options: argparse.Namespace) -> list[str]:
    """Puts predictions into the order of the task's rows.

    Raises:
      UserError: a row has no prediction, or a prediction no row.
    """
    known = set(ids)
    where = f"the {options.split} split of {options.task}"
    for id, (place, _) in answers.items():
        if id not in known:
            raise UserError(f"{place}: id {id!r} is not in {where}; its ids look like {', '.join(ids[:_SHOWN])}")
    if missing := [id for id in ids if id not in answers]:
        raise UserError(
            f"{options.predictions}: no prediction for {len(missing)} of the {len(ids)} rows of {where} "
            f"({', '.join(missing[:_SHOWN])}{' ...' if len(missing) > _SHOWN else ''}); each row needs one"
        )
    return [answers[id][1] for id in ids]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 or more")
    return int(text)
