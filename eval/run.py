"""Decodes and scores checkpoints, task by task. Imports JAX, and no TensorFlow.

What the user got wrong is found before the first weights are loaded. From then on no failure stops the rest: it is
reported, and the exit code at the end is 1, or 2 where the user can put right all that failed (a damaged checkpoint).
"""

import functools
import time
import traceback
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from eval.decoding.likelihood import LogLikelihood
from eval.diagnostics.probe import probe
from eval.examples import Questions, open_questions
from eval.plan import Plan
from eval.predictions_file import Answer, digest, inputs_digest
from eval.predictor import Predictor, Weights
from eval.report.summary import print_scores
from eval.scoring.made import Decoded, write_made
from eval.scoring.results import tasks_scored, write_predictions, write_task
from eval.scoring.score_task import (
    TaskScores,
    bootstrap,
    count_references,
    interval_settings,
    prediction_rows,
    remarks,
    score_task,
)
from t5x_tasks.common.errors import Failure, UserError, explained, one_line
from t5x_tasks.common.output import check_writable
from t5x_tasks.common.vocabulary import Vocabulary, shown_characters
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config
from train.log import say
from train.model.t5 import Params
from train.parallel import processes, runtime
from train.parallel.watchdog import watching


def evaluate(plan: Plan) -> int:
    """Runs a plan. Returns the exit code: 0, or if a task or a checkpoint failed 1, or 2 (see above).

    Raises:
      UserError: the data, the vocabulary, the mesh or (all) the weights do not fit; nothing has been written then.
    """
    runtime.set_up(plan.config.data.cache_folder())
    with watching():
        evaluation = Evaluation(plan)
        for step in plan.steps:
            evaluation.run(step)
        evaluation.show(plan.steps)
        return evaluation.close()


def follow(plan: Plan, *, every_s: float = 30.0) -> int:
    """Runs a plan, then each checkpoint that its run saves, until the last one; returns as `evaluate`.

    What was evaluated before, in the same way, is passed over. So is a checkpoint that is pruned before its turn comes.
    """
    runtime.set_up(plan.config.data.cache_folder())
    with watching(), Checkpoints(plan.run_dir / "checkpoints", read_only=True) as checkpoints:
        evaluation = Evaluation(plan)
        seen: set[tuple[int, str | None]] = set()  # a step that is saved anew is another checkpoint
        trouble = ""

        def next_step() -> tuple[int | None, bool]:
            """The next step to evaluate, and whether there will be none after what is there."""
            saved = checkpoints.steps()
            total = checkpoints.info(saved[-1]).metadata.get("total_steps") if saved else None
            there = {0} & {*plan.steps} | {*saved}
            named = [(step, evaluation.answerer.fingerprint(step)) for step in sorted(there)]
            waiting = [one for one in named if one not in seen and not evaluation.is_done(one[0])]
            seen.update(waiting[:1])
            return next((step for step, _ in waiting), None), total is not None and saved[-1] >= total

        def look() -> tuple[int | None, bool]:
            """As `next_step`. What cannot be read now, being pruned or damaged, may be gone at the next look: said once."""
            nonlocal trouble
            try:
                return next_step()
            except (UserError, OSError) as error:
                if str(error) != trouble:
                    trouble = str(error)
                    say(f"{trouble}; looks again")
                return None, False

        while True:
            step, complete = processes.from_first("next step", look)
            if step is not None:
                evaluation.run(step)
                evaluation.show([step])
            elif complete:
                return evaluation.close()
            else:
                time.sleep(every_s)


class Evaluation:
    """Model and questions, made once; `run` answers and scores with one checkpoint after the other.

    Raises:
      UserError: the data, the vocabulary or the mesh do not fit, or nothing can be written into the output folder.
    """

    def __init__(self, plan: Plan):
        processes.check_equal("configuration and checkpoints", [configuration.dump(plan.config), plan.steps])
        processes.from_first("output", lambda: check_writable(plan.output, "eval.output"))
        if plan.remark:
            say(plan.remark)
        self.answerer = Predictor(plan)
        self.plan, self._config = plan, self.answerer.config
        with processes.first_alone("evaluation data"):
            opened = open_questions(
                plan.tasks, self._config.eval.split, data=self._config.data, vocabulary=self.answerer.vocabulary,
                metrics=self._config.eval.metrics, limit=self._config.eval.limit, prompt=self._config.method.prompt,
            )  # fmt: skip
        for questions in opened.values():
            _check_references(questions)
        self.questions = {task: self.answerer.prompted(asked) for task, asked in opened.items()}
        self.inputs = {task: self.answerer.inputs(asked) for task, asked in self.questions.items()}
        self._counts = {task: _count(asked, self.answerer) for task, asked in self.questions.items()}
        self._data = {task: _data_digest(asked, self.inputs[task]) for task, asked in self.questions.items()}
        self.log_likelihood = LogLikelihood(
            self.answerer.model.graphdef, mesh=self.answerer.mesh, batch_size=self._config.eval.batch_size
        )
        self._results: dict[int, dict[str, Any]] = {}
        self._failed: dict[str, Exception] = {}

    def run(self, step: int) -> None:
        """Answers and scores all tasks with the weights of a step. What fails is kept for `close`."""
        self._results[step] = {}
        weights, trouble = None, None
        try:
            weights = self.answerer.load(step)
        except Exception as error:
            self._failed[f"step {step}"] = error
            trouble = "user's" if isinstance(explained(error), UserError) else "own"
        troubles = set(processes.gather("weights are loaded", trouble))
        if troubles != {None}:
            kind = Failure if "own" in troubles else UserError
            self._failed.setdefault(f"step {step}", kind("another process could not load the weights"))
            return
        assert weights is not None
        for task in self.questions:
            try:
                with jax.set_mesh(self.answerer.mesh):
                    self._results[step][task] = self._run_task(step, task, weights)
            except Exception as error:
                self._failed[f"step {step}, {task}"] = error

    def show(self, steps: Sequence[int]) -> None:
        """Prints the scores of these steps, those of a task beside each other."""
        if processes.is_first():
            _show(self.plan, list(self.questions), {step: self._results[step] for step in steps})

    def close(self) -> int:
        """Reports what failed and returns the exit code.

        Raises:
          UserError: nothing at all was evaluated, because of something that the user can put right.
        """
        failed = {what: explained(error) for what, error in self._failed.items()}
        if not any(self._results.values()) and isinstance(first := next(iter(failed.values()), None), UserError):
            raise first
        for what, error in failed.items():
            if not isinstance(error, UserError | Failure):
                traceback.print_exception(error)
            say(f"failed: {what}: {one_line(error, most=500)}")
        if not failed:
            return 0
        return 2 if all(isinstance(error, UserError) for error in failed.values()) else 1

    def is_done(self, step: int) -> bool:
        """Whether all tasks were scored with this checkpoint before, in the same way and on the same data."""
        scored = tasks_scored(self.plan, step, self.answerer.fingerprint(step))
        # Scores from before metrics.json had digests of data count.
        return all(task in scored and scored[task].get("data", data) == data for task, data in self._data.items())

    def _run_task(self, step: int, task: str, weights: Weights) -> dict[str, Any]:
        questions, inputs, config = self.questions[task], self.inputs[task], self._config
        path = self.plan.output / str(step) / task / "answers.jsonl"
        decoded: list[Decoded] = []
        answers = self.answerer.answer(
            questions, inputs, weights, path=path, label=f"step {step}, {task}", timed=decoded.append
        )
        predictions = questions.plain([a.texts[0] for a in answers])
        counts = {**self._counts[task], "unended_predictions": sum(not answer.ended for answer in answers)}
        scores = _score(self.plan, step, questions, predictions, counts)
        scores.summary["data"] = self._data[task]
        if samples := all_samples(questions, answers):
            for row, texts in zip(scores.rows, samples, strict=True):
                row["samples"] = texts
        if config.eval.probe.limit and "diagnostics" in scores.summary:
            vocabulary = self.answerer.vocabulary
            _add_probe(scores, self.log_likelihood, weights.params, questions, inputs, config, vocabulary)
        if processes.is_first():
            write_task(self.plan, step, task, scores, fingerprint=weights.fingerprint)
            devices = list(self.answerer.mesh.devices.flat)
            parameters, trained = self.answerer.num_parameters
            write_made(
                path.parent, decoded=decoded[0], device=f"{len(devices)} x {devices[0].device_kind}",
                parameters=parameters, trained=trained,
            )  # fmt: skip
        return scores.summary


def all_samples(questions: Questions, answers: Sequence[Answer]) -> list[list[str]]:
    """All texts of each example, where several were sampled; else nothing."""
    if not answers or len(answers[0].texts) == 1:
        return []
    by_number = [questions.plain(texts) for texts in zip(*(a.texts for a in answers), strict=True)]
    return [list(texts) for texts in zip(*by_number, strict=True)]


def _data_digest(questions: Questions, inputs: list[np.ndarray]) -> str:
    """Changes with what is asked and what is right: scores of other data do not rank with these."""
    asked = inputs_digest(inputs, [example.id for example in questions.examples])
    return digest({"inputs": asked, "references": [example.references for example in questions.examples]})[:16]


def _check_references(questions: Questions) -> None:
    if not any(text.strip() for example in questions.examples for text in example.references):
        raise UserError(
            f"{questions.task}: the {questions.split} split has no references, so there is nothing to score "
            "against; put them into the data, or set eval.split"
        )


def _count(questions: Questions, answerer: Predictor) -> dict[str, int | None]:
    """Counts what is cut and what cannot be scored, and says so before the time is spent."""
    for remark in remarks(count_references(questions), len(questions.examples)):
        say(f"{questions.task}: {remark}")
    cut_inputs = answerer.count_cut(questions, label=questions.task)
    max_tokens = answerer.config.eval.decode.max_tokens
    targets = questions.targets()
    references = [text for texts in targets for text in texts]
    vocabulary = answerer.vocabulary
    encoded = vocabulary.encode_batch(references)
    longer = np.array([len(ids) + 1 > max_tokens for ids in encoded])
    if longer.any():
        say(
            f"{questions.task}: {longer.mean():.0%} of the references are longer than max_tokens={max_tokens}, so no "
            "prediction can reach their length; eval.decode.max_tokens sets it"
        )
    if lacking := shown_characters(vocabulary.unknown_characters(references, encoded)):
        say(
            f"{questions.task}: the references hold characters that the vocabulary lacks ({lacking}): no prediction has them"
        )
    spelled = np.array([vocabulary.unk_id not in ids for ids in encoded])
    rows = np.repeat(np.arange(len(targets)), [len(texts) for texts in targets])
    return {
        "truncated_inputs": cut_inputs,
        "truncated_references": len(np.unique(rows[longer])),
        "unknown_tokens": questions.unknown_tokens,
        "unwritable_references": len(np.setdiff1d(rows[~spelled], rows[spelled])),  # none of them can be written
    }


def _score(
    plan: Plan, step: int, questions: Questions, predictions: list[str], counts: dict[str, int | None]
) -> TaskScores:
    if processes.is_first():  # decoding was the long part: a metric that fails must not lose it
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


def _show(plan: Plan, tasks: list[str], results: dict[int, dict[str, Any]]) -> None:
    for task in tasks:
        columns = {
            f"step {step}" if step else "before training": of_step[task]
            for step, of_step in results.items()
            if task in of_step
        }
        if columns:
            last = max(step for step, of_step in results.items() if task in of_step)
            path = plan.output / str(last) / task / "predictions.jsonl"
            print_scores(task, columns, split=plan.config.eval.split, predictions=path)
    for step, of_step in results.items():
        if of_step:
            print(f"written to {plan.output / str(step)}", flush=True)
