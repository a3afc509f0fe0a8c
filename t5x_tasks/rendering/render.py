"""Rendering: from a row of a data set and a template to the texts that the model reads and writes.

One pure function with two callers, the SeqIO task and the native `prepare`, so that both see the same text.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from t5x_tasks.card.card import Card, Variant
from t5x_tasks.card.codec import load_codec
from t5x_tasks.card.template import OPTIONS, fill, placeholders
from t5x_tasks.sources import Row

_SHORT = 4000  # characters of texts whose encoding is remembered
_OPTIONS_AND_SPACE = re.compile(r"(\s*)\{options\}(\s*)")


@dataclass(frozen=True)
class Rendering:
    """An example as texts.

    Attributes:
      inputs: what the model reads, in the form that is tokenised: fields with a codec are encoded.
      targets: what it learns to write, in the same form: the first reference.
      references: all the right answers, plain.
    """

    inputs: str
    targets: str
    references: list[str]


def render(card: Card, variant: Variant, row: Row, exemplars: Sequence[Row] = ()) -> Rendering:
    """Renders one row.

    Args:
      card: the data set.
      variant: one of the card's.
      row: as `sources.read_rows` gives it, so that no field can be missing.
      exemplars: rows that stand before it with their answers.
    """
    inputs, targets = _sides(card, variant, row)
    references = [fill(variant.targets, row.fields)] if card.codecs else [targets]
    if row.references and card.answer_field in placeholders(variant.targets):
        references = [fill(variant.targets, {**row.fields, card.answer_field: text}) for text in row.references]
    solved = [shot(*_sides(card, variant, exemplar)) for exemplar in exemplars]
    return Rendering("".join([*solved, inputs]), targets, references)


def shot(inputs: str, targets: str) -> str:
    """Returns an exemplar: the question with its answer, in the place where the model will put its own."""
    return f"{inputs}{' ' if inputs.endswith(':') else chr(10)}{targets}\n\n"


def as_answer(card: Card, variant: Variant, text: str) -> str:
    """Returns what the model wrote as plain text, to be compared with the references: code is decoded."""
    for field in placeholders(variant.targets):
        if name := card.fields[field].codec:
            return load_codec(name).decode(text)
    return text


def as_target(card: Card, variant: Variant, reference: str) -> str:
    """Returns a reference in the form that is tokenised, as far as its length goes: code is encoded."""
    for field in placeholders(variant.targets):
        if name := card.fields[field].codec:
            return load_codec(name).encode(reference)
    return reference


def render_options(choices: Sequence[str], style: str) -> str:
    """Renders a closed set of answers: `- yes`, `- no` in lines, `(A) yes`, `(B) no`, or nothing."""
    if style == "dashed":
        return "\n".join(f"- {choice}" for choice in choices)
    if style == "lettered":
        return "\n".join(f"({_letter(number)}) {choice}" for number, choice in enumerate(choices))
    return ""


def is_blank(text: str) -> bool:
    """Tells whether a text shows nothing: empty, white space, control characters, zero-width marks."""
    if text[:1].isalnum():
        return False
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)


def _sides(card: Card, variant: Variant, row: Row) -> tuple[str, str]:
    values: Mapping[str, str] = row.fields
    if card.codecs:
        values = {**row.fields, **{field: _encode(name, row.fields[field]) for field, name in card.codecs.items()}}
    template = variant.inputs
    if card.options and variant.style:
        choices = card.options.choices or row.options
        template = _without_options(template) if variant.style == "none" else template
        values = {**values, OPTIONS: render_options(choices, variant.style)}
    return fill(template, values), fill(variant.targets, values)


@lru_cache(maxsize=4096)
def _without_options(template: str) -> str:
    """Takes `{options}` out, with the white space on one of its sides (the shorter)."""
    shorter = _OPTIONS_AND_SPACE.sub(lambda match: max(match[1], match[2], key=len), template)
    return shorter.strip() if _OPTIONS_AND_SPACE.search(template) else template


def _encode(codec: str, text: str) -> str:
    return _encode_short(codec, text) if len(text) < _SHORT else load_codec(codec).encode(text)


@lru_cache(maxsize=2**15)  # a card's templates encode the same fields, row after row: half of the time of all
def _encode_short(codec: str, text: str) -> str:
    return load_codec(codec).encode(text)


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else str(number + 1)
