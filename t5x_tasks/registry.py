"""SeqIO tasks and mixtures made of cards. The only file here that imports SeqIO, and with it TensorFlow.

`dialogsum.t00` ... are ordinary SeqIO tasks, `dialogsum` and `dialogsum.heldout` ordinary mixtures: SeqIO's own tools
work on them. Our own training does not come this way: `prepare` gives the same tokens ten times as fast.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from t5x_tasks.card.card import Card, Variant
from t5x_tasks.card.catalog import KINDS, Catalog, dataset_name, load_catalog
from t5x_tasks.card.mixture import Mixture
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import DEFAULT, EXTRA_IDS, Vocabulary, locate_vocabulary
from t5x_tasks.metrics import compute
from t5x_tasks.metrics.pooled import value
from t5x_tasks.rendering.fewshot import Exemplars, exemplar_pool
from t5x_tasks.rendering.render import as_answer, render
from t5x_tasks.rendering.training_rows import Question, kept_rows, questions_elsewhere
from t5x_tasks.sources import Row, read_rows

_SHARD_ROWS = 5000  # of a split that one of Beam's workers renders and tokenises at a time: some seconds
_MAX_SHARDS = 64  # each worker process reads the whole split once, so more of them gain nothing


class LazyVocabulary(seqio.SentencePieceVocabulary):
    """A SentencePiece vocabulary that looks for its model (`hf://owner/name` too) when it is first used."""

    def __init__(self, source: str):
        super().__init__(source, extra_ids=EXTRA_IDS)
        self.source = source

    @functools.cached_property
    def native(self) -> Vocabulary:
        return Vocabulary.load(self.source)

    def _model_context(self) -> Any:
        # SeqIO opens this path as a file; until now it may have been a folder or an id of the hub.
        self._sentencepiece_model_file = str(locate_vocabulary(self.source))
        return super()._model_context()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("native", None)
        return state | {"_sentencepiece_model_file": self.source}  # equal before and after use

    def __hash__(self) -> int:
        return hash(self.source)


class CardRows:
    """The rows of a card, read once for all of its templates."""

    def __init__(self, card: Card, root: str | None, inputs_length: int):
        self.card = card
        self.inputs_length = inputs_length
        self.read = functools.cache(lambda split: read_rows(card, split, root))
        self._kept: list[Row] | None = None

    def __call__(self, split: str) -> list[Row]:
        """Returns the rows of a split; of the training split those that `prepare` keeps."""
        if split != "train":
            return self.read(split)
        if self._kept is None:
            self._kept = kept_rows(self.card, self.read(split), self._elsewhere)
        return self._kept

    @functools.cached_property
    def pool(self) -> list[Row]:
        """The rows that exemplars are drawn from."""
        return exemplar_pool(self.card, self.read("train"), self._elsewhere)

    @functools.cached_property
    def _elsewhere(self) -> Mapping[Question, str]:
        return questions_elsewhere(self.card, self.read) if self.card.dedupe else {}


class CardSource(seqio.DataSource):
    """Rows of a card in one template, as a tf.data pipeline that can be checkpointed.

    Features: inputs, targets and id, string scalars; inputs_ids and targets_ids, [length] int32; references,
    [most references in the shard] strings, "" where a row has fewer. Rows with an empty field are left out of the
    training split.

    The ids are here because they are SentencePiece's own. TensorFlow Text carries an older SentencePiece, which settles
    ties between equally likely segmentations (`Hm|mm`, `Hmm|m`) otherwise: 2% of SAMSum's rows get other tokens.

    A shard is every n-th row, and only its rows are rendered and tokenised, so that Beam's workers share that work; each
    reads the whole split.
    """

    def __init__(self, rows: CardRows, variant: Variant, vocabulary: LazyVocabulary):
        super().__init__(rows.card.splits)
        self._rows = rows
        self._variant = variant
        self._vocabulary = vocabulary

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        count = min(_MAX_SHARDS, 1 + len(self._rows(split)) // _SHARD_ROWS)
        return [f"{self._rows.card.folder}/{split}-{index:05d}-of-{count:05d}" for index in range(count)]

    def num_input_examples(self, split: str) -> int:
        return len(self._rows(split))

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **_: Any,  # SeqIO's own sources ignore the rest, too
    ) -> tf.data.Dataset:
        card, native = self._rows.card, self._vocabulary.native
        rows = self._rows(split)
        if shard_info is not None:
            rows = rows[shard_info.index :: shard_info.num_shards]
        shots: Sequence[Sequence[Row]] = [[] for _ in rows]
        if self._variant.shots:
            shots = Exemplars(card, self._variant, self._rows.pool, native, self._rows.inputs_length).choose(rows)
        renderings = [render(card, self._variant, row, before) for row, before in zip(rows, shots, strict=True)]
        most = max((len(r.references) for r in renderings), default=1)
        references = [text for r in renderings for text in r.references + [""] * (most - len(r.references))]
        features: Any = {
            "id": _strings([row.id for row in rows]),
            "inputs": _strings([r.inputs for r in renderings]),
            "targets": _strings([r.targets for r in renderings]),
            "inputs_ids": _ragged(native.encode_batch([r.inputs for r in renderings])),
            "targets_ids": _ragged(native.encode_batch([r.targets for r in renderings])),
            "references": tf.reshape(_strings(references), [len(rows), most]),
        }
        dataset = tf.data.Dataset.from_tensor_slices(features)
        return dataset.shuffle(max(1, len(rows)), seed=seed) if shuffle else dataset


def _strings(texts: list[str]) -> tf.Tensor:
    return tf.constant(texts, tf.string)  # a shard may be empty: the type has to be said


def _ragged(rows: list[np.ndarray]) -> Any:
    ragged: Any = tf.RaggedTensor  # its constructors are decorated beyond what type checkers see
    return ragged.from_row_lengths(
        np.concatenate([np.empty(0, np.int32), *rows]), np.array([len(row) for row in rows], np.int64)
    )


@seqio.map_over_dataset
def native_tokens(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """SeqIO's preprocessor in place of its `tokenize`: takes the ids that `CardSource` made, keeps the texts beside them.

    To train on another vocabulary's tokens, put `seqio.preprocessors.tokenize` in its place: it finds texts.
    """
    example = dict(example)
    for side in ("inputs", "targets"):
        example[f"{side}_pretokenized"] = example[side]
        example[side] = example.pop(f"{side}_ids")
    return example


def answers(card: Card, variant: Variant) -> Callable[..., str | list[str]]:
    """Makes SeqIO's postprocessor: a target becomes the list of all right answers of its row, a prediction plain text."""

    def postprocess(output: str, example: Mapping[str, Any] | None = None, is_target: bool = False) -> str | list[str]:
        plain = as_answer(card, variant, output)
        if not is_target or example is None:
            return plain
        texts = [text.decode() for text in np.asarray(example["references"]).tolist()]
        return [text for text in texts if text] or [plain]

    return postprocess


def metric_fn(*names: str) -> Callable[[Sequence[Sequence[str]], Sequence[str]], dict[str, float]]:
    """Makes one of SeqIO's metric functions, which score all rows together, of all metrics of a card.

    One function for all of them: SeqIO refuses a name of a score that two functions give, `compute` tells them apart.
    """

    def scores(targets: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
        found = compute(names, predictions, targets)
        return {name: value(values) for by_name in found.values() for name, values in by_name.items()}

    scores.__name__ = "_and_".join(name.rpartition(":")[2] for name in names)
    return scores


_installed: dict[str, tuple[str, list[Any]]] = {}  # name of card or mixture -> what it was made of, and what it became


def install_cards(
    root: str | PathLike[str] | None,
    cards: Sequence[str | PathLike[str]],
    vocabulary: str | PathLike[str] | None,
    inputs_length: int,
) -> list[str]:
    """See `t5x_tasks.install`."""
    catalog = load_catalog(cards)
    shared = LazyVocabulary(os.fspath(vocabulary or DEFAULT))
    known_rows: dict[str, CardRows] = {}
    for entry in (*catalog.cards.values(), *catalog.mixtures.values()):
        made_of = repr((entry, entry.path, root, shared.source, inputs_length))
        before, providers = _installed.get(entry.name, ("", []))
        if isinstance(entry, Card) and before == made_of and all(_registered(p.name) is p for p in providers):
            known_rows[entry.name] = _installed_rows[entry.name]
            continue
        if isinstance(entry, Card):
            rows = CardRows(entry, None if root is None else os.fspath(root), inputs_length)
            known_rows[entry.name] = _installed_rows[entry.name] = rows
            made = _install_card(rows, shared, providers)
        else:  # after all cards: its tasks are theirs
            made = [_install_mixture(entry, catalog, known_rows, providers)]
        _installed[entry.name] = (made_of, made)
    return catalog.task_names()


def is_installed(provider: seqio.Task | seqio.Mixture) -> bool:
    """Tells whether a task or mixture of SeqIO was made here, of a card or mixture file."""
    return any(provider is made for _, providers in _installed.values() for made in providers)


_installed_rows: dict[str, CardRows] = {}


def _install_card(rows: CardRows, vocabulary: LazyVocabulary, old: list[Any]) -> list[seqio.Task | seqio.Mixture]:
    card = rows.card
    names = Catalog({card.name: card}, {}).task_names()
    _make_room(names, card.path, old)
    features = {side: seqio.Feature(vocabulary, add_eos=True) for side in ("inputs", "targets")}
    made: list[seqio.Task | seqio.Mixture] = [
        seqio.TaskRegistry.add(
            card.task_name(variant),
            source=CardSource(rows, variant, vocabulary),
            # What is cached is whole: it is cut to a run's lengths when it is read.
            preprocessors=[
                native_tokens,
                seqio.CacheDatasetPlaceholder(),
                seqio.preprocessors.append_eos_after_trim,
            ],
            output_features=features,
            postprocess_fn=answers(card, variant),
            metric_fns=[metric_fn(*metrics)] if (metrics := card.metrics_of(variant)) else [],
        )
        for variant in card.variants
    ]
    for kind in ("", *KINDS):
        if variants := card.pool(kind):
            name = f"{card.name}.{kind}" if kind else card.name
            # All templates have the same rows: equal rates give every row its templates evenly.
            made.append(seqio.MixtureRegistry.add(name, [card.task_name(p) for p in variants], default_rate=1.0))
    return made


def _install_mixture(mixture: Mixture, catalog: Catalog, rows: Mapping[str, CardRows], old: list[Any]) -> seqio.Mixture:
    """Registers a mixture of data sets, flat: its tasks have the rates that all rules on the way to them come to."""
    _make_room([mixture.name], mixture.path, old)
    pairs = catalog.resolve(mixture.name)

    def size(dataset: str) -> int:
        return len(rows[dataset.partition(".")[0]]("train"))

    @functools.cache
    def rates() -> dict[str, float]:
        examples = catalog.examples_per_epoch(mixture.name, size)
        shares = catalog.variant_shares(mixture.name, size)
        return {
            card.task_name(variant): examples[dataset] * shares[dataset][variant.id]
            for card, variant in pairs
            for dataset in [dataset_name(card, variant)]
        }

    def rate(task: seqio.Task | seqio.Mixture) -> float:
        return rates()[task.name]

    return seqio.MixtureRegistry.add(mixture.name, [(card.task_name(variant), rate) for card, variant in pairs])


def _make_room(names: Sequence[str], path: Any, old: list[Any]) -> None:
    for name in names:
        if (there := _registered(name)) is not None and not any(there is provider for provider in old):
            raise UserError(f"{path}: name: SeqIO knows a task or mixture {name} of someone else; choose another name")
    for name in names:
        seqio.TaskRegistry.remove(name)
        seqio.MixtureRegistry.remove(name)


def _registered(name: str) -> Any:
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        if name in registry.names():
            return registry.get(name)
    return None
