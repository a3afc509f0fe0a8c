"""From a configuration to batches: prepares what is missing, then opens the input. Imports no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax

from t5x_tasks.configuration import Lengths
from t5x_tasks.errors import UserError
from t5x_tasks.prepare import Prepared, ensure_prepared
from t5x_tasks.vocabulary import Vocabulary
from train.config import Config
from train.input import Batch, Batches, Source, open_input
from train.log import say

__all__ = ["Batch", "Training", "open_training", "validation_batches"]

VALIDATION_SEED = 0  # of order and templates, whatever the run's seed: runs are compared on the same batches


@dataclass(frozen=True)
class Training:
    """The training input.

    Attributes:
      config: the configuration with `data.lengths` resolved.
      batches: see train/input.py.
      lengths: of a packed row.
      total_steps: `train.steps`, or what `train.epochs` come to.
      fingerprints: of each task's prepared split.
    """

    config: Config
    batches: Batches
    lengths: Lengths
    total_steps: int
    fingerprints: dict[str, str]


def open_training(config: Config, vocabulary: Vocabulary) -> Training:
    """Prepares the training split of the mixture and opens it for this host.

    Raises:
      UserError: the mixture, its data or the lengths do not fit.
    """
    prepared = ensure_prepared(config.data.mixture, "train", data=config.data, vocabulary=vocabulary)
    lengths = config.data.lengths
    batches = open_input(
        sources(prepared),
        row_lengths="auto" if lengths == "auto" else (lengths.inputs, lengths.targets),
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        pack=config.data.pack,
        epochs=config.train.epochs,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        rate_cap=config.data.rate_cap,
    )
    if lengths == "auto":
        lengths = Lengths(inputs=batches.row_lengths[0], targets=batches.row_lengths[1])
        say(f"data.lengths: auto chose {lengths.inputs}/{lengths.targets}")
        config = config.model_copy(update={"data": config.data.model_copy(update={"lengths": lengths})})
    _say_truncated(prepared, lengths)
    steps = config.train.steps or batches.num_batches(config.train.epochs or 1)
    fingerprints = {task.task: task.open().manifest["fingerprint"] for task in prepared}
    return Training(config, batches, lengths, steps, fingerprints)


def validation_batches(config: Config, vocabulary: Vocabulary) -> list[Batch]:
    """Batches of (about) the first `train.validation_examples` rows of a shuffled validation split, the same for every run."""
    if config.train.validation_examples == 0:
        return []
    try:
        prepared = ensure_prepared(config.data.mixture, "validation", data=config.data, vocabulary=vocabulary)
    except UserError as error:
        raise UserError(f"{error} (set train.validation_examples=0 to train without a validation split)") from None
    lengths = config.data.lengths
    assert lengths != "auto", "open_training resolves it"
    batches = open_input(
        sources(prepared),
        row_lengths=(lengths.inputs, lengths.targets),
        batch_size=config.train.batch_size,
        seed=VALIDATION_SEED,
        pack=config.data.pack,
        epochs=1,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        prefetch=0,
    )
    taken: list[Batch] = []
    for batch in batches:
        taken.append(batch)
        if sum(b.stats["examples"] for b in taken) >= config.train.validation_examples:
            break
    return taken


def sources(prepared: Sequence[Prepared]) -> list[Source]:
    """Groups prepared tasks by data set: the templates of one are phrasings of the same examples."""
    by_dataset: dict[str, list[Prepared]] = {}
    for task in prepared:
        by_dataset.setdefault(task.dataset, []).append(task)
    return [
        Source(name, [(task.template, task.open()) for task in tasks], tasks[0].max_examples)
        for name, tasks in by_dataset.items()
    ]


def _say_truncated(prepared: Sequence[Prepared], lengths: Lengths) -> None:
    """Says how much of the data is longer than a row, over all templates."""
    sizes = [task.open().lengths for task in prepared]
    total = sum(len(s) for s in sizes)
    inputs = sum(int((s[:, 0] > lengths.inputs).sum()) for s in sizes)
    targets = sum(int((s[:, 1] > lengths.targets).sum()) for s in sizes)
    if inputs or targets:
        say(
            f"data.lengths {lengths.inputs}/{lengths.targets}: cuts {100 * inputs / total:.2f}% of the inputs and "
            f"{100 * targets / total:.2f}% of the targets (data.lengths=auto chooses longer rows where that is cheap)"
        )
