"""Which columns of a file are asked about, and which of them is the answer: for `python -m t5x_tasks new`."""

import shlex
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from t5x_tasks.card import foreign_names
from t5x_tasks.card.heuristic_templates import last_word, name_parts, named_answer
from t5x_tasks.card.turns import NAME_BOTH
from t5x_tasks.commands.column import DIALOGUES, Column, columns_within, words_of
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.values import known_columns

_LONGEST_NAME = 40  # characters of a field; a name that is a sentence is cut
# Last words of columns for whose names, dialogue and summary, templates ship and evaluation has baselines and diagnostics.
_SUMMARIES = {"summary", "recap", "tldr", "highlights"} | foreign_names.SUMMARIES
# And of columns that may name the rows.
_KEYS = {"id", "uid", "uuid", "guid", "key", "nr", "number", "ticket", "case"} | foreign_names.KEYS


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

    @property
    def foreign(self) -> list[str]:
        """Names of columns that are used and are no English ones."""
        names = [column.name for column in (*self.asked.values(), self.answer[1])]
        return [name for name in names if foreign_names.is_foreign(name_parts(name))]


def assign(columns: Mapping[str, Column], rows: int, given: Mapping[str, str], where: str) -> Roles:
    """Decides which columns are asked about and which is the answer.

    Args:
      given: field -> column as the user says; then nothing else is used, and the answer is the field whose name says so or
        the last one.
      where: begins every error.

    Raises:
      UserError: a column is not there, there is no pair of text columns, or what seems to be the dialogue is not understood.
    """
    if given:
        for name, column in given.items():
            if column not in columns:
                hint = suggest(column, columns) or f"; it has {known_columns(columns)}"
                raise UserError(f"{where}: --fields {name}={column}: no such column{hint}")
        answer = named_answer(given) or list(given)[-1]
        asked = {name: columns[column] for name, column in given.items() if name != answer}
        named = {*given.values(), *(name for value in given.values() for name in columns_within(value))}
        unused = {name: "not named in --fields" for name in columns if name not in named}
        return Roles(asked, (answer, columns[given[answer]]), "by --fields", unused, _key(columns, unused, rows))
    unused = {name: reason for name, column in columns.items() if (reason := _unusable(column, rows))}
    usable = {name: column for name, column in columns.items() if name not in unused}
    for name, column in list(usable.items()):  # `nr: 17` is no answer where there are texts to choose from
        is_number = all(any(char.isdigit() for char in text) for text in column.values)
        doubts = is_number, not named_answer([name]), len(usable) > 2
        if sum(doubts) >= 2 and rows > 2 and column.mean_words <= 1 and column.differs:
            unused[name] = "is one word, and another one in every row: a number or a key"
            del usable[name]
    chosen, why = _choose_answer(columns, usable, rows)
    if chosen is None or not set(usable) - {chosen.name}:
        raise UserError(
            f"{where}: needs one column to ask about and one with the answer, and {_found(columns, unused)}"
        )
    others = [column for name, column in usable.items() if name != chosen.name]
    longest = max(others, key=lambda column: column.mean_words)
    asked = [
        column
        for column in others
        if column is longest or column.is_messages or column.mean_words >= 3 or _is_asked(column.name)
    ]
    if (unread := _unread_dialogue(columns, asked, chosen)) is not None:
        why = unused[unread.name].removesuffix(NAME_BOTH)
        raise UserError(f"{where}: {unread.name} seems to be the dialogue, and {why}; {_how([unread], chosen.name)}")
    unused |= {column.name: "short, and its name tells nothing of use" for column in others if column not in asked}
    unused.pop(chosen.name, None)
    fields = _field_names([*asked, chosen])
    by_field, key = {fields[column.name]: column for column in asked}, _key(columns, unused, rows)
    return Roles(by_field, (fields[chosen.name], chosen), why, unused, key)


def _found(columns: Mapping[str, Column], unused: Mapping[str, str]) -> str:
    """Says what of the columns may be used, why the others are not, and what to do."""
    usable = [f"{name} ({column.describe()})" for name, column in columns.items() if name not in unused]
    reasons = [f"not used: {name}: {why.removesuffix(NAME_BOTH)}" for name, why in unused.items()]
    unread = [column for name, column in columns.items() if name in unused and column.unread]
    return "; ".join([f"has {', '.join(usable) or 'none'}", *reasons, _how(unread, "COLUMN")])


def _how(unread: Iterable[Column], answer: str) -> str:
    """Returns the option that names the columns; of the first that was not read, the keys of its messages."""
    if (column := next(iter(unread), None)) is None:
        return "name them: --fields text=COLUMN,answer=COLUMN"
    field = "summary" if last_word(answer) in _SUMMARIES else "answer"
    fields = f"dialogue={column.name}.SPEAKER+{column.name}.TEXT,{field}={answer}"
    return f"name the columns, and for SPEAKER and TEXT these keys: --fields {shlex.quote(fields)}"


def _unread_dialogue(columns: Mapping[str, Column], asked: Iterable[Column], answer: Column) -> Column | None:
    """Returns the column of lists of objects without which there is no dialogue, or nothing longer than the answer."""
    if any(column.may_be_dialogue for column in asked):
        return None
    is_short = all(column.mean_words < answer.mean_words for column in asked)
    lists = [column for column in columns.values() if column.unread and not column.is_messages and column is not answer]
    return next((column for column in lists if is_short or column.is_named_dialogue), None)


def _key(columns: Mapping[str, Column], unused: Iterable[str], rows: int) -> str | None:
    for name in unused if "id" not in columns else ():
        column = columns[name]
        if last_word(name) in _KEYS and column.rows == rows and column.differs:
            return name
    return None


def _unusable(column: Column, rows: int) -> str:
    if column.bad and not column.is_messages:
        if column.no_messages:
            return f"holds {column.bad}s, and the transform turns does not know them for messages: {column.no_messages}"
        return f"holds {column.bad}s; a transform would make text of them (see docs/tasks.md)"
    if column.rows + column.nulls < rows:
        return f"{rows - column.rows - column.nulls} of {rows} rows do not have it (null or an empty text would do)"
    if column.is_metadata:
        return "looks like an id, a date or the like"
    if column.empty == column.rows:
        return "is empty in every row"
    if rows > 1 and len(column.values) == 1:
        return "is the same in every row"
    return ""


def _choose_answer(columns: Mapping[str, Column], usable: Mapping[str, Column], rows: int) -> tuple[Column | None, str]:
    # Lists of texts as the answer are several right answers a row.
    several = {name: c for name, c in columns.items() if c.list_of_texts and c.rows + c.nulls == rows}
    likely = {name: c for name, c in usable.items() if not c.is_messages}
    if name := named_answer([*likely, *several]):
        return columns[name], "its name says so"
    if len(usable) < 2 or not likely:
        return None, ""
    closed = [column for column in likely.values() if column.is_closed]
    if closed:
        return closed[-1], f"it has few different values ({len(closed[-1].values)})"
    shortest = min(likely.values(), key=lambda column: column.mean_words)
    return shortest, "it is the shortest text"


def _is_asked(name: str) -> bool:
    return bool(
        set(words_of(name))
        & {"question", "query", "premise", "hypothesis", "instruction", "prompt", "input", "sentence"}
    )


def _field_names(columns: list[Column]) -> dict[str, str]:
    """Column -> a name that can be in a template: `Customer Message` becomes customer_message, `Chat Text` dialogue."""
    plain = {column.name: _plain_name(column.name) for column in columns}
    dialogues = [c.name for c in columns[:-1] if c.is_messages or last_word(c.name) in DIALOGUES]
    names: dict[str, str] = {}
    for column in columns:
        is_answer = column is columns[-1]
        name = plain[column.name] or ("answer" if is_answer else "text")
        better, last_words = ("summary", _SUMMARIES) if is_answer else ("dialogue", DIALOGUES)
        is_one_of_several = not is_answer and len(dialogues) > 1  # of which none is the dialogue
        is_better = last_word(column.name) in last_words or (not is_answer and column.is_messages)
        if is_better and not is_one_of_several and better not in plain.values():
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
    return "_".join(words_of(ascii_only))[:_LONGEST_NAME].strip("_")
