"""How fast a run is: what each logged row says of the steps since the last one."""

import time
from typing import Any

import jax

from train.model.flops import Flops
from train.rundir.goodput import Clock


class Rates:
    """Rates between two logged steps. Times of saving and validating are not in it."""

    def __init__(self, flops: Flops, peak: float, clock: Clock):
        """`flops` of an update; `peak`: FLOP/s of all devices; `clock` knows the waits for input."""
        self._flops, self._peak, self._clock = flops, peak, clock
        self.restart()

    def restart(self) -> None:
        self._start, self._waited_s = time.perf_counter(), self._clock.seconds["input_wait"]
        self._stats: list[dict[str, int]] = []

    def add(self, stats: dict[str, int]) -> None:
        self._stats.append(stats)

    def close(self) -> dict[str, Any]:
        """Figures of the steps since the last call. Call it when the step's results are there, not merely under way."""
        elapsed, steps = time.perf_counter() - self._start, len(self._stats)
        tokens = sum(s["input_tokens"] + s["target_tokens"] for s in self._stats)
        flops = sum(map(self._flops, self._stats))
        row = {
            "tokens": tokens,
            "examples": sum(s["examples"] for s in self._stats),
            "truncated_inputs": sum(s["truncated_inputs"] for s in self._stats),
            "truncated_targets": sum(s["truncated_targets"] for s in self._stats),
            "tokens_per_s": tokens / elapsed,
            "examples_per_s": sum(s["examples"] for s in self._stats) / elapsed,
            "mfu": flops / elapsed / self._peak,
            "step_time_s": elapsed / steps,
            "data_wait_s": (self._clock.seconds["input_wait"] - self._waited_s) / steps,
        }
        if peaks := [stats["peak_bytes_in_use"] for d in jax.local_devices() if (stats := d.memory_stats())]:
            row["device_memory_peak_gib"] = max(peaks) / 2**30
        self.restart()
        return row
