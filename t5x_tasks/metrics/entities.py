"""Named entities as text, and precision, recall and F1 of their spans.

`person: Ada Lovelace; location: London`, or `none`. The form can be read back whatever is in a mention: a mention's `;` is
doubled where a single one would end it, which is rare (`corporation: AT&amp;T` needs nothing).

Reference: Tjong Kim Sang & De Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003: an entity is right if all of it is.
"""

import importlib.metadata
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.pooled import Pooled, Scores, check_rows, divide

LOWER_IS_BETTER = frozenset({"malformed"})

NONE = "none"
# `;` ends a mention only before what looks like `type:`. Possessive, so that no text takes quadratic time.
_TYPE_AHEAD = r"(?=\s*+[^\s:;][^:;]*+:)"
_PART = re.compile(rf"(;;|;{_TYPE_AHEAD})")
_TO_DOUBLE = re.compile(rf";(?:(?=;|$)|{_TYPE_AHEAD})")


class Reading(NamedTuple):
    """The entities of a text.

    Attributes:
      entities: (type, mention), in the text's order.
      well_formed: the whole text has the form; if not, `entities` holds what could be read.
    """

    entities: list[tuple[str, str]]
    well_formed: bool


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return (
        "own implementation 1 of seqeval's micro average (equal to seqeval "
        f"{importlib.metadata.version('seqeval')} on the same spans), an entity is right if type and whole mention are; "
        "precision, recall, f1 and malformed (lower is better) in %"
    )


def format_entities(entities: Iterable[tuple[str, str]]) -> str:
    """Writes (type, mention) pairs as text: what `parse_entities` reads back, but for runs of white space, which become a space.

    Raises:
      ValueError: a type is blank or has a colon or semicolon, or a mention is blank.
    """
    parts = []
    for kind, mention in entities:
        kind, mention = _squeeze(kind), _squeeze(mention)
        if not kind or ":" in kind or ";" in kind:
            raise ValueError(f"the type of an entity must be a text without colon and semicolon, not {kind!r:.80}")
        if not mention:
            raise ValueError(f"an entity of type {kind} has no text")
        parts.append(f"{kind}: {_TO_DOUBLE.sub(';;', mention)}")
    return "; ".join(parts) or NONE


def parse_entities(text: str) -> list[tuple[str, str]]:
    """Reads (type, mention) pairs; what has not the form is left out, see `read_entities`."""
    return read_entities(text).entities


def read_entities(text: str) -> Reading:
    """Reads the form that `format_entities` writes; never raises. An empty text is not well formed: no entities are `none`."""
    if text.strip(" \t\r\n.").casefold() == NONE:
        return Reading([], True)
    items = [""]
    for part in _PART.split(text):
        if part == ";":
            items.append("")
        else:
            items[-1] += ";" if part == ";;" else part
    parts = [item.partition(":") for item in items]
    entities = [(_squeeze(kind), _squeeze(mention)) for kind, _, mention in parts if kind.strip() and mention.strip()]
    return Reading(entities, len(entities) == len(parts))


def entities(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Scores entities that are written as text.

    Types are compared without case, mentions as they are (after NFKC, which T5's vocabulary does to what it reads). An
    entity that occurs twice must be found twice. Where a row has several references, the one with the best F1 counts, of
    equals the first.

    Returns:
      `precision`, `recall`, `f1`, Pooled over the counts of all rows, in percent. 0/0 is 0, and 100 where there is
      neither an entity to find nor one predicted. `malformed`: predictions that are not of the form, in percent, [rows];
      what can be read of them counts.

    Raises:
      UserError: a reference is not of the form.
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    check_rows(predictions, references)
    statistics = np.zeros((len(predictions), 3))  # right, predicted, actual
    malformed = np.zeros(len(predictions))
    for row, (prediction, answers) in enumerate(zip(predictions, references, strict=True)):
        reading = read_entities(prediction)
        malformed[row] = 100.0 * (not reading.well_formed)
        said = _count(reading.entities)
        counts = np.array([_overlap(said, _count(_reference(answer, row))) for answer in answers], np.float64)
        statistics[row] = counts[np.argmax(_f1(counts))]
    return {
        "precision": Pooled(statistics, _precision),
        "recall": Pooled(statistics, _recall),
        "f1": Pooled(statistics, _f1),
        "malformed": malformed,
    }


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def _reference(text: str, row: int) -> list[tuple[str, str]]:
    reading = read_entities(text)
    if not reading.well_formed:
        raise UserError(
            f"metrics: entities: row {row} (from 0): the reference {text!r:.80} is no list of entities; write "
            f"`type: mention; type: mention` or `{NONE}` (t5x_tasks.metrics.entities.format_entities does)"
        )
    return reading.entities


def _count(entities: list[tuple[str, str]]) -> Counter[tuple[str, str]]:
    return Counter((kind.casefold(), _squeeze(unicodedata.normalize("NFKC", mention))) for kind, mention in entities)


def _overlap(said: Counter[tuple[str, str]], actual: Counter[tuple[str, str]]) -> tuple[int, int, int]:
    return (said & actual).total(), said.total(), actual.total()


def _precision(sums: np.ndarray) -> np.ndarray:
    return _percent(sums, sums[..., 0], sums[..., 1])


def _recall(sums: np.ndarray) -> np.ndarray:
    return _percent(sums, sums[..., 0], sums[..., 2])


def _f1(sums: np.ndarray) -> np.ndarray:
    return _percent(sums, 2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def _percent(sums: np.ndarray, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return 100 * np.where(sums[..., 1] + sums[..., 2] == 0, 1.0, divide(part, whole))
