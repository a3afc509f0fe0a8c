"""The examples to evaluate: those of a task or mixture, each in one template, with all its right answers.

Imports no JAX and no TensorFlow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from t5x_tasks.card.card import Card, Template, Variant
from t5x_tasks.card.catalog import Catalog, load_catalog
from t5x_tasks.card.fields import has_column
from t5x_tasks.card.template import placeholders
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.ensure import Data, Prepared, ensure_prepared
from t5x_tasks.rendering.render import as_answer, as_target, is_blank, render
from t5x_tasks.sources import Row, locate, read_rows
from t5x_tasks.sources.locate import raw_rows
from t5x_tasks.sources.named import source_of

VARIANT_SEED = (
    0  # of the choice among a mixture's templates, whatever the run's seed: all runs answer the same questions
)


@dataclass(frozen=True)
class Example:
    """One question to the model.

    Attributes:
      id: of the row.
      variant: it is put in this one; None in a plain SeqIO task.
      inputs: the text that the model reads, whole.
      references: right answers, one or more, as plain text.
      dialogue: the raw text that summaries are of; None where the task is no summarization.
      empty: a field of the input is blank.
      groups: what reports part the rows by -> the row's values: see `groups` of a card.
    """

    id: str
    variant: Variant | None
    inputs: str
    references: list[str]
    dialogue: str | None
    empty: bool
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Questions:
    """A task or mixture, ready to be answered and scored.

    Attributes:
      task: the name it was asked for by: dialogsum, dialogsum.t00, dialogsum.heldout.
      card: of the data set; None of a plain SeqIO task (t5x_tasks/prepare/user_tasks.py).
      metrics: of the card, for this kind of template; otherwise those of eval.metrics.
      tokens: input token ids of each example, whole, with end of sequence; empty when answers come from elsewhere.
      unknown_tokens: pieces of the inputs that the vocabulary lacks; None when there is no vocabulary.
    """

    task: str
    split: str
    card: Card | None
    metrics: tuple[str, ...]
    examples: list[Example]
    tokens: list[np.ndarray]
    unknown_tokens: int | None

    def prompted(self, prompt: Sequence[int]) -> "Questions":
        """Returns the same with the tokens of a soft prompt in front of each input."""
        if not prompt:
            return self
        return replace(self, tokens=[np.concatenate([np.asarray(prompt, np.int32), ids]) for ids in self.tokens])

    def targets(self) -> list[list[str]]:
        """Returns the references of each example in the form that is tokenised."""
        card = self.card
        return [
            [as_target(card, e.variant, text) if card and e.variant else text for text in e.references]
            for e in self.examples
        ]

    def plain(self, answers: Sequence[str]) -> list[str]:
        """Returns what a model wrote, an answer for each example, as plain text: code is decoded."""
        pairs = zip(self.examples, answers, strict=True)
        return [as_answer(self.card, e.variant, a) if self.card and e.variant else a for e, a in pairs]


def open_questions(
    tasks: Sequence[str],
    split: str,
    *,
    data: Data,
    vocabulary: Vocabulary,
    metrics: tuple[str, ...],
    limit: int | None = None,
    prompt: Callable[[str], Sequence[int]] = lambda dataset: (),
) -> dict[str, Questions]:
    """Takes all that is to be answered from the cache, preparing it where that was not done.

    A plain SeqIO mixture of the user's becomes its tasks: each is answered and scored by itself.

    Args:
      metrics: of plain SeqIO tasks.
      prompt: data set -> tokens of the model's soft prompt, which exemplars leave their room.

    Raises:
      UserError: as `prepare_questions`.
    """
    catalog = load_catalog(data.cards)
    found: dict[str, Questions] = {}
    for task in tasks:
        if catalog.knows(task) or not data.modules:
            found[task] = prepare_questions(task, split, data=data, vocabulary=vocabulary, limit=limit, prompt=prompt)
            continue
        for entry in ensure_prepared(
            task, split, data=data, vocabulary=vocabulary, text=True, catalog=catalog, optional=True
        ):
            found[entry.task] = _plain_questions(entry, metrics, vocabulary, limit)
    return found


def prepare_questions(
    task: str,
    split: str,
    *,
    data: Data,
    vocabulary: Vocabulary,
    limit: int | None = None,
    prompt: Callable[[str], Sequence[int]] = lambda dataset: (),
) -> Questions:
    """Takes the (first `limit`) rows of a split from the cache, preparing them where that was not done.

    A mixture asks each example in one of its templates: the one that training with seed 0 shows it in its first epoch.

    Raises:
      UserError: no such task, its data cannot be read, or it is a mixture of several data sets' or has no metric.
    """
    catalog = load_catalog(data.cards)
    pairs = catalog.resolve(task)
    card, metrics = _single_card(task, pairs)
    try:
        prepared = ensure_prepared(
            task, split, data=data, vocabulary=vocabulary, text=True, catalog=catalog, prompt=prompt
        )
    except UserError as error:
        if split in card.splits:
            raise
        raise UserError(f"{error}; eval.split names the split to score") from None
    splits = [entry.open() for entry in prepared]
    variants = {variant.id: variant for _, variant in pairs}
    examples, tokens = [], []
    for index, choice in enumerate(_choose_variants(prepared)[:limit].tolist()):
        stored = splits[choice].example(index)
        variant = variants[stored["phrasing"]]
        row = Row(stored["id"], stored["fields"], tuple(stored["references"]), groups=stored["groups"])
        examples.append(_example(card, variant, row, stored["inputs"], stored["references"]))
        tokens.append(splits[choice].tokens([index])[0][0].astype(np.int32))
    return Questions(task, split, card, metrics, examples, tokens, _count_unknown(tokens, vocabulary))


def read_questions(
    task: str, split: str, *, cards: Sequence[str] = (), root: str | None = None, metrics: Sequence[str] = ()
) -> Questions:
    """Reads the rows of a split from their source, for answers that come from elsewhere.

    Whoever answered may have put the question as they liked, so all examples get the first template of the task.

    Args:
      metrics: in place of the card's.

    Raises:
      UserError: as `prepare_questions`.
    """
    pairs = load_catalog(cards).resolve(task)
    card, metrics = _single_card(task, pairs, metrics)
    variant = pairs[0][1]
    examples = []
    for row in read_rows(card, split, root):
        rendering = render(card, variant, row)
        examples.append(_example(card, variant, row, rendering.inputs, rendering.references))
    return Questions(task, split, card, metrics, examples, [], None)


def task_names(names: Sequence[str], split: str, catalog: Catalog, modules: Sequence[str] = ()) -> list[str]:
    """Puts the data sets of a mixture (`multitask`) in its place: each is answered and scored by itself.

    `dialogsum.*` stands for each template of a data set, held-out ones too: each is answered on all rows. Inverted ones are
    another task, and left out.

    Of a mixture's data sets those without such a split are passed over. With `modules` (of data.modules) a name that the
    catalog does not know stays: what it is, is seen when it is prepared.

    Raises:
      UserError: no such name, or a mixture none of whose data sets has the split.
    """
    tasks: list[str] = []
    for name in names:
        if name.endswith(".*"):
            tasks += catalog.every_variant(name)
            continue
        if modules and not catalog.knows(name):
            tasks.append(name)
            continue
        members = catalog.members(name)
        have = [task for task in members if split in catalog.resolve(task)[0][0].splits]
        if name in catalog.mixtures and not have:
            raise UserError(f"{name}: none of its data sets has a split {split}; set eval.split")
        tasks += have if name in catalog.mixtures else members
        catalog.resolve(name)
    return list(dict.fromkeys(tasks))


def own_questions(
    task: str, path: Path, *, cards: Sequence[str], vocabulary: Vocabulary, id_column: str | None = None
) -> Questions:
    """Reads a file of the user's whose columns are those of a task's inputs; there are no answers in it.

    Args:
      task: a data set, which stands for its first template without exemplars, or one of its templates: dialogsum.t03.
      path: JSON Lines, CSV, TSV or Parquet, by its name.
      id_column: that names a row; None: the card's, where the rows have it.

    Raises:
      UserError: no such task, it needs exemplars or mixes data sets, or a row lacks what the template asks for.
    """
    pairs = load_catalog(cards).resolve(task)
    card, _ = _single_card(task, pairs)
    variant = next((variant for _, variant in pairs if not variant.shots), None)
    if variant is None:
        raise UserError(f"{task}: shows exemplars, which rows without answers have not; take a zero-shot template")
    # The same card, asking for no more than this template reads.
    template = Template(id=variant.template, inputs=variant.inputs, targets="-")
    keep = ("name", "fields", "options", "category")
    asking = Card(
        **{key: getattr(card, key) for key in keep},
        id=id_column,
        source=cast(Any, source_of({"train": path}, path.parent)),
        templates=(template,),
        path=path.with_name("-"),
    )
    _, first = next(raw_rows(asking, locate(asking, "train")), ("", None))
    if first is None:
        raise UserError(f"{path}: no rows")
    if id_column is None and card.id is not None and has_column(first, card.id):  # these rows may lack it
        asking = asking.model_copy(update={"id": card.id})
    worded = next(p for p in asking.variants if p.style == variant.style)
    examples, texts = [], []
    for row in read_rows(asking, "train", stem="row"):
        texts.append(render(asking, worded, row).inputs)
        examples.append(_example(card, variant, row, texts[-1], []))
    tokens = [np.append(ids, vocabulary.eos_id).astype(np.int32) for ids in vocabulary.encode_batch(texts)]
    return Questions(f"{card.name}.{variant.id}", "", card, (), examples, tokens, _count_unknown(tokens, vocabulary))


def _plain_questions(entry: Prepared, metrics: tuple[str, ...], vocabulary: Vocabulary, limit: int | None) -> Questions:
    split = entry.open()
    indices = range(min(len(split), limit or len(split)))
    stored = [split.example(index) for index in indices]
    examples = [Example(s["id"], None, s["inputs"], s["references"], None, is_blank(s["inputs"])) for s in stored]
    tokens = [inputs.astype(np.int32) for inputs, _ in split.tokens(indices)]
    return Questions(entry.task, entry.split, None, metrics, examples, tokens, _count_unknown(tokens, vocabulary))


def _count_unknown(tokens: Sequence[np.ndarray], vocabulary: Vocabulary) -> int:
    return sum(int(np.count_nonzero(ids == vocabulary.unk_id)) for ids in tokens)


def _example(card: Card, variant: Variant, row: Row, inputs: str, references: list[str]) -> Example:
    summarizes = card.category == "summarization" and not variant.inverted
    empty = any(is_blank(row.fields[name]) for name in placeholders(variant.inputs) if name in row.fields)
    dialogue = row.fields.get("dialogue") if summarizes else None
    return Example(row.id, variant, inputs, references, dialogue, empty, row.groups)


def _single_card(
    task: str, pairs: list[tuple[Card, Variant]], metrics: Sequence[str] = ()
) -> tuple[Card, tuple[str, ...]]:
    card, variant = pairs[0]
    if any(other.name != card.name for other, _ in pairs):
        raise UserError(f"{task}: mixes several data sets; give each of them to eval.tasks")
    if not (metrics := tuple(metrics) or card.metrics_of(variant)):
        raise UserError(f"{card.path}: metrics: {card.name} has none, so nothing can be scored; add `metrics: [rouge]`")
    return card, metrics


def _choose_variants(prepared: list[Prepared]) -> np.ndarray:
    """For each example, in the order of the rows, which entry of `prepared` it is asked in: int [n]."""
    from train.data.order import Source, Stream

    source = Source(prepared[0].dataset, [(entry.variant, entry.open()) for entry in prepared])
    stream = Stream([source], row_lengths=(1, 1), seed=VARIANT_SEED)
    choice = np.empty(len(source), np.int64)
    for number in range(stream.blocks_per_epoch):
        splits, indices = stream.order(number)
        choice[indices] = splits
    return choice
