"""In which order the messages of a conversation were written: for `python -m t5x_tasks dialogues`."""

import contextlib
import datetime
import decimal
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from t5x_tasks.card.heuristic_templates import joined, name_parts
from t5x_tasks.commands.table import Table, is_blank
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.values import scalar_text, short_line

# A day and perhaps a time: 07.02.2024 12:54, 2024/02/07, 2/7/2024.
_DAY = re.compile(r"(\d{1,4})([-./])(\d{1,2})\2(\d{1,4})(?:(?:,? +|T)(.+))?")
_LIKE_TIME = re.compile(r"(?<![\d.])\d{1,4}([-./])\d{1,2}\1(?:\d{4}|\d{2})(?![\d.]\d)|\b\d{1,2}:\d{2}\b")
_LONGEST_TIME = 40  # characters; a text that is longer holds a time and is none
_SENDING = {"sent", "created", "message", "posted", "written", "said"}
_NUMBERS = {"number", "nr", "no", "index", "idx", "position", "order"}
_PLACES = {"position", "sequence", "seq", "order", "index", "idx"}
# What may happen to a message after it was sent.
_LATER = {"updated", "modified", "edited", "changed", "deleted", "read", "seen", "closed", "resolved", "due", "expires"}


class Order(NamedTuple):
    """How the messages were sorted.

    Attributes:
      columns: by which; () where they stand as in the file.
      moved: conversations that stood in another order.
      unused: why columns that may tell the order were not used; "" where there are none.
    """

    columns: tuple[str, ...]
    moved: int
    unused: str


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
    """Returns what rows are sorted by: numbers, or moments of time; None for blank. Or the first value that is neither.

    A time without zone counts as UTC. 07.02.2024 is in February; of 07/02/2024 this is known where another value is 13/02/2024.
    """
    found: list[Any] = []
    first = ""
    day_first = _is_day_first(values)
    for value in values:
        kind, moment = _moment(value, day_first)
        first = first or kind
        if (kind and kind != first) or kind == "other":
            return str(value)
        found.append(moment)
    return found


def _is_day_first(values: Iterable[Any]) -> bool | None:
    """Tells whether days stand before months in dates such as 13/02/2024; None where their numbers do not say so."""
    dates = [found for value in values if isinstance(value, str) and (found := _DAY.fullmatch(value.strip()))]
    dates = [found for found in dates if found[2] != "." and len(found[4]) == 4]
    first, second = (any(int(found[group]) > 12 for found in dates) for group in (1, 3))
    return first if first != second else None


def _moment(value: Any, day_first: bool | None = None) -> tuple[str, Any]:
    if is_blank(value):
        return "", None
    if isinstance(value, str):
        value = _read(_as_iso(value.strip(), day_first))
    if isinstance(value, datetime.datetime):
        return "date", value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    if isinstance(value, datetime.date):
        return "date", datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    if isinstance(value, datetime.time):
        return "time", value.replace(tzinfo=None)
    is_number = isinstance(value, int | float | decimal.Decimal) and scalar_text(value) is not None
    return ("number", value) if is_number else ("other", None)


def _as_iso(text: str, day_first: bool | None) -> str:
    """Returns `7.2.2024 9:05` as `2024-02-07 09:05`; another text as it is. BigQuery writes `UTC` behind its moments."""
    text = re.sub(r"(?<![\d:])(\d:\d\d)", r"0\1", text.removesuffix(" UTC"))
    if not (found := _DAY.fullmatch(text)):
        return text
    year, mark, month, day, time = found.groups()
    if len(year) < 4:
        if mark != "." and day_first is None:
            return text
        day, month, year = (year, month, day) if mark == "." or day_first else (month, year, day)
    return f"{year}-{month:0>2}-{day:0>2}" + (f" {time}" if time else "")


def _read(text: str) -> Any:
    """Returns a number, a moment or a time of day; None for another text."""
    for reader in (int, float, datetime.datetime.fromisoformat, datetime.time.fromisoformat):
        with contextlib.suppress(ValueError):
            return reader(text)
    return None


def _looks_like_time(value: Any) -> bool:
    is_short = isinstance(value, str) and len(value) <= _LONGEST_TIME
    return _moment(value)[0] in ("date", "time") or (is_short and _LIKE_TIME.search(value) is not None)


def sort(table: Table, groups: Mapping[str, list[int]], given: Sequence[str], candidates: Sequence[str]) -> Order:
    """Sorts the rows of each group in place; equal ones, and those without a value, stay behind the one before them.

    Args:
      given: columns, as the user says; then a value that cannot be read is an error.
      candidates: else, the columns of which those count whose name says so, if they can be read; where there are none, the
        only one that holds dates or times in every row.

    Raises:
      UserError: there is no such column, or it cannot be read.
    """
    choices = [tuple(table.named(name, "--order") for name in given)] if given else order_names(candidates)
    if not choices:
        times = [name for name in candidates if all(_looks_like_time(row.get(name)) for row in table.rows)]
        if doubt := _doubt(times):
            return Order((), 0, doubt)
        choices = [(name,) for name in times]
    unread = ""
    for columns in choices:
        found = [moments([row.get(name) for row in table.rows]) for name in columns]
        if wrong := [(name, read) for name, read in zip(columns, found, strict=True) if isinstance(read, str)]:
            name, value = wrong[0]
            unread = f"{name} {short_line(value)[:40]!r} {_why_unread(value)}"
            continue
        return Order(columns, _sort_by(groups, list(zip(*found, strict=True))), "")
    if given:
        raise UserError(f"{table.name}: --order {unread}; write it so, or sort the rows and leave --order out")
    return Order((), 0, f"{unread}; write it so, or sort the rows" if unread else "")


def _doubt(times: Sequence[str]) -> str:
    """Says why none of the columns that hold times is taken for that of sending; "" where there is one, or none."""
    if len(times) > 1:
        return f"{joined(times)} hold times; say which tells the order: --order COLUMN"
    if any({*name_parts(name)} & _LATER for name in times):
        return f"{times[0]} holds times; if it tells the order: --order COLUMN"
    return ""


def _why_unread(value: str) -> str:
    day = _DAY.fullmatch(value.strip())
    if day and day[2] != "." and len(day[4]) == 4:
        return "does not say whether the day or the month comes first, as 2024-05-01 10:32 does"
    return "is neither a number nor a time as 2024-05-01 10:32"


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
