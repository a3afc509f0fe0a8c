"""Reports skipped updates (train/skip_rule.py): the examples that they held; too many of them end the run.

The loop hears of them when it logs. Then the batch is made again from its place in the stream, and RUN_DIR/skipped.jsonl gets a
line with the examples' tasks and ids, RUN_DIR/skipped/step-N.npz its arrays. Too many of them end the run, before a
checkpoint is saved over good ones.
"""

import functools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t5x_tasks.common.errors import Failure
from train.config import SkipConfig
from train.data.batches import Batches
from train.data.replay import WithReplay
from train.log import say
from train.parallel import processes
from train.retry import retrying
from train.rundir.metrics import keep_until

LOG, DUMPS = "skipped.jsonl", "skipped"


_METRICS = ("loss", "grad_norm", "skipped_steps", "skipped_in_a_row")


class SkippedSteps:
    """Skipped updates as the loop learns of them, once it logs.

    Args:
      step: the step just finished; what the files say of later ones is dropped.
    """

    def __init__(self, run_dir: Path, batches: Batches | WithReplay, config: SkipConfig, *, step: int):
        self._run_dir, self._batches, self._config = run_dir, batches, config
        self._steps: list[tuple[int, dict[str, Any], dict[str, jax.Array]]] = []
        if processes.is_first():
            keep_until(run_dir / LOG, step, of_numbers=False)

    def add(self, step: int, position: dict[str, Any], metrics: dict[str, jax.Array]) -> None:
        """Remembers a step; `position` is that of the stream before its batch. Fetches nothing."""
        self._steps.append((step, position, {name: metrics[name] for name in _METRICS}))

    def report(self, *, saved: Callable[[], int | None]) -> None:
        """Writes down which of the steps since the last call were skipped. Call it when their results are there.

        Raises:
          Failure: there were too many, in all processes; `saved()` is the last committed step.
        """
        steps, self._steps = self._steps, []
        fetched = jax.device_get([metrics for _, _, metrics in steps])
        for (step, position, _), metrics in zip(steps, fetched, strict=True):
            loss, grad_norm, skipped, in_a_row = (metrics[name].item() for name in _METRICS)
            if not in_a_row:
                continue
            if processes.is_first():
                what = f"{self._run_dir / LOG}: writing"
                retrying(what, functools.partial(self._write, step, position, loss, grad_norm))
            for count, most, how in (
                (in_a_row, self._config.max_in_a_row, "in a row"),
                (skipped, self._config.max_in_all, "in all"),
            ):
                if count >= most:
                    raise Failure(
                        f"{self._run_dir}: step {step}: {count} steps {how} had a non-finite loss or gradients, or a "
                        f"loss that spikes, and were not applied; the last checkpoint is that of step {saved()}. "
                        f"{self._run_dir / LOG} names their examples. If those are sound, try a lower learning rate or "
                        f"model.compute_dtype=float32 (train.skip.max_{how.replace(' ', '_')}={most})"
                    )

    def _write(self, step: int, position: dict[str, Any], loss: float, grad_norm: float) -> None:
        batch, examples = self._batches.inspect(position)
        dump = self._run_dir / DUMPS / f"step-{step}.npz"
        dump.parent.mkdir(exist_ok=True)
        np.savez(dump, **batch.arrays)  # pyright: ignore[reportArgumentType]
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        why = "the loss spikes" if finite else "the loss or a gradient is not finite"
        row = {
            "step": step,
            "why": why,
            "loss": loss if math.isfinite(loss) else None,
            "grad_norm": grad_norm if math.isfinite(grad_norm) else None,
            "position": position,
            "examples": examples,
            "dump": str(dump.relative_to(self._run_dir)),
        }
        with (self._run_dir / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        shown = ", ".join(f"{task}:{id}" for task, id in examples[:3])
        more = f" and {len(examples) - 3} more" if len(examples) > 3 else ""
        say(f"step {step}: skipped, {why} (loss {loss:.4g}): {shown}{more}, see {self._run_dir / LOG}")
