"""`python -m eval predict`: what a model says to rows of one's own, in their order."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.scoring.files import check_rows_ending, write_rows
from t5x_tasks.common.arguments import parse_arguments
from t5x_tasks.common.errors import UserError

if TYPE_CHECKING:
    from eval.examples import Questions
    from eval.plan import Plan
    from t5x_tasks.common.vocabulary import Vocabulary


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval predict",
        description="Answers the rows of a file, for example summarises dialogues, and writes a row of id and prediction for "
        "each, in their order. Interrupted and started again it resumes.",
        epilog="Example: python -m eval predict runs/support --input today.csv --output summaries.jsonl",
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or a run directory")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over the file's")
    parser.add_argument(
        "--input",
        required=True,
        type=Path,
        help="JSON Lines, CSV, TSV or Parquet with the columns that the task's card names",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        help="the file to write, .jsonl, .csv or .tsv; must not be there yet",
    )
    parser.add_argument(
        "--task", help="a data set, or one of its templates as dialogsum.t03 (default: what the run was trained on)"
    )
    parser.add_argument(
        "--step",
        default="latest",
        help="latest, best, a number, or 0: the model before training (default: %(default)s)",
    )
    parser.add_argument(
        "--id",
        metavar="COLUMN",
        help="whose values name the rows in the output (default: the card's, or id, or row-0, row-1, ...)",
    )
    options = parse_arguments(parser, arguments)
    check_rows_ending(options.output, "--output")
    if os.path.lexists(options.output):
        raise UserError(f"--output: {options.output} is there already; choose another, or take it away")
    if options.output.resolve() == options.input.resolve():
        raise UserError(f"--output: {options.output} is the input")

    from eval.plan import Plan, find_steps, load_config

    config, run_dir = load_config(options.config, options.overrides)
    step = int(options.step) if options.step.isdecimal() else options.step
    if step not in ("latest", "best") and not isinstance(step, int):
        raise UserError(f"--step: {step}: must be latest, best or the number of a step")
    (step,) = find_steps((step,), run_dir)
    return predict(
        Plan(config, run_dir, [step], [options.task or config.data.mixture], options.output.parent),
        options.input,
        options.output,
        id_column=options.id,
    )


def predict(plan: "Plan", path: Path, output: Path, *, id_column: str | None = None) -> int:
    """Answers the rows of a file with the plan's only step; returns the exit code."""
    import jax

    from eval.examples import own_questions
    from eval.predictor import Predictor
    from eval.run import all_samples
    from t5x_tasks.common.output import check_writable
    from train.parallel import processes, runtime
    from train.parallel.watchdog import watching

    config, (task,), (step,) = plan.config, plan.tasks, plan.steps
    runtime.set_up(config.data.cache_folder())
    with watching():
        processes.from_first("output", lambda: check_writable(output.parent, "--output"))
        answerer = Predictor(plan)
        own = own_questions(task, path, cards=config.data.cards, vocabulary=answerer.vocabulary, id_column=id_column)
        questions = answerer.prompted(own)
        inputs = answerer.inputs(questions)
        answerer.count_cut(questions, label=str(path))
        _say_what_is_odd(own, path, answerer.vocabulary)
        weights = answerer.load(step)
        partial = output.with_name(output.name + ".partial")
        with jax.set_mesh(answerer.mesh):
            answers = answerer.answer(questions, inputs, weights, path=partial, label=str(path))
        texts, samples = questions.plain([a.texts[0] for a in answers]), all_samples(questions, answers)
        rows: list[dict[str, Any]] = [
            {"id": e.id, "prediction": text} for e, text in zip(questions.examples, texts, strict=True)
        ]
        for row, several in zip(rows, samples, strict=False):
            row["samples"] = several
        if processes.is_first():
            write_rows(output, rows)
            partial.unlink()
            print(f"{output}: {len(rows)} rows answered as {questions.task} by {plan.weights(step)}")
    return 0


def _say_what_is_odd(own: "Questions", path: Path, vocabulary: "Vocabulary") -> None:
    """Says which rows are blank, for a model makes something up of nothing, and what the vocabulary does not know."""
    from t5x_tasks.common.vocabulary import shown_characters
    from train.log import say

    if blank := [example.id for example in own.examples if example.empty]:
        named = ", ".join(blank[:5]) + ", ..." * (len(blank) > 5)
        say(
            f"{path}: {len(blank)} of {len(own.examples)} rows have a blank field ({named}): what is answered there is made up"
        )
    if own.unknown_tokens:
        which = shown_characters(
            vocabulary.unknown_characters([example.inputs for example in own.examples], own.tokens)
        )
        say(f"{path}: {own.unknown_tokens} tokens are unknown to the vocabulary and read as one and the same ({which})")
