"""What a column of a file holds, over its rows: for `python -m t5x_tasks new`."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from t5x_tasks.card import foreign_names
from t5x_tasks.card.fields import FieldSpec, field_value
from t5x_tasks.card.heuristic_templates import last_word
from t5x_tasks.card.turns import NAME_BOTH, as_lines, read_messages
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.values import printable, scalar_text

_LIMIT = 100_000  # rows looked at
_MOST_CHOICES = 20  # more different answers than that are no closed set
_MOST_LABEL_WORDS = 4
_HEADER_WORDS = 8  # a column's name of more, or one that is a number, is rather a row's value
_KEPT_TEXT = 200  # characters of a text: enough to tell texts apart
_KEPT_VALUES = 100  # different ones of a column that are told apart
_META = {
    "id", "ids", "uid", "uuid", "guid", "index", "idx", "date", "time", "timestamp", "created", "updated", "url", "link",
    "author", "user", "source", "split", "lang", "language", "version", "licence", "license", "filename", "file", "path", "hash",
}  # fmt: skip
# Last words of columns of dialogues: as texts, and as lists of lines.
DIALOGUES = {"dialogue", "dialog", "chat", "conversation", "transcript", "messages", "thread"}
DIALOGUES |= foreign_names.DIALOGUES
_LISTS_OF_LINES = DIALOGUES | {"turns", "utterances", "conversations"} | foreign_names.MESSAGES


@dataclass
class Column:
    """What a column holds, over the rows that were looked at.

    Attributes:
      name: in the file.
      rows: that have it, with a value.
      empty: rows where its text is blank.
      bad: the type of a value that is no text or number; "" if there is none.
      nulls: rows that have it without a value.
      list_of_texts: all its values are lists of texts.
      messages: rows whose value is messages with speakers, for the transform `turns`.
      no_messages: why the first of its lists is none.
      unread: rows whose value is a list of objects, and none of messages.
      words: of all its texts together.
      values: text -> rows, of the first different ones.
      pair: the columns of speakers and texts of which `turns` made its texts, if they are not one column.
    """

    name: str
    rows: int = 0
    empty: int = 0
    bad: str = ""
    nulls: int = 0
    list_of_texts: bool = True
    messages: int = 0
    no_messages: str = ""
    unread: int = 0
    words: int = 0
    values: Counter[str] = field(default_factory=Counter)
    pair: tuple[str, ...] = ()

    def add(self, value: Any) -> None:
        self.list_of_texts &= isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
        text = scalar_text(value)
        if text is None:
            self.bad = self.bad or type(value).__name__
            text = " ".join(value) if self.list_of_texts else ""
        dialogue = self._dialogue(value)
        text = text if dialogue is None else dialogue
        self.rows += 1
        self.empty += not text.strip()
        self.words += len(text.split())
        text = text[:_KEPT_TEXT]
        if text in self.values or len(self.values) < _KEPT_VALUES:
            self.values[text] += 1

    def _dialogue(self, value: Any) -> str | None:
        """Returns the text of messages; None where the value is no list, object or JSON of messages with speakers."""
        is_json = isinstance(value, str) and value.lstrip().startswith(("[", "{"))
        if not is_json and not isinstance(value, list | dict):
            return None
        try:
            messages = read_messages(value)
        except (ValueError, RecursionError) as error:
            self.no_messages = self.no_messages or printable(str(error))
            self.unread += isinstance(value, list) and all(isinstance(item, dict) for item in value)
            return None
        named = any(message.speaker for message in messages)
        self.messages += named
        return as_lines(messages) if named or not messages else None

    @property
    def is_messages(self) -> bool:
        """Most of what it holds is messages, or lists of texts under the name of a dialogue: `turns` makes texts of them."""
        return self.messages > (self.rows - self.empty) / 2 or self.is_lines

    @property
    def is_lines(self) -> bool:
        return self.list_of_texts and self.is_named_dialogue

    @property
    def may_be_dialogue(self) -> bool:
        """Messages, or a text under the name of a dialogue."""
        return self.is_messages or (not self.bad and last_word(self.name) in DIALOGUES)

    @property
    def unread_json(self) -> str:
        """Why its texts, JSON of lists of objects, stay as they are; "" where they are nothing of that."""
        has_keys = not self.bad and not self.is_messages and self.no_messages.endswith(NAME_BOTH)
        return self.no_messages.removesuffix(NAME_BOTH) if has_keys else ""

    @property
    def is_named_dialogue(self) -> bool:
        return last_word(self.name) in _LISTS_OF_LINES

    @property
    def mean_words(self) -> float:
        return self.words / max(1, self.rows)

    @property
    def is_metadata(self) -> bool:
        """An id, a date, a link: nothing that a model is asked about."""
        parts = [part for part in words_of(self.name) if not part.isdigit()]
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
    def differs(self) -> bool:
        """Another value in every row that has one, as far as the kept ones tell."""
        return len(self.values) == self.values.total() == min(self.rows, _KEPT_VALUES)

    @property
    def is_rating(self) -> bool:
        """Numbers from 1 to 5, more than two of them."""
        texts = [text for text in self.values if text.strip()]
        return len(texts) > 2 and all(_is_number(text) and 1 <= float(text) <= 5 for text in texts)

    def describe(self) -> str:
        different = len(self.values)
        many = f"{different} different" if different < _KEPT_VALUES else "many different"
        mean = f"{self.mean_words:.0f} word{'s' * (round(self.mean_words) != 1)} on average"
        if self.is_messages:
            return f"lists of {'lines' if self.is_lines else 'messages'}, {many}, {mean}"
        if self.list_of_texts or self.bad:
            return f"lists, {many}, {mean}" if self.list_of_texts else f"{self.bad}s"
        return "empty in every row" if self.empty == self.rows else f"{many}, {mean}"


def first_row_name(columns: Iterable[str]) -> str | None:
    """A column's name that looks like a value, as in a file whose first line is a row already; None if all look like names."""
    return next((name for name in columns if _is_number(name) or len(name.split()) > _HEADER_WORDS), None)


def look_at(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Column], int]:
    """Reads the first 100,000 rows; returns the columns in which there is a value, and the number of rows."""
    columns: dict[str, Column] = {}
    count = 0
    for _, row in rows:
        for name, value in row.items():
            column = columns.setdefault(name, Column(name))
            if value is None:
                column.nulls += 1
            else:
                column.add(value)
        count += 1
        if count == _LIMIT:
            break
    return {name: column for name, column in columns.items() if column.rows}, count


def look_inside(rows: Iterable[tuple[str, Mapping[str, Any]]], given: Mapping[str, str]) -> dict[str, Column]:
    """Reads what a user names that is no column: a key inside one, `answers.text`, or `log.by+log.said`, a dialogue.

    Args:
      given: field -> the name, for errors.

    Raises:
      UserError: a row has no such key, or its messages are none.
    """
    specs = {name: (_spec(field, name), f"{field}, of --fields") for field, name in given.items()}
    columns, _ = look_at(
        (place, {name: field_value(spec, row, field=by, place=place) for name, (spec, by) in specs.items()})
        for place, row in rows
    )
    return {name: replace(column, pair=specs[name][0].columns) for name, column in columns.items()}


def columns_within(name: str) -> tuple[str, ...]:
    """Returns the names of the columns that `log.by+log.said` is about."""
    return tuple(part.strip().split(".")[0] for part in name.split("+"))


def _spec(field: str, name: str) -> FieldSpec:
    parts = tuple(part.strip() for part in name.split("+"))
    if len(parts) > 2 or not all(parts):
        raise UserError(f"--fields {field}={name}: a dialogue is made of two, as {field}=COLUMN.SPEAKER+COLUMN.TEXT")
    return FieldSpec(columns=parts, transform="turns") if len(parts) == 2 else FieldSpec(column=name)


def words_of(name: str) -> list[str]:
    """Returns the words of a column's name: `chatLog_2` -> [chat, log, 2]."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", text))
