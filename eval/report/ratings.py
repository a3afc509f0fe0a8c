"""People's verdict on two of the compared systems, and how well each score agrees with them, for the report."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.comparison.columns import Column
from eval.comparison.task import FEWEST_ROWS, SIGNIFICANT, Comparison
from eval.rating.files import MARKS, Ratings
from eval.rating.opinion import Agreement, Opinion, Rater, Share, agreement_with, opinion_of
from eval.rating.sheet import Letter, by_id, fingerprint
from eval.report.view import Cell, Table, TableRow
from t5x_tasks.common.errors import UserError


@dataclass(frozen=True)
class RatedPair:
    """Two systems of the report, and what people say of them.

    Attributes:
      first, second: columns of the comparison; people prefer the second or do not.
      files: of the raters, all of one page.
      scores: how each score agrees with the people.
    """

    comparison: Comparison
    first: int
    second: int
    files: list[Ratings]
    opinion: Opinion
    scores: dict[str, Agreement]

    @property
    def names(self) -> tuple[str, str]:
        systems = self.comparison.systems
        return systems[self.first].name, systems[self.second].name

    fewest = FEWEST_ROWS

    @property
    def rows_text(self) -> str:
        """Of which rows: `60 of 500 rows of tiny, test, ...`."""
        sheet = self.files[0].sheet
        return (
            f"{self.opinion.rated} of {sheet.common} rows of {sheet.task}, {sheet.split}, are rated; they were drawn (seed "
            f"{sheet.seed}) from the {sheet.common - sheet.identical} on which the two outputs differ."
        )

    @property
    def headline(self) -> str:
        """One sentence: who is preferred, how sure that is."""
        first, second = self.names
        opinion, share = self.opinion, self.opinion.win_rate
        if share is None:
            return f"{second} against {first}: people prefer neither on any of {opinion.rated} rows"
        words = {"better": "better", "worse": "worse", "even": "no significant difference"}.get(
            self.verdict, f"no verdict on {opinion.rated} rows (at least {FEWEST_ROWS})"
        )
        return (
            f"{second} against {first}: people prefer it on {share.count} of the {share.n} rows that are not even, "
            f"{percent(share)}, sign test {p_text(opinion.p)}: {words}"
        )

    @property
    def verdict(self) -> str:
        """better, worse or even; empty of too few rows."""
        if self.opinion.rated < FEWEST_ROWS:
            return ""
        if self.opinion.p >= SIGNIFICANT:
            return "even"
        return "better" if self.opinion.won > self.opinion.lost else "worse"

    @property
    def agreement_text(self) -> str:
        """How far raters agree among themselves."""
        opinion = self.opinion
        if len(opinion.raters) < 2:
            return "One rater: how far people agree is not known. Send the same page to a second one."
        if not opinion.rated_twice:
            return "No row was rated by two raters, so how far they agree is not known."
        rows = f"{opinion.rated_twice} rows with two ratings or more"
        if opinion.alpha is None:
            return f"All ratings of the {rows} are the same, so Krippendorff's alpha is not defined."
        return (
            f"Agreement between raters: Krippendorff's alpha {opinion.alpha:.2f} on {rows}. 1 is full agreement, 0 is chance; "
            "below 0.67 people do not agree enough to rely on (Krippendorff 2004, section 11.4)."
        )

    def tables(self) -> list[Table]:
        return [self._raters(), self._marks(), *([self._agreement()] if self.scores else [])]

    def _raters(self) -> Table:
        first, second = self.names
        opinion = self.opinion
        rows = [TableRow(r.name, [Cell(str(r.first)), _neither(r), Cell(str(r.second))]) for r in opinion.raters]
        of_rows = [Cell(str(number)) for number in (opinion.lost, opinion.even, opinion.won)]
        rows.append(TableRow("rows", of_rows))
        header = ["preferred by", first, "neither", second]
        note = "In ratings of each person, and in rows: a row goes to the system that more of its raters prefer."
        return Table("Verdicts", note, header, rows)

    def _marks(self) -> Table:
        rows = [
            TableRow(text, [_share_cell(share) for share in self.opinion.marks[mark]]) for mark, text in MARKS.items()
        ]
        note = "Share of rated rows in which at least one rater marked it, in percent."
        return Table("Marks", note, ["mark", *self.names], rows)

    def _agreement(self) -> Table:
        rows = [
            TableRow(score, [_share_cell(a.same), Cell(str(a.same.n if a.same else 0)), Cell(str(a.tied))])
            for score, a in self.scores.items()
        ]
        note = (
            "Of the rows on which people prefer one system: how often the score prefers the same one, in percent; 50 is chance. "
            "Rows on which the score is equal are apart."
        )
        return Table("Do the scores agree with people?", note, ["score", "same side", "rows", "score equal"], rows)


def rated_pair(comparisons: Sequence[Comparison], files: Sequence[Ratings]) -> RatedPair:
    """Finds the two systems that people rated, by what they say in the rated rows.

    Raises:
      UserError: they, the task or the rows are not among the comparisons.
    """
    sheet = files[0].sheet
    where = f"--ratings: page {sheet.page} rates {sheet.task}, {sheet.split}"
    comparison = next((c for c in comparisons if (c.task, c.split) == (sheet.task, sheet.split)), None)
    if comparison is None:
        raise UserError(f"{where}, which none of these systems answered; compare the two that were rated")
    ids = [id for id, _ in sheet.rows]
    answered = [(i, one) for i, column in enumerate(comparison.columns) for one in column.seeds or (column,)]
    try:
        found = [fingerprint(by_id(one.rows, ids)) for _, one in answered]
    except KeyError as error:
        raise UserError(
            f"{where}: row {error.args[0]} was not answered by all of these systems; compare the two that were rated"
        ) from None
    if missing := [letter for letter, system in zip("AB", sheet.systems, strict=True) if system not in found]:
        raise UserError(
            f"{where}: its {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} none of these systems, or other "
            "outputs of them; compare the two whose outputs were rated"
        )
    a, b = (found.index(system) for system in sheet.systems)
    letter: Letter = "A" if a < b else "B"
    first, second = (answered[place] for place in (min(a, b), max(a, b)))
    opinion = opinion_of(files, first=letter)
    scores = _scores(comparison, first, second, ids, opinion.preference)
    return RatedPair(comparison, first[0], second[0], list(files), opinion, scores)


def _scores(
    comparison: Comparison,
    first: tuple[int, Column],
    second: tuple[int, Column],
    ids: Sequence[str],
    preference: np.ndarray,
) -> dict[str, Agreement]:
    """How each score of the rows agrees with what people prefer.

    Args:
      first, second: number of the system in the comparison, and its column, or that of its seed which was rated.
    """
    places = {row["id"]: place for place, row in enumerate(comparison.columns[0].rows)}
    rows = [places[id] for id in ids]
    left_out = comparison.other_settings(first[0], second[0])
    agreements = {}
    for score in comparison.score_names:
        better = comparison.better(score)
        before, after = (column.of_rows(score) for _, column in (first, second))
        if score.endswith(("_mean", "_first")):  # the other ways to use references
            continue
        if better is None or before is None or after is None or score in left_out:
            continue
        gain = (after - before)[rows] * (1 if better == "higher" else -1)
        agreements[score] = agreement_with(preference, gain)
    return agreements


def _neither(rater: Rater) -> Cell:
    return Cell(str(rater.both_good + rater.both_bad), f"{rater.both_good} good, {rater.both_bad} bad")


def _share_cell(share: Share | None) -> Cell:
    if share is None:
        return Cell("–")
    low, high = share.interval
    return Cell(f"{share.value:.1f}", f"{low:.1f} to {high:.1f}")


def percent(share: Share) -> str:
    low, high = share.interval
    return f"{share.value:.1f}% ({low:.1f} to {high:.1f})"


def p_text(p: float) -> str:
    """`p = 0.031`, rounded up; `p < 0.001` where it is."""
    return "p < 0.001" if p < 0.001 else f"p = {min(1.0, math.ceil(p * 1000 - 1e-9) / 1000):.3f}"
