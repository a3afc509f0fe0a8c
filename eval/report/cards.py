"""The report's first screen: for each task a card that says in words who is better, by how much, and how sure that is."""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from eval.comparison.columns import spread
from eval.comparison.pairs import Outcome, Standing, outcome
from eval.comparison.task import FEWEST_ROWS, Comparison, verdict_of
from eval.report import bars, view
from eval.report.links import rows_link
from eval.score_names import decimals, plain_name

_WORDS = {"better": "better", "worse": "worse", "even": "no difference shown", "": "no verdict"}
RATE = "made_up_per_100"
_MEANINGS = {
    "rougeL": "overlap of words with the reference, 0 to 100",
    "bleu": "overlap of word sequences with the reference, 0 to 100",
    "chrf": "overlap of characters with the reference, 0 to 100",
    "accuracy": "right answers, %",
    "exact_match": "answers that are the reference to the letter, %",
}


@dataclass(frozen=True)
class MadeUp:
    """The made-up alarm's rate of the first system and of another.

    Attributes:
      references: the rate of the references themselves, where it is known.
      caution: why the two cannot be compared; then there is no verdict.
    """

    before: str
    after: str
    references: str
    verdict: str
    caution: str


@dataclass(frozen=True)
class Contrast:
    """A system against the first.

    Attributes:
      mark: its number among the report's systems.
      spread: the scores of its seeds; empty of one.
      word: the verdict in words.
      change, interval: `+5.2`, `+4.1 to +6.3`; empty where no difference can be given.
      links: won, tied, lost, made-up -> address of those examples.
    """

    mark: int
    name: str
    value: str
    spread: str
    verdict: str
    word: str
    change: str
    interval: str
    bar: Markup
    outcome: Outcome | None
    shares: Markup
    made_up: MadeUp | None
    links: Mapping[str, str]


@dataclass(frozen=True)
class Card:
    """Attributes:
    meaning: of the score, and which side of it is better.
    tone: better, worse, even or empty: of the headline.
    headline: who is better.
    sentence: by how much, and how sure.
    first, first_mark, first_value, first_spread: what the others are compared with.
    contrasts: the best first.
    """

    task: str
    split: str
    n: int
    score: str
    meaning: str
    tone: str
    headline: str
    sentence: str
    first: str
    first_mark: int
    first_value: str
    first_spread: str
    contrasts: list[Contrast]

    @property
    def made_up(self) -> bool:
        return any(contrast.made_up for contrast in self.contrasts)


def card(comparison: Comparison, found: Standing, marks: Mapping[str, int]) -> Card | None:
    """The card of a task; None of one system, or of no score that all systems have.

    Args:
      found: of the comparison.
      marks: name of a system -> its number in the report.
    """
    score = comparison.main
    if score is None or len(comparison.columns) < 2:
        return None
    order = range(1, len(comparison.columns))
    if found.ranks is not None:
        order = sorted(order, key=lambda i: found.differences[0, i].value * _sign(comparison), reverse=True)
    ends = [abs(end) for i in order if (d := found.differences.get((0, i))) for end in (d.ci_low, d.ci_high)]
    contrasts = [_contrast(comparison, found, i, marks, most=max(ends, default=1.0)) for i in order]
    first = comparison.systems[0].name
    tone, headline, sentence = (_of_two if len(contrasts) == 1 else _of_many)(comparison, found, contrasts)
    return Card(
        comparison.task, comparison.split, comparison.n, score, _meaning(comparison), tone, headline, sentence,
        first, marks[first], f"{comparison.intervals[0][score]['value']:.{decimals(score)}f}",
        spread(comparison.columns[0], score, decimals(score)), contrasts,
    )  # fmt: skip


def overall(cards: list[Card]) -> str:
    """One line over several tasks; empty of one."""
    if len(cards) < 2:
        return ""
    tones = [card.tone for card in cards]
    if all(len(card.contrasts) == 1 for card in cards):
        parts = [("better", "better on {}"), ("worse", "worse on {}"), ("even", "no difference shown on {}"),
                 ("", "no verdict on {}")]  # fmt: skip
        said = [words.format(tones.count(tone)) for tone, words in parts if tone in tones]
        return f"{cards[0].contrasts[0].name} against {cards[0].first}, {len(cards)} tasks: {', '.join(said)}."
    return f"{len(cards)} tasks; each has its own verdict."


def _contrast(
    comparison: Comparison, found: Standing, column: int, marks: Mapping[str, int], *, most: float
) -> Contrast:
    score, name = comparison.main or "", comparison.systems[column].name
    difference, digits = found.differences.get((0, column)), decimals(comparison.main or "")
    value = f"{comparison.intervals[column][score]['value']:.{digits}f}"
    verdict = verdict_of(difference, comparison.better(score), comparison.n) if difference else ""
    change = interval = ""
    bar = Markup("")
    if difference is not None:
        change = view.signed(difference.value, digits)
        interval = f"{view.signed(difference.ci_low, digits)} to {view.signed(difference.ci_high, digits)}"
        gain, *ends = (_sign(comparison) * v for v in (difference.value, difference.ci_low, difference.ci_high))
        told = f"{name}: {score} {change}, 95% interval {interval}: {_WORDS[verdict]}"
        low, high = sorted(ends)
        bar = bars.around_zero(gain, low, high, most=most, mark=marks[name], verdict=verdict, told=told)
    won = outcome(comparison, 0, column)
    link = {"task": comparison.task, "split": comparison.split, "a": comparison.systems[0].name, "b": name}
    links = {
        **{key: rows_link(**link, score=score, only=only) for key, only in _ONLY.items()},
        "made-up": rows_link(**link, only="made-up"),
    }
    shares = bars.shares(won) if won else Markup("")
    made_up = _made_up(comparison, column)
    return Contrast(
        marks[name], name, value, spread(comparison.columns[column], score, digits), verdict, _WORDS[verdict], change,
        interval, bar, won, shares, made_up, links,
    )  # fmt: skip


_ONLY = {"won": "gain", "tied": "tie", "lost": "loss"}


def _made_up(comparison: Comparison, column: int) -> MadeUp | None:
    before, after = (comparison.intervals[i].get(RATE) for i in (0, column))
    caution = next((text for i in (0, column) if (text := comparison.columns[i].few_found)), "")
    if before is None and after is None:
        return None
    theirs = comparison.stated_of_rows(0).get(RATE, {}).get("references")
    difference = comparison.differences[column].get(RATE)
    verdict = verdict_of(difference, comparison.better(RATE), comparison.n) if difference else ""
    texts = [view.number(found, 1) for found in (before, after, theirs)]
    return MadeUp(texts[0], texts[1], texts[2] if theirs else "", verdict, caution)


def _of_two(comparison: Comparison, found: Standing, contrasts: list[Contrast]) -> tuple[str, str, str]:
    (other,), first = contrasts, comparison.systems[0].name
    headline = {
        "better": f"{other.name} is better",
        "worse": f"{other.name} is worse",
        "even": "No difference shown",
        "": "No verdict",
    }[other.verdict]
    difference = found.differences.get((0, 1))
    if difference is None:
        return "", headline, "The two were scored with different settings, so no difference can be given."
    if not other.verdict:
        return "", headline, _no_verdict(comparison)
    digits = decimals(comparison.main or "")
    if other.verdict == "even":
        return "even", headline, (
            f"{other.name} and {first} may be equally good: with {_others(comparison)} the difference would lie between "
            f"{other.interval.replace(' to ', ' and ')}."
        )  # fmt: skip
    ends = sorted(abs(end) for end in (difference.ci_low, difference.ci_high))
    lead = f"with {_others(comparison)} it would be ahead by {ends[0]:.{digits}f} to {ends[1]:.{digits}f}"
    if other.verdict == "worse":
        lead = lead.replace("ahead", "behind")
    if other.outcome is None:
        return other.verdict, headline, f"{lead[0].upper()}{lead[1:]} points."
    here = other.outcome
    rows = f"On {here.won:,} of {comparison.n:,} rows {other.name} does better than {first}, on {here.lost:,} worse"
    return other.verdict, headline, f"{rows}; {lead} points."


def _of_many(comparison: Comparison, found: Standing, contrasts: list[Contrast]) -> tuple[str, str, str]:
    names = [system.name for system in comparison.systems]
    if found.ranks is None:
        different = len(found.differences) < len(names) * (len(names) - 1)
        why = "Some were scored with different settings, so they cannot be ranked."
        return "", "No ranking", why if different else _no_verdict(comparison)
    leaders = [name for name, rank in zip(names, found.ranks, strict=True) if rank == 1]
    if len(leaders) == 1:
        return "better", f"{leaders[0]} is best", f"It is better than {_all_others(len(names) - 1)}."
    if len(leaders) == len(names):
        return "even", "No difference shown", "None of them is shown to be better than another."
    together = "both" if len(leaders) == 2 else "all of them"
    behind = [rank > len(leaders) for rank in found.ranks if rank > 1]
    others = {1: "The other system is"}.get(len(behind), f"The other {len(behind)} are")
    return (
        "even",
        f"{_listed(leaders)} share the first place",
        f"No difference between them is shown. {others} behind {together if all(behind) else 'one of them or more'}.",
    )


def _meaning(comparison: Comparison) -> str:
    score = comparison.main or ""
    side = comparison.better(score)
    parts = [_MEANINGS.get(plain_name(score)), f"{side} is better" if side else None]
    return "; ".join(part for part in parts if part)


def _others(comparison: Comparison) -> str:
    """The population that the intervals generalise to."""
    seeds = " and other seeds" if any(column.seeds for column in comparison.columns) else ""
    return f"other rows of this kind{seeds}"


def _no_verdict(comparison: Comparison) -> str:
    if comparison.n < FEWEST_ROWS:
        return f"{comparison.n} rows are too few for a verdict: evaluate at least {FEWEST_ROWS}."
    return f"Of {comparison.main} neither more nor less is better."


def _all_others(count: int) -> str:
    return "the other" if count == 1 else f"each of the other {count}"


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _sign(comparison: Comparison) -> int:
    return -1 if comparison.better(comparison.main or "") == "lower" else 1
