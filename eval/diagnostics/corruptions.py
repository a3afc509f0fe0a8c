"""Small changes that make a true summary false, for the contrastive probe. Deterministic in the row's id and the seed.

Three errors that summarizers make most: who did it, how many, and whether. Each returns None where it does not apply. The
changes follow rules, not understanding: some leave the text true ("A meets B"), some make it clumsy, so a perfect model does not
reach 100%, and checkpoints should be compared with one another rather than with 100. English only.
"""

import itertools
import random
import re
from collections.abc import Callable, Sequence

from eval.diagnostics.quantities import inside_word, quantities
from eval.diagnostics.speakers import speakers
from eval.diagnostics.stated import Stated
from eval.diagnostics.words import listed

_NUMBER_WORDS = (
    listed("two three four five six seven eight nine ten eleven twelve"),
    listed("thirteen fourteen fifteen sixteen seventeen eighteen nineteen"),
    listed("twenty thirty forty fifty sixty seventy eighty ninety"),
    listed("fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"),
)
_COORDINATION = re.compile(r",?\s+(?:and|or|&)\s+|,\s+")
_NEGATED = r"(?!\s+(?:not|never|no)\b|n?['’]t)"
_PARTICIPLE = (
    r"\s+(?:(?:already|also|always|just|only|recently)\s+)?(?:\w+ed|\w+en|been|had|got|gone|done|made|lost|left|found|met|bought|"
    r"sent|put|told|said|paid|come|become|run|won|read|heard|felt|kept|thought|brought|caught)\b"
)
_AUXILIARY = re.compile(
    rf"\b(?:(?:is|are|was|were|will|would|can|could|should|must|may|might){_NEGATED}\b"
    rf"|(?:\w+['’](?:ll|re|ve)|(?i:he|she|it|that)['’]s){_NEGATED}"
    rf"|(?<!\bto\s)(?P<have>has|have|had){_NEGATED}\b)"
)  # lower case: Will is a name


def speakers_swapped(text: str, dialogue: str, rng: random.Random) -> str | None:
    """Exchanges two speakers; where only one is named, another speaker of the dialogue takes the place.

    `A and B` stays as it is: exchanged, it would say the same.
    """
    names = sorted(speakers(dialogue), key=len, reverse=True)
    if len(names) < 2:
        return None
    mentions = list(re.finditer("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names), text))
    groups: list[list[re.Match[str]]] = []
    for mention in mentions:
        if groups and _COORDINATION.fullmatch(text, groups[-1][-1].end(), mention.start()):
            groups[-1].append(mention)
        else:
            groups.append([mention])
    here = sorted({mention[0] for mention in mentions})
    pairs = list(itertools.combinations(here, 2)) or [
        (here[0], other) for other in sorted(names) if here and other != here[0]
    ]
    rng.shuffle(pairs)
    for one, other in pairs:
        exchange = {one: other, other: one}
        changed = text
        for group in reversed(groups):
            if {one, other} <= {mention[0] for mention in group}:
                continue
            for mention in reversed(group):
                changed = changed[: mention.start()] + exchange.get(mention[0], mention[0]) + changed[mention.end() :]
        if changed != text:
            return changed
    return None


def numbers_changed(text: str, dialogue: str, rng: random.Random) -> str | None:
    """Replaces one number, in figures or in words, by one of like size that the dialogue lacks."""
    stated = Stated(dialogue).numbers
    choices = [
        quantity for quantity in quantities(text) if not quantity.alone and not inside_word(text, quantity.start)
    ]
    rng.shuffle(choices)
    for quantity in choices:
        span = text[quantity.start : quantity.end]
        if figures := re.search(r"\d+", span):
            replacement = _other_figures(figures[0], stated, rng)
            where = figures.span()
        elif word := next((m for m in re.finditer(r"[a-z]+", span, re.I) if _like(m[0])), None):
            replacement = _other_word(word[0], stated, rng)
            where = word.span()
        else:
            continue
        if replacement:
            return text[: quantity.start] + span[: where[0]] + replacement + span[where[1] :] + text[quantity.end :]
    return None


def negation_added(text: str, dialogue: str, rng: random.Random) -> str | None:
    """Denies the first verb that can be denied by rule: `is not`, `cannot`, `does not want` after a speaker or he and she."""
    names = "|".join(re.escape(name) for name in sorted(speakers(dialogue), key=len, reverse=True))
    subject = rf"(?:{names}|he|she)" if names else r"(?:he|she)"
    verb = re.search(rf"(?<!\w)(?<!['’]){subject}\s+(?P<verb>[a-z]{{2,}}s)\b(?<!ss)", text, re.I)
    auxiliary = next(_AUXILIARY.finditer(text), None)
    if (
        verb
        and verb["verb"].lower() not in ("is", "was", "has", "does")
        and not (auxiliary and auxiliary.start() < verb.start("verb"))
    ):
        return f"{text[: verb.start('verb')]}does not {_base(verb['verb'])}{text[verb.end('verb') :]}"
    if not auxiliary:
        return None
    before, found, after = text[: auxiliary.start()], auxiliary[0], text[auxiliary.end() :]
    if auxiliary["have"] and not re.match(_PARTICIPLE, after, re.I):
        return f"{before}{ {'has': 'does', 'have': 'do', 'had': 'did'}[found.lower()] } not have{after}"
    return f"{before}{found}{'not' if found.lower() == 'can' else ' not'}{after}"


CORRUPTIONS: dict[str, Callable[[str, str, random.Random], str | None]] = {
    "speakers_swapped": speakers_swapped,
    "numbers_changed": numbers_changed,
    "negation_added": negation_added,
}


def preferred(margin: float) -> float:
    """Whether a model finds a reference more probable than its corruption, in percent; a tie counts half."""
    return 100.0 if margin > 0 else 50.0 if margin == 0 else 0.0


def corrupt(text: str, dialogue: str, *, id: str, seed: int = 0) -> dict[str, str | None]:
    """Every corruption of a summary; None where one does not apply."""
    return {name: change(text, dialogue, random.Random(f"{seed}/{name}/{id}")) for name, change in CORRUPTIONS.items()}


def _other_figures(figures: str, stated: set[float], rng: random.Random) -> str | None:
    value, digits = int(figures), len(figures)
    low, high = (2, 9) if digits == 1 else (10 ** (digits - 1), min(10**digits - 1, max(2 * value, 19)))
    if digits <= 2 and value <= 12:
        low, high = 2, 12
    elif digits == 2 and value < 60:  # may be minutes
        low, high = 10, 59
    elif digits == 4 and 1900 <= value < 2100:
        low, high = value - 20, value + 20
    for _ in range(20):
        other = rng.randint(low, high)
        if other != value and float(other) not in stated:
            return f"{other:0{digits}d}" if figures[0] == "0" else str(other)
    return None


def _like(word: str) -> Sequence[str] | None:
    return next((words for words in _NUMBER_WORDS if word.lower() in words), None)


def _other_word(word: str, stated: set[float], rng: random.Random) -> str | None:
    candidates = [
        other
        for other in _like(word) or ()
        if other != word.lower() and not any(quantity.numbers & stated for quantity in quantities(other))
    ]
    if not candidates:
        return None
    other = rng.choice(candidates)
    return other.capitalize() if word[0].isupper() else other


def _base(verb: str) -> str:
    """wants -> want, tries -> try, watches -> watch, goes -> go."""
    if len(verb) > 4 and verb.endswith("ies"):
        return verb[:-3] + "y"
    if re.search(r"(?:ch|sh|x|ss|zz|o)es\Z", verb):
        return verb[:-2]
    return verb[:-1]
