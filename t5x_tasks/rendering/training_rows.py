"""Which rows of a training split are trained on: none with an empty field and, with `dedupe`, none that another split asks."""

from collections.abc import Callable, Container, Iterable

from t5x_tasks.card.card import Card
from t5x_tasks.card.source import SPLITS
from t5x_tasks.rendering.render import is_blank
from t5x_tasks.sources import Row, question

Question = tuple[str, ...]


def questions_elsewhere(card: Card, read: Callable[[str], Iterable[Row]]) -> dict[Question, str]:
    """Returns the questions of all splits but `train`, each with a split that asks it.

    Args:
      read: split -> its rows.
    """
    splits = [split for split in SPLITS if split != "train" and split in card.splits]
    return {question(card, row): split for split in splits for row in read(split)}


def kept_rows(card: Card, rows: Iterable[Row], elsewhere: Container[Question] = ()) -> list[Row]:
    """Returns the rows that are trained on.

    Args:
      elsewhere: see `questions_elsewhere`; empty without `dedupe`.
    """
    whole = (row for row in rows if not any(map(is_blank, row.fields.values())))
    return [row for row in whole if not elsewhere or question(card, row) not in elsewhere]
