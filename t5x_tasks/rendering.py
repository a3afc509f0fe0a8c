"""Rendering: from a row of a data set and a template to the texts that the model reads and writes.

One pure function with two callers, the SeqIO task and the native `prepare`, so that both see the same text.
A template is plain text with placeholders: `{dialogue}` stands for a field, `{{` and `}}` for braces.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t5x_tasks.card import Card, Template

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


@dataclass(frozen=True)
class Rendering:
    """An example as texts. `references` are all the right answers, `targets` (the first of them) is what is learned."""

    inputs: str
    targets: str
    references: list[str]


@lru_cache(maxsize=4096)
def parse(template: str) -> tuple[tuple[str, bool], ...]:
    """Splits a template into (text, is_field) parts.

    Raises:
      ValueError: a brace that is neither part of a placeholder nor doubled.
    """
    parts: list[tuple[str, bool]] = []
    literal = ""
    end = 0
    for match in _TOKEN.finditer(template):
        literal += template[end : match.start()]
        end = match.end()
        if match[1]:
            parts += [(literal, False)] * bool(literal) + [(match[1], True)]
            literal = ""
        elif len(match[0]) == 2:
            literal += match[0][0]
        else:
            raise ValueError(f"lone {match[0]!r} near {template[max(0, match.start() - 12) : end + 12]!r}; double it")
    literal += template[end:]
    return (*parts, *([(literal, False)] if literal else []))


def placeholders(template: str) -> list[str]:
    """Returns the names of the fields that a template uses, in order, each once."""
    return list(dict.fromkeys(text for text, is_field in parse(template) if is_field))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Puts values into a template in one pass: braces inside a value stay what they are."""
    return "".join([values[text] if is_field else text for text, is_field in parse(template)])


def field_values(card: "Card", row: Mapping[str, Any]) -> dict[str, str]:
    """Returns the fields of a row that `read_rows` gave; of an answer with several references, the first."""
    values = {field: row[column] for field, column in card.used_fields.items() if column in row}
    if card.references in row:
        values[card.answer_field] = row[card.references][0]
    return values


def render(card: "Card", template: "Template", row: Mapping[str, Any]) -> Rendering:
    """Renders one row.

    Args:
      card: the data set.
      template: one of the card's templates.
      row: as `sources.read_rows` gives it, so that no field can be missing.
    """
    values = field_values(card, row)
    targets = fill(template.targets, values)
    references = [targets]
    if card.references in row and card.answer_field in placeholders(template.targets):
        references = [fill(template.targets, values | {card.answer_field: text}) for text in row[card.references]]
    return Rendering(fill(template.inputs, values), targets, references)


def is_blank(text: str) -> bool:
    """Tells whether a text shows nothing: empty, white space, control characters, zero-width marks."""
    if text[:1].isalnum():
        return False
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)
