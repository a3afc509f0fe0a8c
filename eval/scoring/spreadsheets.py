"""Cells that a spreadsheet shows as text, though they begin as a formula does.

A spreadsheet computes a cell of CSV or TSV that begins with `=`, `+`, `-` or `@`, also after a tab or a line break, whoever wrote
it: `=HYPERLINK(...)` in a chat that a model repeats would become a link in a table that looks like ours. As OWASP advises (CSV
injection), such a cell gets an apostrophe in front. A plain number, as -5, is none and stays. `eval score` takes the
apostrophe away again, so that answers are scored as the model gave them.
"""

import re
from typing import Any

_NUMBER = re.compile(r"[+-][\d.,]+%?")


# Also wide forms, which some spreadsheets take for the others; apostrophes before, so that what is read is what was written.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")


def as_cell(value: Any) -> Any:
    """Returns a text that no spreadsheet computes; anything that is no text as it is."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value) or not _FORMULA.match(value):
        return value
    return f"'{value}"


def from_cell(text: str) -> str:
    """Returns the text that `as_cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
