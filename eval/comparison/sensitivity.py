"""Paraphrase sensitivity: how much a system's scores and answers depend on the template of the instruction.

Reference for spread as the measure: Sclar et al. 2024, "Quantifying Language Models' Sensitivity to Spurious Features in Prompt
Design", section 3 (performance spread).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from eval.comparison.task import Comparison, Interval
from eval.diagnostics.copying import words

FEWEST = 2  # templates that make a family


@dataclass(frozen=True)
class Asked:
    """One template's score.

    Attributes:
      variant: its id in the card.
      heldout: it was never trained on; None where the evaluation does not say.
    """

    variant: str
    heldout: bool | None
    interval: Interval

    @property
    def value(self) -> float:
        return self.interval["value"]


@dataclass(frozen=True)
class Spread:
    """Over the templates of one kind.

    Attributes:
      kind: training, held-out or all.
      sd: sample standard deviation (n - 1); 0 of one template.
      spread: best minus worst.
    """

    kind: str
    count: int
    mean: float
    sd: float
    worst: Asked
    best: Asked

    @property
    def spread(self) -> float:
        return self.best.value - self.worst.value


@dataclass(frozen=True)
class Agreement:
    """How alike a system's answers to one row are under two templates, on average over pairs of templates and rows, in percent.

    Attributes:
      identical: the same text but for white space around it.
      word_f1: F1 of the words as bags, in lower case without punctuation.
    """

    identical: float
    word_f1: float


@dataclass(frozen=True)
class Sensitivity:
    """One system on one data set and split.

    Attributes:
      n: rows that each template was asked for.
      score: name of the score.
    """

    dataset: str
    split: str
    system: str
    weights: str
    n: int
    score: str
    asked: list[Asked]
    spreads: list[Spread]
    agreement: Agreement


@dataclass(frozen=True)
class Choice:
    """The template that validation chose, and what it gives on another split.

    Attributes:
      chosen: its score where it was reported; `on_validation` where it was chosen.
      average: mean of all templates on the reported split: what a choice without looking gives.
      best: the best template of the reported split, which nobody could have known.
    """

    dataset: str
    system: str
    score: str
    chosen_on: str
    reported_on: str
    on_validation: Asked
    chosen: Asked
    average: float
    best: Asked


def families(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], list[Comparison]]:
    """Groups the comparisons of single templates (dialogsum.t00) by data set and split; a family has two or more."""
    found: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        if _variant(comparison) is not None:
            dataset = comparison.task.partition(".")[0]
            found.setdefault((dataset, comparison.split), []).append(comparison)
    return {key: family for key, family in found.items() if len(family) >= FEWEST}


def sensitivities(family: Sequence[Comparison]) -> list[Sensitivity]:
    """Measures each system that answered two or more templates of a family."""
    found = []
    score = family[0].main
    if score is None:
        return []
    for system in dict.fromkeys(system.name for comparison in family for system in comparison.systems):
        asked, answers, weights, n = [], [], "", 0
        for comparison in family:
            index = next((i for i, s in enumerate(comparison.systems) if s.name == system), None)
            if index is None or score not in comparison.intervals[index]:
                continue
            column = comparison.columns[index]
            variant = _variant(comparison) or ""
            kind = column.summary.get("phrasings", {}).get(variant)
            asked.append(
                Asked(variant, None if kind is None else kind == "heldout", comparison.intervals[index][score])
            )
            answers.append({row["id"]: row["prediction"] for row in column.rows})
            weights, n = column.system.weights, comparison.n
        if len(asked) >= FEWEST:
            dataset, split = family[0].task.partition(".")[0], family[0].split
            found.append(
                Sensitivity(dataset, split, system, weights, n, score, asked, _spreads(asked), agreement(answers))
            )
    return found


def agreement(answers: Sequence[dict[str, str]]) -> Agreement:
    """Compares the answers of each pair of templates, row by row.

    Args:
      answers: of each template, id -> prediction; ids that all have count.
    """
    ids = [id for id in answers[0] if all(id in of_one for of_one in answers)]
    identical, f1, pairs = 0, 0.0, 0
    for id in ids:
        texts = [of_one[id].strip() for of_one in answers]
        bags = [Counter(words(text)) for text in texts]
        for i, j in combinations(range(len(texts)), 2):
            same = texts[i] == texts[j]
            identical += same
            f1 += 1.0 if same else _overlap(bags[i], bags[j])
            pairs += 1
    return Agreement(100 * identical / pairs, 100 * f1 / pairs) if pairs else Agreement(0.0, 0.0)


def choices(found: Sequence[Sensitivity]) -> list[Choice]:
    """For each system that answered on validation and another split: the template that is best on validation, reported there."""
    made = []
    for chooser in (s for s in found if s.split == "validation"):
        for reported in found:
            same = (reported.dataset, reported.system, reported.score) == (
                chooser.dataset,
                chooser.system,
                chooser.score,
            )
            if not same or reported.split == chooser.split:
                continue
            there = {asked.variant: asked for asked in reported.asked}
            known = [asked for asked in chooser.asked if asked.variant in there]
            if not known:
                continue
            best_here = max(known, key=lambda asked: asked.value)
            made.append(
                Choice(
                    chooser.dataset, chooser.system, chooser.score, chooser.split, reported.split, best_here,
                    there[best_here.variant], float(np.mean([asked.value for asked in reported.asked])),
                    max(reported.asked, key=lambda asked: asked.value),
                )
            )  # fmt: skip
    return made


def _spreads(asked: list[Asked]) -> list[Spread]:
    kinds = {"training": [a for a in asked if a.heldout is False], "held-out": [a for a in asked if a.heldout]}
    if not all(kinds.values()):
        kinds = {"all": asked} if not any(kinds.values()) else {k: v for k, v in kinds.items() if v}
    return [_spread(kind, some) for kind, some in kinds.items()]


def _spread(kind: str, asked: list[Asked]) -> Spread:
    values = np.array([a.value for a in asked])
    sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    worst, best = (choose(asked, key=lambda a: a.value) for choose in (min, max))
    return Spread(kind, len(asked), float(values.mean()), sd, worst, best)


def _variant(comparison: Comparison) -> str | None:
    """The template's id if a task is a single one."""
    dataset, _, rest = comparison.task.partition(".")
    known = comparison.columns[0].summary.get("phrasings")
    if known is not None:
        return rest if rest in known and len(known) == 1 else None
    return rest if dataset and rest not in ("", "heldout", "inverted") else None


def _overlap(first: Counter[str], second: Counter[str]) -> float:
    total = first.total() + second.total()
    return 2 * (first & second).total() / total if total else 1.0
