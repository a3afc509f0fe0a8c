"""What the columns of a file hold, and which of them is the answer: for `python -m t5x_tasks new`."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from t5x_tasks.errors import UserError, suggest
from t5x_tasks.fields import known_columns, scalar_text
from t5x_tasks.heuristics import last_word, named_answer

_LIMIT = 100_000  # rows looked at
_MOST_CHOICES = 20  # more different answers than that are no closed set
_MOST_LABEL_WORDS = 4
_LONGEST_NAME = 40  # characters of a field; a name that is a sentence is cut
_HEADER_WORDS = 8  # a column's name of more, or one that is a number, is rather a row's value
_KEPT_TEXT = 200  # characters of a text: enough to tell texts apart
_KEPT_VALUES = 100  # different ones of a column that are told apart
_META = {
    "id", "ids", "uid", "uuid", "guid", "index", "idx", "date", "time", "timestamp", "created", "updated", "url", "link",
    "author", "user", "source", "split", "lang", "language", "version", "licence", "license", "filename", "file", "path", "hash",
}  # fmt: skip
# Last words of columns for whose names, dialogue and summary, templates ship and evaluation has baselines and diagnostics.
_DIALOGUES = {"dialogue", "dialog", "chat", "conversation", "transcript", "messages", "thread"}
_SUMMARIES = {"summary", "recap", "tldr", "highlights"}
# And of columns that may name the rows.
_KEYS = {"id", "uid", "uuid", "guid", "key", "nr", "number", "ticket", "case"}


@dataclass
class Column:
    """What a column holds, over the rows that were looked at.

    Attributes:
      name: in the file.
      rows: that have it, with a value.
      empty: rows where its text is blank.
      bad: the type of a value that is no text or number; "" if there is none.
      list_of_texts: all its values are lists of texts.
      words: of all its texts together.
      values: text -> rows, of the first different ones.
    """

    name: str
    rows: int = 0
    empty: int = 0
    bad: str = ""
    list_of_texts: bool = True
    words: int = 0
    values: Counter[str] = field(default_factory=Counter)

    def add(self, value: Any) -> None:
        self.list_of_texts &= isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
        text = scalar_text(value)
        if text is None:
            self.bad = self.bad or type(value).__name__
            text = " ".join(value) if self.list_of_texts else ""
        self.rows += 1
        self.empty += not text.strip()
        self.words += len(text.split())
        text = text[:_KEPT_TEXT]
        if text in self.values or len(self.values) < _KEPT_VALUES:
            self.values[text] += 1

    @property
    def mean_words(self) -> float:
        return self.words / max(1, self.rows)

    @property
    def is_metadata(self) -> bool:
        """An id, a date, a link: nothing that a model is asked about."""
        parts = [part for part in _words(self.name) if not part.isdigit()]
        if not parts or parts[0] == "unnamed":  # the numbers of rows that pandas writes
            return self.mean_words < 3
        return bool({parts[-1], parts[0]} & _META) and self.mean_words < 3

    @property
    def is_closed(self) -> bool:
        """Few different short answers, each several times on average: the labels of a classification."""
        texts = [text for text in self.values if text.strip()]
        few = 2 <= len(texts) <= min(_MOST_CHOICES, self.rows // 2)
        return few and all(len(text.split()) <= _MOST_LABEL_WORDS for text in texts)

    @property
    def is_rating(self) -> bool:
        """Numbers from 1 to 5, more than two of them."""
        texts = [text for text in self.values if text.strip()]
        return len(texts) > 2 and all(_is_number(text) and 1 <= float(text) <= 5 for text in texts)

    def describe(self) -> str:
        different = len(self.values)
        many = f"{different} different" if different < _KEPT_VALUES else "many different"
        mean = f"{self.mean_words:.0f} word{'s' * (round(self.mean_words) != 1)} on average"
        if self.list_of_texts or self.bad:
            return f"lists, {many}, {mean}" if self.list_of_texts else f"{self.bad}s"
        return "empty in every row" if self.empty == self.rows else f"{many}, {mean}"


@dataclass(frozen=True)
class Roles:
    """Which columns a task is made of.

    Attributes:
      asked: field -> column, in the order of the file.
      answer: name of the field, and its column.
      why: how the answer was found.
      unused: column -> why it is not used.
      key: the column, if any, that may name the rows where they have no `id`.
    """

    asked: dict[str, Column]
    answer: tuple[str, Column]
    why: str
    unused: dict[str, str]
    key: str | None


def first_row_name(columns: Iterable[str]) -> str | None:
    """A column's name that looks like a value, as in a file whose first line is a row already; None if all look like names."""
    return next((name for name in columns if _is_number(name) or len(name.split()) > _HEADER_WORDS), None)


def look_at(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Column], int]:
    """Reads the first 100,000 rows; returns the columns that all of them have, and their number."""
    columns: dict[str, Column] = {}
    count = 0
    for _, row in rows:
        for name, value in row.items():
            if value is not None:
                columns.setdefault(name, Column(name)).add(value)
        count += 1
        if count == _LIMIT:
            break
    return columns, count


def assign(columns: Mapping[str, Column], rows: int, given: Mapping[str, str], where: str) -> Roles:
    """Decides which columns are asked about and which is the answer.

    Args:
      given: field -> column as the user says; then nothing else is used, and the answer is the field whose name says so or
        the last one.
      where: begins every error.

    Raises:
      UserError: a column is not there, or there is no pair of text columns.
    """
    if given:
        for name, column in given.items():
            if column not in columns:
                hint = suggest(column, columns) or f"; it has {known_columns(columns)}"
                raise UserError(f"{where}: --fields {name}={column}: no such column{hint}")
        answer = named_answer(given) or list(given)[-1]
        asked = {name: columns[column] for name, column in given.items() if name != answer}
        unused = {name: "not named in --fields" for name in columns if name not in given.values()}
        return Roles(asked, (answer, columns[given[answer]]), "by --fields", unused, _key(columns, unused, rows))
    unused = {name: reason for name, column in columns.items() if (reason := _unusable(column, rows))}
    usable = {name: column for name, column in columns.items() if name not in unused}
    for name, column in list(usable.items()):  # `nr: 17` is no answer where there are texts to choose from
        is_key = all(any(char.isdigit() for char in text) for text in column.values) and not named_answer([name])
        if (len(usable) > 2 or is_key) and rows > 2 and len(column.values) == rows and column.mean_words <= 1:
            unused[name] = "is one word, and another one in every row: a number or a key"
            del usable[name]
    chosen, why = _choose_answer(columns, usable, rows)
    if chosen is None or not set(usable) - {chosen.name}:
        found = ", ".join(f"{name} ({column.describe()})" for name, column in columns.items()) or "none"
        raise UserError(
            f"{where}: needs one column to ask about and one with the answer, and has {found}; "
            "name them: --fields text=COLUMN,answer=COLUMN"
        )
    others = [column for name, column in usable.items() if name != chosen.name]
    longest = max(others, key=lambda column: column.mean_words)
    asked = [column for column in others if column is longest or column.mean_words >= 3 or _is_asked(column.name)]
    unused |= {column.name: "short, and its name tells nothing of use" for column in others if column not in asked}
    unused.pop(chosen.name, None)
    fields = _field_names([*asked, chosen])
    by_field, key = {fields[column.name]: column for column in asked}, _key(columns, unused, rows)
    return Roles(by_field, (fields[chosen.name], chosen), why, unused, key)


def _key(columns: Mapping[str, Column], unused: Iterable[str], rows: int) -> str | None:
    for name in unused if "id" not in columns else ():
        column = columns[name]
        if last_word(name) in _KEYS and column.rows == rows and len(column.values) == min(rows, _KEPT_VALUES):
            return name
    return None


def _unusable(column: Column, rows: int) -> str:
    if column.bad:
        return f"holds {column.bad}s; a transform would make text of them (see docs/tasks.md)"
    if column.rows < rows:
        return f"{rows - column.rows} of {rows} rows do not have it"
    if column.is_metadata:
        return "looks like an id, a date or the like"
    if column.empty == column.rows:
        return "is empty in every row"
    if rows > 1 and len(column.values) == 1:
        return "is the same in every row"
    return ""


def _choose_answer(columns: Mapping[str, Column], usable: Mapping[str, Column], rows: int) -> tuple[Column | None, str]:
    # Lists of texts as the answer are several right answers a row.
    several = {name: c for name, c in columns.items() if c.list_of_texts and c.rows == rows}
    if name := named_answer([*usable, *several]):
        return columns[name], "its name says so"
    if len(usable) < 2:
        return None, ""
    closed = [column for column in usable.values() if column.is_closed]
    if closed:
        return closed[-1], f"it has few different values ({len(closed[-1].values)})"
    shortest = min(usable.values(), key=lambda column: column.mean_words)
    return shortest, "it is the shortest text"


def _is_asked(name: str) -> bool:
    return bool(
        set(_words(name)) & {"question", "query", "premise", "hypothesis", "instruction", "prompt", "input", "sentence"}
    )


def _field_names(columns: list[Column]) -> dict[str, str]:
    """Column -> a name that can stand in a template: `Customer Message` becomes customer_message, `Chat Text` dialogue."""
    plain = {column.name: _plain_name(column.name) for column in columns}
    dialogues = [column.name for column in columns[:-1] if last_word(plain[column.name]) in _DIALOGUES]
    names: dict[str, str] = {}
    for column in columns:
        is_answer = column is columns[-1]
        name = plain[column.name] or ("answer" if is_answer else "text")
        better, last_words = ("summary", _SUMMARIES) if is_answer else ("dialogue", _DIALOGUES)
        is_one_of_several = not is_answer and len(dialogues) > 1  # of which none is the dialogue
        if last_word(name) in last_words and not is_one_of_several and better not in plain.values():
            name = better
        name = f"field_{name}" if name[0].isdigit() or name == "options" else name
        number = 2
        unique = name
        while unique in names.values():
            unique, number = f"{name}_{number}", number + 1
        names[column.name] = unique
    return names


def _plain_name(name: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "_".join(_words(ascii_only))[:_LONGEST_NAME].strip("_")


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", text))
