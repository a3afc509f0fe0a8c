"""Values as they are in rows, of whatever type: as text, and in words for an error."""

import datetime
import decimal
import math
import re
import reprlib
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

from t5x_tasks.common.errors import visible


def scalar_text(value: Any) -> str | None:
    """Returns 5 as `5`, 4.5 as `4.5`, True as `true`, a date as `2024-05-01`; None for what has no such text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | decimal.Decimal):
        try:
            return str(value) if math.isfinite(value) else None
        except (ValueError, OverflowError):  # thousands of digits
            return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return None


def is_missing(value: Any) -> bool:
    """Tells whether a cell has no value: null, or NaN, which pandas and Parquet make of it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def known_columns(row: Iterable[Any]) -> str:
    """Returns the names of a row's columns for an error, which must stay one line whatever they are."""
    names = [printable(short_line(str(name))) for name in row]
    names = [visible(name if len(name) <= 24 else name[:24].rstrip()) for name in names]
    return ", ".join(names[:12]) + f" and {len(names) - 12} more" * (len(names) > 12) if names else "none"


def shown(value: Any) -> str:
    """Returns the beginning of a value for an error, in one line, whatever it is and however long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 60
    try:
        return short.repr(value)[:60]
    except ValueError:  # an int of thousands of digits
        return "..."


def printable(text: str) -> str:
    """Returns a text with spaces for control characters and for whatever breaks a line, if only in YAML."""
    return "".join(char if char.isprintable() else " " for char in text)


def short_line(text: str) -> str:
    """Returns a text of lines, or a long one, as one line of 200 characters at most; any other as it is."""
    return " ".join(text.split())[:200] if "\n" in text or len(text) > 200 else text


def name_parts(name: str) -> list[str]:
    """Returns a name's words: `reviewText`, `review_text` and `Review text` -> [review, text]; `sentence1` -> [sentence, 1]."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", unicodedata.normalize("NFC", name))
    return re.findall(r"[^\W_]+", spaced.lower())
