"""Addresses within the report: `#examples&task=...&only=gain` shows those examples. What they may hold: filters.js."""

from urllib.parse import quote


def rows_link(**filters: str | float) -> str:
    """The address of some examples: task, split, a, b (names of systems), score, only, slice, low, high, q, row."""
    return "#examples&" + "&".join(f"{key}={quote(str(value), safe='')}" for key, value in filters.items())
