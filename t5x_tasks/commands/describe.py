"""The commands `list`, `show`, `preview` and `check` for data sets. Of mixtures: see describe_mixture.py."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t5x_tasks.card.card import Card, Variant
from t5x_tasks.card.catalog import Catalog, card_files, load_catalog
from t5x_tasks.card.codec import load_codec
from t5x_tasks.card.fields import column_value
from t5x_tasks.card.heuristic_templates import category_hint
from t5x_tasks.card.load import load_card
from t5x_tasks.card.source import SPLITS
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.located_yaml import located_error, read_yaml
from t5x_tasks.common.terminal import escaped, raw_output
from t5x_tasks.common.values import known_columns
from t5x_tasks.common.vocabulary import Vocabulary, shown_characters
from t5x_tasks.metrics import load_metric
from t5x_tasks.rendering.fewshot import Exemplars, exemplar_pool
from t5x_tasks.rendering.render import is_blank, render
from t5x_tasks.rendering.training_rows import questions_elsewhere
from t5x_tasks.sources import Row, count_rows, locate, question, read_rows
from t5x_tasks.sources.locate import Location, raw_rows

Fits = tuple[int, int]  # tokens that fit: inputs, targets


def print_table(paths: Sequence[str], root: str | None) -> None:
    """Prints one line for each data set and mixture; rows are counted where that needs no network."""
    catalog = load_catalog(paths)
    header = ("name", "category", "train / validation / test", "phrasings", "licence", "data")
    lines: list[tuple[str, ...]] = [header]
    for card in catalog.cards.values():
        where, counts = "", []
        for split in SPLITS:
            try:
                location = locate(card, split, root)
            except UserError as error:
                if split in card.splits:
                    where = where or f"missing ({error})"
                count = None
            else:
                where, count = where or _place(location), _count(card, location, root)
            counts.append("-" if count is None else f"{count:,}")
        kinds = {
            "held out": sum(p.split == "heldout" and not p.inverted for p in card.variants),
            "inverted": sum(p.inverted for p in card.variants),
        }
        notes = ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)
        variants = f"{len(card.variants)}" + f" ({notes})" * bool(notes)
        name = card.name + " (held out)" * card.heldout
        lines.append((name, card.category, " / ".join(counts), variants, card.licence, where))
    for mixture in catalog.mixtures.values():
        members = ", ".join(member.name for member in mixture.members)
        lines.append((mixture.name, "mixture", "", str(len(catalog.resolve(mixture.name))), "", members))
    print_rows(lines)


def _place(location: Location) -> str:
    return f"{location} (revision not pinned)" if location.can_move else str(location)


def _part(card: Card, location: Location) -> str:
    return f" ({card.split.words(location.part)})" if card.split and location.part else ""


def _count(card: Card, location: Location, root: str | None) -> int | None:
    """Counts the rows of files; of a part that the card cuts by reading them."""
    if location.part is None or not location.files:
        return count_rows(location)
    try:
        return len(read_rows(card, location.part, root))
    except UserError:
        return None


def print_rows(lines: Sequence[Sequence[str]]) -> None:
    """Prints a table, its header first: with rich on a terminal, aligned plain text elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*lines[0])
        for line in lines[1:]:
            table.add_row(*(Text(escaped(cell)) for cell in line))
        Console(file=raw_output()).print(table)
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show(name: str, catalog: Catalog, root: str | None, vocabulary: Vocabulary | None, fits: Fits) -> None:
    """Prints all that a card says, where its data are and, with a vocabulary, how long its examples are.

    Raises:
      UserError: no such name; or, when all the rest is printed, data are missing.
    """
    pairs = without_holding_out(catalog).resolve(name)
    card = pairs[0][0]
    variants = [variant for _, variant in pairs] if "." in name else list(card.variants)
    print(f"{card.name}: {card.description}")
    for key, value in (
        ("card", card.path),
        ("category", card.category),
        ("licence", card.licence),
        ("fields", ", ".join(f"{field} <- {spec}" for field, spec in card.fields.items())),
        ("metrics", ", ".join(card.metrics)),
        ("cap", f"{card.max_examples:,} examples an epoch of a mixture" if card.max_examples else "none"),
        ("held out", "yes: evaluated, never trained on" if catalog.cards[card.name].heldout else "no"),
    ):
        print(f"  {key:<10} {value}")
    missing: list[str] = []
    for split in SPLITS:
        location = None
        try:
            location = locate(card, split, root)
            rows = read_rows(card, split, root) if vocabulary is not None or location.part else []
        except UserError as error:
            if location is not None or split in card.splits:
                missing.append(str(error))
                print(f"  {split:<10} missing: {error}")
            continue
        count = count_rows(location) if location.part is None else len(rows)
        print(
            f"  {split:<10} {_place(location)}{_part(card, location)}"
            + (f", {count:,} rows" if count is not None else "")
        )
        if vocabulary is not None:
            print_lengths(card, variants, rows, vocabulary, fits)
    print()
    for variant in variants:
        if variant.shots and any(p.template == variant.template and not p.shots for p in variants):
            print(f"{card.task_name(variant)} (the same after {variant.shots} exemplars)")
            continue
        notes = " (held out)" * (variant.split == "heldout") + " (inverted)" * variant.inverted
        options = f" (options {variant.style})" if variant.style else ""
        print(f"{card.task_name(variant)}{notes}{options}")
        print(_indent(variant.inputs, "  in  "))
        print(_indent(variant.targets, "  out "))
    if missing:
        raise UserError(f"{card.name}: data are missing or cannot be read: {'; '.join(dict.fromkeys(missing))}")


def preview(
    name: str,
    catalog: Catalog,
    root: str | None,
    vocabulary: Vocabulary | None,
    fits: Fits,
    *,
    split: str,
    num_rows: int,
) -> None:
    """Prints rows, each in the next of the templates; with a vocabulary as its tokens give it back.

    Of a mixture of data sets, `num_rows` of each of them.
    """
    catalog = without_holding_out(catalog)
    for member in catalog.members(name):
        pairs = catalog.resolve(member)
        card = pairs[0][0]
        rows = read_rows(card, split, root)
        for number, row in enumerate(rows[: max(0, num_rows)]):
            _preview_row(card, pairs[number % len(pairs)][1], row, split, root, vocabulary, fits)
    if vocabulary is None:
        print("=== texts as rendered; with --vocabulary as the model sees them")


def _preview_row(
    card: Card, variant: Variant, row: Row, split: str, root: str | None, vocabulary: Vocabulary | None, fits: Fits
) -> None:
    exemplars: list[Row] = []
    if variant.shots and vocabulary is not None:
        elsewhere = questions_elsewhere(card, lambda split: read_rows(card, split, root)) if card.dedupe else {}
        pool = exemplar_pool(card, read_rows(card, "train", root), elsewhere)
        exemplars = Exemplars(card, variant, pool, vocabulary, fits[0]).choose([row])[0]
    rendering = render(card, variant, row, exemplars)
    print(
        f"=== {card.task_name(variant)}, {split}, id {row.id}" + f", {len(exemplars)} exemplars" * bool(variant.shots)
    )
    answers = rendering.references if len(rendering.references) > 1 else [rendering.targets]
    sides = [("inputs", rendering.inputs, fits[0])]
    sides += [("targets" if len(answers) == 1 else f"target {i}", text, fits[1]) for i, text in enumerate(answers, 1)]
    for side, text, length in sides:
        seen, note = (text, "") if vocabulary is None else _as_seen(text, length, vocabulary)
        print(f"--- {side}{note}\n{seen}")
    for name in sorted({spec.codec for spec in card.used_fields.values() if spec.codec}):
        print(f"--- targets decoded ({name})\n{load_codec(name).decode(rendering.targets)}")


def check(path: str, root: str | None, vocabulary: Vocabulary | None, fits: Fits) -> None:
    """Loads a card, its metrics and every row of its splits, and says what it found."""
    if Path(path).is_dir():
        found = ", ".join(file.name for file in card_files(Path(path)))
        raise UserError(f"{path}: is a folder; name one of its files: {found}")
    card = load_card(path)
    for metric in (*card.metrics, *(card.inverted_metrics if any(p.inverted for p in card.variants) else ())):
        load_metric(metric)
    num_heldout = sum(template.split == "heldout" for template in card.templates)
    print(
        f"{path}: {card.name}, {len(card.templates)} templates ({num_heldout} held out), {len(card.variants)} templates"
    )
    if hint := category_hint(card.category):
        print(
            f"  {'category':<10} {card.category!r} is a word of your own, by which neither templates nor reports go{hint}"
        )
    if card.category == "summarization" and "dialogue" not in card.used_fields:
        print(
            f"  {'category':<10} no field dialogue, so no LEAD-3 and no diagnostics of summaries in reports; "
            "where dialogues are summarized, call their field so"
        )
    if not card.splits:
        raise UserError(f"{path}: source: names no split; add train: FILE")
    questions: dict[str, dict[tuple[str, ...], str]] = {}
    ungrouped = set(card.groups)
    for split in card.splits:
        location = locate(card, split, root)
        rows = read_rows(card, split, root)
        empty = [row.id for row in rows if any(map(is_blank, row.fields.values()))]
        print(f"  {split:<10} {len(rows):,} rows, {_place(location)}{_part(card, location)}")
        if empty:
            print(f"  {'':<10} {len(empty):,} with an empty field (left out of training): {', '.join(empty[:3])}")
        if several := [len(row.references) for row in rows if len(row.references) > 1]:
            print(
                f"  {'':<10} {len(several):,} with several right answers, up to {max(several)}: the first is trained on, all are "
                "scored"
            )
        questions[split] = {question(card, row): row.id for row in rows}
        ungrouped -= {name for row in rows for name in row.groups}
        if vocabulary is not None:
            print_lengths(card, card.variants, rows, vocabulary, fits)
    _check_groups(card, ungrouped, root)
    for line in repeated(questions):
        print(f"  {line}")
    print("ok")


def _check_groups(card: Card, ungrouped: set[str], root: str | None) -> None:
    """Raises UserError if no row has the columns of a group, not even with nothing in them."""
    known: dict[str, None] = {}
    there: set[str] = set()
    for split in card.splits if ungrouped else ():
        for _, raw in raw_rows(card, locate(card, split, root)):
            known |= dict.fromkeys(map(str, raw))
            there |= {name for name in ungrouped if any(_is_in(raw, column) for column in card.groups[name])}
    for name in sorted(ungrouped - there):
        columns = card.groups[name]
        hints = (suggest(column, known) for column in columns)
        hint = next(filter(None, hints), f"; they have {known_columns(known)}")
        _, lines = read_yaml(card.path)
        message = f"groups.{name}: no row has {' or '.join(map(repr, columns))}{hint}"
        raise located_error(card.path, lines, ("groups", name), message)


def _is_in(raw: Mapping[str, Any], column: str) -> bool:
    """Whether a row has a column, or a key inside one, with something or nothing in it."""
    try:
        column_value(raw, column, "")
    except UserError:
        return False
    return True


def repeated(questions: dict[str, dict[tuple[str, ...], str]]) -> list[str]:
    """Says which inputs occur in two splits: split -> question -> id of a row that asks it."""
    lines = []
    seen = list(questions)
    for number, split in enumerate(seen):
        for other in seen[number + 1 :]:
            both = questions[split].keys() & questions[other].keys()
            if both:
                ids = ", ".join(sorted(questions[other][asked] for asked in both)[:3])
                lines.append(
                    f"{len(both):,} inputs of {other} also occur in {split} ({ids}); data.dedupe=true leaves them out of training"
                )
    return lines


def without_holding_out(catalog: Catalog) -> Catalog:
    """Lets the name of a held-out data set stand for it where it is only looked at."""
    cards = {name: card.model_copy(update={"heldout": False}) for name, card in catalog.cards.items()}
    return Catalog(cards, catalog.mixtures)


def print_lengths(
    card: Card, variants: Sequence[Variant], rows: Sequence[Row], vocabulary: Vocabulary, fits: Fits
) -> None:
    """Prints how long the rows are in tokens, zero-shot, in the forward templates by turns."""
    zero_shot = " (zero-shot)" * any(p.shots for p in variants)
    variants = [p for p in variants if not p.inverted and not p.shots] or variants
    renderings = [render(card, variants[i % len(variants)], row) for i, row in enumerate(rows)]
    for side, length in zip(("inputs", "targets"), fits, strict=True):
        texts = [getattr(rendering, side) for rendering in renderings]
        ids = vocabulary.encode_batch(texts)
        sizes = np.array([len(one) + 1 for one in ids])  # with end of sequence
        unknown = sum(int(np.count_nonzero(one == vocabulary.unk_id)) for one in ids)
        which = f" ({shown_characters(vocabulary.unknown_characters(texts, ids))})" if unknown else ""
        p50, p95 = np.percentile(sizes, [50, 95], method="lower").tolist()
        name = side + zero_shot * (side == "inputs")
        print(
            f"  {'':<10} {name}: {sizes.mean():.0f} tokens on average, p50 {p50}, p95 {p95}, max {sizes.max()}; "
            f"{100 * np.mean(sizes > length):.2f}% longer than {length}; {unknown:,} unknown tokens{which}"
        )
        if unknown and side == "targets":
            print(
                f"  {'':<10} warning: a model never writes what the vocabulary lacks; spell the targets without it (ae for ä)"
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
