"""<task>/made.json: when, by which command and code, how fast and by how large a model a task's answers were made.

It is beside metrics.json, not in it: that and predictions.jsonl are the same whenever and wherever they are made.
"""

import datetime
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.scoring.files import write_json
from train.rundir.revision import git_revision

NAME = "made.json"


@dataclass(frozen=True)
class Decoded:
    """Size and time of one decoding.

    Attributes:
      rows: without those that were decoded before.
      tokens: of their answers, end of sequence included.
      seconds: compiling included.
    """

    rows: int
    tokens: int
    seconds: float


def write_made(
    folder: Path, *, decoded: Decoded | None = None, device: str = "", parameters: int = 0, trained: int = 0
) -> None:
    """Writes FOLDER/made.json, FOLDER being that of a task.

    Args:
      decoded: None, or no rows: what the file says of an earlier go stays.
      device: `8 x NVIDIA H200`.
      parameters, trained: of the model, and how many of them its method trains.
    """
    made: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": _command(),
        "commit": git_revision(),
    }
    if parameters:
        made |= {"device": device, "parameters": parameters, "trained_parameters": trained}
    if decoded is not None and decoded.rows:
        made["decoded"] = {"rows": decoded.rows, "tokens": decoded.tokens, "seconds": round(decoded.seconds, 3)}
    elif parameters and "decoded" in (before := read_made(folder)):
        made["decoded"] = before["decoded"]
    write_json(folder / NAME, made)


def read_made(folder: Path) -> dict[str, Any]:
    """Reads FOLDER/made.json; nothing where there is none that can be read."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _command() -> str | None:
    """The command line, if this process is one of ours."""
    script = Path(sys.argv[0]) if sys.argv else Path()
    return shlex.join(["python", "-m", "eval", *sys.argv[1:]]) if script.parts[-2:] == ("eval", "__main__.py") else None
