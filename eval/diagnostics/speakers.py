"""Who speaks in a dialogue, and which of them a summary names."""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from eval.diagnostics.words import TITLES
from t5x_tasks.metrics.pooled import Pooled, Scores, divide

_TURN = re.compile(r"^\s*([^:\n]{1,40}?)\s*:(?!//)", re.M)
_MOST_WORDS = 4  # of a name


def speakers(dialogue: str) -> list[str]:
    """Names before the colons that lines begin with, each once, in the order in which they speak."""
    names = dict.fromkeys(match[1] for match in _TURN.finditer(dialogue))
    return [name for name in names if any(map(str.isalpha, name)) and len(name.split()) <= _MOST_WORDS]


def named(text: str, names: Sequence[str]) -> set[str]:
    """Which of the speakers a text names: by the whole name or by a word of it that no other speaker shares.

    Case does not matter, nor a possessive. A first name may be a shorter or longer form of three letters or more: Alex
    for Alexander, where no other speaker fits. #Person1# is found without its marks, too.
    """
    words = {word.lower() for word in re.findall(r"[^\W_]+", text)}
    told = {name: _telling_words(name, tuple(names)) for name in names}
    found = set()
    for name, own in told.items():
        others = {word for other, theirs in told.items() if other != name for word in theirs}
        if own & words:
            found.add(name)
        elif not own:  # every word is shared: only all of it tells
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.I):
                found.add(name)
        elif any(
            _form_of(word, mine) and not any(_form_of(word, o) or word == o for o in others)
            for word in words
            for mine in own
        ):
            found.add(name)
    return found


def best_reference(prediction: set[str], references: Sequence[set[str]]) -> set[str]:
    """The reference whose speakers give the prediction the best F1; of equals the first."""
    return max(references, key=lambda actual: _f1(len(prediction & actual), len(prediction), len(actual)))


def speaker_scores(predicted: Sequence[set[str]], actual: Sequence[set[str]]) -> Scores:
    """Precision, recall and F1 of the speakers that summaries name, against those that their references name, in percent.

    Pooled over the rows. A row whose reference names nobody adds to precision's denominator only what is named.
    """
    counts = [(len(p & a), len(p), len(a)) for p, a in zip(predicted, actual, strict=True)]
    statistics = np.array(counts, np.float64).reshape(-1, 3)
    return {
        "speaker_precision": Pooled(statistics, lambda sums: 100 * divide(sums[..., 0], sums[..., 1])),
        "speaker_recall": Pooled(statistics, lambda sums: 100 * divide(sums[..., 0], sums[..., 2])),
        "speaker_f1": Pooled(statistics, lambda sums: 100 * divide(2 * sums[..., 0], sums[..., 1] + sums[..., 2])),
    }


def _f1(right: int, predicted: int, actual: int) -> float:
    return 2 * right / (predicted + actual) if predicted + actual else 1.0


@lru_cache(maxsize=4096)
def _telling_words(name: str, names: tuple[str, ...]) -> frozenset[str]:
    others = {word for other in names if other != name for word in _words(other)}
    return frozenset(_words(name) - others - TITLES)


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[^\W_]+", name)}


def _form_of(word: str, name: str) -> bool:
    short, long = sorted((word, name), key=len)
    return len(short) >= 3 and short != long and long.startswith(short) and not any(map(str.isdecimal, long))
