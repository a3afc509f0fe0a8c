"""A window of steps that JAX's profiler records: RUN_DIR/profile, for XProf, and a trace that ui.perfetto.dev opens."""

from pathlib import Path
from typing import Any

import jax

from train.config import ProfileConfig
from train.log import say


class ProfileWindow:
    """Records the configured steps, if this run takes them."""

    def __init__(self, config: ProfileConfig | None, run_dir: Path):
        self._config, self._folder = config, run_dir / "profile"
        self._recording = False

    def after(self, step: int, results: Any = None) -> None:
        """Call it before the first step, with the step that it resumes after, and after each; `results` are the step's."""
        if self._config is None:
            return
        if step == self._config.start - 1:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._recording = True
        elif self._recording and step >= self._config.start + self._config.steps - 1:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        """Writes what was recorded, also of a window that the end of the run interrupted."""
        if self._recording:
            self._recording = False
            jax.profiler.stop_trace()
            traces = sorted(self._folder.rglob("perfetto_trace.json.gz"))
            say(
                f"profile: {traces[-1] if traces else self._folder} (ui.perfetto.dev opens it), or XProf on {self._folder}"
            )
