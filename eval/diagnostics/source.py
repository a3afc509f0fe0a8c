"""The facts that a dialogue states, and whether a word of a summary is one of its names.

A dialogue has a name if it has the same word whatever case, accents, possessive or plural; a shorter or longer form of it from
three letters on (Alex and Alexander); the people of a country (Poland and Polish); a common short form (Bob and Robert); a slip
of one letter in five or more, or in doubled letters; the parts written together or apart (WhatsApp); another name of the place
(NYC and New York); or the initials (WHO). That is lenient: an invented Alexandra beside a real Alex is missed. A reader forgives
a missed alarm sooner than a false one. Will and May must be names there: every other dialogue has the words.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise

from eval.diagnostics.stated import Stated
from eval.diagnostics.words import ALIASES, NAMES_TOO, NICKNAMES

WORD = re.compile(r"#?Person_?\d+#?|[^\W\d_](?:[\w&+]|['’-](?=[^\W_])|(?<=\b\w)\.(?=\w\b))*", re.I)
DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
MONTH = r"january|february|march|april|may|june|july|august|september|october|november|december"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# short forms, slips such as `wensday`, and 14/5
_DATE_IN_SOURCE = re.compile(
    rf"\b(?:(?P<day>{DAY}|mon|tues?|weds?|thur?s?|fri|sat|sun|(?!weekd|today)(?:mo|tu|we|th|fr|sa|su)[a-z]*da(?:y|ys))"
    rf"|(?P<month>{MONTH}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)|(?P<a>\d{{1,2}})[./-](?P<b>\d{{1,2}}))\b",
    re.I,
)
_MONTH_BEFORE = re.compile(
    r"\b(?:in|on|of|by|until|till|since|from|next|last|this|coming|early|late|\d+(?:st|nd|rd|th)?)\s\Z", re.I
)
_TOO = "|".join(name.capitalize() for name in sorted(NAMES_TOO))
_NAME_TOO = re.compile(  # a speaker; with a capital letter within a sentence; before `asks`, `is`, `and`
    rf"^(?:[^:\n]{{0,30}}\s)?({_TOO})\b[^:\n]{{0,30}}:|(?<=[a-z,;]\s)({_TOO})\b|\b({_TOO})(?=['’]s\b|\s(?:and|is|\w+[^iu\W]s)\b)",
    re.M,
)
_PIECES = re.compile(r"[-'’.&]")


@dataclass(frozen=True)
class Source:
    """The facts that a dialogue states: its words, names, numbers and dates. Made once a dialogue.

    Attributes:
      words: all words, folded (see `fold`), whole and in their parts.
      capitalized: those that have a capital letter somewhere; only these are lengthened or mended into names.
      named: `will` and `may`, where they are names.
      joined: neighbouring words written as one.
      initials: the first letters of the words, a space for one without a capital.
      dates: days and months, as `day_or_month` gives them.
      stated: numbers and times.
    """

    words: frozenset[str]
    capitalized: frozenset[str]
    named: frozenset[str]
    joined: frozenset[str]
    initials: str
    dates: frozenset[str]
    stated: Stated
    _known: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, dialogue: str, persons: int) -> "Source":
        """`persons` is the number of speakers: a summary may count them."""
        tokens = [match[0] for match in WORD.finditer(dialogue)]
        folded = [fold(token) for token in tokens]
        words, capitalized = set(folded), set()
        for token, word in zip(tokens, folded, strict=True):
            pieces = {fold(piece) for piece in _PIECES.split(token)} - {""} if _PIECES.search(token) else set()
            if "." in word:
                pieces.add(word.replace(".", ""))  # U.S.
            words |= pieces
            if token != token.lower():
                capitalized.add(word)
                capitalized |= pieces
        if "us" not in capitalized and not re.search(r"\bthe us\b", dialogue):
            words.discard("us")  # the pronoun is no country
        joined = {a + b for a, b in pairwise(folded)}
        dates = set()
        for match in _DATE_IN_SOURCE.finditer(dialogue):
            if match[0] in ("may", "march") and not is_month(dialogue, match.start(), match.end()):
                continue
            for part in filter(None, (match["day"], match["month"])):
                dates.add(day_or_month(part))
            dates.update(_MONTHS[int(n) - 1] for n in (match["a"], match["b"]) if n and 1 <= int(n) <= 12)
        if "weekend" in words or "weekends" in words:
            dates.update(("sat", "sun"))
        stated = Stated(dialogue, persons)
        initials = "".join(token[0].lower() if token[0].isupper() else " " for token in tokens)
        named = {match[match.lastindex or 0].lower() for match in _NAME_TOO.finditer(dialogue)}
        return cls(
            frozenset(words),
            frozenset(capitalized),
            frozenset(named),
            frozenset(joined),
            initials,
            frozenset(dates),
            stated,
        )

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(map(stem, self.words))

    @cached_property
    def _single(self) -> frozenset[str]:
        return frozenset(map(_without_doubles, self.words))

    def has_name(self, word: str) -> bool:
        """Tells whether a word of a name is in the dialogue, leniently: see the module."""
        if word not in self._known:
            initials = word.isupper() and 2 <= len(word) <= 4 and word.lower() in self.initials
            self._known[word] = initials or self._has_name(fold(word)) or self._has_pieces(word)
        return self._known[word]

    def has_other_name(self, name: str) -> bool:
        """Tells whether the dialogue has an alias of a folded name; two words are written as one."""
        aliases = ALIASES.get(name, frozenset())
        return bool(aliases & self.words or aliases & self.joined)

    def _has_name(self, name: str) -> bool:
        if name in NAMES_TOO:
            return name in self.named or name in self.dates or any(alike(name, w) for w in self.capitalized - {name})
        if name in self.words or name in self.joined or name.replace("-", "") in self.words:
            return True
        plain = name.replace(".", "")
        if plain in self.words or self.has_other_name(plain):
            return True
        person = re.fullmatch(r"#?person_?(\d+)#?", name)
        if person:
            return f"#person{person[1]}#" in self.words or f"person{person[1]}" in self.words
        if stem(name) in self.stems:
            return True
        single = _without_doubles(name)
        return (len(single) > 3 and single in self._single) or any(alike(name, word) for word in self.capitalized)

    def _has_pieces(self, word: str) -> bool:
        """Ann-Marie by its parts; of US-based the part that is a name."""
        pieces = [piece for piece in _PIECES.split(word) if len(piece) > 1 or piece.isupper()]
        names = [piece for piece in pieces if piece != piece.lower()]
        return len(pieces) > 1 and all(self._has_name(fold(piece)) for piece in names)


@lru_cache(maxsize=2**16)
def fold(word: str) -> str:
    """A word without case, accents, possessive."""
    if not word.isascii():
        decomposed = unicodedata.normalize("NFKD", word)
        word = "".join(c for c in decomposed if not unicodedata.combining(c)).replace("’", "'").replace("ł", "l")
    word = word.lower()
    return word[:-2] if word.endswith("'s") else word.rstrip("'")


@lru_cache(maxsize=2**16)
def stem(word: str) -> str:
    """Porter's stem (1980): what plurals, participles and adverbs of a word share."""
    return _porter()(word)


@lru_cache(maxsize=1)
def _porter():
    from nltk.stem import porter

    return porter.PorterStemmer().stem


@lru_cache(maxsize=2**16)
def alike(name: str, other: str) -> bool:
    """Tells whether two folded words may be forms of one name."""
    short, long = sorted((name, other), key=len)
    if len(short) >= 3 and long.startswith(short):
        return True
    if len(short) >= 5 and short[:4] == long[:4] and re.search(r"(?:ish|ese|ian|an|ch|i)\Z", name + "\n" + other, re.M):
        return True  # Poland and Polish, China and Chinese
    if long in NICKNAMES.get(short, ()) or short in NICKNAMES.get(long, ()):
        return True
    return len(short) >= 5 and len(long) - len(short) <= 1 and _one_slip(short, long)


@lru_cache(maxsize=2**16)
def _without_doubles(word: str) -> str:
    return re.sub(r"(.)\1", r"\1", word)


def _one_slip(short: str, long: str) -> bool:
    """One letter changed, left out, put in, or two neighbours exchanged."""
    i = 0
    while i < len(short) and short[i] == long[i]:
        i += 1
    if len(short) < len(long):
        return short[i:] == long[i + 1 :]
    return short[i + 1 :] == long[i + 1 :] or (
        short[i : i + 2] == long[i : i + 2][::-1] and short[i + 2 :] == long[i + 2 :]
    )


def is_month(text: str, start: int, end: int) -> bool:
    """Tells whether `may` or `march` stands where a month can stand: after `in`, beside a number."""
    return bool(_MONTH_BEFORE.search(text[max(0, start - 12) : start]) or re.match(r"\s(?:the\s)?\d", text[end:]))


def day_or_month(word: str) -> str:
    """Three letters that stand for a day or a month: Tuesdays is tue, Sept is sep."""
    word = word.lower()
    if word[:3] in _MONTHS and not word.endswith(("day", "days")):
        return word[:3]
    return next(day for day in _DAYS if day.startswith(word[:2]))
