"""Particulars of a summary (names, numbers, amounts, times, dates) and which of them the dialogue lacks.

What counts as a name: a word with a capital letter that is neither the first of its sentence nor a word such as `I` or `TV`; a
first word, too, unless it is one that opens sentences or an ordinary word of the dialogue. Words side by side, or with `of`
between them, are one name. Days and months are dates; `tomorrow` and `weekend` claim nothing. How many invented ones that finds,
and how many human references of SAMSum and DialogSum it alarms, says `python -m bench.alarm` (docs/reading_a_report.md).
"""

import re
from dataclasses import dataclass

from eval.diagnostics.quantities import Quantity, inside_word, quantities
from eval.diagnostics.source import DAY, MONTH, WORD, Source, day_or_month, fold, is_month, stem
from eval.diagnostics.words import ALIASES, AUXILIARIES, CAPITALIZED, FUNCTION_WORDS, NAMES_TOO, OPENERS, TITLES

_ABBREVIATED_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "st"})
_DATE = re.compile(rf"\b(?:(?P<day>{DAY})|(?P<month>{MONTH}))\b", re.I)
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n*•|–—]|\s-)[\s\"'“”‘’(\[*-]*\Z")
_JOINS_NAME = re.compile(r"(?:['’]s)?\s(?:(?:of|of\sthe|de|da|van|von|&)\s)?\Z|[\s-]\Z")
# What opens sentences and is no name, by its form: adverbs (Finally, Luckily, but not Sally, Emily), and gerunds and participles
# (Talking, Asked, but not King, Fred), for which what follows must tell.
_ADVERB = re.compile(
    r"\w{2,}(?:al|en|[ae]nt|[cers]t|ck|[nr]d|[ai]b|mp|ow|[^aeiou]e|ed|ful|ous|ing|ear|ular)ly\Z|\w{4,}ily\Z"
)
_VERBAL = re.compile(r"\w*[aeiouy]\w*(?:ing|ed)\Z")
_LISTED = re.compile(r",\s(?:[A-Z][^\s,]*(?:,|\sand\b)|whos?e?\b)")  # `, Ann and`, `, who`
_NEXT = re.compile(r"\s([^\W\d_][\w'’]*)")
_ACTS = re.compile(  # `wants to`, `asks Ann`, `thinks he`
    r"\s\w+[^s\W]s\s(?:[A-Z#]|(?:an?|the|that|this|if|to|not|it|s?he|they|him|her|his|them|their|its)\b)"
)
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
        if any(start < match.end() and match.start() < end for start, end in taken):
            continue
        if not _is_name(text, match, source):
            continue
        word = match[0]
        end = match.start() + len(word) - (2 if re.search(r"['’]s\Z", word, re.I) else 0)
        part = Part(match.start(), end, source.has_name(word))
        if runs and _JOINS_NAME.match(text, runs[-1][-1].end, match.start()):
            runs[-1].append(part)
        else:
            runs.append([part])
    return [Particular("name", tuple(_with_other_names(text, run, source))) for run in runs]


def _is_name(text: str, match: re.Match[str], source: Source) -> bool:
    word, folded = match[0], fold(match[0])
    if word == word.lower() or len(folded) < 2 or folded in CAPITALIZED or folded.split("'")[0] in CAPITALIZED:
        return False
    if re.match(r"[A-Z]-[a-z]", word):  # T-shirt
        return False
    if folded in NAMES_TOO and word[1:] == word[1:].lower():
        return not (_is_first(text, match.start()) and re.match(r"[^.!?]*\?", text[match.end() :]))  # `Will they come?`
    if folded in TITLES or folded in FUNCTION_WORDS:
        return False
    return not _is_first(text, match.start()) or _opens_with_a_name(text, match, source)


def _with_other_names(text: str, run: list[Part], source: Source) -> list[Part]:
    """Two words that have another name in the dialogue: New York where it says NYC."""
    for i in range(len(run) - 1):
        first, second = run[i : i + 2]
        both = fold(text[first.start : first.end]) + fold(text[second.start : second.end])
        if both in ALIASES and source.has_other_name(both):
            run[i : i + 2] = [Part(first.start, first.end, True), Part(second.start, second.end, True)]
    return run


def _is_first(text: str, start: int) -> bool:
    before = text[max(0, start - 12) : start]
    if not _SENTENCE_START.search(before):
        return False
    word = re.search(r"([A-Za-z]+)\.\s?\Z", before)
    return not (word and fold(word[1]) in _ABBREVIATED_TITLES)


def _opens_with_a_name(text: str, match: re.Match[str], source: Source) -> bool:
    """A first word is a name unless it is one that opens sentences, or is an ordinary word of the dialogue."""
    word, folded = match[0], fold(match[0])
    if word != word.capitalize() or folded.startswith("#"):
        return True  # McDonald, NASA, #Person1#
    if folded in OPENERS or folded.split("'")[0] in OPENERS or _ADVERB.match(folded):
        return False
    if folded in source.capitalized:
        return True
    if folded in source.words or stem(folded) in source.stems:
        return False
    return not _VERBAL.match(folded) or word.lower() != folded or _is_subject(text, match.end(), folded)


def _is_subject(text: str, end: int, word: str) -> bool:
    """Tells Ahmed from Asked, and Sterling from Smoking, by what follows; in doubt there is no name."""
    if _LISTED.match(text, end) or _ACTS.match(text, end):
        return True
    if not (following := _NEXT.match(text, end)):
        return word.endswith("ed") and text[end : end + 1] != ","
    after = following[1].replace("’", "'")
    if after in AUXILIARIES or after in ("and", "also") or after.endswith("n't"):
        return True
    return word.endswith("ed") and fold(after) not in FUNCTION_WORDS


def _is_date(text: str, match: re.Match[str]) -> bool:
    """May and March are months only where a month can stand."""
    word = match[0]
    if word == word.lower() and not word.endswith(("day", "days")):
        return False
    return word.lower() not in ("may", "march", "april", "june", "august") or is_month(text, match.start(), match.end())


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
