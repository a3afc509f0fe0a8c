"""Particulars of a summary (names, numbers, amounts, times, dates) and which of them the dialogue lacks.

What counts as a name: a word with a capital letter that is neither the first of its sentence nor a word such as `I` or `TV`; a
first word, too, unless it is one that opens sentences or an ordinary word of the dialogue. Words side by side, or with `of`
between them, are one name. Days and months are dates; `tomorrow` and `weekend` claim nothing. On human references of SAMSum and
DialogSum that rule finds next to no false names (tests/eval/test_diagnostics.py holds the rate).
"""

import re
from dataclasses import dataclass

from eval.diagnostics.quantities import Quantity, inside_word, quantities
from eval.diagnostics.source import DAY, MONTH, WORD, Source, day_or_month, fold, stem
from eval.diagnostics.words import CAPITALIZED, FUNCTION_WORDS, OPENERS, TITLES

_ABBREVIATED_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "st"})
_DATE = re.compile(rf"\b(?:(?P<day>{DAY})|(?P<month>{MONTH}))\b", re.I)
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n*•|–—]|\s-)[\s\"'“”‘’(\[*-]*\Z")
_JOINS_NAME = re.compile(r"(?:['’]s)?\s(?:(?:of|of\sthe|de|da|van|von|&)\s)?\Z|[\s-]\Z")
_JOINS_DATE = re.compile(r"(?:,?\s(?:of\s)?(?:the\s)?)\Z")


@dataclass(frozen=True)
class Part:
    start: int
    end: int
    found: bool


@dataclass(frozen=True)
class Particular:
    """A name, number, amount, time or date of a text.

    Attributes:
      kind: one of those.
      parts: its words; New York has two, 14th of May a number and a month.
    """

    kind: str
    parts: tuple[Part, ...]

    @property
    def span(self) -> tuple[int, int] | None:
        """From the first to the last part that the dialogue lacks; None where it has them all."""
        missing = [part for part in self.parts if not part.found]
        return (missing[0].start, missing[-1].end) if missing else None


def particulars(text: str, source: Source) -> list[Particular]:
    """Finds the names, numbers, amounts, times and dates of a summary, in its order, and looks each up in the dialogue."""
    dates = [(m.start(), m.end(), m) for m in _DATE.finditer(text) if _is_date(text, m)]
    numbers = [quantity for quantity in quantities(text) if not inside_word(text, quantity.start)]
    found = _merge_dates(text, dates, numbers, source)
    taken = [(part.start, part.end) for particular in found for part in particular.parts]
    return sorted([*found, *_names(text, source, taken)], key=lambda particular: particular.parts[0].start)


def _names(text: str, source: Source, taken: list[tuple[int, int]]) -> list[Particular]:
    if text.isupper():  # all in capitals: nothing tells names
        return []
    runs: list[list[Part]] = []
    for match in WORD.finditer(text):
        word = match[0]
        if any(start < match.end() and match.start() < end for start, end in taken):
            continue
        folded = fold(word)
        if word == word.lower() or len(folded) < 2 or folded in CAPITALIZED or folded.split("'")[0] in CAPITALIZED:
            continue
        if folded in TITLES or folded in FUNCTION_WORDS:
            continue
        if _is_first(text, match.start()) and not _opens_with_a_name(word, folded, source):
            continue
        end = match.start() + len(word) - (2 if re.search(r"['’]s\Z", word, re.I) else 0)
        part = Part(match.start(), end, source.has_name(word))
        if runs and _JOINS_NAME.match(text, runs[-1][-1].end, match.start()):
            runs[-1].append(part)
        else:
            runs.append([part])
    return [Particular("name", tuple(run)) for run in runs]


def _is_first(text: str, start: int) -> bool:
    before = text[max(0, start - 12) : start]
    if not _SENTENCE_START.search(before):
        return False
    word = re.search(r"([A-Za-z]+)\.\s?\Z", before)
    return not (word and fold(word[1]) in _ABBREVIATED_TITLES)


def _opens_with_a_name(word: str, folded: str, source: Source) -> bool:
    """A first word is a name unless it is one that opens sentences, or is an ordinary word of the dialogue."""
    if word != word.capitalize() or folded.startswith("#"):
        return True  # McDonald, NASA, #Person1#
    if folded in OPENERS or folded.split("'")[0] in OPENERS or re.search(r"(?:ing|ed|ly)\Z", folded):
        return False
    if folded in source.capitalized:
        return True
    return not (folded in source.words or stem(folded) in source.stems)


def _is_date(text: str, match: re.Match[str]) -> bool:
    """May and March are months only where a month can stand."""
    word = match[0]
    if word == word.lower() and not word.endswith(("day", "days")):
        return False
    if word.lower() not in ("may", "march", "april", "june", "august"):
        return True
    before, after = text[: match.start()], text[match.end() :]
    return bool(
        re.search(r"\b(?:in|on|of|by|until|till|since|from|next|last|this|\d+(?:st|nd|rd|th)?)\s\Z", before, re.I)
    ) or bool(re.match(r"\s(?:the\s)?\d", after))


def _merge_dates(
    text: str, dates: list[tuple[int, int, re.Match[str]]], numbers: list[Quantity], source: Source
) -> list[Particular]:
    """Days and months with the numbers beside them are dates; the other numbers are what they are."""
    items: list[tuple[int, int, str, bool]] = []
    for start, end, match in dates:
        items.append((start, end, "date", day_or_month(match[0]) in source.dates or source.has_name(match[0])))
    for quantity in numbers:
        if quantity.alone:
            continue
        items.append((quantity.start, quantity.end, quantity.kind, quantity in source.stated))
    groups: list[list[tuple[int, int, str, bool]]] = []
    for item in sorted(items):
        near = groups and _JOINS_DATE.match(text, groups[-1][-1][1], item[0])
        if near and item[2] in ("date", "number") and groups[-1][-1][2] in ("date", "number"):
            pair = {item[2], groups[-1][-1][2]}
            if "date" in pair:
                groups[-1].append(item)
                continue
        groups.append([item])
    found = []
    for group in groups:
        kind = "date" if any(kind == "date" for _, _, kind, _ in group) else group[0][2]
        if kind == "number" and re.search(r"\d(?:st|nd|rd|th)\Z|\A(?:19|20)\d\d\Z", text[group[0][0] : group[0][1]]):
            kind = "date"
        found.append(Particular(kind, tuple(Part(start, end, ok) for start, end, _, ok in group)))
    return found
