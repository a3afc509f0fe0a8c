"""Which run, step and save weights are of, told without opening a checkpoint. Imports no JAX."""

import hashlib
import json
from pathlib import Path
from typing import Any

MARKER = "commit_success.txt"  # orbax.checkpoint._src.path.atomicity_types.COMMIT_SUCCESS_FILE


DESCRIPTION = "_CHECKPOINT_METADATA"  # orbax.checkpoint._src.metadata.checkpoint._STEP_METADATA_FILENAME


FINGERPRINT = "weights_fingerprint"  # key of metrics.json


def run_and_step(weights: Path) -> tuple[Path, int] | None:
    """The run and step that a folder of weights stands for: RUN_DIR/checkpoints/<step>, or RUN_DIR for its latest checkpoint.

    None where it is no run's, or there is no such checkpoint.
    """
    folder = weights.absolute()
    if (folder / "config.yaml").is_file():
        steps = [int(path.name) for path in (folder / "checkpoints").glob("*") if _is_committed(path)]
        return (folder.resolve(), max(steps)) if steps else None
    if folder.parent.name == "checkpoints" and _is_committed(folder) and (folder.parents[1] / "config.yaml").is_file():
        return folder.parents[1].resolve(), int(folder.name)
    return None


def save_fingerprint(run_dir: Path, step: int) -> str | None:
    """Tells one save of a step from any other, wherever the run is copied to; None where there is no such checkpoint.

    The description of a save holds the nanosecond of its commit, besides the configuration and the fingerprints of the base.
    """
    path = run_dir / "checkpoints" / str(step)
    if not _is_committed(path):
        return None
    description = path / DESCRIPTION  # where it is missing, reading the checkpoint says so
    return _short(description.read_bytes() if description.is_file() else b"")


def short_digest(value: Any) -> str:
    """A hash of JSON values, short enough for a person to compare."""
    return _short(json.dumps(value, sort_keys=True).encode())


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _is_committed(step: Path) -> bool:
    return step.name.isdecimal() and (step / MARKER).is_file()
