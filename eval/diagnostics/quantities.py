"""Numbers, amounts, times and dates in a text, in figures or in words, read so that two ways of writing one thing meet.

`two` and `2`, `14th` and `fourteenth`, `$6.20` and `6 dollars and 20 cents`, `3pm`, `3 p.m.`, `15:00` and `three o'clock`,
`1,000` and `1k`. English only. eval/diagnostics/stated.py compares.
"""

import re
from dataclasses import dataclass

from eval.diagnostics.words import listed

_UNITS = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = listed("twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINALS = listed(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth"
)
_SMALL = {
    **{word: value for value, word in enumerate(_UNITS)},
    **{word: value for value, word in enumerate(_ORDINALS, 1)},
}
_ROUND = {
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
    **{word[:-1] + "ieth": 10 * value for value, word in enumerate(_TENS, 2)},
    "fourty": 40,
}
_SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "thou": 1000,
    "k": 1000,
    "m": 10**6,
    "bn": 10**9,
}
_ORDINARY = {"one", "first", "second", "third"}  # pronoun, adverb, unit of time: no claims when they stand alone

_AM_PM = r"(?:\s?(?P<half>[ap])(?:\.\s?m\b\.?|\s?m\b))"
_HOUR = r"\d{1,2}|" + "|".join(_UNITS[1:13])
_CLOCKS = [
    re.compile(rf"(?<![\d:.,])(?P<hour>\d{{1,2}})(?P<mark>[:.])(?P<minute>[0-5]\d){_AM_PM}?"
        r"(?![\d:]|\.\d|\s?(?:%|percent|k\b|thousand|million|billion))", re.I,
    ),
    re.compile(rf"(?<![\w.,:])(?P<hour>{_HOUR})(?:{_AM_PM}|\s?o\s?['’]\s?clock\b{_AM_PM.replace('half', 'half2')}?)", re.I),
    re.compile(  # `3 to 7` is a range: figures before `to` need their minutes
        rf"\b(?P<away>half|(?:a\s)?quarter|five|ten|twenty|twenty[\s-]five|\d{{1,2}}(?=\s(?:minutes|past|after)))\s(?:minutes\s)?"
        rf"(?P<side>past|after|to)\s(?P<hour>{_HOUR})\b{_AM_PM}?", re.I,
    ),
    re.compile(r"\b(?P<noon>noon|midday|midnight)\b", re.I),
]  # fmt: skip
_WORDS = "|".join(sorted([*_SMALL, *_ROUND, "hundredth", *list(_SCALES)[:5]], key=len, reverse=True))
_ATOM = re.compile(
    rf"(?P<figures>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:[.,]\d+)?)(?:(?P<ending>st|nd|rd|th|s)\b|(?P<scale>k|m|bn)\b)?"
    rf"|\b(?P<word>{_WORDS})s?\b|\b(?P<half>half\sa|a\shalf)(?=\s(?:{'|'.join(list(_SCALES)[:4])})\b)", re.I,
)  # fmt: skip
_BETWEEN = re.compile(r"(?:[\s-]|\sand\s)\Z", re.I)
_CURRENCY_BEFORE = re.compile(r"(?:[$€£¥]|\b(?:US|USD|EUR|GBP|RMB)\s?\$?)\s?\Z")
_CURRENCIES = {  # how they are written after a number; cents and grand may be of several
    "$": r"\$|(?:US\s|Canadian\s|Australian\s)?(?:dollars?|bucks?)\b|usd\b",
    "€": r"€|(?:euros?|eur)\b",
    "£": r"£|(?:pounds?|quid|pence|gbp)\b",
    "yuan": r"(?:yuan|rmb)\b",
    "yen": r"yen\b",
    "rupees": r"rupees?\b",
    "zloty": r"(?:pln|zl|zlot(?:y|ys|ies))\b",
    "francs": r"francs?\b",
    "": r"¥|(?:cents?|grand)\b",
}
_CURRENCY = {sign: re.compile(pattern, re.I) for sign, pattern in _CURRENCIES.items() if sign}
_CURRENCY_AFTER = re.compile(rf"\s?-?(?:{'|'.join(_CURRENCIES.values())})", re.I)


@dataclass(frozen=True)
class Quantity:
    """A number, amount or time of a text.

    Attributes:
      start, end: of its characters.
      kind: number, amount or time.
      numbers: what it may mean as a number; empty for what can only be a time.
      minutes: what it may mean as a time of day, in minutes after midnight: 3 may be 180 or 900.
      figures: its digits as they stand, for telephone numbers and the like; empty for words.
      currency: of an amount: its sign, or its name where it has none; empty where it cannot be told.
      alone: an ordinary word (`one`, `first`), which claims nothing.
    """

    start: int
    end: int
    kind: str
    numbers: frozenset[float]
    minutes: frozenset[int]
    figures: str = ""
    currency: str = ""
    alone: bool = False


def quantities(text: str) -> list[Quantity]:
    """Finds what is written of numbers and times, in the order of the text, without overlaps."""
    clocks = _clocks(text)
    taken = [(clock.start, clock.end) for clock in clocks]
    groups: list[list[re.Match[str]]] = []
    for atom in _ATOM.finditer(text):
        if any(start < atom.end() and atom.start() < end for start, end in taken):
            continue
        previous = groups[-1][-1] if groups else None
        if previous and _BETWEEN.match(text, previous.end(), atom.start()) and _continues(groups[-1], atom):
            groups[-1].append(atom)
        else:
            groups.append([atom])
    return sorted([*clocks, *(_number(text, group) for group in groups)], key=lambda quantity: quantity.start)


def ten_years(quantity: Quantity) -> set[float]:
    """The years that two figures may stand for: '98, the 90s."""
    if quantity.kind != "number" or len(quantity.figures) != 2:
        return set()
    return {century + float(quantity.figures) for century in (1900, 2000)}


def inside_word(text: str, start: int) -> bool:
    """Tells whether what begins there goes on a word: A4, mp3, #Person1#."""
    before = text[start - 1 : start]
    return before.isalpha() or before in ("#", "_")


def _clocks(text: str) -> list[Quantity]:
    found: list[Quantity] = []
    for pattern in reversed(_CLOCKS):  # `half past 6.30pm` does not occur; `quarter to 3 pm` does
        for match in pattern.finditer(text):
            if any(clock.start < match.end() and match.start() < clock.end for clock in found):
                continue
            groups = match.groupdict()
            half = (groups.get("half") or groups.get("half2") or "").lower()
            if noon := groups.get("noon"):
                minutes, numbers = {0 if noon.lower() == "midnight" else 720}, frozenset()
            else:
                hour = _small(groups["hour"])
                minute = int(groups.get("minute") or 0)
                if hour > 24:
                    continue
                if away := groups.get("away"):
                    away = away.lower()
                    minute = 30 if away == "half" else 15 if "quarter" in away else _small(away)
                    if groups["side"].lower() == "to":
                        hour, minute = hour - 1, 60 - minute
                minutes = clock_minutes(hour, minute, half)
                # 6.20 without am or pm may be a price
                numbers = frozenset({hour + minute / 100}) if groups.get("mark") == "." and not half else frozenset()
                if numbers and (
                    _CURRENCY_BEFORE.search(text[: match.start()]) or _CURRENCY_AFTER.match(text, match.end())
                ):
                    continue
            kind = "number" if numbers else "time"
            found.append(Quantity(match.start(), match.end(), kind, numbers, frozenset(minutes)))
    return found


def clock_minutes(hour: int, minute: int, half: str = "") -> set[int]:
    """Minutes after midnight that a clock time may mean; without am or pm an hour up to 12 may be either."""
    minutes = (60 * hour + minute) % 1440
    if hour > 12 or (hour == 0 and not half):
        return {minutes}
    if half:
        return {minutes % 720 + (720 if half == "p" else 0)}
    return {minutes % 720, minutes % 720 + 720}


def _small(word: str) -> int:
    word = word.lower().replace("-", " ")
    if word.isdecimal():
        return int(word)
    return sum(_SMALL.get(part, _ROUND.get(part, 0)) for part in word.split())


def _continues(group: list[re.Match[str]], atom: re.Match[str]) -> bool:
    """Tells whether a number goes on: after `twenty` comes `five`, after `two` `hundred`, after `hundred` anything smaller."""
    word = (atom["word"] or "").lower()
    last = group[-1]
    previous = (last["word"] or "").lower()
    if atom["half"]:  # two and a half thousand
        return previous not in _SCALES
    if word in _SCALES:
        return previous not in _SCALES or _SCALES[previous] < _SCALES[word]
    if not word or not previous:
        return bool(previous in _SCALES and len(group) > 1 and not last["figures"] and atom["figures"] is None)
    return (previous in _ROUND and 0 < _SMALL.get(word, 0) < 10) or previous in _SCALES


def _number(text: str, group: list[re.Match[str]]) -> Quantity:
    total, current, figures = 0.0, 0.0, ""
    for atom in group:
        word = (atom["word"] or "").lower()
        if raw := atom["figures"]:
            figures = re.sub(r"\D", "", raw)
            grouped = re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", raw)
            current += float(raw.replace(",", "") if grouped else raw.replace(",", "."))
            current *= _SCALES.get((atom["scale"] or "").lower(), 1)
        elif atom["half"]:
            current += 0.5
        elif word == "hundred" or word == "hundredth":
            current = (current or 1) * 100
        elif word in _SCALES:
            total, current = total + (current or 1) * _SCALES[word], 0.0
        else:
            current += _SMALL.get(word, _ROUND.get(word, 0))
    value = total + current
    start, end = group[0].start(), group[-1].end()
    numbers = {value}
    if scale := group[-1]["scale"]:
        numbers.add(value / _SCALES[scale.lower()])
    kind, currency = "number", ""
    if before := _CURRENCY_BEFORE.search(text[max(0, start - 6) : start]):
        kind, start = "amount", start - len(before[0])
    if after := _CURRENCY_AFTER.match(text, end):
        kind, end = "amount", after.end()
    if kind == "amount":
        currency = next((sign for sign, pattern in _CURRENCY.items() if pattern.search(text, start, end)), "")
    minutes = set()
    if re.fullmatch(r"[01]?\d[0-5]\d|2[0-3][0-5]\d", figures) and kind == "number":  # at 1930
        minutes = clock_minutes(*divmod(int(value), 100))
    elif value == int(value) and value <= 24 and kind == "number" and not group[-1]["scale"]:
        minutes = clock_minutes(int(value), 0)
    word = (group[0]["word"] or "").lower()
    plural = word in _SCALES and group[0][0][-1:] in "sS"  # hundreds of them
    alone = len(group) == 1 and kind == "number" and (word in _ORDINARY or plural)
    return Quantity(start, end, kind, frozenset(numbers), frozenset(minutes), figures, currency, alone)
