"""Monitors a run while it trains: metrics, progress, trackers, throughput, profile, skipped updates."""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from t5x_tasks.common.errors import Failure
from train.config import Config
from train.data.batches import Batches
from train.data.replay import WithReplay
from train.log import Progress, say
from train.model.flops import Flops
from train.parallel import processes
from train.parallel.watchdog import Watchdog
from train.rundir import trackers
from train.rundir.goodput import Clock, summary
from train.rundir.metrics import METRICS, MetricsLog
from train.rundir.profiler import ProfileWindow
from train.rundir.skipped import SkippedSteps
from train.rundir.throughput import Rates


class RunMonitor(contextlib.AbstractContextManager):
    """One object that the loop tells what happened. Away from process 0 it writes and shows nothing.

    Args:
      clock: that of the run, begun at its start.
      batches: of the training input, to name the examples of skipped updates.
      flops: of an update.
      peak_flops: FLOP/s of all devices.
      step: after which the run resumes; 0 at its start.
      watchdog: told of each step.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        batches: Batches | WithReplay,
        flops: Flops,
        peak_flops: float,
        step: int,
        total_steps: int,
        watchdog: Watchdog,
    ):
        self.clock = clock
        self._run_dir = run_dir = Path(config.run_dir)
        self._watchdog, self._stack = watchdog, contextlib.ExitStack()
        self._log: MetricsLog | None = None
        self._progress: Progress | None = None
        if processes.is_first():
            clock.go_on(run_dir / METRICS, step=step)
            opened = trackers.open_trackers(config, run_dir, step=step)
            self._log = self._stack.enter_context(MetricsLog(run_dir, step=step, trackers=opened))
            self._progress = self._stack.enter_context(Progress(step=step, total=total_steps))
        self._skipped = SkippedSteps(run_dir, batches, config.train.skip, step=step)
        self._profile = ProfileWindow(config.profile if processes.is_first() else None, run_dir)
        self._stack.callback(self._profile.close)
        self._profile.after(step)
        self._rates = Rates(flops, peak_flops, clock)
        watchdog.progress()
        clock.switch("steps")

    def after(self, step: int, position: dict[str, Any], metrics: dict[str, jax.Array], stats: dict[str, int]) -> None:
        """Takes note of the step just finished; fetches nothing from the devices.

        Args:
          position: of the input stream before the step's batch.
          metrics: of the step, as the update returns them.
          stats: of the batch.
        """
        self._skipped.add(step, position, metrics)
        self._rates.add(stats)
        self._profile.after(step, metrics)
        self._watchdog.progress(step)
        if self._progress:
            self._progress.step(step)

    def measure(self, step: int, metrics: dict[str, jax.Array], *, saved: Callable[[], int | None]) -> dict[str, Any]:
        """Returns a row of metrics.jsonl, but for validation and the clock. Call it when the step's results are there.

        Args:
          saved: the last committed checkpoint, for errors.

        Raises:
          Failure: too many updates were skipped.
        """
        self._skipped.report(saved=saved)
        return {"step": step, **{name: float(value) for name, value in metrics.items()}, **self._rates.close()}

    def write(self, row: dict[str, Any], *, saved: Callable[[], int | None], sync: bool) -> None:
        """Completes a row with the clock's accounts, logs and shows it; `sync` puts it on the disk.

        Raises:
          Failure: the validation loss is not finite, before such weights are saved over good ones; or the log cannot be written.
        """
        row |= self.clock.row()
        if not math.isfinite(row.get("validation_loss", 0.0)):
            raise Failure(
                f"step {row['step']}: validation_loss is {row['validation_loss']}; the last checkpoint is that of step "
                f"{saved()}. Try a lower learning rate or model.compute_dtype=float32"
            )
        if self._log and self._progress:
            self._log.write(row)
            self._progress.report(row)
            if sync:
                self._log.sync()

    def restart_rates(self) -> None:
        """Leaves the time since the last row, which saving took, out of the next row's rates."""
        self._rates.restart()

    def end(self, step: int) -> None:
        """Says how the run went, once its last checkpoint is saved."""
        if self._progress:
            self._progress.close()
        run_dir = self._run_dir
        say(f"{run_dir}: step {step} of {step}, which is saved\n{summary(run_dir / METRICS, self.clock)}")

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)
