"""Where the rows of metrics.jsonl go besides: TensorBoard, and wandb or trackio where they are installed."""

import hashlib
import importlib
import importlib.util
from pathlib import Path
from typing import Any, Protocol

from t5x_tasks.common.errors import UserError
from train.config import Config, LoggingConfig


class Tracker(Protocol):
    def write(self, step: int, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def check_installed(config: LoggingConfig) -> None:
    """Raises UserError when the configured tracker's package is not there."""
    if config.tracker is not None and importlib.util.find_spec(config.tracker) is None:
        raise UserError(
            f"logging.tracker: {config.tracker} is not installed; `pip install {config.tracker}`, or set it to null"
        )


def open_trackers(config: Config, run_dir: Path, *, step: int) -> list[Tracker]:
    """Opens those that are configured; a resumed run continues there."""
    trackers: list[Tracker] = []
    if config.logging.tensorboard:
        trackers.append(_TensorBoard(run_dir, step))
    if config.logging.tracker is not None:
        trackers.append(_Remote(config, run_dir))
    return trackers


class _TensorBoard:
    def __init__(self, run_dir: Path, step: int):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1, flush_secs=10)

    def write(self, step: int, row: dict[str, Any]) -> None:
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Remote:
    """wandb, or trackio, which has its functions.

    A restarted run sends the steps again that it does again; they are the same bit for bit, and wandb keeps the first.
    """

    def __init__(self, config: Config, run_dir: Path):
        assert config.logging.tracker is not None
        self._module: Any = importlib.import_module(config.logging.tracker)
        settings: dict[str, Any] = {"project": config.logging.project, "name": run_dir.name, "resume": "allow"}
        if config.logging.tracker == "wandb":
            # One run of wandb's for a run directory, however often it is started. Keys are read from the environment.
            name = hashlib.blake2b(str(run_dir.absolute()).encode(), digest_size=8).hexdigest()
            settings |= {"id": name, "dir": str(run_dir)}
        self._module.init(config=config.model_dump(mode="json", exclude={"environment"}), **settings)

    def write(self, step: int, row: dict[str, Any]) -> None:
        self._module.log(row, step=step)

    def close(self) -> None:
        self._module.finish()
