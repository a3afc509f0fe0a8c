"""Facts of a chat (dates, times, amounts, codes ...) and how to draw them.

A kind of fact is a function `(Facts) -> Value`. Drawing the same kind again gives the value that somebody says by
mistake and takes back, so every kind has to have many values.
"""

import datetime
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


class NoValueLeft(Exception):
    """A narrow kind of fact has only values that the chat already holds; the generator draws another chat."""


class Value(str):
    """The words for a fact; dates keep the day behind the words, so that others can lie before or after it."""

    day: datetime.date | None = None

    def short(self) -> str:
        """How a person names it the second time: "the 14th" for a date."""
        return f"the {ordinal(self.day.day)}" if self.day else str(self)


@dataclass
class Facts:
    """The facts of one chat. `today` is the day of the chat; `day_first` writes "14 March" rather than "March 14".

    `withdrawn`: what somebody said and took back.
    """

    rng: random.Random
    today: datetime.date
    day_first: bool
    values: dict[str, Value] = field(default_factory=dict)
    withdrawn: list[Value] = field(default_factory=list)

    def add(self, kinds: Mapping[str, "Kind"]) -> None:
        for slot, kind in kinds.items():
            self.values[slot] = self.another(kind)

    def another(self, kind: "Kind", like: Value | None = None) -> Value:
        """A value of this kind that cannot be mistaken for a fact that the chat has.

        With `like`, one that resembles it, as slips of the tongue do: the 14th for the 15th, rather than for another month.
        """
        found: list[Value] = []
        for _ in range(200):
            value = kind(self)
            if not any(_clash(value, known) for known in [*self.values.values(), *self.withdrawn]):
                found.append(value)
            if len(found) >= (1 if like is None else 12):
                break
        if not found:
            raise NoValueLeft(f"every value drawn looks like one of {sorted(self.values.values())}")
        return found[0] if like is None else max(found, key=lambda value: _likeness(value, like))

    def date(self, day: datetime.date) -> Value:
        month = MONTHS[day.month - 1]
        value = Value(f"{day.day} {month}" if self.day_first else f"{month} {day.day}")
        value.day = day
        return value


Kind = Callable[[Facts], Value]


def _clash(one: str, other: str) -> bool:
    """Whether one of the two could be taken for the other, or holds one of its numbers."""
    words, others = set(one.split()), set(other.split())
    if any(word.strip("$")[0].isdigit() for word in words | others):
        return any(word.strip("$")[0].isdigit() for word in words & others)
    return words <= others or others <= words


def _likeness(one: str, other: str) -> int:
    """Characters in the same places, counted from the front and from the back."""
    pairs = (zip(one, other, strict=False), zip(reversed(one), reversed(other), strict=False))
    return sum(a == b for pair in pairs for a, b in pair) - 2 * abs(len(one) - len(other))


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th ... 11th, 12th, 13th."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}" + {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def pick(options: Sequence[str]) -> Kind:
    return lambda facts: Value(facts.rng.choice(options))


def number(low: int, high: int, step: int = 1) -> Kind:
    """An integer from `low` to `high`, both included."""
    return lambda facts: Value(facts.rng.randrange(low, high + 1, step))


def dollars(low: int, high: int) -> Kind:
    """A whole amount in dollars."""
    return lambda facts: Value(f"${facts.rng.randrange(low, high + 1)}")


def money(low: int, high: int) -> Kind:
    """An amount in dollars, two of five with cents."""

    def draw(facts: Facts) -> Value:
        amount = facts.rng.randrange(low, high + 1)
        cents = f".{facts.rng.choice(('20', '50', '75', '90', '99'))}" if facts.rng.random() < 0.4 else ""
        return Value(f"${amount}{cents}")

    return draw


def code(pattern: str) -> Kind:
    """A code: "A" stands for a letter, "9" for a digit (never 0 in front), anything else for itself."""

    def draw(facts: Facts) -> Value:
        out = []
        for place, char in enumerate(pattern):
            if char == "9":
                out.append(str(facts.rng.randrange(0 if place else 1, 10)))
            elif char == "A":
                out.append(facts.rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ"))
            else:
                out.append(char)
        return Value("".join(out))

    return draw


def day(low: int, high: int) -> Kind:
    """A date `low` to `high` days from the day of the chat; negative numbers are past days."""
    return lambda facts: facts.date(facts.today + datetime.timedelta(days=facts.rng.randrange(low, high + 1)))


def clock(low: int, high: int) -> Kind:
    """A time of day between the hours `low` and `high` (24-hour clock), said with am or pm."""

    def draw(facts: Facts) -> Value:
        hour = facts.rng.randrange(low, high + 1)
        minutes = facts.rng.choice(("", "", "", ":15", ":30", ":30", ":45"))
        return Value(f"{(hour - 1) % 12 + 1}{minutes} {'am' if hour < 12 else 'pm'}")

    return draw


def address(streets: Sequence[str]) -> Kind:
    return lambda facts: Value(f"{facts.rng.randrange(2, 99)} {facts.rng.choice(streets)}")


def counted(low: int, high: int, noun: str) -> Kind:
    """A number of things: "1 night", "3 nights"."""

    def draw(facts: Facts) -> Value:
        count = facts.rng.randrange(low, high + 1)
        return Value(f"{count} {noun}" if count == 1 else f"{count} {noun}s")

    return draw


# Kinds that two or three numbers describe.
RANGES: dict[str, Callable[..., Kind]] = {
    "number": number, "dollars": dollars, "money": money, "day": day, "clock": clock,
}  # fmt: skip
