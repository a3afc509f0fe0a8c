"""Files of an evaluation, written so that a reader never finds half of one."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eval.scoring.spreadsheets import as_cell
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.output import naming

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON in one step; a NaN, which JSON does not know, is a ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Writes one JSON object a line, all in one step."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def check_rows_ending(path: Path, key: str) -> None:
    """UserError: a file's name does not end as one that `write_rows` writes. `key` names it in the message."""
    if path.suffix.lower() not in (".jsonl", *DELIMITERS):
        raise UserError(f"{key}: {path}: its name must end with .jsonl, {' or '.join(DELIMITERS)}")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes rows of the same keys in one step: with a header as CSV or TSV where the name ends so, else as JSON lines.

    A list takes a column for each of its values: `samples.0`, `samples.1`. No text of a table is a spreadsheet's formula.
    """
    delimiter = DELIMITERS.get(path.suffix.lower())
    if delimiter is None:
        write_jsonl(path, rows)
        return
    flat = [{name: as_cell(cell) for key, value in row.items() for name, cell in _cells(key, value)} for row in rows]
    text = io.StringIO()
    # Lines end in CRLF (RFC 4180), so that a lone CR in a text is quoted.
    table = csv.DictWriter(text, list(flat[0]) if flat else [], delimiter=delimiter)
    table.writeheader()
    table.writerows(flat)
    write_text(path, text.getvalue())


def _cells(name: str, value: Any) -> list[tuple[str, Any]]:
    return [(f"{name}.{i}", one) for i, one in enumerate(value)] if isinstance(value, list) else [(name, value)]


def write_text(path: Path, text: str) -> None:
    """Writes a text in one step. OSError: it cannot be written, and nothing of it is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with naming(path):
            temporary.write_text(text, encoding="utf-8", newline="")
            temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
