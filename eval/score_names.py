"""Scores: their names for readers, which of them leads, and which direction is better. Imports no numpy."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Side = Literal["higher", "lower"]


# The score that stands for a task where one must: the first of these that it has, otherwise its first.
MAIN_SCORES = ("rougeL", "f1", "accuracy", "bleu", "exact_match")


# Diagnostics, and scores of shipped metrics in a metrics.json that was written before it said which side is better.
_LOWER = frozenset(
    {"made_up_per_100", "repeated_3grams", "empty", "mean_absolute_error", "unparsed", "malformed", "no_answer"}
)


# More is not better, nor is less: who says nothing makes nothing up.
_NEITHER = frozenset(
    {"length_ratio", "made_up_rows", "copied_share", "copied_density", "novel_1grams", "novel_2grams", "novel_3grams"}
)


IN_STARS = frozenset({"mean_absolute_error"})  # other scores are in percent


def plain_name(score: str) -> str:
    """Returns a score's own name: `exact_match` of `bleu.exact_match`."""
    return score.rpartition(".")[2]


def main_score(scores: Iterable[str]) -> str | None:
    """Returns the score that stands for a task; None of none."""
    scores = list(scores)
    by_plain = {plain_name(score): score for score in reversed(scores)}
    return next((by_plain[name] for name in MAIN_SCORES if name in by_plain), scores[0] if scores else None)


def better_side(score: str, found: Mapping[str, Any] | None = None) -> Side | None:
    """Which values of a score are better; None where neither are.

    Args:
      found: what metrics.json says of the score; `better` in it comes from the metric itself.
    """
    if found and "better" in found:
        return found["better"]
    name = plain_name(score)
    return None if name in _NEITHER else "lower" if name in _LOWER else "higher"


def decimals(score: str) -> int:
    return 2 if plain_name(score) in IN_STARS | {"length_ratio"} else 1
