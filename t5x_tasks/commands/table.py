"""A table in memory: the rows of one file or several by a key that several of them may share."""

import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.values import is_missing, known_columns, scalar_text, shown
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import source_of


class Table:
    """The rows of files that have the same columns, one file behind the other, in memory.

    Attributes:
      name: the first file, and how many more.
      columns: names, in the order in which they come.
      rows, places: one of each for each row.
      empty: files without rows.
    """

    def __init__(self, *paths: Path):
        self.name = _name(paths)
        self.rows: list[dict[str, Any]] = []
        self.places: list[str] = []
        self.columns: list[str] = []
        self.empty: list[Path] = []
        for path in paths:
            placed = list(read_file(path, source_of({"train": path}, path.parent)))
            if not placed:
                self.empty.append(path)
                continue
            columns = list(dict.fromkeys(name for _, row in placed for name in row))
            self.columns = self.columns or columns
            if differ := _difference(self.columns, columns):
                first = next(file for file in paths if file not in self.empty)
                raise UserError(f"{path}: {differ}, unlike {first}; give files of the same columns")
            self.places += [place for place, _ in placed]
            self.rows += [row for _, row in placed]
        if not self.rows:
            raise UserError(f"{self.name}: no rows")

    def named(self, column: str, option: str) -> str:
        """Returns a column that the user names. UserError: there is none of this name."""
        if column not in self.columns:
            hint = suggest(column, self.columns) or f"; it has {known_columns(self.columns)}"
            raise UserError(f"{self.name}: {option} {column}: no such column{hint}")
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


def expanded(names: Iterable[Path]) -> list[Path]:
    """Returns each file once, in order; those of a pattern as `export/*.csv` by their names.

    Raises:
      UserError: no file is like a pattern.
    """
    files: dict[Path, None] = {}
    for path in names:
        found = [path]
        if glob.has_magic(str(path)) and not path.exists():
            # Not Path.glob: it takes no absolute patterns.
            found = [file for file in map(Path, sorted(glob.glob(str(path), recursive=True))) if file.is_file()]  # noqa: PTH207
        if not found:
            raise UserError(f"{path}: no such file")
        files |= dict.fromkeys(found)
    return list(files)


def _name(paths: Sequence[Path]) -> str:
    return str(paths[0]) + f" and {len(paths) - 1} more" * (len(paths) > 1)


def _difference(known: Sequence[str], columns: Sequence[str]) -> str:
    """Says which columns are missing or are more than those known; "" where they are the same in whatever order."""
    missing = [name for name in known if name not in columns]
    more = [name for name in columns if name not in known]
    said = [f"has no {known_columns(missing)}"] * bool(missing) + [f"has {known_columns(more)}"] * bool(more)
    return " and ".join(said)


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
