"""From raw rows to `Row`s: fields as texts, ids that are unique, right answers and options as lists."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, NamedTuple

from t5x_tasks.card.card import Card
from t5x_tasks.card.fields import (
    FieldSpec,
    as_spec,
    clean_text,
    column_value,
    field_text,
    field_value,
    has_column,
    several_answers,
)
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.values import shown
from t5x_tasks.sources.locate import Location, locate, raw_rows


@dataclass(frozen=True, slots=True)
class Row:
    """An example of a data set, checked.

    Attributes:
      id: its own, or `<split>-<number>`, from 0; no other row of the split has it.
      fields: name of each field that a template uses -> text, with LF for CRLF. Not encoded by the field's codec.
      references: all right answers, where the data have a list of them; `fields` holds the first. Else empty.
      options: the answers to choose from, where the card takes them from a column. Else empty.
      groups: name of each of the card's groups -> the row's values, one or more.
    """

    id: str
    fields: dict[str, str]
    references: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)


def question(card: Card, row: Row) -> tuple[str, ...]:
    """Returns what makes two rows the same question: the fields that are asked about, without white space around them."""
    return tuple(row.fields[field].strip() for field in card.input_fields)


def read_rows(card: Card, split: str, root: str | PathLike[str] | None = None, *, stem: str | None = None) -> list[Row]:
    """Reads all rows of a split, in order. See `iter_rows`."""
    return list(iter_rows(card, split, root, stem=stem))


def iter_rows(
    card: Card, split: str, root: str | PathLike[str] | None = None, *, stem: str | None = None
) -> Iterator[Row]:
    """Yields the rows of a split, in order, and holds none of them, unless the card groups the rows of this split.

    What remains of a row is 64 bits of its id, and nothing as long as no row has an id of its own.

    Args:
      stem: of the ids of rows that have none, `<stem>-<number>`; the split's name if not given.

    Raises:
      UserError: the data are out of reach, damaged or empty, or a row is not what the card says; names file, line, key.
    """
    location, stem = locate(card, split, root), stem or split
    rows = _checked(card, split, location, stem)
    first = next(rows, None)
    if first is None:
        raise UserError(_no_rows(card, split, location))
    rows, grouped = itertools.chain([first], rows), None
    if split in card.group_by and not first.row.references:
        rows = grouped = _group(card, rows)
    ids = _Ids(stem)
    for row, place, _, has_own_id in rows:
        if not ids.add(row.id, is_own=has_own_id):
            again = _checked(card, split, location, stem) if grouped is None else grouped
            other = next((read.place for read in again if read.row.id == row.id), str(location))
            raise UserError(
                f"{place}: id {row.id[:80]!r} stands for two rows, this one and {other}; make ids unique, or leave them out"
            )
        yield row


def _no_rows(card: Card, split: str, location: Location) -> str:
    if card.split is None or location.part is None:
        return f"{location}: no rows; split {split} of {card.name} is empty"
    return (
        f"{location}: none of its rows is in {split} ({card.split.words(split)}); raise the fraction under split: in "
        f"{card.path}, or name files of {split} under source:"
    )


class _Read(NamedTuple):
    """A row, where it stands, the value of the column to group by or "", and whether it has an id of its own."""

    row: Row
    place: str
    group: str
    has_own_id: bool


class _Ids:
    """Finds ids that stand for two rows. Two different ids of 15 million have the same 64 bits once in 100,000 data sets."""

    def __init__(self, stem: str):
        self._stem = stem
        self._numbered = 0  # rows so far, as long as all are numbered, which makes them different
        self._seen: set[int] = set()

    def add(self, row_id: str, *, is_own: bool) -> bool:
        """Returns whether the id is new."""
        if not self._seen:
            if not is_own:
                self._numbered += 1
                return True
            self._seen.update(hash(f"{self._stem}-{number}") for number in range(self._numbered))
        hashed = hash(row_id)
        is_new = hashed not in self._seen
        self._seen.add(hashed)
        return is_new


def _checked(card: Card, split: str, location: Location, stem: str) -> Iterator[_Read]:
    specs = {name: as_spec(field_or_column) for name, field_or_column in card.used_fields.items()}
    group_by = card.group_by.get(split, "")
    option_spec = as_spec(card.options.column) if card.options and card.options.column else None
    answer = card.answer_field
    references = as_spec(card.references) if card.references else None
    number = 0  # of the row in its split
    for place, raw in raw_rows(card, location):
        own_id = column_value(raw, card.id, place, f", the id of {card.name}") if card.id else raw.get("id")
        has_id = own_id is not None and bool(str(own_id).strip())
        if card.id and not has_id:
            raise UserError(f"{place}: {card.id} is blank, and names the rows; write an id into each")
        row_id = clean_text(own_id, place, card.id or "id") if has_id else f"{stem}-{number}"
        several = references is not None and all(has_column(raw, column) for column in references.all_columns)
        answers = _texts(references, raw, "references", place) if references and several else ()
        fields = {}
        for name, spec in specs.items():
            if name == answer and not answers:
                answers = several_answers(spec, raw, field=f"{name} of {card.name}", place=place)
            if name == answer and answers:
                fields[name] = answers[0]
            else:
                fields[name] = field_text(spec, raw, field=f"{name} of {card.name}", place=place)
        options = _texts(option_spec, raw, "options", place) if option_spec else ()
        row = Row(row_id, fields, answers, options, _groups(card, raw, place))
        if card.split and location.part and card.split.part_of(question(card, row)) != location.part:
            continue
        number += 1
        group = ""
        if group_by and not answers:
            group = clean_text(
                column_value(raw, group_by, place, f", by which {card.path} groups the rows"), place, group_by
            )
        yield _Read(row, place, group, has_id)


def _groups(card: Card, raw: Mapping[str, Any], place: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, columns in card.groups.items():
        column = next((column for column in columns if has_column(raw, column)), None)
        if column is not None:
            values = column_value(raw, column, place)
            several = values if isinstance(values, list | tuple) else [values]
            found[name] = tuple(dict.fromkeys(clean_text(value, place, column) for value in several))
    return found


def _texts(spec: FieldSpec, row: Mapping[str, Any], what: str, place: str) -> tuple[str, ...]:
    values = field_value(spec, row, field=what, place=place)
    if not isinstance(values, list | tuple) or not values:
        raise UserError(f"{place}: {str(spec)!r} must be a list of one or more texts, not {shown(values)}")
    return tuple(clean_text(value, place, str(spec)) for value in values)


def _group(card: Card, rows: Iterable[_Read]) -> list[_Read]:
    """Makes one row of those of the same group; their answers become its references, in order."""
    groups: dict[str, list[Row]] = {}
    places: dict[str, str] = {}
    for row, place, group, _ in rows:
        groups.setdefault(group, []).append(row)
        places.setdefault(group, place)
    answer = card.answer_field
    return [
        _Read(
            replace(
                rows_of_one[0],
                id=_group_id(rows_of_one),
                references=tuple(row.fields[answer] for row in rows_of_one),
                groups={
                    name: tuple(dict.fromkeys(value for row in rows_of_one for value in row.groups.get(name, ())))
                    for name in dict.fromkeys(name for row in rows_of_one for name in row.groups)
                },
            ),
            places[group],
            group,
            True,
        )
        for group, rows_of_one in groups.items()
    ]


def _group_id(group: list[Row]) -> str:
    """Returns `test_0` for test_0_1, test_0_2, test_0_3; the first id where ids do not count like this."""
    stems = {re.sub(r"[_-]\d+$", "", row.id) for row in group}
    return stems.pop() if len(stems) == 1 and len(group) > 1 and stems != {group[0].id} else group[0].id
