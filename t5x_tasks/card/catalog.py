"""The catalog: all cards and mixtures that are known, and what a name stands for.

catalog = load_catalog(["my_cards/"])
catalog.resolve("dialogsum")          # (card, template) pairs: the tasks behind a name
catalog.examples_per_epoch(...)       # how much of each data set an epoch of a mixture holds
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from t5x_tasks.card.card import Card, Variant
from t5x_tasks.card.load import card_from
from t5x_tasks.card.mixture import Mixture, mixture_from
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.located_yaml import read_yaml

_LIBRARY = Path(__file__).parents[1] / "library"
_MOST_MEMBERS = 10_000
KINDS = ("heldout", "inverted")  # dialogsum.heldout, dialogsum.inverted
_Pool = tuple[str, tuple[str, ...]]


def dataset_name(card: Card, variant: Variant) -> str:
    """Returns the name under which the templates of the same examples are drawn from: inverted ones are drawn apart."""
    return card.name + ".inverted" * variant.inverted


@dataclass(frozen=True)
class Catalog:
    """Cards and mixtures by name. No name stands for both."""

    cards: Mapping[str, Card]
    mixtures: Mapping[str, Mixture]

    def resolve(self, names: str | Sequence[str]) -> list[tuple[Card, Variant]]:
        """Returns the (card, template) pairs behind names of tasks and mixtures, each once, in order.

        `dialogsum.t00` is a task; `dialogsum` the mixture of its training templates; `dialogsum.heldout` that of its
        held-out ones, `dialogsum.inverted` that of its inverted ones; `multitask` a mixture of data sets.

        Raises:
          UserError: no such name, with a suggestion; or a mixture that has no templates, or that contains itself.
        """
        pairs: dict[tuple[str, str], tuple[Card, Variant]] = {}
        for name in [names] if isinstance(names, str) else names:
            for card, variant, _ in self._leaves(name, ()):
                pairs[card.name, variant.id] = (card, variant)
        return list(pairs.values())

    def every_variant(self, name: str) -> list[str]:
        """Returns the tasks that `dialogsum.*` stands for: each template, held-out ones too; inverted ones are another task.

        Raises:
          UserError: no such data set.
        """
        dataset = name.removesuffix(".*")
        if dataset not in self.cards:
            raise UserError(f"{name}: no data set {dataset}{suggest(dataset, self.cards)}")
        card = self.cards[dataset]
        return [card.task_name(variant) for variant in card.variants if not variant.inverted]

    def knows(self, name: str) -> bool:
        """Tells whether a name is of a card or mixture here, though it may name none of the card's templates."""
        return name in self.mixtures or name.partition(".")[0] in self.cards

    def refuse_heldout(self, names: str | Sequence[str]) -> None:
        """Raises UserError if something behind `names` may not be trained on; the message names the way to it."""
        for name in [names] if isinstance(names, str) else names:
            for card, variant, way in self._leaves(name, (), training=True):
                where = " -> ".join(way)
                if card.heldout:
                    raise UserError(
                        f"{where}: {card.path} holds {card.name} out of training (heldout: true); take it out of the mixture"
                    )
                if variant.split == "heldout":
                    raise UserError(
                        f"{where}: a held-out template is evaluated, never trained on; train on {card.name}"
                    )

    def members(self, name: str) -> list[str]:
        """Returns the data sets and tasks that a mixture comes to, each once; of any other name, the name itself."""
        if name not in self.mixtures:
            return [name]
        return list(dict.fromkeys(way[-1] for _, _, way in self._leaves(name, ())))

    def examples_per_epoch(
        self, name: str, size: Callable[[str], int], *, rate_cap: int | None = None
    ) -> dict[str, int]:
        """Returns how many examples of each data set an epoch of a task or mixture holds: 1 or more, or 0 of an empty one.

        Args:
          size: data set (`dialogsum`, `dialogsum.inverted`) -> examples of its training split.
          rate_cap: the most that any data set brings, beside its card's `max_examples`.

        Raises:
          UserError: as `resolve`.
        """
        exact: dict[str, float] = {}
        for (dataset, _), amount in self._amounts(name, size, rate_cap, ()).items():
            exact[dataset] = exact.get(dataset, 0.0) + amount
        return {dataset: max(1, round(amount)) if amount else 0 for dataset, amount in exact.items()}

    def variant_shares(
        self, name: str, size: Callable[[str], int], *, rate_cap: int | None = None
    ) -> dict[str, dict[str, float]]:
        """Returns data set -> id of each template -> its share of the data set's examples in a task or mixture.

        The shares of a data set's templates are equal unless members of the mixture name some of them.

        Args:
          size: see `examples_per_epoch`.
          rate_cap: see `examples_per_epoch`.

        Raises:
          UserError: as `resolve`.
        """
        parts: dict[str, dict[str, float]] = {}
        for (dataset, ids), amount in self._amounts(name, size, rate_cap, ()).items():
            of_dataset = parts.setdefault(dataset, {})
            for variant in ids:
                of_dataset[variant] = of_dataset.get(variant, 0.0) + amount / len(ids)
        return {dataset: _shares(amounts) for dataset, amounts in parts.items()}

    def task_names(self) -> list[str]:
        """Returns every name that `resolve` knows: mixtures first."""
        kinds = ("", *KINDS)
        pools = [_dotted(c.name, kind) for c in self.cards.values() for kind in kinds if c.pool(kind)]
        return [*self.mixtures, *pools, *(c.task_name(p) for c in self.cards.values() for p in c.variants)]

    def _amounts(
        self, name: str, size: Callable[[str], int], rate_cap: int | None, way: tuple[str, ...]
    ) -> "dict[_Pool, float]":
        """Examples of an epoch by (data set, ids of the templates that they are evenly shown in)."""
        mixture = self.mixtures.get(name)
        amounts: dict[_Pool, float] = {}
        if mixture is None:
            pairs = self._leaf(name, way)
            card, variant = pairs[0]  # all are of one data set
            dataset = dataset_name(card, variant)
            caps = [cap for cap in (card.max_examples, rate_cap) if cap is not None]
            return {(dataset, tuple(p.id for _, p in pairs)): min([size(dataset), *caps])}
        way = self._enter(mixture, way)
        parts = [self._amounts(member.name, size, rate_cap, way) for member in mixture.members]
        totals = [sum(part.values()) for part in parts]
        for part, total, share in zip(parts, totals, mixture.divide(totals), strict=True):
            for pool, amount in part.items():
                amounts[pool] = amounts.get(pool, 0.0) + (share * amount / total if total else 0.0)
        return amounts

    def _leaves(
        self, name: str, way: tuple[str, ...], *, training: bool = False
    ) -> Iterable[tuple[Card, Variant, tuple[str, ...]]]:
        """Yields the tasks behind a name, with the names on the way to them."""
        mixture = self.mixtures.get(name)
        if mixture is not None:
            way = self._enter(mixture, way)
            for member in mixture.members:
                yield from self._leaves(member.name, way, training=training)
            return
        for card, variant in self._leaf(name, way, training=training):
            yield card, variant, (*way, name)

    def _enter(self, mixture: Mixture, way: tuple[str, ...]) -> tuple[str, ...]:
        if mixture.name in way:
            raise UserError(f"{mixture.path}: {' -> '.join((*way, mixture.name))}: a mixture that contains itself")
        return (*way, mixture.name)

    def _leaf(self, name: str, way: tuple[str, ...], *, training: bool = False) -> list[tuple[Card, Variant]]:
        dataset, _, rest = name.partition(".")
        card = self.cards.get(dataset)
        where = " -> ".join((*way, name))
        if card is None:
            known = self.task_names()
            hint = suggest(name, known) or (
                f"; known are {', '.join([*self.mixtures, *self.cards])}, and what the Python files of data.modules add to SeqIO"
            )
            raise UserError(f"{where}: unknown task or mixture{hint}")
        if rest in ("", *KINDS):
            variants = card.pool(rest)
            if not variants and card.heldout and training:  # refuse_heldout says why
                variants = card.pool("heldout")
            if not variants:
                raise UserError(f"{where}: {_why_empty(card, rest)}")
            return [(card, variant) for variant in variants]
        for variant in card.variants:
            if variant.id == rest:
                return [(card, variant)]
        known = [*(f"{dataset}.{kind}" for kind in KINDS), *map(card.task_name, card.variants)]
        raise UserError(f"{where}: {card.path} has no template {rest}{suggest(name, known)}")


def load_catalog(paths: Sequence[str | PathLike[str]] = ()) -> Catalog:
    """Loads the shipped cards and mixtures and those in the given files and folders.

    A YAML file with `members` is a mixture, any other a card.

    Raises:
      UserError: a path is not there, a folder holds nothing, a file is wrong, or two have one name.
    """
    files = [file for path in map(Path, paths) for file in card_files(path)]
    shipped = [*sorted((_LIBRARY / "cards").glob("*.yaml")), *sorted((_LIBRARY / "mixtures").glob("*.yaml"))]
    cards: dict[str, Card] = {}
    mixtures: dict[str, Mixture] = {}
    for file in dict.fromkeys([*shipped, *(file.resolve() for file in files)]):
        values, lines = read_yaml(file)
        if isinstance(values, list) and any(isinstance(v, dict) and "inputs" in v for v in values):
            continue  # a file of templates beside its card
        if isinstance(values, dict) and "members" in values:
            entry: Card | Mixture = mixture_from(values, lines, file)
        else:
            entry = card_from(values, lines, file)
        if (other := cards.get(entry.name) or mixtures.get(entry.name)) is not None:
            raise UserError(f"{file}: name: {entry.name} is taken by {other.path}; choose another")
        if isinstance(entry, Mixture):
            mixtures[entry.name] = entry
        else:
            cards[entry.name] = entry
    sizes: dict[str, int] = {}
    for mixture in mixtures.values():
        _check_size(mixture, mixtures, sizes)
    return Catalog(cards, mixtures)


def _check_size(mixture: Mixture, mixtures: Mapping[str, Mixture], sizes: dict[str, int]) -> int:
    """Counts the members that a mixture comes to, those of its mixtures included; each mixture is looked at once.

    Raises:
      UserError: there are so many that whoever lists them hangs.
    """
    if mixture.name not in sizes:
        sizes[mixture.name] = 0  # of one that contains itself, which is refused where it is used
        inner = [mixtures.get(member.name) for member in mixture.members]
        size = sum(1 if m is None else _check_size(m, mixtures, sizes) for m in inner)
        if size > _MOST_MEMBERS:
            raise UserError(
                f"{mixture.path}: members: come to more than {_MOST_MEMBERS:,}, those of its mixtures counted"
            )
        sizes[mixture.name] = size
    return sizes[mixture.name]


def card_files(path: Path) -> list[Path]:
    """Returns the YAML files of a folder; of any other path, the path itself. UserError: the folder has none."""
    found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    if not found:
        raise UserError(f"{path}: no card (*.yaml) in this folder")
    return found


def _shares(amounts: Mapping[str, float]) -> dict[str, float]:
    """Divides by the sum. What differs by rounding alone is equal: whether it is equal decides how templates are chosen."""
    total, first = sum(amounts.values()), next(iter(amounts.values()))
    if not total or all(math.isclose(amount, first) for amount in amounts.values()):
        return dict.fromkeys(amounts, 1 / len(amounts))
    return {variant: amount / total for variant, amount in amounts.items()}


def _dotted(name: str, kind: str) -> str:
    return f"{name}.{kind}" if kind else name


def _why_empty(card: Card, kind: str) -> str:
    if kind == "inverted":
        return "it has no inverted templates" if not card.heldout else "the whole data set is held out"
    if card.heldout:
        return f"the whole data set is held out; use {card.name}.heldout, to evaluate"
    if kind == "heldout":
        return f"no template is held out; all are in {card.name}"
    return f"all its templates are held out; use {card.name}.heldout"
