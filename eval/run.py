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

from eval.answers import AnswerFile, answer, inputs_digest
from eval.cached import EOS
from eval.decode import Decoder
from eval.diagnostics.probe import probe
from eval.examples import Questions, open_questions
from eval.likelihood import LogLikelihood
from eval.plan import Plan
from eval.restrictions import forbidden_sequences
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
from train import config as configuration
from train import distributed, runtime, sharding, state
from train.checkpoints import Checkpoints
from train.config import Config
from train.log import duration, say
from train.model import Params
from train.runs import checkpoint_params
from train.watchdog import watching

_REPORT_EVERY_S = 10


def evaluate(plan: Plan) -> int:
    """Runs a plan. Returns the exit code: 0, or 1 if a task or a checkpoint failed.

    Raises:
      UserError: the data, the vocabulary, the mesh or (all) the weights do not fit; nothing has been written then.
    """
    runtime.set_up(plan.config.data.cache_folder())
    with watching():
        evaluation = Evaluation(plan)
        for step in plan.steps:
            evaluation.run(step)
        return evaluation.close()


class Evaluation:
    """Model, questions and decoder, made once; `run` answers and scores with one checkpoint after the other.

    Raises:
      UserError: the data, the vocabulary or the mesh do not fit.
    """

    def __init__(self, plan: Plan):
        config = plan.config
        distributed.check_equal("configuration and checkpoints", [configuration.dump(config), plan.steps])
        self.mesh = sharding.make_mesh(config.mesh)
        self.vocabulary = Vocabulary.load(config.model.vocabulary)
        config = state.resolve_method(config, self.vocabulary)
        self.plan, self._config = plan, config
        model_config = state.model_config(config, self.vocabulary.size)
        sharding.check_model_fits(self.mesh, model_config)
        with distributed.first_alone("evaluation data"):
            self.questions = open_questions(
                plan.tasks, config.eval.split, data=config.data, vocabulary=self.vocabulary,
                metrics=config.eval.metrics, limit=config.eval.limit,
            )  # fmt: skip
        for task, questions in self.questions.items():
            _check_references(questions)
            prompt = config.method.prompt(questions.card.name if questions.card else task)
            self.questions[task] = questions.prompted(prompt)
        self._counts = {task: _count(asked, config, self.vocabulary) for task, asked in self.questions.items()}
        self.inputs = {task: _inputs(asked, config) for task, asked in self.questions.items()}
        self.model = state.Model.on(self.mesh, model_config, config.method)
        self.decoder = make_decoder(config, self.model, self.vocabulary)
        self.log_likelihood = LogLikelihood(self.model.graphdef, mesh=self.mesh, batch_size=config.eval.batch_size)
        self._results: dict[int, dict[str, Any]] = {}
        self._failed: dict[str, Exception] = {}

    def run(self, step: int) -> None:
        """Answers and scores all tasks with the weights of a step. What fails is kept for `close`."""
        self._results[step] = {}
        with jax.set_mesh(self.mesh):
            params, weights = None, []
            try:
                # The first's: where hosts have the base in folders of their own, its files' times differ.
                weights = distributed.from_first("weights", lambda: weights_identity(self.plan, step))
                params = load_weights(self.plan, self.model, step)
            except Exception as error:
                self._failed[f"step {step}"] = error
            if not all(distributed.gather("weights are loaded", params is not None)):
                self._failed.setdefault(f"step {step}", RuntimeError("another process could not load the weights"))
                return
            assert params is not None
            for task in self.questions:
                try:
                    self._results[step][task] = self._run_task(step, task, params, weights)
                except Exception as error:
                    self._failed[f"step {step}, {task}"] = error

    def close(self) -> int:
        """Shows the scores, reports what failed and returns the exit code.

        Raises:
          UserError: nothing at all was evaluated, because of something that the user can put right.
        """
        results, failed = self._results, self._failed
        if not any(results.values()) and isinstance(first := next(iter(failed.values()), None), UserError):
            raise first
        if jax.process_index() == 0:
            _show(self.plan, list(self.questions), results)
        for what, error in failed.items():
            if not isinstance(error, UserError):
                traceback.print_exception(error)
            say(f"failed: {what}: {type(error).__name__}: {' '.join(str(error).split())[:500]}")
        return 1 if failed else 0

    def _run_task(self, step: int, task: str, params: Params, weights: list[Any]) -> dict[str, Any]:
        questions, inputs, config = self.questions[task], self.inputs[task], self._config
        label = f"step {step}, {task}"
        file = self._answer_file(step, task, weights, writes=jax.process_index() == 0)
        distributed.check_equal("answers that are there already (eval.output must be shared)", sorted(file.answers))
        if file.answers:
            say(f"{label}: {len(file.answers)} of {len(inputs)} were decoded before")
        answers = answer(
            self.decoder, params, inputs, [example.id for example in questions.examples], vocabulary=self.vocabulary,
            file=file, report=reporter(label, len(inputs), done=len(file.answers)),
        )  # fmt: skip
        if endless := sum(not a.ended for a in answers):
            limit = config.eval.decode.max_tokens
            say(f"{label}: {endless} of {len(answers)} predictions did not end within {limit} tokens")
        predictions = questions.plain([a.texts[0] for a in answers])
        scores = _score(self.plan, step, questions, predictions, self._counts[task])
        if len(answers) and len(answers[0].texts) > 1:
            samples = zip(
                *(questions.plain(texts) for texts in zip(*(a.texts for a in answers), strict=True)), strict=True
            )
            for row, texts in zip(scores.rows, samples, strict=True):
                row["samples"] = list(texts)
        if config.eval.probe.limit and "diagnostics" in scores.summary:
            _add_probe(scores, self.log_likelihood, params, questions, inputs, config, self.vocabulary)
        return _write(self.plan, step, task, scores)

    def _answer_file(self, step: int, task: str, weights: list[Any], *, writes: bool) -> AnswerFile:
        ids = [example.id for example in self.questions[task].examples]
        fingerprint = answers_fingerprint(self._config, self.model, self.vocabulary, weights)
        path = self.plan.output / str(step) / task / "answers.jsonl"
        return AnswerFile(path, {**fingerprint, "inputs": inputs_digest(self.inputs[task], ids)}, writes=writes)


def make_decoder(config: Config, model: state.Model, vocabulary: Vocabulary) -> Decoder:
    """The decoder of `eval.decode`. UserError: it forbids what the vocabulary cannot say."""
    settings = config.eval.decode
    return Decoder(
        model.graphdef, settings, mesh=model.mesh, batch_size=config.eval.batch_size,
        forbidden=forbidden_sequences(settings, vocabulary),
    )  # fmt: skip


def load_weights(plan: Plan, model: state.Model, step: int) -> Params:
    """Parameters of a step; its checkpoint is held against pruning while it is read.

    Raises:
      UserError: no such weights, they do not fit, or the checkpoint cannot be read.
    """
    if step == 0:
        return state.load_params(plan.config, model)
    with Checkpoints(plan.run_dir / "checkpoints", read_only=True) as checkpoints, checkpoints.hold(step):
        try:
            return checkpoint_params(plan.config, model, checkpoints, step)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{plan.weights(step)}: the checkpoint cannot be read, is it whole? ({type(error).__name__}: {error!s:.200})"
            ) from error


def weights_identity(plan: Plan, step: int) -> list[Any]:
    """What tells these weights from others: JSON. UserError: there is no such checkpoint (any more)."""
    folder = Path(plan.config.model.weights).expanduser()  # an adapter's checkpoint is nothing without its base
    stats = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()] if folder.is_dir() else []
    base = [plan.weights(0), *([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)]
    if not step:
        return base
    with Checkpoints(plan.run_dir / "checkpoints", read_only=True) as checkpoints:
        return [*base, step, checkpoints.saved_at(step)]


def answers_fingerprint(
    config: Config, model: state.Model, vocabulary: Vocabulary, weights: list[Any]
) -> dict[str, Any]:
    """All that answers to given inputs hang on, to the bit."""
    return {
        "weights": weights,
        "method": config.method.model_dump(mode="json"),
        "decode": config.eval.decode.model_dump(mode="json"),
        "batch_size": config.eval.batch_size,
        "compute_dtype": model.config.compute_dtype.name,
        "mesh": dict(model.mesh.shape),
        "device": model.mesh.devices.flat[0].device_kind,
        "jax": jax.__version__,
        "vocabulary": vocabulary.sha256,
    }


def _check_references(questions: Questions) -> None:
    if not any(text.strip() for example in questions.examples for text in example.references):
        raise UserError(
            f"{questions.task}: the {questions.split} split has no references, so there is nothing to score "
            "against; put them into the data, or set eval.split"
        )


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
    head = _head(plan, step)
    folder = plan.output / str(step)
    if jax.process_index() == 0:
        write_predictions(folder, task, scores.rows)
        tasks = {**_tasks_beside(folder / "metrics.json", head), task: scores.summary}
        write_metrics(folder, head, tasks)
    return scores.summary


def _head(plan: Plan, step: int) -> dict[str, Any]:
    """What metrics.json says of all its tasks."""
    settings = plan.config.eval
    return {
        "step": step,
        "split": settings.split,
        "limit": settings.limit,
        "weights": plan.weights(step),
        "decode": settings.decode.in_words(),
    }


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


def reporter(label: str, total: int, *, done: int = 0) -> Callable[[int], None]:
    """A line every ten seconds or so, and one at the end; `done` of the total were there before."""
    start = last = time.perf_counter()
    before = done

    def report(done: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if done < total and now - last < _REPORT_EVERY_S:
            return
        last = now
        rate = (done - before) / (now - start)
        left = f", {duration((total - done) / rate)} left" if done < total else ""
        say(f"{label}: {done}/{total} decoded, {rate:.1f} examples/s{left}")

    return report
