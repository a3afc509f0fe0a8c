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

from t5x_tasks.card import Card, Template, all_cards, task_names
from t5x_tasks.errors import UserError
from t5x_tasks.metrics import load_metric
from t5x_tasks.rendering import field_values, is_blank, render
from t5x_tasks.sources import read_rows
from t5x_tasks.vocabulary import DEFAULT, EXTRA_IDS, Vocabulary, locate_vocabulary


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

    def __init__(self, card: Card, root: str | None):
        self.card = card
        self._root = root
        self._splits: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, split: str) -> list[dict[str, Any]]:
        if split not in self._splits:
            rows = read_rows(self.card, split, self._root)
            if split == "train":  # as `prepare` does
                rows = [row for row in rows if not any(map(is_blank, field_values(self.card, row).values()))]
            self._splits[split] = rows
        return self._splits[split]


class CardSource(seqio.DataSource):
    """Rows of a card, rendered with one template, as a tf.data pipeline that can be checkpointed.

    Features: inputs, targets and id, string scalars; inputs_ids and targets_ids, [length] int32; references,
    [most references in the split] strings, "" where a row has fewer. Rows with an empty field are left out of the
    training split.

    The ids are here because they are SentencePiece's own. TensorFlow Text carries an older SentencePiece, which settles
    ties between equally likely segmentations (`Hm|mm`, `Hmm|m`) otherwise: 2% of SAMSum's rows get other tokens.
    """

    def __init__(self, rows: CardRows, template: Template, vocabulary: LazyVocabulary):
        super().__init__(rows.card.splits)
        self._rows = rows
        self._template = template
        self._vocabulary = vocabulary

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        return [split]

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
        rows = self._rows(split)
        renderings = [render(self._rows.card, self._template, row) for row in rows]
        most = max(len(r.references) for r in renderings)
        encode = self._vocabulary.native.encode_batch
        features: Any = {
            "id": [row["id"] for row in rows],
            "inputs": [r.inputs for r in renderings],
            "targets": [r.targets for r in renderings],
            "inputs_ids": _ragged(encode([r.inputs for r in renderings])),
            "targets_ids": _ragged(encode([r.targets for r in renderings])),
            "references": [r.references + [""] * (most - len(r.references)) for r in renderings],
        }
        dataset = tf.data.Dataset.from_tensor_slices(features)
        if shard_info is not None:
            dataset = dataset.shard(shard_info.num_shards, shard_info.index)
        return dataset.shuffle(len(rows), seed=seed) if shuffle else dataset


def _ragged(rows: list[np.ndarray]) -> Any:
    ragged: Any = tf.RaggedTensor  # its constructors are decorated beyond what type checkers see
    return ragged.from_row_lengths(np.concatenate(rows), [len(row) for row in rows])


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


def references(output: str, example: Mapping[str, Any] | None = None, is_target: bool = False) -> str | list[str]:
    """SeqIO's postprocessor: a target becomes the list of all right answers of its row; a prediction stays a text."""
    if not is_target or example is None:
        return output
    texts = [text.decode() for text in np.asarray(example["references"]).tolist()]
    return [text for text in texts if text] or [output]


def metric_fn(name: str) -> Callable[[Sequence[Sequence[str]], Sequence[str]], dict[str, float]]:
    """Makes one of SeqIO's metric functions, which give means, of one of ours, which give the scores of each row."""

    def mean_scores(targets: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
        return {key: float(np.mean(scores)) for key, scores in load_metric(name)(predictions, targets).items()}

    mean_scores.__name__ = name.rpartition(":")[2]
    return mean_scores


_installed: dict[str, tuple[str, list[Any]]] = {}  # card's name -> what it was made of, and the tasks and mixtures


def install_cards(
    root: str | PathLike[str] | None, cards: Sequence[str | PathLike[str]], vocabulary: str | PathLike[str] | None
) -> list[str]:
    """See `t5x_tasks.install`."""
    known = all_cards(cards)
    shared_vocabulary = LazyVocabulary(os.fspath(vocabulary or DEFAULT))
    for card in known.values():
        made_of = repr((card, card.path, root, shared_vocabulary.source))
        before, providers = _installed.get(card.name, ("", []))
        if before == made_of and all(_registered(p.name) is p for p in providers):
            continue
        _installed[card.name] = (made_of, _install_card(card, root, shared_vocabulary, providers))
    return task_names(known)


def _install_card(
    card: Card, root: str | PathLike[str] | None, vocabulary: LazyVocabulary, old: list[Any]
) -> list[seqio.Task | seqio.Mixture]:
    names = task_names({card.name: card})
    for name in names:
        if (there := _registered(name)) is not None and not any(there is provider for provider in old):
            raise UserError(f"{card.path}: name: SeqIO knows a task or mixture {name} of someone else; rename the card")
    for name in names:
        seqio.TaskRegistry.remove(name)
        seqio.MixtureRegistry.remove(name)
    rows = CardRows(card, None if root is None else os.fspath(root))
    features = {side: seqio.Feature(vocabulary, add_eos=True) for side in ("inputs", "targets")}
    made: list[seqio.Task | seqio.Mixture] = [
        seqio.TaskRegistry.add(
            card.task_name(template),
            source=CardSource(rows, template, vocabulary),
            preprocessors=[native_tokens, seqio.preprocessors.append_eos_after_trim],
            output_features=features,
            postprocess_fn=references,
            metric_fns=[metric_fn(name) for name in card.metrics],
        )
        for template in card.templates
    ]
    for heldout in (False, True):
        if templates := card.mixture(heldout=heldout):
            name = card.name + ".heldout" * heldout
            # All templates have the same rows: equal rates give every row its phrasings evenly.
            made.append(seqio.MixtureRegistry.add(name, [card.task_name(t) for t in templates], default_rate=1.0))
    return made


def _registered(name: str) -> Any:
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        if name in registry.names():
            return registry.get(name)
    return None
