"""From a configuration to batches: prepares what is missing, then opens the input. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from t5x_tasks.cache import CachedSplit
from t5x_tasks.card.catalog import Catalog, load_catalog
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.data_config import MAX_LENGTH, Lengths
from t5x_tasks.prepare.ensure import Prepared, ensure_prepared
from train.config import Config
from train.data.batches import Batch, Batches, Source, open_input
from train.data.description import Description
from train.data.replay import WithReplay
from train.log import say
from train.methods import Method
from train.parallel import processes
from train.parallel.mesh import WHOLE, Share

__all__ = ["Batch", "Training", "Validation", "fisher_examples", "open_training", "validation_batches"]


VALIDATION_SEED = 0  # of order and templates, whatever the run's seed: runs are compared on the same batches


FISHER_SEED = 0


@dataclass(frozen=True)
class Training:
    """The training input.

    Attributes:
      config: the configuration with `data.lengths` resolved.
      batches: see train/data.
      lengths: of a packed row.
      total_steps: `train.steps`, or what `train.epochs` come to.
      streams: "training" and, if any, "replay": what fixes them; see train/data/description.py.
    """

    config: Config
    batches: Batches | WithReplay
    lengths: Lengths
    total_steps: int
    streams: dict[str, Description]


@dataclass(frozen=True)
class Validation:
    """Batches of (about) the first `train.validation_examples` rows of a shuffled validation split, the same for every run.

    Attributes:
      batches: none where nothing is to be validated.
      streams: "validation", if anything is: what fixes them.
    """

    batches: list[Batch]
    streams: dict[str, Description]


def open_training(config: Config, vocabulary: Vocabulary, share: Share = WHOLE) -> Training:
    """Prepares the training split of the mixture, once a file system, and opens `share` of each batch.

    Raises:
      UserError: the mixture, its data or the lengths do not fit.
    """
    mixture = config.data.mixture
    replayed = config.replay.rows(config.train.batch_size)
    options: dict[str, Any] = {
        "share": share, "seed": config.train.seed, "epochs": config.train.epochs,
        "batch_size": config.train.batch_size - replayed,
    }  # fmt: skip
    found, batches = _prepare_and_open(config, vocabulary, mixture, what="training data", **options)
    lengths = Lengths(inputs=batches.row_lengths[0], targets=batches.row_lengths[1])
    if auto := config.data.lengths == "auto":
        say(f"data.lengths: auto chose {lengths.inputs}/{lengths.targets}")
        config = config.model_copy(update={"data": config.data.model_copy(update={"lengths": lengths})})
        # Anew, for exemplars are fitted to the row: a resumed run finds these lengths in its configuration, and reads the same.
        found, batches = _prepare_and_open(config, vocabulary, mixture, what="training data", **options)
    streams = {"training": batches.description}
    _say_truncated(found, lengths, auto=auto)
    steps = config.train.steps or batches.num_batches(config.train.epochs or 1)
    if config.replay.mixture and replayed:
        _, others = _prepare_and_open(
            config, vocabulary, config.replay.mixture, what="replayed data", share=share, seed=config.train.seed,
            batch_size=replayed,
        )  # fmt: skip
        batches, streams["replay"] = WithReplay(batches, others), others.description
    return Training(config, batches, lengths, steps, streams)


def fisher_examples(config: Config, vocabulary: Vocabulary, *, rows: int) -> Batches:
    """Batches of `rows` unpacked rows of `replay.mixture`, the same in every process and for every seed of a run.

    Raises:
      UserError: its data cannot be read.
    """
    unpacked = config.model_copy(update={"data": config.data.model_copy(update={"pack": False})})
    assert config.replay.mixture is not None, "the configuration was checked"
    return _prepare_and_open(
        unpacked, vocabulary, config.replay.mixture, what="replayed data", share=WHOLE, seed=FISHER_SEED, batch_size=rows,
        epochs=1,
    )[1]  # fmt: skip


def _prepare_and_open(
    config: Config,
    vocabulary: Vocabulary,
    mixture: str,
    *,
    what: str,
    share: Share,
    seed: int,
    batch_size: int,
    epochs: int | None = None,
) -> tuple[list[Source], Batches]:
    """Prepares and opens the training split of a mixture; `what` it is, for whoever waits for it."""
    catalog = load_catalog(config.data.cards)
    with processes.first_alone(what):
        prepared = _prepare(config, vocabulary, mixture, "train", catalog=catalog)
    found = _sources(config, prepared, catalog, mixture)
    return found, _open(config, found, share=share, seed=seed, batch_size=batch_size, epochs=epochs)


def _sources(config: Config, prepared: list[Prepared], catalog: Catalog, mixture: str) -> list[Source]:
    return _with_prompts(sources(prepared, catalog, mixture, rate_cap=config.data.rate_cap), config.method)


def _prepare(
    config: Config, vocabulary: Vocabulary, mixture: str, split: str, *, catalog: Catalog, optional: bool = False
) -> list[Prepared]:
    return ensure_prepared(
        mixture, split, data=config.data, vocabulary=vocabulary, catalog=catalog, optional=optional,
        prompt=config.method.prompt,
    )  # fmt: skip


def _open(
    config: Config,
    found: list[Source],
    *,
    share: Share,
    seed: int,
    batch_size: int,
    epochs: int | None,
    **more: Any,
) -> Batches:
    """`share` of each batch of a mixture, in rows of the run's lengths, behind its method's prompts."""
    lengths = config.data.lengths
    return open_input(
        found,
        row_lengths="auto" if lengths == "auto" else (lengths.inputs, lengths.targets),
        batch_size=batch_size,
        seed=seed,
        pack=config.data.pack,
        epochs=epochs,
        process_index=share.index,
        process_count=share.count,
        **more,
    )


def validation_batches(config: Config, vocabulary: Vocabulary, share: Share = WHOLE) -> Validation:
    """Prepares the validation split and takes its first batches; of data that have none there are none, and a line says so."""
    if config.train.validation_examples == 0:
        return Validation([], {})
    catalog = load_catalog(config.data.cards)
    mixture = config.data.mixture
    try:
        with processes.first_alone("validation data"):
            prepared = _prepare(config, vocabulary, mixture, "validation", catalog=catalog, optional=True)
    except UserError as error:
        if not _names_validation(catalog, mixture):
            say(
                f"{mixture}: has no validation split, so no validation loss is measured and no checkpoint is kept as the best"
            )
            return Validation([], {})
        raise UserError(f"{error} (set train.validation_examples=0 to train without a validation split)") from None
    batches = _open(
        config, _sources(config, prepared, catalog, mixture), share=share, seed=VALIDATION_SEED, epochs=1,
        batch_size=config.train.batch_size, prefetch=0,
    )  # fmt: skip
    taken: list[Batch] = []
    for batch in batches:
        taken.append(batch)
        if sum(b.stats["examples"] for b in taken) >= config.train.validation_examples:
            break
    return Validation(taken, {"validation": batches.description})


def _names_validation(catalog: Catalog, mixture: str) -> bool:
    """Tells whether a card of the mixture says that there is a validation split; of what is no card nobody knows."""
    try:
        return any("validation" in card.splits for card, _ in catalog.resolve(mixture))
    except UserError:
        return True


def sources(
    prepared: Sequence[Prepared], catalog: Catalog, mixture: str, *, rate_cap: int | None = None
) -> list[Source]:
    """Groups prepared tasks by data set, for the templates of one hold the same examples, at the mixture's rates and weights."""
    by_dataset: dict[str, list[tuple[str, CachedSplit]]] = {}
    for task in prepared:
        by_dataset.setdefault(task.dataset, []).append((task.variant, task.open()))
    sizes = {dataset: len(variants[0][1]) for dataset, variants in by_dataset.items()}
    rates = {task.dataset: task.rate for task in prepared if task.rate is not None}
    if rates:  # plain SeqIO tasks of the user's
        examples = _by_rates(sizes, rates, rate_cap)
        return [Source(dataset, by_dataset[dataset], count) for dataset, count in examples.items() if count]
    # What is left out (data.skip_missing) has no examples: the others' rates stand to each other as they did.

    def size(dataset: str) -> int:
        return sizes.get(dataset, 0)

    examples = catalog.examples_per_epoch(mixture, size, rate_cap=rate_cap)
    shares = catalog.variant_shares(mixture, size, rate_cap=rate_cap)
    return [
        Source(dataset, variants, examples[dataset], weights=_weights(shares[dataset], variants))
        for dataset, variants in by_dataset.items()
    ]


def _weights(shares: Mapping[str, float], variants: Sequence[tuple[str, CachedSplit]]) -> tuple[float, ...] | None:
    """The share of each template; None where all are equal: then any change of the arithmetic changes no choice."""
    return tuple(shares[variant] for variant, _ in variants) if len(set(shares.values())) > 1 else None


def _with_prompts(sources: list[Source], method: Method) -> list[Source]:
    return [replace(source, prompt=method.prompt(source.dataset)) for source in sources]


def _by_rates(sizes: dict[str, int], rates: dict[str, float], rate_cap: int | None) -> dict[str, int]:
    """Examples of each task in an epoch that is as long as reading (nearly) everything once, as in our own mixtures."""
    total = sum(min(size, rate_cap or size) for size in sizes.values()) / (sum(rates.values()) or 1)
    return {dataset: max(1, round(total * rate)) if rate else 0 for dataset, rate in rates.items()}


def _say_truncated(found: Sequence[Source], lengths: Lengths, *, auto: bool) -> None:
    """Says how much of the data is longer than a row, over all templates; prompts count."""
    sizes = [split.lengths + np.array([len(source.prompt), 0]) for source in found for _, split in source.templates]
    total = sum(len(s) for s in sizes)
    inputs = sum(int((s[:, 0] > lengths.inputs).sum()) for s in sizes)
    targets = sum(int((s[:, 1] > lengths.targets).sum()) for s in sizes)
    advice = "data.lengths=auto chooses longer rows where that is cheap"
    if auto:
        longest = MAX_LENGTH in (lengths.inputs, lengths.targets)
        advice = f"no row may be longer than {MAX_LENGTH} tokens" if longest else "auto cuts what is rare"
    if inputs or targets:
        say(
            f"data.lengths {lengths.inputs}/{lengths.targets}: cuts {100 * inputs / total:.2f}% of the inputs and "
            f"{100 * targets / total:.2f}% of the targets ({advice})"
        )
