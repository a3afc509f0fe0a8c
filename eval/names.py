"""What scores are called for readers, which of them leads, and which way is better. Imports no numpy."""

from collections.abc import Iterable

# The score that stands for a task where one must: the first of these that it has, otherwise its first.
MAIN_SCORES = ("rougeL", "f1", "accuracy", "bleu", "exact_match")
LOWER_IS_BETTER = frozenset(
    {"mean_absolute_error", "unparsed", "malformed", "made_up_per_100", "repeated_3grams", "empty"}
)
# More is not better, nor is less: who says nothing makes nothing up.
NO_BETTER_SIDE = frozenset({"length_ratio", "made_up_rows"})
IN_STARS = frozenset({"mean_absolute_error"})  # other scores are in percent


def plain_name(score: str) -> str:
    """Returns a score's own name: `exact_match` of `bleu.exact_match`."""
    return score.rpartition(".")[2]


def main_score(scores: Iterable[str]) -> str | None:
    """Returns the score that stands for a task; None of none."""
    scores = list(scores)
    by_plain = {plain_name(score): score for score in reversed(scores)}
    return next((by_plain[name] for name in MAIN_SCORES if name in by_plain), scores[0] if scores else None)


def lower_is_better(score: str) -> bool:
    return plain_name(score) in LOWER_IS_BETTER


def decimals(score: str) -> int:
    return 2 if plain_name(score) in IN_STARS | {"length_ratio"} else 1
