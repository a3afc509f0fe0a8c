"""Ratings of one to five stars: accuracy, macro-F1, and how many stars off."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.pooled import Scores, check_rows, macro_f1

LOWER_IS_BETTER = frozenset({"mean_absolute_error", "unparsed"})

LOWEST, HIGHEST = 1, 5
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_STARS = "★⭐🌟"
_RATING = re.compile(
    r"(?P<number>(?:(?<!\w)[-−])?\d+(?:,\d{3})*(?:\.\d+)?)"
    rf"|\b(?P<word>{'|'.join(_WORDS)})\b|(?P<stars>[{_STARS}][{_STARS}\ufe0f ]*)",
    re.IGNORECASE,
)
_NUMBER = rf"(?:\d{{1,3}}|{'|'.join(_WORDS)})\b(?:\s*\([^()]{{0,40}}\))?"
# `on a scale of 1 (bad) to 5`, `from one to five stars`: what ratings are, not one
_SCALE = re.compile(
    rf"\b(?:scale|range)\s+(?:of|from)\s+{_NUMBER}\s*(?:to|-|–)\s*(?P<top>{_NUMBER})"
    rf"|(?:\b(?:from|between)\s+)?(?<![\w.])(?:[01]|zero|one)\b(?:\s*\([^()]{{0,40}}\))?\s*(?:to|-|–|and)\s*(?:5|five)\b"
    r"(?:\s*\([^()]{0,40}\))?(?:\s+stars?\b)?",
    re.IGNORECASE,
)
_HALF = re.compile(r"\s*(?:and\s+a\s+half\b|1/2|½)", re.IGNORECASE)
_OUT_OF = re.compile(rf"\s*(?:stars?\s+)?(?:(?:/|out\s+of\b)\s*(?P<top>{_NUMBER})|of\s+(?:5|five)\b)", re.IGNORECASE)
_STARS_FOLLOW = re.compile(rf"[\s-]*(?:stars?\b|[{_STARS}*])", re.IGNORECASE)
_RATES = re.compile(r"\b(?:rat(?:e|es|ed|ing|ings)|scor(?:e|es|ed)|stars?)\b[^.!?\d\n]{0,30}\Z", re.IGNORECASE)
_NO_RATING_BEFORE = re.compile(r"\b(?:not|off|minus)\s+\Z", re.IGNORECASE)
_NO_RATING_AFTER = re.compile(r"\s*%|\s+of\b", re.IGNORECASE)
_CLAUSE_START, _CLAUSE_END = re.compile(r"(?:\A|[.!?,;:\n])[\s\"'(*-]*\Z"), re.compile(r"[\s\"')*]*(?:\Z|[.!?,;:\n])")


class _Candidate(NamedTuple):
    stars: float | None
    said: bool  # to be a rating, not any number


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return (
        "own implementation 2, first number, number word or stars that the text says to be a rating (`4 stars`, `4/5`, "
        "`rating: 4`), else the first of any; accuracy and unparsed (lower is better) in %; "
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
    """Returns the rating that a text gives: 4 for `4`, `4.0`, `Four stars`, `4/5`, `★★★★☆`; None if there is none.

    What is said to be a rating counts, by `stars`, `/5`, `out of 5` or `rating` beside it, else the first number that begins the
    text or ends a clause, else the first. One that is not from 1 to 5, or of another scale (`4/10`), is no rating, nor are the
    ends of a scale (`from 1 to 5`), a percentage, `not 5`, and `one` within a sentence.
    """
    for scale in _SCALE.finditer(text):
        if scale["top"] and _value(scale["top"]) != HIGHEST:
            return None
    candidates = list(_candidates(_SCALE.sub(" ", text)))
    said = [candidate.stars for candidate in candidates if candidate.said]
    if said:
        return next((stars for stars in said if stars is not None), None)
    return candidates[0].stars if candidates else None


def _candidates(text: str) -> Iterator[_Candidate]:
    """The numbers that may be ratings; those that begin the text or end a clause first."""
    later, start = [], len(text) - len(text.lstrip())
    for found in _RATING.finditer(text):
        if found["stars"]:
            yield _candidate(sum(found["stars"].count(star) for star in _STARS), said=True)
            continue
        stars, end = _value(found[0]), found.end()
        if half := _HALF.match(text, end):
            stars, end = stars + 0.5, half.end()
        before = text[max(0, found.start() - 60) : found.start()]
        out_of = _OUT_OF.match(text, end)
        if out_of and out_of["top"] and _value(out_of["top"]) != HIGHEST:
            stars = 0.0  # of another scale
        said = bool(out_of or _STARS_FOLLOW.match(text, end))
        if _NO_RATING_BEFORE.search(before) or (not said and _NO_RATING_AFTER.match(text, end)):
            continue
        said = said or bool(_RATES.search(before))
        ends, begins = bool(_CLAUSE_END.match(text, end)), bool(_CLAUSE_START.search(before))
        if not said and found[0].lower() == "one" and not (ends and begins):
            continue
        if said or ends or found.start() == start:
            yield _candidate(stars, said=said)
        else:
            later.append(_candidate(stars, said=said))
    yield from later


def _candidate(stars: float, *, said: bool) -> _Candidate:
    return _Candidate(stars if LOWEST <= stars <= HIGHEST else None, said)


def _value(text: str) -> float:
    word = text.partition("(")[0].strip().lower()
    return float(_WORDS.index(word)) if word in _WORDS else float(word.replace("−", "-").replace(",", ""))


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
