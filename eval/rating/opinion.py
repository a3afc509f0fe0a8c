"""The raters' verdict on two systems: win rate, sign test, agreement among themselves, and with each score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import krippendorff
import numpy as np
from scipy.stats import binomtest

from eval.rating.files import MARKS, Mark, Ratings
from eval.rating.sheet import Letter
from eval.scoring.bootstrap import CONFIDENCE


@dataclass(frozen=True)
class Share:
    """`count` of `n`, in percent, with its exact interval (Clopper and Pearson 1934).

    Of n rows that decide, it leaves out 50% exactly where the sign test's p is below 0.05: the two never contradict each other.
    """

    count: int
    n: int

    @property
    def value(self) -> float:
        return 100 * self.count / self.n

    @property
    def interval(self) -> tuple[float, float]:
        found = binomtest(self.count, self.n).proportion_ci(CONFIDENCE, method="exact")
        return 100 * float(found.low), 100 * float(found.high)


@dataclass(frozen=True)
class Rater:
    """How often a rater gave each verdict."""

    name: str
    first: int
    both_good: int
    both_bad: int
    second: int

    @property
    def rated(self) -> int:
        return self.first + self.both_good + self.both_bad + self.second


@dataclass(frozen=True)
class Opinion:
    """Raters' verdicts on two systems, A and B or the other way round.

    A row counts once, however many rated it: it goes to the system that more of its raters prefer, otherwise it is even.

    Attributes:
      preference: for each row 1 (the second system), -1 (the first), 0 (even), nan (nobody rated it).
      marks: kind -> rows in which at least one rater marked the first system, and the second.
      alpha: Krippendorff's, of the raters' preferences; None where it is not defined.
      rated_twice: rows with two raters or more, on which alpha rests.
    """

    raters: list[Rater]
    preference: np.ndarray
    marks: dict[Mark, tuple[Share, Share]]
    alpha: float | None
    rated_twice: int

    @property
    def rated(self) -> int:
        return int(np.isfinite(self.preference).sum())

    @property
    def won(self) -> int:
        return int((self.preference > 0).sum())

    @property
    def lost(self) -> int:
        return int((self.preference < 0).sum())

    @property
    def even(self) -> int:
        return self.rated - self.won - self.lost

    @property
    def win_rate(self) -> Share | None:
        """The second system's share of the rows that are not even; None of none."""
        return Share(self.won, self.won + self.lost) if self.won + self.lost else None

    @property
    def p(self) -> float:
        return sign_test(self.won, self.lost)


@dataclass(frozen=True)
class Agreement:
    """How a score and people see the rows on which people prefer one system.

    Attributes:
      same: of the rows on which the score prefers one, too: those where it is the same; None of none.
      tied: rows on which the score is equal.
    """

    same: Share | None
    tied: int


def opinion_of(files: Sequence[Ratings], *, first: Letter = "A") -> Opinion:
    """Sums up the files of one page.

    Args:
      first: which of the page's systems the other is compared with.
    """
    second: Letter = "B" if first == "A" else "A"
    votes = np.array([[_vote(row.verdict is not None, row.preferred, second) for row in f.rows] for f in files])
    alpha, rated_twice = agreement(votes)
    count = np.isfinite(votes).sum(axis=0)
    preference = np.where(count > 0, np.sign(np.nansum(votes, axis=0)), np.nan)
    return Opinion(
        [_rater(name, file, first, second) for name, file in zip(_names(files), files, strict=True)],
        preference,
        {mark: (_marked(files, first, mark), _marked(files, second, mark)) for mark in MARKS},
        alpha,
        rated_twice,
    )


def sign_test(won: int, lost: int) -> float:
    """Two-sided p of the exact sign test (Dixon and Mood 1946): rows that are even say nothing."""
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def agreement(votes: np.ndarray) -> tuple[float | None, int]:
    """Krippendorff's alpha, for values on an ordinal scale, and the number of rows that it rests on.

    Args:
      votes: [raters, rows]; nan where a rater did not rate.

    Returns:
      None for alpha where no row has two votes, or all votes are the same.
    """
    pairable = votes[:, np.isfinite(votes).sum(axis=0) > 1]
    if len(np.unique(pairable[np.isfinite(pairable)])) < 2:
        return None, pairable.shape[1]
    alpha = krippendorff.alpha(reliability_data=pairable, level_of_measurement="ordinal")
    return float(alpha), pairable.shape[1]


def agreement_with(preference: np.ndarray, gain: np.ndarray) -> Agreement:
    """Compares people with a score.

    Args:
      preference: of `Opinion`, [rows].
      gain: by how much the second system's score is better than the first one's, [rows].
    """
    decided = np.isfinite(preference) & (preference != 0)
    side = np.where(np.abs(gain) > 1e-9, np.sign(gain), 0)[decided]
    judged = int((side != 0).sum())
    same = int((side == preference[decided]).sum())
    return Agreement(Share(same, judged) if judged else None, len(side) - judged)


def _vote(rated: bool, preferred: Letter | None, second: Letter) -> float:
    if not rated:
        return math.nan
    return 0.0 if preferred is None else 1.0 if preferred == second else -1.0


def _rater(name: str, file: Ratings, first: Letter, second: Letter) -> Rater:
    preferred = [row.preferred for row in file.rated]
    verdicts = [row.verdict for row in file.rated]
    return Rater(
        name, preferred.count(first), verdicts.count("both good"), verdicts.count("both bad"), preferred.count(second)
    )


def _names(files: Sequence[Ratings]) -> list[str]:
    """The raters' names; those who gave none, or another's, have a number."""
    names: list[str] = []
    for number, file in enumerate(files, 1):
        name = " ".join(file.rater.split()) or f"rater {number}"
        names.append(name if name not in names else f"{name} ({number})")
    return names


def _marked(files: Sequence[Ratings], system: Letter, mark: Mark) -> Share:
    marked = {row.id for file in files for row in file.rated if mark in row.of(system)}
    return Share(len(marked), len({row.id for file in files for row in file.rated}))
