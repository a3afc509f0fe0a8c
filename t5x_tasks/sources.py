"""Sources: the rows of a data set, from a mirror folder, from files beside the card, or from the Hugging Face hub.

All three go through the same checks and give the same rows, so that what was tried offline holds online.
"""

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

from t5x_tasks.card import Card, HubSource
from t5x_tasks.errors import UserError, suggest
from t5x_tasks.hub import reason, skip_retries_if_unreachable

_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


@dataclass(frozen=True)
class Location:
    """Where the rows of a split are: a file, or (with `file` None) a data set of the hub."""

    file: Path | None
    text: str

    def __str__(self) -> str:
        return self.text


def locate(card: Card, split: str, root: str | PathLike[str] | None = None) -> Location:
    """Finds a split: ROOT/<name>/<split>.jsonl[.gz], else the card's own source.

    Raises:
      UserError: the card has no such split, `root` is no folder, or the card's file is not there.
    """
    mirror = Path(root).expanduser() if root is not None else None
    if mirror is not None:
        if not mirror.is_dir():
            raise UserError(f"{mirror}: no such folder; data.root must hold folders of data sets, or be null")
        for suffix in (".jsonl", ".jsonl.gz"):
            file = mirror / card.name / f"{split}{suffix}"
            if file.is_file():
                return Location(file, str(file))
    if split not in card.splits:
        hint = suggest(split, card.splits) or f"; it has {', '.join(card.splits) or 'none'}"
        raise UserError(f"{card.path}: {card.name} has no split {split}{hint}")
    if isinstance(card.source, HubSource):
        local = card.path.parent / card.source.path
        return Location(None, str(local) if local.is_dir() else f"hf://{card.source.path}")
    file = Path(os.path.normpath(card.path.parent / getattr(card.source, split)))
    if not file.is_file():
        looked = f" (nor {mirror / card.name / split}.jsonl[.gz])" if mirror is not None else ""
        raise UserError(f"{file}: no such file{looked}; it is source.{split} of {card.path}")
    return Location(file, str(file))


def count_rows(location: Location) -> int | None:
    """Counts the rows of a file without looking into them; None for the hub. For overviews: `read_rows` checks."""
    if location.file is None:
        return None
    try:
        with _open(location.file) as file:
            return sum(1 for line in file if line.strip())
    except (OSError, EOFError, zlib.error):
        return None


def source_digest(card: Card, split: str, root: str | PathLike[str] | None = None) -> str | None:
    """Returns what tells one version of a split's data from another, or None if the data is not at hand.

    Data of the hub counts as not at hand. Pin `source.revision` in the card to fix its version.
    """
    try:
        location = locate(card, split, root)
    except UserError:
        return None
    if location.file is None:
        return None
    with location.file.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def read_rows(card: Card, split: str, root: str | PathLike[str] | None = None) -> list[dict[str, Any]]:
    """Reads all rows of a split, in order.

    Each row keeps its columns and has a string `id`, its own or `<split>-<number>`, that no other row has. Every field
    that a template uses is there as text, with LF for CRLF. With `card.references`, that column is a list of texts.

    Raises:
      UserError: the data is out of reach, damaged or empty, or a row is not what the card says; names file, line, key.
    """
    location = locate(card, split, root)
    numbered = _read_hub(card, split) if location.file is None else _read_jsonl(location.file)
    rows: list[dict[str, Any]] = []
    for place, row in numbered:
        rows.append(_check_row(card, split, row, f"{location}:{place}", len(rows)))
    if not rows:
        raise UserError(f"{location}: no rows; split {split} of {card.name} is empty")
    if (column := card.group_by.get(split)) and card.references not in rows[0]:
        rows = _group(card, rows, column, str(location))
    seen: set[str] = set()
    for row in rows:
        if row["id"] in seen:
            raise UserError(f"{location}: id {row['id']!r} stands for two rows; make ids unique, or leave them out")
        seen.add(row["id"])
    return rows


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number from 1, object). Blank lines are passed over."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                except UnicodeDecodeError:
                    raise UserError(f"{path}:{number}: not UTF-8; save the file as UTF-8") from None
                except (json.JSONDecodeError, RecursionError) as error:
                    raise UserError(f"{path}:{number}: not JSON ({error}); write one object a line") from None
                if not isinstance(row, dict):
                    raise UserError(f"{path}:{number}: must be an object {{...}}, not a {type(row).__name__}")
                yield number, row
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise UserError(f"{path}: cannot be read after line {number} ({error}); is it whole?") from error


def _read_hub(card: Card, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (row number from 0, row) of a data set of the hub, or of a local folder laid out like one."""
    source = card.source
    assert isinstance(source, HubSource)
    local = card.path.parent / source.path
    path, revision = (str(local), None) if local.is_dir() else (source.path, source.revision)
    if not local.is_dir() and not _HUB_ID.match(path):
        raise UserError(f"{card.path}: source.path: {path} is neither a folder nor an id of the hub (owner/name)")
    try:
        if not local.is_dir():
            skip_retries_if_unreachable()
        import datasets  # a second and more
        from datasets.utils.logging import disable_progress_bar

        disable_progress_bar()
        loaded = datasets.load_dataset(path, source.name, split=split, revision=revision)
    except Exception as error:  # of many libraries: no network, no such data set, no such split, no access, bad files
        raise UserError(
            f"{locate(card, split)}: split {split} cannot be read ({reason(error)}); "
            f"put {card.name}/{split}.jsonl.gz into a folder and set data.root to it, "
            f"or get online and log in if the data set asks for it"
        ) from error
    for number, row in enumerate(loaded):
        # Data sets that were CSV once have null for an empty text.
        yield number, {key: "" if value is None else value for key, value in dict(row).items()}


def _check_row(card: Card, split: str, row: dict[str, Any], place: str, number: int) -> dict[str, Any]:
    row = dict(row)
    own_id = row.get("id")
    row["id"] = f"{split}-{number}" if own_id in (None, "") else _check_text(str(own_id), place, "id")
    several = card.references in row
    for field, column in card.used_fields.items():
        if several and field == card.answer_field:
            continue
        if column not in row:
            hint = suggest(column, row) or f"; it has {', '.join(map(str, row))}"
            raise UserError(f"{place}: no key {column!r} (field {field} of {card.name}){hint}")
        row[column] = _check_text(row[column], place, column)
    if several:
        answers = row[card.references]
        if not isinstance(answers, list) or not answers:
            raise UserError(f"{place}: {card.references!r} must be a list of one or more texts, not {answers!r:.60}")
        row[card.references] = [_check_text(answer, place, card.references) for answer in answers]
    return row


def _check_text(value: Any, place: str, column: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{place}: {column!r} must be a text, not {type(value).__name__} {value!r:.60}")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise UserError(
            f"{place}: {column!r} holds half a character (a text cut inside an emoji?); mend or drop the row"
        )
    return value.replace("\r\n", "\n")


def _group(card: Card, rows: list[dict[str, Any]], column: str, place: str) -> list[dict[str, Any]]:
    """Makes one row of those that are equal in `column`; their answers become the list of references, in order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if column not in row:
            raise UserError(f"{place}: no key {column!r}, by which {card.path} groups the rows")
        groups.setdefault(row[column], []).append(row)
    answer = card.fields[card.answer_field]
    return [
        group[0] | {"id": _group_id(group), card.references: [row[answer] for row in group]}
        for group in groups.values()
    ]


def _group_id(group: list[dict[str, Any]]) -> str:
    """Returns `test_0` for test_0_1, test_0_2, test_0_3; the first id where ids do not count like this."""
    stems = {re.sub(r"[_-]\d+$", "", row["id"]) for row in group}
    return stems.pop() if len(stems) == 1 and len(group) > 1 and stems != {group[0]["id"]} else group[0]["id"]
