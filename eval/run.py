"""Decodes and scores checkpoints, task by task. Imports JAX, and no TensorFlow.

What the user got wrong is found before the first weights are loaded. From then on no failure stops the rest: it is
reported, and the exit code is 1 at the end.
"""

import functools
import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eval.cached import EOS
from eval.decode import Decoder
from eval.diagnostics.probe import probe
from eval.examples import Questions, open_questions
from eval.likelihood import LogLikelihood
from eval.plan import Plan
from eval.scoring import (
    TaskScores,
    bootstrap,
    interval_settings,
    prediction_rows,
    score_task,
    write_metrics,
    write_predictions,
)
from eval.summary import print_scores
from t5x_tasks.errors import UserError
from t5x_tasks.vocabulary import Vocabulary
from train import runtime, sharding, state
from train.checkpoints import Checkpoints
from train.config import Config
from train.log import duration, say
from train.model import Params
from train.runs import checkpoint_params

_REPORT_EVERY_S = 10


def evaluate(plan: Plan) -> int:
    """Runs a plan. Returns the exit code: 0, or 1 if a task or a checkpoint failed.

    Raises:
      UserError: the data, the vocabulary, the mesh or (all) the weights do not fit; nothing has been written then.
    """
    config = plan.config
    runtime.set_up(config.data.cache_folder())
    mesh = sharding.make_mesh(config.mesh)
    vocabulary = Vocabulary.load(config.model.vocabulary)
    model_config = state.model_config(config, vocabulary.size)
    sharding.check_model_fits(mesh, model_config)
    settings = config.eval
    questions = open_questions(
        plan.tasks, settings.split, data=config.data, vocabulary=vocabulary, metrics=settings.metrics, limit=settings.limit
    )  # fmt: skip
    questions = {
        task: asked.prompted(config.method.prompt(asked.card.name if asked.card else task))
        for task, asked in questions.items()
    }
    counts = {task: _count(asked, config, vocabulary) for task, asked in questions.items()}

    failed: dict[str, Exception] = {}
    results: dict[int, dict[str, Any]] = {}
    with jax.set_mesh(mesh):
        model = state.Model.on(mesh, model_config, config.method)
        decoder = Decoder(model.graphdef, config.eval.decode, mesh=mesh, batch_size=config.eval.batch_size)
        log_likelihood = LogLikelihood(model.graphdef, mesh=mesh, batch_size=config.eval.batch_size)
        for step in plan.steps:
            results[step] = {}
            try:
                params = _params(plan, model, step)
            except Exception as error:
                failed[f"step {step}"] = error
                continue
            for task in questions:
                try:
                    inputs = _inputs(questions[task], config)
                    predictions = _answer(
                        decoder, params, questions[task], inputs, config, vocabulary, f"step {step}, {task}"
                    )
                    scores = _score(plan, step, questions[task], predictions, counts[task])
                    if config.eval.probe.limit and "diagnostics" in scores.summary:
                        _add_probe(scores, log_likelihood, params, questions[task], inputs, config, vocabulary)
                    results[step][task] = _write(plan, step, task, scores)
                except Exception as error:
                    failed[f"step {step}, {task}"] = error
            del params  # before those of the next step are loaded
    if not any(results.values()) and isinstance(first := next(iter(failed.values())), UserError):
        raise first
    if jax.process_index() == 0:
        _show(plan, list(questions), results)
    for what, error in failed.items():
        if not isinstance(error, UserError):
            traceback.print_exception(error)
        say(f"failed: {what}: {type(error).__name__}: {' '.join(str(error).split())[:500]}")
    return 1 if failed else 0


def _params(plan: Plan, model: state.Model, step: int) -> Params:
    if step == 0:
        return state.load_params(plan.config, model)
    with Checkpoints(plan.run_dir / "checkpoints", read_only=True) as checkpoints:
        return checkpoint_params(plan.config, model, checkpoints, step)


def _count(questions: Questions, config: Config, vocabulary: Vocabulary) -> dict[str, int | None]:
    """Counts what is cut, and says so before the time is spent."""
    limit, max_tokens = _input_limit(config, questions), config.eval.decode.max_tokens
    n = len(questions.examples)
    cut_inputs = sum(len(tokens) > limit for tokens in questions.tokens)
    if cut_inputs:
        say(
            f"{questions.task}: {cut_inputs} of {n} inputs ({cut_inputs / n:.1%}) are cut to data.lengths.inputs={limit}"
        )
    targets = questions.targets()
    references = [text for texts in targets for text in texts]
    longer = np.array([len(ids) + 1 > max_tokens for ids in vocabulary.encode_batch(references)])
    if longer.any():
        say(
            f"{questions.task}: {longer.mean():.0%} of the references are longer than max_tokens={max_tokens}, so no "
            "prediction can reach their length; eval.decode.max_tokens sets it"
        )
    rows = np.repeat(np.arange(n), [len(texts) for texts in targets])
    return {
        "truncated_inputs": cut_inputs,
        "truncated_references": len(np.unique(rows[longer])),
        "unknown_tokens": questions.unknown_tokens,
    }


def _input_limit(config: Config, questions: Questions) -> int:
    lengths = config.data.lengths
    if lengths == "auto":  # no run has resolved it: nothing is cut
        return max(map(len, questions.tokens), default=1)
    return lengths.inputs


def _inputs(questions: Questions, config: Config) -> list[np.ndarray]:
    limit = _input_limit(config, questions)
    # as in training, what is cut keeps its end of sequence
    return [ids if len(ids) <= limit else np.append(ids[: limit - 1], EOS) for ids in questions.tokens]


def _answer(
    decoder: Decoder,
    params: Params,
    questions: Questions,
    inputs: list[np.ndarray],
    config: Config,
    vocabulary: Vocabulary,
    label: str,
) -> list[str]:
    tokens = decoder(params, inputs, report=_reporter(label, len(inputs)))
    endless = sum(len(ids) == 0 or ids[-1] != EOS for ids in tokens)
    if endless:
        say(
            f"{label}: {endless} of {len(tokens)} predictions did not end within {config.eval.decode.max_tokens} tokens"
        )
    return questions.plain([vocabulary.decode(ids) for ids in tokens])


def _score(
    plan: Plan, step: int, questions: Questions, predictions: list[str], counts: dict[str, int | None]
) -> TaskScores:
    if jax.process_index() == 0:  # decoding was the long part: a metric that fails must not lose it
        write_predictions(plan.output / str(step), questions.task, prediction_rows(questions, predictions))
    samples = plan.config.eval.bootstrap_samples
    return score_task(questions, predictions, counts=counts, bootstrap_samples=samples)


def _add_probe(
    scores: TaskScores,
    log_likelihood: LogLikelihood,
    params: Params,
    questions: Questions,
    inputs: list[np.ndarray],
    config: Config,
    vocabulary: Vocabulary,
) -> None:
    """Puts the contrastive probe of the first rows beside the other diagnostics."""
    first, samples = slice(config.eval.probe.limit), config.eval.bootstrap_samples
    found = probe(
        functools.partial(log_likelihood, params),
        questions.examples[first],
        inputs[first],
        vocabulary,
        interval=functools.partial(bootstrap, samples=samples),
        settings=f"{questions.split} split, {interval_settings(samples)}",
    )
    scores.summary["diagnostics"].update(found.summary)
    for row, of_row in zip(scores.rows[first], found.rows, strict=True):
        row["diagnostics"]["probe"] = of_row


def _write(plan: Plan, step: int, task: str, scores: TaskScores) -> dict[str, Any]:
    """Writes predictions.jsonl and the task's part of metrics.json, which it returns."""
    settings = plan.config.eval
    head = {
        "step": step,
        "split": settings.split,
        "limit": settings.limit,
        "weights": plan.weights(step),
        "decode": settings.decode.model_dump(mode="json"),
    }
    folder = plan.output / str(step)
    if jax.process_index() == 0:
        write_predictions(folder, task, scores.rows)
        tasks = {**_tasks_beside(folder / "metrics.json", head), task: scores.summary}
        write_metrics(folder, head, tasks)
    return scores.summary


def _tasks_beside(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    """Tasks that were scored before, in the same way; of another split, limit or decoding they make way."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    tasks = before.pop("tasks", {})
    return tasks if before == head else {}


def _show(plan: Plan, tasks: list[str], results: dict[int, dict[str, Any]]) -> None:
    for task in tasks:
        columns = {
            f"step {step}" if step else "before training": results[step][task]
            for step in plan.steps
            if task in results[step]
        }
        if columns:
            last = max(step for step in plan.steps if task in results[step])
            path = plan.output / str(last) / task / "predictions.jsonl"
            print_scores(task, columns, split=plan.config.eval.split, predictions=path)
    print("\n".join(f"written to {plan.output / str(step)}" for step in plan.steps if results[step]))


def _reporter(label: str, total: int) -> Callable[[int], None]:
    """A line every ten seconds or so, and one at the end."""
    start = last = time.perf_counter()

    def report(done: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if done < total and now - last < _REPORT_EVERY_S:
            return
        last = now
        rate = done / (now - start)
        left = f", {duration((total - done) / rate)} left" if done < total else ""
        say(f"{label}: {done}/{total} decoded, {rate:.1f} examples/s{left}")

    return report
