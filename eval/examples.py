"""What is evaluated: the examples of a task or mixture, each under one template, with all its right answers.

Imports no JAX and no TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t5x_tasks.card import Card, Template, all_cards, resolve
from t5x_tasks.errors import UserError
from t5x_tasks.prepare import Data, Prepared, ensure_prepared
from t5x_tasks.rendering import is_blank, placeholders, render
from t5x_tasks.sources import read_rows
from t5x_tasks.vocabulary import Vocabulary

TEMPLATE_SEED = (
    0  # of the choice among a mixture's templates, whatever the run's seed: all runs answer the same questions
)


@dataclass(frozen=True)
class Example:
    """One question to the model.

    Attributes:
      id: of the row.
      template: the phrasing it is put in.
      inputs: the text that the model reads, whole.
      references: right answers, one or more.
      dialogue: the raw text that summaries are of; None where the task is no summarization.
      empty: a field of the input is blank.
    """

    id: str
    template: str
    inputs: str
    references: list[str]
    dialogue: str | None
    empty: bool


@dataclass(frozen=True)
class Questions:
    """A task or mixture, ready to be answered and scored.

    Attributes:
      task: the name it was asked for by: dialogsum, dialogsum.t00, dialogsum.heldout.
      metrics: of the card.
      tokens: input token ids of each example, whole, with end of sequence; empty when answers come from elsewhere.
      unknown_tokens: pieces of the inputs that the vocabulary lacks; None when there is no vocabulary.
    """

    task: str
    split: str
    metrics: tuple[str, ...]
    examples: list[Example]
    tokens: list[np.ndarray]
    unknown_tokens: int | None


def prepare_questions(
    task: str, split: str, *, data: Data, vocabulary: Vocabulary, limit: int | None = None
) -> Questions:
    """Takes the (first `limit`) rows of a split from the cache, preparing them where that was not done.

    A mixture asks each example in one of its templates: the one that training with seed 0 shows it in its first epoch.

    Raises:
      UserError: no such task, its data cannot be read, or it is a mixture of several data sets' or has no metric.
    """
    pairs = resolve(task, all_cards(data.cards))
    card = _single_card(task, pairs)
    prepared = ensure_prepared(task, split, data=data, vocabulary=vocabulary, text=True)
    splits = [entry.open() for entry in prepared]
    templates = {template.id: template for _, template in pairs}
    examples, tokens = [], []
    for index, choice in enumerate(_choose_templates(prepared)[:limit].tolist()):
        stored = splits[choice].example(index)
        template = templates[stored["template"]]
        examples.append(
            _example(card, template, stored["id"], stored["inputs"], stored["references"], stored["fields"])
        )
        tokens.append(splits[choice].tokens([index])[0][0].astype(np.int32))
    unknown = sum(int(np.count_nonzero(ids == vocabulary.unk_id)) for ids in tokens)
    return Questions(task, split, card.metrics, examples, tokens, unknown)


def read_questions(task: str, split: str, *, cards: Sequence[str] = (), root: str | None = None) -> Questions:
    """Reads the rows of a split from their source, for answers that come from elsewhere.

    Whoever answered may have put the question as they liked, so all examples get the first template of the task.

    Raises:
      UserError: as `prepare_questions`.
    """
    pairs = resolve(task, all_cards(cards))
    card, template = _single_card(task, pairs), pairs[0][1]
    examples = []
    for row in read_rows(card, split, root):
        rendering = render(card, template, row)
        fields = {field: row[column] for field, column in card.used_fields.items() if column in row}
        examples.append(_example(card, template, row["id"], rendering.inputs, rendering.references, fields))
    return Questions(task, split, card.metrics, examples, [], None)


def _example(
    card: Card, template: Template, id: str, inputs: str, references: list[str], fields: dict[str, str]
) -> Example:
    summarizes = card.category == "summarization" and template.id not in card.inverted
    empty = any(is_blank(fields[field]) for field in placeholders(template.inputs) if field in fields)
    return Example(id, template.id, inputs, references, fields.get("dialogue") if summarizes else None, empty)


def _single_card(task: str, pairs: list[tuple[Card, Template]]) -> Card:
    card = pairs[0][0]
    if any(other.name != card.name for other, _ in pairs):
        raise UserError(f"{task}: mixes several data sets; give each of them to eval.tasks")
    if not card.metrics:
        raise UserError(f"{card.path}: metrics: {card.name} has none, so nothing can be scored; add `metrics: [rouge]`")
    return card


def _choose_templates(prepared: list[Prepared]) -> np.ndarray:
    """For each example, in the order of the rows, which entry of `prepared` it is asked in: int [n]."""
    from train.stream import Source, Stream

    source = Source(prepared[0].dataset, [(entry.template, entry.open()) for entry in prepared])
    stream = Stream([source], row_lengths=(1, 1), seed=TEMPLATE_SEED)
    choice = np.empty(len(source), np.int64)
    for number in range(stream.blocks_per_epoch):
        splits, indices = stream.order(number)
        choice[indices] = splits
    return choice
