"""Files of an evaluation, written so that a reader never finds half of one."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from t5x_tasks.output import naming


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON in one step; a NaN, which JSON does not know, is a ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Writes one JSON object a line, all in one step."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def write_text(path: Path, text: str) -> None:
    """Writes a text in one step. OSError: it cannot be written, and nothing of it is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with naming(path):
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
