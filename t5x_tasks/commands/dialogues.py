"""`python -m t5x_tasks dialogues FILE...`: groups a table with one message per row into dialogues, and joins their summaries.

Writes JSON Lines: `id`, `dialogue` (a line `Speaker: text` per message, as the transform `turns` makes it), the columns that are
constant within each dialogue, and those of the table of answers. Nothing is overwritten.
"""

import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from t5x_tasks.card.turns import Message, as_lines, speaker_of, text_of
from t5x_tasks.common.errors import UserError, one_line, suggest
from t5x_tasks.common.output import check_writable, naming
from t5x_tasks.common.values import is_missing, known_columns, scalar_text, short_line
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import COMPRESSED, source_of

_WRITTEN = ("id", "dialogue")  # of every dialogue
_ZONED = r"[T ]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"  # a time with its zone, as 10:32Z or 10:32+02:00


def dialogues(
    files: Sequence[Path],
    *,
    by: str,
    speaker: Sequence[str],
    text: str,
    order: Sequence[str] = (),
    time_format: str = "",
    answers: Path | None = None,
    answers_by: str = "",
    output: Path | None = None,
) -> Path:
    """Writes the dialogues of files of messages, prints which columns were kept and which rows left out, and returns the path.

    Args:
      files: JSON Lines, CSV, TSV or Parquet, one message per row, with the same columns; concatenated.
      by, text: columns of the dialogue's key and of the message.
      speaker: columns of who wrote it; of several the first that is not blank.
      order: columns of numbers or times to sort by; several are joined by a space. () keeps the order of the file.
      time_format: strptime format of `order`; "" reads numbers or ISO 8601.
      answers: a table with one row per dialogue; dialogues without one, or with nothing in it, are left out.
      answers_by: identifies the dialogue there; "" is the name in `by`.
      output: FILE.dialogues.jsonl beside the first file of messages if not given.

    Raises:
      UserError: a file cannot be read or has other columns than the first, a column is not named or not there, a row has no
        key, an order cannot be read, two answers have the same key, or the output exists or cannot be written.
    """
    first = files[0].with_suffix("") if files[0].suffix.lower() in COMPRESSED else files[0]
    output = output or files[0].with_name(f"{first.stem}.dialogues.jsonl")
    if output.suffix.lower() != ".jsonl":
        raise UserError(f"--output: {output}: JSON Lines are written; choose a name that ends with .jsonl")
    if os.path.lexists(output):
        raise UserError(f"{output}: exists already and is never overwritten; remove it, or give another --output")
    check_writable(output.parent, "--output")
    if time_format and not order:
        raise UserError("--time-format: is the format of --order COLUMN; name that, too")
    where = str(files[0]) + f" and {len(files) - 1} more" * (len(files) > 1)
    table = _read(files, where)
    if not (by and speaker and text):
        how = "name those of the dialogue's key, the speaker and the text: --by COLUMN --speaker COLUMN --text COLUMN"
        raise UserError(f"{where}: has the columns {known_columns(table.columns)}; {how}")
    for option, names in {"--by": [by], "--speaker": speaker, "--text": [text], "--order": order}.items():
        for name in names:
            _check_column(table, name, option, where)
    keys, used = _keys(table, by), {by, *speaker, text, *order}
    rows = pd.DataFrame(index=pd.Index(list(dict.fromkeys(keys)), dtype=object))
    if order:
        sorting = np.argsort(_ranks(table, order, time_format), kind="stable")
        table, keys = table.iloc[sorting], keys[sorting]
    cells = _cells(table, used)
    groups: Any = cells.groupby(keys)
    varying = [name for name in cells.columns if (groups[name].nunique() > 1).any()]
    for name in cells.columns.difference(varying, sort=False):
        rows[name] = groups[name].first()
    placed = zip(table.index, table.to_dict("records"), strict=True)
    lines = np.array([_line(place, row, speaker, text) for place, row in placed], object)
    said = lines != ""
    texts = pd.Series(lines[said], dtype=object).groupby(keys[said]).agg("\n".join)
    print(f"{where}: {len(table):,} messages of {len(rows):,} dialogues")
    _say("order", order or ["as in the file"])
    _say("blank", [key for key in rows.index if key not in texts.index], ": dialogues without any text, kept")
    _say("kept", rows.columns)
    _say("not kept", varying, ": differ within a dialogue")
    taken = [name for name in table.columns if name in _WRITTEN and name not in used]
    _say("not kept", taken, ": written anyway; rename the column")
    if answers is not None:
        rows = _join(rows, answers, by, answers_by or by, where)
    _write(output, rows, texts.to_dict())
    print(f"wrote {output}: {len(rows):,} dialogues\n\nNext, a card for it:\n")
    print(f"  python -m t5x_tasks new NAME --from {shlex.quote(str(output))}")
    return output


def _read(paths: Sequence[Path], where: str) -> pd.DataFrame:
    """Returns the rows of files that have the same columns, as objects so that no value changes; the index is their places."""
    frames: list[pd.DataFrame] = []
    for path in dict.fromkeys(paths):
        placed = list(read_file(path, source_of({"train": path}, path.parent)))
        for place, row in placed:
            if re.search("[\ud800-\udfff]", json.dumps(row, ensure_ascii=False, default=str)):
                raise UserError(f"{place}: holds half a character (a text cut inside an emoji?); mend the row")
        frame = pd.DataFrame([row for _, row in placed], index=[place for place, _ in placed], dtype=object)
        if placed and frames and (differ := {*frame.columns} ^ {*frames[0].columns}):
            columns = known_columns(sorted(differ))
            raise UserError(f"{path}: only it or the first file has {columns}; give files of the same columns")
        frames += [frame] * bool(placed)
    if not frames:
        raise UserError(f"{where}: no rows")
    return pd.concat(frames)


def _check_column(table: pd.DataFrame, name: str, option: str, where: str) -> None:
    if name not in table.columns:
        hint = suggest(name, table.columns) or f"; it has {known_columns(table.columns)}"
        raise UserError(f"{where}: {option} {name}: no such column{hint}")


def _keys(table: pd.DataFrame, column: str) -> np.ndarray:
    """Returns the key of each row, as text: 17 is `17`, as is 17.0, which a column of numbers beside a null becomes."""
    values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in table[column]]
    keys = np.array([(scalar_text(value) or "").strip() for value in values], object)
    if (blank := keys == "").any():
        raise UserError(
            f"{table.index[blank][0]}: {column} is blank or no text, so the dialogue is not known; mend the row"
        )
    return keys


def _ranks(table: pd.DataFrame, order: Sequence[str], time_format: str) -> np.ndarray:
    """Returns what messages are sorted by: numbers, or times by ISO 8601 or the user's format."""
    cells = table[list(order)].map(lambda value: scalar_text(value) or "")
    texts: Any = cells.agg(" ".join, axis=1).str.strip()
    option = f"--order {' '.join(order)}"
    ranks: Any = pd.to_numeric(texts, errors="coerce")
    expected = "not a number, unlike others in it"
    if time_format:
        try:
            ranks = pd.to_datetime(texts, format=time_format, errors="coerce", utc=True)
        except ValueError as error:
            raise UserError(f"--time-format {time_format}: {one_line(error)}") from None
        expected = f"not of --time-format {time_format}"
    elif ranks.isna().all():
        # Words as `now` are times to pandas.
        ranks = pd.to_datetime(texts.where(texts.str.match(r"\d{4}"), ""), format="ISO8601", errors="coerce", utc=True)
        expected = "neither a number nor an ISO time as 2024-05-01 10:32; say --time-format, as '%d.%m.%Y %H:%M'"
        zoned = texts.str.contains(_ZONED)
        if ranks.notna().all() and zoned.any():
            ranks, expected = ranks.where(zoned), "a time without a zone, unlike others; add it"
    if ranks.isna().any():
        place, text = next(iter(texts[ranks.isna()].items()))
        raise UserError(f"{place}: {option}: {text!r:.60} is {expected}")
    return ranks.to_numpy()


def _line(place: Any, row: dict[Any, Any], speaker: Sequence[str], text: str) -> str:
    try:
        speakers = (speaker_of(row[name]) for name in speaker)
        return as_lines([Message(next(filter(None, speakers), ""), text_of(row[text]))])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: {short_line(str(error))}; name another --speaker or --text") from None


def _cells(table: pd.DataFrame, used: set[str]) -> pd.DataFrame:
    """Returns the columns that are not used yet, as JSON, for pandas to compare lists, too; blank cells are None."""

    def cell(value: Any) -> str | None:
        blank = is_missing(value) or (isinstance(value, str) and not value.strip())
        return None if blank else json.dumps(value, default=lambda other: scalar_text(other) or str(other))

    rest: Any = table[[name for name in table.columns if name not in {*used, *_WRITTEN}]]
    return rest.map(cell)


def _join(rows: pd.DataFrame, path: Path, by: str, theirs: str, messages: str) -> pd.DataFrame:
    """Returns the dialogues that have an answer, with its columns, as JSON; prints what is left out."""
    table = _read([path], str(path))
    _check_column(table, theirs, "--answers-by", str(path))
    keys = _keys(table, theirs)
    if (twice := pd.Series(keys).duplicated().to_numpy()).any():
        place, key = table.index[twice][0], keys[twice][0]
        raise UserError(f"{place}: {theirs} {key[:60]} has a row already, {table.index[keys == key][0]}; keep one")
    cells: Any = _cells(table, {theirs}).set_axis(pd.Index(keys, dtype=object))
    filled = cells.dropna(how="all")
    joined: Any = rows[[name for name in rows.columns if name not in cells.columns]].join(filled, how="inner")
    if joined.empty:
        why = f"{by} is {rows.index[0][:40]} there, {theirs} is {keys[0][:40]} here"
        raise UserError(f"{path}: no row with a value fits a dialogue of {messages} ({why}); say --by and --answers-by")
    print(f"{path}: {len(table):,} rows")
    _say("joined", cells.columns)
    _say("replaced", [name for name in rows.columns if name in cells.columns], ": in both tables")
    _say(
        "not joined", [n for n in table.columns if n in _WRITTEN and n != theirs], ": written anyway; rename the column"
    )
    _say("no answer", [key for key in rows.index if key not in filled.index], ": left out")
    _say("no messages", [key for key in cells.index if key not in rows.index], ": left out")
    return joined


def _write(output: Path, rows: pd.DataFrame, texts: dict[Any, str]) -> None:
    """Writes the file in one step. OSError: it cannot be written, and nothing of it is left."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with naming(output), temporary.open("x", encoding="utf-8", newline="\n") as file:
            for key, row in rows.to_dict("index").items():
                values = {name: json.loads(cell) if isinstance(cell, str) else "" for name, cell in row.items()}
                file.write(json.dumps({"id": key, "dialogue": texts.get(key, ""), **values}, ensure_ascii=False) + "\n")
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def _say(what: str, names: Iterable[str], more: str = "") -> None:
    if names := list(names):
        count = f"{len(names):,} (" if len(names) > 12 else ""
        print(f"  {what:<11} {count}{known_columns(names)}{')' * bool(count)}{more}")
