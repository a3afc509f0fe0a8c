"""Whether a dialogue states a number, amount or time of a summary.

The dialogue is read generously, with every meaning that its words may have, the summary strictly: what differs then really is
not there. What somebody counted or added up is an alarm all the same.
"""

import re
from itertools import pairwise

from eval.diagnostics.quantities import Quantity, clock_minutes, quantities, ten_years

# What a source says of a number without naming it. `one` and `a` are everywhere, so 1 is hardly ever an alarm.
_IMPLIED = {
    "a": 1, "an": 1, "once": 1, "single": 1, "couple": 2, "pair": 2, "both": 2, "twice": 2, "double": 2, "twins": 2,
    "either": 2, "dozen": 12, "decade": 10, "century": 100, "fortnight": 14, "noon": 12, "midday": 12, "midnight": 12,
    "half": 0.5, "quarter": 0.25,
}  # fmt: skip


class Stated:
    """The numbers and times that a source states, in every meaning they may have.

    `persons` is the number of speakers, which a summary may count.
    """

    def __init__(self, text: str, persons: int = 0):
        found = [quantity for quantity in quantities(text) if text[quantity.start - 7 : quantity.start] != "#Person"]
        words = set(re.findall(r"[a-z]+", text.lower()))
        self.numbers = {number for quantity in found for number in quantity.numbers}
        self.minutes = {minute for quantity in found for minute in quantity.minutes}
        self.currencies: dict[float, set[str]] = {}  # in which a number is an amount; "" where that is not said
        for quantity in found:
            for number in quantity.numbers:
                self.currencies.setdefault(number, set()).add(quantity.currency)
        self.numbers |= {float(value) for word, value in _IMPLIED.items() if word in words}
        self.numbers |= {part for number in self.numbers for part in _parts(number)}
        self._years = {year for quantity in found for year in ten_years(quantity)}
        # 3pm may be said as `at three` and 15:30 as `half past three`
        self._clocks = {minute for quantity in found if quantity.kind == "time" for minute in quantity.minutes}
        for minute in self._clocks:
            hour, rest = divmod(minute, 60)
            self.numbers |= {float(hour), float((hour - 1) % 12 + 1)} | ({float(rest)} if rest else set())
        self._runs = self._add_joined(text, found)
        self._derived = self._derive(text.lower(), words) | {float(persons)}

    def _derive(self, text: str, words: set[str]) -> set[float]:
        """Reads halves, quarters and hours: an hour and a half is 1.5 hours or 90 minutes, half a dozen 6, half of them 50%."""
        derived: set[float] = set()
        if re.search(r"\bhalf\b(?!\s+past)", text):
            hours = {number for number in self.numbers if number < 24}
            derived |= {number + 0.5 for number in hours} | {60 * hour + 30 for hour in hours} | {30.0, 50.0, 6.0}
            self.minutes |= {int(60 * hour + 30) % 1440 for hour in hours if hour == int(hour)}
        if words & {"quarter", "quarters"}:
            derived |= {15.0, 25.0, 45.0, 75.0}
        if words & {"hour", "hours"}:
            derived |= {60 * number for number in self.numbers | derived if number <= 3}
        return derived

    def __contains__(self, claim: Quantity) -> bool:
        if claim.currency and all(
            not {claim.currency, ""} & self.currencies.get(number, {""}) for number in claim.numbers
        ):
            return False  # $50 for £50
        if claim.alone or claim.numbers & self.numbers:
            return True
        plain = claim.kind == "number" and all(
            number == int(number) for number in claim.numbers
        )  # 14 guests are not 2 pm
        if claim.minutes & (self._clocks if plain else self.minutes):
            return True
        if claim.kind == "number" and claim.numbers & self._derived:
            return True
        if claim.numbers & self._years or ten_years(claim) & self.numbers:  # '98, or the class of 98
            return True
        return len(claim.figures) >= 3 and any(claim.figures in run for run in self._runs)

    def _add_joined(self, text: str, found: list[Quantity]) -> list[str]:
        """Reads numbers that stand side by side as one: `six twenty` is 6.20, 620 or 6:20, `five five five` a telephone's 555."""
        runs: list[list[Quantity]] = []
        for quantity in found:
            near = runs and re.fullmatch(r"[\s,.()/-]{0,3}(?:and\s)?", text[runs[-1][-1].end : quantity.start])
            if near:
                runs[-1].append(quantity)
            else:
                runs.append([quantity])
        joined = []
        for run in runs:
            for first, second in pairwise(run):
                for a in first.numbers:
                    for b in second.numbers:
                        if a == int(a) and 10 <= b < 100 and b == int(b):
                            self.numbers |= {100 * a + b, a + b / 100}
                            if a <= 24 and b < 60:
                                self.minutes |= clock_minutes(int(a), int(b))
            digits = [quantity.figures or "".join(f"{int(n)}" for n in list(quantity.numbers)[:1]) for quantity in run]
            if len(run) > 1:
                joined.append("".join(digits))
                if len(joined[-1]) < 16:
                    self.numbers.add(float(joined[-1] or 0))
        return joined


def _parts(number: float) -> set[float]:
    """6.20 is 6 dollars and 20 cents, too."""
    whole, cents = divmod(round(100 * number), 100)
    return {float(whole), float(cents)} if cents and number < 10**9 else set()
