"""Three systems and more: a ranking with ties, a matrix of win rates, and every pair, ready to be set."""

from dataclasses import dataclass
from itertools import combinations

from eval.comparison.columns import spread
from eval.comparison.pairs import Standing, outcome
from eval.comparison.task import Comparison, verdict_of
from eval.report import view
from eval.report.links import rows_link
from eval.score_names import decimals

FEWEST_SYSTEMS = 3


@dataclass(frozen=True)
class Ranked:
    """Attributes:
    rank: `1`, or `1 =` where others share it; a dash where nothing can be said.
    spread: the scores of its seeds; empty of one.
    beats: number of systems that it is significantly better than.
    """

    name: str
    rank: str
    score: view.Cell
    spread: str
    beats: int


@dataclass(frozen=True)
class Win:
    """A cell of the matrix: how often the row's system does better than the column's.

    Attributes:
      rate: percent of the rows, without decimals; a tie is half a win.
      told: the whole in words.
      verdict: of the difference of the two systems' scores; better: the row's is.
      link: address of the rows that it wins.
    """

    rate: str
    told: str
    verdict: str
    link: str


@dataclass(frozen=True)
class PairRow:
    """Second system minus first."""

    first: str
    second: str
    change: str
    verdict: str


@dataclass(frozen=True)
class Ranking:
    """Attributes:
    ranked: the best first; rows and columns of `wins` are in their order, None on the diagonal or where nothing can be said.
    """

    task: str
    split: str
    n: int
    score: str
    ranked: list[Ranked]
    wins: list[list[Win | None]]
    pairs: list[PairRow]


def ranking(comparison: Comparison, found: Standing) -> Ranking | None:
    """None of fewer than three systems, or of no score that all of them have."""
    if comparison.main is None or len(comparison.columns) < FEWEST_SYSTEMS:
        return None
    score, names = comparison.main, [system.name for system in comparison.systems]
    values = [comparison.intervals[i][score]["value"] for i in range(len(names))]
    sign = -1 if comparison.better(score) == "higher" else 1
    ranks = found.ranks or [0] * len(names)
    order = sorted(range(len(names)), key=lambda i: (ranks[i], sign * values[i]))
    verdicts = {
        pair: verdict_of(difference, comparison.better(score), comparison.n)
        for pair, difference in found.differences.items()
    }
    ranked = [
        Ranked(
            names[i],
            _rank(ranks, i),
            view.cell(comparison.intervals[i][score], score),
            spread(comparison.columns[i], score, decimals(score)),
            sum(verdicts.get((other, i)) == "better" for other in order),
        )
        for i in order
    ]
    wins = [[_win(comparison, verdicts, row, column) for column in order] for row in order]
    pairs = []
    for better, worse in combinations(order, 2):  # the higher in the ranking minus the lower
        difference = found.differences.get((worse, better))
        told = (
            view.change_text(difference, decimals(score), comparison.samples)
            if difference
            else "scored with different settings"
        )
        pairs.append(PairRow(names[worse], names[better], told, verdicts.get((worse, better), "")))
    return Ranking(comparison.task, comparison.split, comparison.n, score, ranked, wins, pairs)


def _rank(ranks: list[int], column: int) -> str:
    if not ranks[column]:
        return "–"
    return f"{ranks[column]}{' =' if ranks.count(ranks[column]) > 1 else ''}"


def _win(comparison: Comparison, verdicts: dict[tuple[int, int], str], row: int, column: int) -> Win | None:
    if row == column or (won := outcome(comparison, column, row)) is None:
        return None
    names = [system.name for system in comparison.systems]
    told = f"{names[row]} against {names[column]}: {won.won} won, {won.tied} tied, {won.lost} lost"
    link = rows_link(
        task=comparison.task,
        split=comparison.split,
        a=names[column],
        b=names[row],
        score=comparison.main or "",
        only="gain",
    )
    return Win(f"{won.win_rate:.0f}", told, verdicts.get((column, row), ""), link)
