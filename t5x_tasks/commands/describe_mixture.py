"""`show MIXTURE`: the examples and tokens that a mixture will feed the model, before accelerator time is spent on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from t5x_tasks.card.card import Card, Variant
from t5x_tasks.card.catalog import Catalog, dataset_name
from t5x_tasks.card.source import SPLITS
from t5x_tasks.commands.describe import Fits, print_rows, repeated
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.rendering.fewshot import Exemplars, exemplar_pool
from t5x_tasks.rendering.render import render
from t5x_tasks.rendering.training_rows import kept_rows, questions_elsewhere
from t5x_tasks.sources import Row, question, read_rows

_SAMPLE = 4096  # examples of an epoch that are packed, to see how many share a row
_BINS = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # tokens; the last bin is open
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class _Part:
    """One data set of a mixture.

    Attributes:
      rows: those that are trained on.
      pool: what exemplars are drawn from.
      repeated: what is to be said of inputs that are in two splits.
    """

    name: str
    card: Card
    variants: list[Variant]
    rows: list[Row]
    pool: list[Row]
    repeated: list[str]


@dataclass(frozen=True)
class _Tokens:
    """The rows of a part as tokens, in its templates as often as the mixture shows them, behind their exemplars.

    Attributes:
      lengths: [n, 2] tokens of inputs and targets, with end of sequence.
      unknown: pieces that the vocabulary lacks.
    """

    lengths: np.ndarray
    unknown: int


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
      batch_size: packed rows per step.

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
    parts, missing = _read(name, catalog, root)
    sizes = {part.name: len(part.rows) for part in parts}

    def size(dataset: str) -> int:
        return sizes.get(dataset, 0)

    epoch = catalog.examples_per_epoch(name, size, rate_cap=rate_cap)
    shares = catalog.variant_shares(name, size, rate_cap=rate_cap)
    total = sum(epoch.values())
    tokens = {} if vocabulary is None else {p.name: _tokenize(p, shares[p.name], vocabulary, fits) for p in parts}
    per_step = batch_size * _examples_per_row(tokens, epoch, fits) if tokens and total else None
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
        row = [part.name, f"{share:.1%}", f"{len(part.rows):,}", f"{epoch[part.name]:,}", f"{len(part.variants)}"]
        row.append(part.card.licence)
        if per_step:
            row.append(f"{steps * per_step * share / len(part.rows):.2f}")
            row += _lengths(tokens[part.name], fits)
        rows.append(row)
    print_rows([header[: len(rows[0])] if rows else header, *rows])
    print(
        f"\nan epoch holds {total:,} examples of {len(parts)} data sets in {sum(len(p.variants) for p in parts)} templates"
    )
    if per_step:
        print(
            f"{steps:,} steps of {batch_size} rows {fits[0]}/{fits[1]} hold about {steps * per_step:,.0f} examples, "
            f"{steps * per_step / total:.2f} epochs"
        )
    _print_warnings(parts, missing)
    if missing:
        raise UserError(
            f"{name}: data are missing or cannot be read, so the rates are those of the others: {'; '.join(missing)}"
        )


def _read(name: str, catalog: Catalog, root: str | None) -> tuple[list[_Part], list[str]]:
    by_dataset: dict[str, tuple[Card, list[Variant]]] = {}
    for card, variant in catalog.resolve(name):
        by_dataset.setdefault(dataset_name(card, variant), (card, []))[1].append(variant)
    parts, missing = [], []
    for dataset, (card, variants) in by_dataset.items():
        try:
            rows = {split: read_rows(card, split, root) for split in SPLITS if split == "train" or split in card.splits}
        except UserError as error:
            missing.append(f"{dataset}: {error}")
            continue
        elsewhere = questions_elsewhere(card, rows.__getitem__) if card.dedupe else {}
        if not (kept := kept_rows(card, rows["train"], elsewhere)):
            missing.append(f"{dataset}: the training split has no row without an empty field")
            continue
        pool = exemplar_pool(card, rows["train"], elsewhere)
        questions = {split: {question(card, row): row.id for row in its} for split, its in rows.items()}
        parts.append(_Part(dataset, card, variants, kept, pool, [] if variants[0].inverted else repeated(questions)))
    return parts, missing


def _tokenize(part: _Part, shares: Mapping[str, float], vocabulary: Vocabulary, fits: Fits) -> _Tokens:
    """Each row in one template; of the rows each template has its share."""
    ends = np.cumsum([shares[variant.id] for variant in part.variants])[:-1]
    # Multiples of the golden ratio lie evenly, however few they are.
    which = np.searchsorted(ends, np.arange(len(part.rows)) * (5**0.5 - 1) / 2 % 1, side="right")
    lengths, unknown = [np.empty((0, 2), np.int64)], 0
    for number, variant in enumerate(part.variants):
        rows = [part.rows[index] for index in np.flatnonzero(which == number)]
        shots: list[list[Row]] = [[] for _ in rows]
        if variant.shots:
            shots = Exemplars(part.card, variant, part.pool, vocabulary, fits[0]).choose(rows)
        renderings = [render(part.card, variant, row, before) for row, before in zip(rows, shots, strict=True)]
        sides = [vocabulary.encode_batch([getattr(r, side) for r in renderings]) for side in ("inputs", "targets")]
        lengths.append(np.array([[len(ids) + 1 for ids in side] for side in sides], np.int64).T)
        unknown += sum(int(np.count_nonzero(ids == vocabulary.unk_id)) for side in sides for ids in side)
    return _Tokens(np.concatenate(lengths), unknown)


def _examples_per_row(tokens: Mapping[str, _Tokens], epoch: Mapping[str, int], fits: Fits) -> float:
    """How many examples of this mixture share a row: of an epoch, or of a sample of it, every data set at its rate."""
    total = sum(epoch.values())
    sample = []
    for name, of_part in tokens.items():
        count = max(1, round(min(_SAMPLE, total) * epoch[name] / total))
        sample.append(of_part.lengths[np.linspace(0, len(of_part.lengths) - 1, count).astype(np.int64)])
    lengths = np.concatenate(sample)
    return len(lengths) / _count_rows(lengths, fits)


def _count_rows(lengths: np.ndarray, fits: Fits) -> int:
    """Rows that these examples take when packed as training does (train/data/packing.py): the largest first, by best fit."""
    lengths = np.minimum(lengths, fits)
    room = np.tile(fits, (len(lengths), 1))
    used = 0
    for size in lengths[np.argsort(-(lengths / fits).sum(1), kind="stable")]:
        fitting = np.flatnonzero((room[:used] >= size).all(1))
        row = int(fitting[room[fitting, 0].argmin()]) if len(fitting) else used
        used = max(used, row + 1)
        room[row] -= size
    return used


def _lengths(tokens: _Tokens, fits: Fits) -> list[str]:
    cells, lengths = [], tokens.lengths
    for side in (0, 1):
        p50, p95 = np.percentile(lengths[:, side], [50, 95], method="lower").tolist()
        cells.append(f"{p50}/{p95}/{lengths[:, side].max()}")
    cut = (lengths > np.array(fits)).any(axis=1).mean()
    counts = np.histogram(lengths[:, 0], bins=[0, *_BINS[:-1], np.inf])[0]
    bars = "".join(_BARS[-(-8 * int(count) // int(counts.max()))] for count in counts)
    return [*cells, f"{cut:.2%}", f"{tokens.unknown / lengths.sum():.3%}", bars]


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
