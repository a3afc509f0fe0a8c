"""Ratings of one to five stars: accuracy, macro-F1, and how many stars off."""

import re
from collections.abc import Sequence

import numpy as np

from t5x_tasks.errors import UserError
from t5x_tasks.metrics.pooled import Scores, check_rows, macro_f1

LOWEST, HIGHEST = 1, 5
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_STARS = "★⭐🌟"
_FIRST = re.compile(
    r"(?P<number>(?:(?<!\w)[-−])?\d+(?:,\d{3})*(?:\.\d+)?)"
    rf"|\b(?P<word>{'|'.join(_WORDS)})\b|(?P<stars>[{_STARS}][{_STARS}\ufe0f ]*)",
    re.IGNORECASE,
)


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return (
        "own implementation 1, first number, number word or stars in the text; accuracy and unparsed (lower is better) in %; "
        "macro_f1: unweighted mean over the ratings of the references, as scikit-learn's f1_score; mean_absolute_error in stars "
        "(lower is better), the largest possible where no rating can be read"
    )


def rating(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Scores ratings.

    A prediction without a rating is wrong, is no rating for macro-F1, and is as many stars off as can be (4 from 1 or 5, 2
    from 3). Where a row has several right ratings, any will do, and the nearest counts for the stars; for macro-F1 the row has
    the predicted one if that is right, and otherwise the first.

    Returns:
      `accuracy` in percent, `mean_absolute_error` in stars, `unparsed` in percent, all [rows]; `macro_f1`, Pooled.

    Raises:
      UserError: a reference is no rating.
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    check_rows(predictions, references)
    said = [parse_rating(prediction) for prediction in predictions]
    right = [[_reference(text, row) for text in texts] for row, texts in enumerate(references)]
    actual = [stars if stars in rights else rights[0] for stars, rights in zip(said, right, strict=True)]
    errors = [_error(stars, rights) for stars, rights in zip(said, right, strict=True)]
    return {
        "accuracy": np.array([100.0 * (stars == other) for stars, other in zip(said, actual, strict=True)]),
        "macro_f1": macro_f1(said, actual),
        "mean_absolute_error": np.array(errors),
        "unparsed": np.array([100.0 * (stars is None) for stars in said]),
    }


def parse_rating(text: str) -> float | None:
    """Returns the rating that a text begins to give: 4 for `4`, `4.0`, `Four stars`, `4/5`, `★★★★☆`; None if there is none.

    The first number, number word or run of stars counts; one that is not from 1 to 5 is no rating.
    """
    found = _FIRST.search(text)
    if found is None:
        return None
    if number := found["number"]:
        stars = float(number.replace("−", "-").replace(",", ""))
    elif word := found["word"]:
        stars = float(_WORDS.index(word.lower()))
    else:
        stars = float(sum(found["stars"].count(star) for star in _STARS))
    return stars if LOWEST <= stars <= HIGHEST else None


def _reference(text: str, row: int) -> float:
    if (stars := parse_rating(text)) is None:
        raise UserError(
            f"metrics: rating: row {row} (from 0): the reference {text!r:.80} holds no rating from {LOWEST} to {HIGHEST}; name "
            "another metric (`accuracy` compares labels), or have the templates say the rating as a number"
        )
    return stars


def _error(stars: float | None, rights: Sequence[float]) -> float:
    if stars is None:
        return min(max(right - LOWEST, HIGHEST - right) for right in rights)
    return min(abs(stars - right) for right in rights)
