"""A model that answers: opened once, with the weights of one checkpoint after the other."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from eval.decoding.decoder import Decoder
from eval.decoding.kv_cache import EOS
from eval.examples import Questions
from eval.plan import Plan
from eval.predictions_file import Answer, AnswerFile, answer, inputs_digest
from eval.scoring.made import Decoded
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from train.checkpoints.checkpointer import Checkpoints
from train.log import duration, say
from train.model.fingerprint import Prints, digest, fingerprint
from train.model.t5 import Params
from train.model_spec import open_model, resolve_method
from train.parallel import processes
from train.params import checkpoint_params, find_base, load_params
from train.rundir.origin import run_and_step, save_fingerprint, short_digest

_REPORT_EVERY_S = 10


class Weights(NamedTuple):
    """Parameters on the mesh, and what tells them from others, wherever they lie.

    Attributes:
      identity: of all their bits, for answers that are kept.
      fingerprint: for scores and reports, see `Predictor.fingerprint`.
    """

    params: Params
    identity: str
    fingerprint: str


class Predictor:
    """The model of a plan on its mesh, with a decoder.

    Raises:
      UserError: vocabulary, mesh, model and decoding do not fit together.
    """

    def __init__(self, plan: Plan):
        self.vocabulary = Vocabulary.load(plan.config.model.vocabulary)
        self.config = config = resolve_method(plan.config, self.vocabulary)
        self.plan = plan
        self.model = open_model(config, self.vocabulary.size)
        self.mesh = self.model.mesh
        self.decoder = Decoder(
            self.model.graphdef, config.eval.decode, mesh=self.mesh, batch_size=config.eval.batch_size,
            forbidden=self.vocabulary.spell(config.eval.decode.forbidden, "eval.decode.forbidden"),
        )  # fmt: skip

    @property
    def num_parameters(self) -> tuple[int, int]:
        """Of the whole model, and of what its method trains."""
        whole, trained = self.model.shapes, self.model.split(self.model.shapes)[0]
        return sum(x.size for x in jax.tree.leaves(whole)), sum(x.size for x in jax.tree.leaves(trained))

    def prompted(self, questions: Questions) -> Questions:
        """The questions as this model is asked them: behind its soft prompt, if it has one."""
        return questions.prompted(self.config.method.prompt(questions.card.name if questions.card else questions.task))

    def input_limit(self, questions: Questions) -> int:
        """Tokens that inputs are cut to."""
        lengths = self.config.data.lengths
        if lengths == "auto":  # no run has resolved it: nothing is cut
            return max(map(len, questions.tokens), default=1)
        return lengths.inputs

    def inputs(self, questions: Questions) -> list[np.ndarray]:
        """Token ids of each example; what is cut keeps its end of sequence, as in training."""
        limit = self.input_limit(questions)
        return [ids if len(ids) <= limit else np.append(ids[: limit - 1], EOS) for ids in questions.tokens]

    def count_cut(self, questions: Questions, *, label: str) -> int:
        """Counts the inputs that are cut, and says so before the time is spent."""
        limit, n = self.input_limit(questions), len(questions.tokens)
        if cut := sum(len(ids) > limit for ids in questions.tokens):
            say(f"{label}: {cut} of {n} inputs ({cut / n:.1%}) are cut to data.lengths.inputs={limit}")
        return cut

    def load(self, step: int) -> Weights:
        """Loads the weights of a step; its checkpoint is held against pruning while it is read.

        Raises:
          UserError: no such weights, they do not fit, or the checkpoint cannot be read.
        """
        known = processes.from_first("weights", lambda: self.fingerprint(step))
        with jax.set_mesh(self.mesh):
            if step == 0:
                read: Prints = {}
                params = load_params(self.config, self.model, read=read)
                read.pop("method", None)
                return _identified(params, known or self._at_start(short_digest(read)))
            with self._checkpoints() as checkpoints, checkpoints.hold(step):
                try:
                    return _identified(checkpoint_params(self.config, self.model, checkpoints, step), known or "")
                except (OSError, ValueError, KeyError) as error:
                    why = f"{type(error).__name__}: {error!s:.200}"
                    raise UserError(
                        f"{self.plan.weights(step)}: the checkpoint cannot be read, is it whole? ({why})"
                    ) from error

    def answer(
        self,
        questions: Questions,
        inputs: list[np.ndarray],
        weights: Weights,
        *,
        path: Path,
        label: str,
        timed: Callable[[Decoded], None] = lambda decoded: None,
    ) -> list[Answer]:
        """Answers, batch by batch into the file at `path`; what is there already is not decoded again.

        Args:
          timed: is told what was decoded now.
        """
        ids = [example.id for example in questions.examples]
        fingerprint = {**self._fingerprint(weights), "inputs": inputs_digest(inputs, ids)}
        file = AnswerFile(path, fingerprint, writes=processes.is_first())
        processes.check_equal("answers that are there already (all hosts must share the folder)", sorted(file.answers))
        if file.answers:
            say(f"{label}: {len(file.answers)} of {len(inputs)} were decoded before")
        before, started = set(file.answers), time.perf_counter()
        answers = answer(
            self.decoder, weights.params, inputs, ids, vocabulary=self.vocabulary, file=file,
            report=reporter(label, len(inputs), done=len(file.answers)),
        )  # fmt: skip
        seconds = time.perf_counter() - started
        texts = [text for i, a in enumerate(answers) if i not in before for text in a.texts]
        tokens = sum(len(ids) + 1 for ids in self.vocabulary.encode_batch(texts)) if texts else 0
        timed(Decoded(len(answers) - len(before), tokens, seconds))
        if endless := sum(not a.ended for a in answers):
            limit = self.config.eval.decode.max_tokens
            say(f"{label}: {endless} of {len(answers)} predictions did not end within {limit} tokens")
        return answers

    def fingerprint(self, step: int) -> str | None:
        """Tells the weights of a step from any others, as metrics.json has it; None where only reading them tells.

        It is that of the save, wherever the run lies. Before training it is that of the checkpoint that the run started from, if
        there is one and the method starts as its base: that is one model with two names. Else it is of the bits of the base.

        Raises:
          UserError: there is no such checkpoint (any more), or the base is not there.
        """
        if step:
            found = save_fingerprint(self.plan.run_dir, step)
            if found is None:
                raise UserError(f"{self.plan.weights(step)}: no such checkpoint (any more)")
            return found
        run = run_and_step(base) if (base := find_base(self.config)) else None
        found = save_fingerprint(*run) if run else None
        return self._at_start(found) if found else None

    def _at_start(self, base: str) -> str:
        """The fingerprint before training, from that of the base."""
        method = self.config.method
        return base if method.starts_as_base else short_digest([base, method.described(), self.config.train.seed])

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.plan.run_dir / "checkpoints", read_only=True)

    def _fingerprint(self, weights: Weights) -> dict[str, Any]:
        """All that answers to given inputs depend on, bit for bit."""
        return {
            "weights": weights.identity,
            "method": self.config.method.model_dump(mode="json"),
            "decode": self.config.eval.decode.model_dump(mode="json"),
            "batch_size": self.config.eval.batch_size,
            "compute_dtype": self.model.config.compute_dtype.name,
            "attention": self.model.config.attention,
            "mesh": dict(self.mesh.shape),
            "device": self.mesh.devices.flat[0].device_kind,
            "jax": jax.__version__,
            "vocabulary": self.vocabulary.sha256,
        }


def _identified(params: Params, known: str) -> Weights:
    """By their bits, those computed from others too: what files a base is made of, and their bases, only its reader knows."""
    return Weights(params, digest(json.dumps(fingerprint(params), sort_keys=True).encode()), known)


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
