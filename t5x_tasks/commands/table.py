"""A table in memory: the rows of a file by a key that several of them may share."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from t5x_tasks.errors import UserError, suggest
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import source_of
from t5x_tasks.values import is_missing, known_columns, scalar_text, shown


class Table:
    """The rows of a file, in memory.

    Attributes:
      path: of the file.
      columns: names, in the order in which they come.
      rows, places: one of each for each row.
    """

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.places: list[str] = []
        for place, row in read_file(path, source_of({"train": path}, path.parent)):
            self.rows.append(row)
            self.places.append(place)
        if not self.rows:
            raise UserError(f"{path}: no rows")
        self.columns = list(dict.fromkeys(name for row in self.rows for name in row))

    def named(self, column: str, option: str) -> str:
        """Returns a column that the user names. UserError: there is none of this name."""
        if column not in self.columns:
            hint = suggest(column, self.columns) or f"; it has {known_columns(self.columns)}"
            raise UserError(f"{self.path}: {option} {column}: no such column{hint}")
        return column

    def repeats(self, column: str) -> bool:
        """Tells whether two rows have the same key."""
        return len({key_of(row.get(column)) for row in self.rows}) < len(self.rows)

    def by(self, column: str) -> dict[str, list[int]]:
        """Returns key -> numbers of the rows that have it, in the order of the file. UserError: a row has none."""
        found: dict[str, list[int]] = {}
        for number, row in enumerate(self.rows):
            key = key_of(row.get(column))
            if not key:
                value = row.get(column)
                what = "is blank" if is_blank(value) else f"must be a text or a number, not {shown(value)}"
                raise UserError(
                    f"{self.places[number]}: {column} {what}, and tells which conversation it is; mend the row"
                )
            found.setdefault(key, []).append(number)
        return found


def is_blank(value: Any) -> bool:
    """Tells whether a cell has nothing in it: null, NaN, white space."""
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def key_of(value: Any) -> str:
    """Returns what names a conversation: 17 is `17`, as is 17.0, which a column of numbers beside a null becomes."""
    if is_blank(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return (scalar_text(value) or "").strip()


def first_value(table: Table, numbers: Iterable[int], column: str) -> Any:
    """Returns the first value of a column in some rows that is not blank, else an empty text."""
    values = (table.rows[number].get(column) for number in numbers)
    return next((value for value in values if not is_blank(value)), "")


def differing(table: Table, groups: Mapping[str, Sequence[int]], column: str) -> list[str]:
    """Returns the groups in which a column has different values; blank ones say nothing."""
    found = []
    for key, numbers in groups.items():
        first = None
        for number in numbers:
            value = table.rows[number].get(column)
            if is_blank(value) or value == first:
                continue
            if first is not None:
                found.append(key)
                break
            first = value
    return found
