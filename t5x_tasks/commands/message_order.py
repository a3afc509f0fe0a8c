"""In which order the messages of a conversation were written: for `python -m t5x_tasks dialogues`."""

import contextlib
import datetime
import decimal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from t5x_tasks.commands.table import Table, is_blank
from t5x_tasks.errors import UserError
from t5x_tasks.heuristics import name_parts
from t5x_tasks.values import scalar_text, short_line

_SENDING = {"sent", "created", "message", "posted", "written", "said"}
_NUMBERS = {"number", "nr", "no", "index", "idx", "position", "order"}
_PLACES = {"position", "sequence", "seq", "order", "index", "idx"}


class Order(NamedTuple):
    """How the messages were sorted.

    Attributes:
      columns: by which; () where they stand as in the file.
      moved: conversations that stood in another order.
      unread: a word on a column that says the order and cannot be read.
    """

    columns: tuple[str, ...]
    moved: int
    unread: str


def order_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Returns what messages may be ordered by, the most likely first: a turn's number, the time, a day and a time, a place."""
    parts = {name: name_parts(name) for name in names}
    turns = [name for name, words in parts.items() if _is_number_of_turn(words)]
    times = [name for name, words in parts.items() if _is_time(words)]
    days = [name for name, words in parts.items() if words in (["date"], ["time"])]  # two of them are sorted by both
    days.sort(key=lambda name: parts[name])
    places = [name for name, words in parts.items() if {*words[-1:]} & _PLACES]
    found = [(name,) for name in (*turns, *times)] + [tuple(days)] * bool(days) + [(name,) for name in places]
    return list(dict.fromkeys(found))


def _is_number_of_turn(words: list[str]) -> bool:
    number = len(words) > 1 and words[-2] in ("turn", "message", "utterance") and words[-1] in _NUMBERS
    return number or words in (["turn"], ["turn", "id"])


def _is_time(words: list[str]) -> bool:
    sending = bool(_SENDING & {*words[:-1]})
    last = words[-1] if words else ""
    return (
        (last in ("timestamp", "ts", "datetime") and (sending or len(words) == 1))
        or (last in ("at", "on", "time", "date") and sending)
        or words in (["sent"], ["created"])
    )


def moments(values: Sequence[Any]) -> list[Any] | str:
    """Returns what rows are sorted by: numbers, or moments of time by ISO; None for blank. Or the first value that is neither.

    A time without zone counts as UTC.
    """
    found: list[Any] = []
    first = ""
    for value in values:
        kind, moment = _moment(value)
        first = first or kind
        if (kind and kind != first) or kind == "other":
            return str(value)
        found.append(moment)
    return found


def _moment(value: Any) -> tuple[str, Any]:
    if is_blank(value):
        return "", None
    if isinstance(value, str):
        value = _read(value.strip())
    if isinstance(value, datetime.datetime):
        return "date", value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    if isinstance(value, datetime.date):
        return "date", datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    if isinstance(value, datetime.time):
        return "time", value.replace(tzinfo=None)
    is_number = isinstance(value, int | float | decimal.Decimal) and scalar_text(value) is not None
    return ("number", value) if is_number else ("other", None)


def _read(text: str) -> Any:
    """Returns a number, a moment or a time of day; None for another text. BigQuery writes `UTC` behind its moments."""
    for reader in (int, float, datetime.datetime.fromisoformat, datetime.time.fromisoformat):
        with contextlib.suppress(ValueError):
            return reader(text.removesuffix(" UTC"))
    return None


def sort(table: Table, groups: Mapping[str, list[int]], given: Sequence[str], candidates: Iterable[str]) -> Order:
    """Sorts the rows of each group in place; equal ones, and those without a value, stay behind the one before them.

    Args:
      given: columns, as the user says; then a value that cannot be read is an error.
      candidates: else, the columns of which those count whose name says so, if they can be read.

    Raises:
      UserError: there is no such column, or it cannot be read.
    """
    choices = [tuple(table.named(name, "--order") for name in given)] if given else order_names(candidates)
    unread = ""
    for columns in choices:
        found = [moments([row.get(name) for row in table.rows]) for name in columns]
        if wrong := [(name, read) for name, read in zip(columns, found, strict=True) if isinstance(read, str)]:
            name, value = wrong[0]
            unread = f"{name} {short_line(value)[:40]!r} is neither a number nor a time as 2024-05-01 10:32"
            continue
        return Order(columns, _sort_by(groups, list(zip(*found, strict=True))), "")
    if given:
        raise UserError(f"{table.path}: --order {unread}; write it so, or sort the rows and leave --order out")
    return Order((), 0, unread)


def _sort_by(groups: Mapping[str, list[int]], moments_of: Sequence[tuple[Any, ...]]) -> int:
    moved = 0
    for numbers in groups.values():
        last: list[tuple[bool, Any]] = [(False, 0)] * len(moments_of[0])
        keys = {}
        for number in numbers:
            last = [
                before if value is None else (True, value)
                for before, value in zip(last, moments_of[number], strict=True)
            ]
            keys[number] = last
        before = list(numbers)
        numbers.sort(key=keys.__getitem__)
        moved += before != numbers
    return moved
