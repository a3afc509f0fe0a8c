"""Proposed templates, and what tells whether a card has them already."""

import re
from collections import Counter
from dataclasses import dataclass

from t5x_tasks.card.card import Card, Template
from t5x_tasks.card.template import parse

_FIELD = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Proposal:
    """A template that a card does not have.

    Attributes:
      inputs, targets: as in a template.
      template: the id of the one that it was made from.
      how: what was done to it.
    """

    inputs: str
    targets: str
    template: str
    how: str


def forward_templates(card: Card) -> list[Template]:
    """Returns the templates that ask for the answer, held-out ones, too."""
    inverted = {variant.template for variant in card.variants if variant.inverted}
    return [template for template in card.templates if template.id not in inverted]


def training_templates(card: Card) -> list[Template]:
    """Returns the forward templates that are not held out; all of them where all are."""
    forward = forward_templates(card)
    return [template for template in forward if template.split == "train"] or forward


def normal(inputs: str) -> str:
    """Returns the words of a template: without placeholders, case, punctuation and white space."""
    return " ".join(re.findall(r"\w+", _FIELD.sub(" ", inputs).casefold()))


def same_placeholders(one: str, other: str) -> bool:
    """Tells whether two templates have the same placeholders, each as often."""
    counts = [Counter(text for text, is_field in parse(inputs) if is_field) for inputs in (one, other)]
    return counts[0] == counts[1]
