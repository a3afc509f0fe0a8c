"""Every pair of a task's systems on its main score: rows won and lost, differences corrected together, ranks with ties."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from eval.comparison.task import FEWEST_ROWS, Comparison, verdict_of
from eval.scoring.bootstrap import Difference, holm

_EQUAL = 1e-9  # scores of a row this close are a tie


@dataclass(frozen=True)
class Outcome:
    """Rows on which one system does better than another, as well, and worse; by the side of the score that is better."""

    won: int
    tied: int
    lost: int

    @property
    def win_rate(self) -> float:
        """Share of rows won, in percent; a tie is half a win for each."""
        return 100 * (self.won + self.tied / 2) / (self.won + self.tied + self.lost)

    @property
    def turned(self) -> "Outcome":
        return Outcome(self.lost, self.tied, self.won)


@dataclass(frozen=True)
class Standing:
    """The result of all pairs of a comparison.

    Attributes:
      differences: (column, other column) -> other minus column, of each pair in both directions; those that were scored with
        different settings are left out.
      ranks: of each column, 1 + the number of columns that are significantly better; None where nothing can be said.
    """

    differences: Mapping[tuple[int, int], Difference]
    ranks: list[int] | None


def standing(comparison: Comparison) -> Standing:
    """Compares each pair on the main score. Holm's correction is over all pairs, and, of those with the first system, over all
    scores, too: what is a tie in the tables is a tie here."""
    score = comparison.main
    if score is None:
        return Standing({}, None)
    pairs = list(combinations(range(len(comparison.columns)), 2))
    found = [comparison.difference(first, second, score) for first, second in pairs]
    corrected = holm([{score: difference} if difference else {} for difference in found])
    differences: dict[tuple[int, int], Difference] = {}
    for (first, second), by_score in zip(pairs, corrected, strict=True):
        if score not in by_score:
            continue
        difference = by_score[score]
        if first == 0:
            in_tables = comparison.differences[second][score]
            difference = in_tables._replace(p_holm=max(difference.p_holm, in_tables.p_holm))
        differences[first, second] = difference
        differences[second, first] = turned(difference)
    return Standing(differences, _ranks(comparison, differences))


def turned(difference: Difference) -> Difference:
    """The same difference seen from the other system."""
    return difference._replace(value=-difference.value, ci_low=-difference.ci_high, ci_high=-difference.ci_low)


def outcome(comparison: Comparison, first: int, second: int) -> Outcome | None:
    """Rows that the second wins against the first by the main score; None of a score that only all rows together have."""
    score = comparison.main or ""
    before, after = (comparison.of_rows(i, score) for i in (first, second))
    side = comparison.better(score)
    if before is None or after is None or side is None or comparison.differ_in_settings(first, second, score):
        return None
    gain = after - before if side == "higher" else before - after
    won, lost = int((gain > _EQUAL).sum()), int((gain < -_EQUAL).sum())
    return Outcome(won, len(gain) - won - lost, lost)


def _ranks(comparison: Comparison, differences: Mapping[tuple[int, int], Difference]) -> list[int] | None:
    columns = range(len(comparison.columns))
    side = comparison.better(comparison.main or "")
    if side is None or comparison.n < FEWEST_ROWS or len(differences) < len(columns) * (len(columns) - 1):
        return None
    verdicts = {pair: verdict_of(difference, side, comparison.n) for pair, difference in differences.items()}
    return [1 + sum(verdicts[column, other] == "better" for other in columns if other != column) for column in columns]
