"""What the commands `list`, `show`, `preview` and `check` print."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from t5x_tasks.card import SPLITS, Card, Template, all_cards, load_card, resolve
from t5x_tasks.errors import UserError
from t5x_tasks.metrics import load_metric
from t5x_tasks.rendering import field_values, is_blank, render
from t5x_tasks.sources import count_rows, locate, read_rows
from t5x_tasks.vocabulary import Vocabulary

Lengths = tuple[int, int]  # tokens that fit: inputs, targets


def print_table(paths: Sequence[str], root: str | None) -> None:
    """Prints one line for each card; rows are counted where that needs no network."""
    header = ("name", "category", "train / validation / test", "phrasings", "licence", "data")
    lines: list[tuple[str, ...]] = [header]
    for card in all_cards(paths).values():
        where, counts = "", []
        for split in SPLITS:
            try:
                location = locate(card, split, root)
            except UserError as error:
                where, count = where or f"missing ({error})", None
            else:
                where, count = where or str(location), count_rows(location)
            counts.append("-" if count is None else f"{count:,}")
        heldout = len(card.mixture(heldout=True))
        phrasings = f"{len(card.templates)}" + f" ({heldout} held out)" * bool(heldout)
        name = card.name + " (held out)" * card.heldout
        lines.append((name, card.category, " / ".join(counts), phrasings, card.licence, where))
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*header)
        for line in lines[1:]:
            table.add_row(*line)
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show(name: str, paths: Sequence[str], root: str | None, vocabulary: Vocabulary | None, fits: Lengths) -> None:
    """Prints all that a card says, where its data are and, with a vocabulary, how long its examples are."""
    pairs = resolve(name, _without_holding_out(all_cards(paths)))
    card = pairs[0][0]
    templates = [template for _, template in pairs] if "." in name else list(card.templates)
    print(f"{card.name}: {card.description}")
    for key, value in (
        ("card", card.path),
        ("category", card.category),
        ("licence", card.licence),
        ("fields", ", ".join(f"{field} <- {column}" for field, column in card.fields.items())),
        ("metrics", ", ".join(card.metrics)),
        ("cap", f"{card.max_examples:,} examples an epoch of a mixture" if card.max_examples else "none"),
        ("held out", "yes: evaluated, never trained on" if card.heldout else "no"),
    ):
        print(f"  {key:<10} {value}")
    for split in card.splits:
        try:
            location = locate(card, split, root)
        except UserError as error:
            print(f"  {split:<10} missing: {error}")
            continue
        count = count_rows(location)
        print(f"  {split:<10} {location}" + (f", {count:,} rows" if count is not None else ""))
        if vocabulary is not None:
            _print_lengths(card, templates, read_rows(card, split, root), vocabulary, fits)
    print()
    for template in templates:
        notes = " (held out)" * (template.split == "heldout") + " (inverted)" * (template.id in card.inverted)
        print(f"{card.task_name(template)}{notes}")
        print(_indent(template.inputs, "  in  "))
        print(_indent(template.targets, "  out "))


def preview(
    name: str,
    paths: Sequence[str],
    root: str | None,
    vocabulary: Vocabulary | None,
    fits: Lengths,
    *,
    split: str,
    num_rows: int,
) -> None:
    """Prints the first rows, each in the next of the phrasings; with a vocabulary as its tokens give it back."""
    pairs = resolve(name, _without_holding_out(all_cards(paths)))
    card = pairs[0][0]
    rows = read_rows(card, split, root)[: max(0, num_rows)]
    for number, row in enumerate(rows):
        _, template = pairs[number % len(pairs)]
        rendering = render(card, template, row)
        print(f"=== {card.task_name(template)}, {split}, id {row['id']}")
        answers = rendering.references if len(rendering.references) > 1 else [rendering.targets]
        sides = [("inputs", rendering.inputs, fits[0])]
        sides += [
            ("targets" if len(answers) == 1 else f"target {i}", text, fits[1]) for i, text in enumerate(answers, 1)
        ]
        for side, text, length in sides:
            seen, note = (text, "") if vocabulary is None else _as_seen(text, length, vocabulary)
            print(f"--- {side}{note}\n{seen}")
    if vocabulary is None:
        print("=== texts as rendered; with --vocabulary as the model sees them")


def check(path: str, root: str | None, vocabulary: Vocabulary | None, fits: Lengths) -> None:
    """Loads a card, its metrics and every row of its splits, and says what it found."""
    card = load_card(path)
    for metric in card.metrics:
        load_metric(metric)
    num_heldout = sum(template.split == "heldout" for template in card.templates)
    print(f"{path}: {card.name}, {len(card.templates)} templates ({num_heldout} held out)")
    if not card.splits:
        raise UserError(f"{path}: source: names no split; add train: FILE")
    for split in card.splits:
        location = locate(card, split, root)
        rows = read_rows(card, split, root)
        empty = [row["id"] for row in rows if any(map(is_blank, field_values(card, row).values()))]
        print(f"  {split:<10} {len(rows):,} rows, {location}")
        if empty:
            print(f"  {'':<10} {len(empty):,} with an empty field (left out of training): {', '.join(empty[:3])}")
        if vocabulary is not None:
            _print_lengths(card, card.templates, rows, vocabulary, fits)
    print("ok")


def _without_holding_out(cards: dict[str, Card]) -> dict[str, Card]:
    """Lets the name of a held-out data set stand for it where it is only looked at."""
    return {name: card.model_copy(update={"heldout": False}) for name, card in cards.items()}


def _print_lengths(
    card: Card, templates: Sequence[Template], rows: list[dict[str, Any]], vocabulary: Vocabulary, fits: Lengths
) -> None:
    renderings = [render(card, templates[i % len(templates)], row) for i, row in enumerate(rows)]
    for side, length in zip(("inputs", "targets"), fits, strict=True):
        ids = vocabulary.encode_batch([getattr(rendering, side) for rendering in renderings])
        sizes = np.array([len(one) + 1 for one in ids])  # with end of sequence
        unknown = sum(int(np.count_nonzero(one == vocabulary.unk_id)) for one in ids)
        p50, p95 = np.percentile(sizes, [50, 95], method="lower").tolist()
        print(
            f"  {'':<10} {side}: {sizes.mean():.0f} tokens on average, p50 {p50}, p95 {p95}, max {sizes.max()}; "
            f"{100 * np.mean(sizes > length):.2f}% longer than {length}; {unknown:,} unknown tokens"
        )


def _as_seen(text: str, length: int, vocabulary: Vocabulary) -> tuple[str, str]:
    """Returns the text as the tokens that fit give it back, and a note on them. The end of sequence takes one place."""
    ids = vocabulary.encode_batch([text])[0]
    kept = ids[: length - 1]
    unknown = int(np.count_nonzero(kept == vocabulary.unk_id))
    note = f" ({len(kept) + 1} tokens" + f", {unknown} unknown" * bool(unknown) + ")"
    cut = f" [... cut off here: {len(ids) + 1:,} tokens, {length:,} fit]" if len(kept) < len(ids) else ""
    return vocabulary.decode(kept) + cut, note


def _indent(text: str, first: str) -> str:
    return first + text.replace("\n", "\n" + " " * len(first))
