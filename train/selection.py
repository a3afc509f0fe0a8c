"""Which checkpoint is the best, and when a run has learned what it will: by its validation loss, or by a task's score.

    checkpoint: {every_steps: 100, best: support_chats/rougeL, patience: 3}      # scores of `python -m eval RUN_DIR --follow`

Scores of tasks are another process's work: it decodes each checkpoint and writes RUN_DIR/eval/<step>/metrics.json. Training
goes on meanwhile, one checkpoint ahead: before it saves the next it waits for the score of the last. So what is kept, and where
the run ends, depends on scores alone and not on which process is the faster, and a resumed run decides as it would have.

Only scores of the split, limit and decoding that the run configures (`eval`) count: those of another evaluation say nothing. Nor
do those of a checkpoint that lay in this one's place before the run was trained anew.
"""

import itertools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from t5x_tasks.common.errors import UserError
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config
from train.log import say
from train.parallel import processes
from train.rundir.metrics import METRICS, read_rows
from train.rundir.origin import FINGERPRINT, save_fingerprint

_POLL_S = 1.0
_FIRST_ROUND_S, _ROUND_S = 2.0, 60.0  # of waiting; each ends with a word


class Selection:
    """The scores of a run's checkpoints, read from its files."""

    def __init__(self, run_dir: Path, config: Config):
        self._run_dir, self._config, self._settings = run_dir, config.checkpoint, config.eval
        self._evaluations = Path(config.eval.output) if config.eval.output else run_dir / "eval"

    @property
    def measure(self) -> str:
        """The name of the score that ranks checkpoints."""
        return self._config.best or "validation_loss"

    def loss(self, step: int) -> float:
        """A checkpoint's score, lower is better; NaN while it has none. Scores of validation are in the checkpoint itself.

        Raises:
          UserError: the step was evaluated, but not on this task or with this score.
        """
        score = (self._config.best or "").partition("/")[2]
        path, summary = self._summary(step)
        if not summary:
            return math.nan
        scores = summary["metrics"]
        if score not in scores:
            raise UserError(f"checkpoint.best: {path}: {self._task} has no {score}; it has {', '.join(scores)}")
        return scores[score]["value"] * (-1 if self._config.best_is == "highest" else 1)

    @property
    def _task(self) -> str:
        return (self._config.best or "").partition("/")[0]

    def _summary(self, step: int) -> tuple[Path, dict[str, Any]]:
        """A step's scores of the task that count, and their file; empty where there are none."""
        folder = self._evaluations / str(step)
        kept, last = self._settings.scores_file(folder), folder / "metrics.json"
        for path in (kept, last):
            found = _read(path)
            if not self._differences(found) and self._task in found.get("tasks", {}):  # written task by task
                return path, found["tasks"][self._task]
        return last, {}

    @property
    def ranking(self) -> "Callable[[int], float] | None":
        """For `Checkpoints`: `loss` where a task's score ranks; None where the validation loss does."""
        return self.loss if self._config.best else None

    def losses(self) -> dict[int, float]:
        """Step -> its score, lower is better, of all checkpoints that have one, pruned ones too.

        Of a task's scores only those on the data of the last: an evaluation of changed data scores what is there again, but
        not what is pruned.
        """
        if self._config.best:
            steps = {int(p.parent.name) for p in self._evaluations.glob("*/*.json") if p.parent.name.isdecimal()}
            data = {step: self._summary(step)[1].get("data") for step in sorted(steps) if step}
            last = next((digest for digest in reversed(data.values()) if digest), None)
            found = {step: self.loss(step) for step, digest in data.items() if digest in (None, last)}
        else:
            rows = read_rows(self._run_dir / METRICS)
            found = {row["step"]: row["validation_loss"] for row in rows if row.get("validation_loss") is not None}
        return {step: loss for step, loss in found.items() if not math.isnan(loss)}

    def wait(self, step: int | None, *, go_on: Callable[[], bool]) -> None:
        """Returns when the checkpoint has its score; at once where that is not another process's work.

        Args:
          step: None where there is none yet.
          go_on: asked again and again; False ends the waiting.
        """
        if step is None or not self._config.best:
            return
        rounds = itertools.chain([_FIRST_ROUND_S], itertools.repeat(_ROUND_S))
        while not processes.from_first(f"score of step {step}", lambda: self._scored(step, go_on, next(rounds))):
            go_on()  # where another process looks for the score it is asked once a round

    def _scored(self, step: int, go_on: Callable[[], bool], round_s: float) -> bool:
        """Looks for a score for one round; whether the waiting is over."""
        start = time.monotonic()
        while math.isnan(self.loss(step)) and go_on():
            if time.monotonic() - start > round_s:
                others = self._differences(_read(self._evaluations / str(step) / "metrics.json"))
                there = f"; the scores there do not count: {', '.join(others)}" if others else ""
                say(
                    f"waits for {self.measure} of step {step}, which is for `python -m eval {self._run_dir} --follow`{there}"
                )
                return False
            time.sleep(_POLL_S)
        return True

    def _differences(self, metrics: dict[str, Any]) -> list[str]:
        """How scores were made otherwise than the run configures; nothing of no scores."""
        wanted = self._settings.settings() if metrics else {}
        different = [
            f"{key} is {metrics.get(key)}, not {value}" for key, value in wanted.items() if metrics.get(key) != value
        ]
        there = save_fingerprint(self._run_dir, metrics.get("step") or 0)
        if there is not None and metrics.get(FINGERPRINT, there) != there:
            different.append("they are of a checkpoint that was there before under this step")
        return different

    def enough(self, step: int) -> str | None:
        """Why the run ends at a step: `patience` checkpoints in a row no better than the best before them. None: it goes on.

        Those of `every_steps` count, and not what a run saves besides because it is stopped. The step's own validation loss
        counts, if it is logged; its own score of a task nobody can know yet.
        """
        return processes.from_first("early stopping", lambda: self._stale(step))

    def _stale(self, step: int) -> str | None:
        if self._config.patience is None:
            return None
        before = step if self._config.best else step + 1
        losses = {s: x for s, x in self.losses().items() if s < before and s % self._config.every_steps == 0}
        if not losses:
            return None
        best = min(losses, key=lambda s: (losses[s], s))
        since = sum(s > best for s in losses)
        if since < self._config.patience:
            return None
        return f"{self.measure} was best at step {best}, and no better at the {since} checkpoints since"


def _read(path: Path) -> dict[str, Any]:
    """The scores that an evaluation has written; empty where there are none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_checkpoints(run_dir: Path) -> Checkpoints:
    """A run's checkpoints for those who only read them, ranked as the run ranks them."""
    known = (run_dir / "config.yaml").is_file()
    ranking = Selection(run_dir, configuration.load(run_dir, [])).ranking if known else None
    return Checkpoints(run_dir / "checkpoints", best_metric="validation_loss", ranking=ranking, read_only=True)
