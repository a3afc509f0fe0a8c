"""What `show MIXTURE` prints: what a mixture will really feed the model, before an hour of accelerator time is spent on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t5x_tasks.card import Card, Phrasing
from t5x_tasks.catalog import Catalog, dataset_name
from t5x_tasks.commands.describe import Fits, print_rows, repeated
from t5x_tasks.errors import UserError
from t5x_tasks.rendering import question, render
from t5x_tasks.sources import read_rows
from t5x_tasks.sources.models import SPLITS
from t5x_tasks.vocabulary import Vocabulary

_FILL = 0.97  # of packed rows, on the side that fills first; bench/input.py measures it
_BINS = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # tokens; the last bin is open
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class _Part:
    """One data set of a mixture: its training rows as tokens, in its phrasings by turns. Zero-shot lengths."""

    name: str
    card: Card
    phrasings: list[Phrasing]
    examples: int
    lengths: np.ndarray | None  # [n, 2] tokens of inputs and targets, with end of sequence
    unknown: int
    repeated: list[str]


def show_mixture(
    name: str,
    catalog: Catalog,
    root: str | None,
    vocabulary: Vocabulary | None,
    fits: Fits,
    *,
    steps: int,
    batch_size: int,
    rate_cap: int | None = None,
) -> None:
    """Prints rates, examples, lengths, licences and what is wrong with a mixture.

    Args:
      vocabulary: without one, lengths and epochs are left out.
      fits: (inputs, targets) tokens of a packed row.
      steps: of training that the epochs are counted for.
      batch_size: packed rows a step.

    Raises:
      UserError: when all the rest is printed: data are missing or cannot be read, so the rates are not the whole mixture's.
    """
    mixture = catalog.mixtures[name]
    print(f"{name}: {mixture.description}")
    cap = f", at most {mixture.cap:,} examples a member" if mixture.cap else ""
    print(f"  {'file':<10} {mixture.path}\n  {'rate':<10} by {mixture.rate}{cap}\n")
    try:
        catalog.refuse_heldout(name)
    except UserError as error:
        print(f"  not for training: {error}\n")
    parts, missing = _read(name, catalog, root, vocabulary)
    sizes = {part.name: part.examples for part in parts}
    epoch = catalog.examples_per_epoch(name, lambda dataset: sizes.get(dataset, 0), rate_cap=rate_cap)
    total = sum(epoch.values())
    per_step = _examples_per_step(parts, epoch, fits, batch_size) if vocabulary and total else None
    header = ["data set", "rate", "examples", "an epoch", "phrasings", "licence"]
    header += [
        "epochs",
        "inputs p50/p95/max",
        "targets",
        "cut",
        "unknown",
        "inputs up to " + "/".join(map(str, _BINS[:-1])),
    ]
    rows = []
    for part in parts:
        share = epoch[part.name] / total
        row = [part.name, f"{share:.1%}", f"{part.examples:,}", f"{epoch[part.name]:,}", f"{len(part.phrasings)}"]
        row.append(part.card.licence)
        if per_step and part.lengths is not None:
            row.append(f"{steps * per_step * share / part.examples:.2f}")
            row += _lengths(part, part.lengths, fits)
        rows.append(row)
    print_rows([header[: len(rows[0])] if rows else header, *rows])
    print(
        f"\nan epoch holds {total:,} examples of {len(parts)} data sets in {sum(len(p.phrasings) for p in parts)} phrasings"
    )
    if per_step:
        print(
            f"{steps:,} steps of {batch_size} rows {fits[0]}/{fits[1]} hold about {steps * per_step:,.0f} examples, "
            f"{steps * per_step / total:.2f} epochs (at {_FILL:.0%} fill)"
        )
    _print_warnings(parts, missing)
    if missing:
        raise UserError(
            f"{name}: data are missing or cannot be read, so the rates are those of the others: {'; '.join(missing)}"
        )


def _read(
    name: str, catalog: Catalog, root: str | None, vocabulary: Vocabulary | None
) -> tuple[list[_Part], list[str]]:
    by_dataset: dict[str, tuple[Card, list[Phrasing]]] = {}
    for card, phrasing in catalog.resolve(name):
        by_dataset.setdefault(dataset_name(card, phrasing), (card, []))[1].append(phrasing)
    parts, missing = [], []
    for dataset, (card, phrasings) in by_dataset.items():
        try:
            rows = read_rows(card, "train", root)
            inverted = phrasings[0].inverted
            others = (
                {} if inverted else {s: read_rows(card, s, root) for s in SPLITS if s in card.splits and s != "train"}
            )
        except UserError as error:
            missing.append(f"{dataset}: {error}")
            continue
        lengths, unknown = None, 0
        if vocabulary is not None:
            zero_shot = [p for p in phrasings if not p.shots] or phrasings
            renderings = [render(card, zero_shot[i % len(zero_shot)], row) for i, row in enumerate(rows)]
            sides = [vocabulary.encode_batch([getattr(r, side) for r in renderings]) for side in ("inputs", "targets")]
            lengths = np.array([[len(ids) + 1 for ids in side] for side in sides]).T
            unknown = sum(int(np.count_nonzero(ids == vocabulary.unk_id)) for side in sides for ids in side)
        questions = {
            split: {question(card, row): row.id for row in its} for split, its in {"train": rows, **others}.items()
        }
        parts.append(
            _Part(dataset, card, phrasings, len(rows), lengths, unknown, repeated(questions) if others else [])
        )
    return parts, missing


def _examples_per_step(parts: Sequence[_Part], epoch: dict[str, int], fits: Fits, batch_size: int) -> float:
    """How many examples of this mixture fit into a step: limited by the side of the rows that fills first."""
    tokens = np.zeros(2)
    for part in parts:
        if part.lengths is not None:
            tokens += epoch[part.name] * np.minimum(part.lengths, fits).mean(0)
    rows = max(tokens / np.array(fits)) / _FILL
    return batch_size * sum(epoch.values()) / rows


def _lengths(part: _Part, lengths: np.ndarray, fits: Fits) -> list[str]:
    cells = []
    for side in (0, 1):
        p50, p95 = np.percentile(lengths[:, side], [50, 95], method="lower").tolist()
        cells.append(f"{p50}/{p95}/{lengths[:, side].max()}")
    cut = (lengths > np.array(fits)).any(axis=1).mean()
    counts = np.histogram(lengths[:, 0], bins=[0, *_BINS[:-1], np.inf])[0]
    bars = "".join(_BARS[-(-8 * int(count) // int(counts.max()))] for count in counts)
    return [*cells, f"{cut:.2%}", f"{part.unknown / lengths.sum():.3%}", bars]


def _print_warnings(parts: Sequence[_Part], missing: Sequence[str]) -> None:
    closed = [part for part in parts if not is_commercial(part.card.licence)]
    for part in closed:
        licence = part.card.licence or "none is stated"
        print(f"warning: {part.name}: its licence ({licence}) does not allow commercial use, or does not say so")
    for part in parts:
        for line in part.repeated:
            print(f"warning: {part.name}: {line}")
    for line in missing:
        print(f"missing: {line}")


def is_commercial(licence: str) -> bool:
    """Tells whether a licence is known to allow commercial use; what is unknown or unstated does not count as such."""
    text = licence.lower().replace("-", " ")
    open_licences = ("cc0", "cc by", "mit", "apache", "public domain", "odc by", "bsd", "c uda")
    restricted = (" nc", "non commercial", "noncommercial", "research")
    return any(name in text for name in open_licences) and not any(word in text for word in restricted)
