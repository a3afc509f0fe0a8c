"""Rows of files: JSON Lines, CSV, TSV, Parquet and JSON documents, plain or compressed.

The readers yield (place, row): the place is `file:line`, or `file: row N` where a format has no lines, and is in every
error about the row.
"""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from t5x_tasks.card.source import CsvSource, FileSource, ParquetSource, TemplatedSource
from t5x_tasks.common.errors import UserError

Placed = Iterator[tuple[str, dict[str, Any]]]

# What a cut-off or garbled file raises while it is read; gzip.BadGzipFile is an OSError.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)

# Bytes of a line, unpacked, or of a record of several lines. A few megabytes of gzip can unpack to one line of gigabytes.
LONGEST_ROW = 100 * 2**20
_LONGEST_DOCUMENT = 512 * 2**20  # of a file that is one object

_RECODE = "Excel: as CSV UTF-8; elsewhere: iconv -f cp1252 -t utf-8 OLD > NEW"


def _open_zst(path: Path) -> IO[bytes]:
    import pyarrow  # Python's own reader comes with 3.14

    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


_OPEN: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zst,
}


def open_plain(path: Path) -> IO[bytes]:
    """Opens a file; what is compressed reads as if it were not."""
    opener = _OPEN.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields (line number from 1, line with its end) of a file, plain or compressed. UserError: a line is too long for a row."""
    with open_plain(path) as file:
        for number in itertools.count(1):
            line = file.readline(LONGEST_ROW + 1)
            if not line:
                return
            if len(line) > LONGEST_ROW:
                raise too_long(f"{path}:{number}")
            yield number, line


def too_long(place: str) -> UserError:
    return UserError(
        f"{place}: a row of more than {LONGEST_ROW // 2**20} MiB; is the file what it says, with a row on each line and its "
        "quotation marks closed?"
    )


def decode_line(line: bytes, path: Path, number: int) -> str:
    """Returns a line of a file as text, the first one without a byte order mark. UserError: it is not UTF-8."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}:{number}: not UTF-8; save the file as UTF-8 ({_RECODE})") from None


def read_file(path: Path, source: FileSource) -> Placed:
    """Yields (place, row) of one file, read as the source says.

    Raises:
      UserError: the file is damaged, or a row cannot be read; names file and line.
    """
    if isinstance(source, CsvSource):
        return _read_csv(path, source)
    if isinstance(source, ParquetSource):
        return _read_parquet(path)
    if isinstance(source, TemplatedSource):
        suffixes = {suffix.lower() for suffix in path.suffixes[-2:]}
        if ".parquet" in suffixes:
            return _read_parquet(path)
        for kind in ("csv", "tsv"):
            if f".{kind}" in suffixes:
                return _read_csv(path, CsvSource.model_validate({"type": kind, "train": str(path)}))
        if ".json" in suffixes and source.layout == "superni":
            return _read_json(path)
    return _read_jsonl(path)


def count_file(path: Path, source: FileSource) -> int:
    """Counts the rows of a file with as little work as its format allows: text lines are not parsed."""
    if isinstance(source, ParquetSource) and path.suffix.lower() not in _OPEN:
        import pyarrow.parquet

        return pyarrow.parquet.read_metadata(path).num_rows
    if isinstance(source, CsvSource | ParquetSource | TemplatedSource):
        return sum(1 for _ in read_file(path, source))
    return sum(1 for _, line in numbered_lines(path) if line.strip())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line with its end)."""
    number = 0
    try:
        for number, line in numbered_lines(path):
            yield number, decode_line(line, path, number)
    except MemoryError:
        raise UserError(f"{path}: unpacking it takes more memory than there is after line {number}") from None
    except DAMAGED as error:
        raise UserError(f"{path}: cannot be read after line {number} ({error}); is it whole?") from error


def _read_jsonl(path: Path) -> Placed:
    """Blank lines are passed over."""
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except MemoryError:  # of a hundred megabytes of brackets
            raise UserError(f"{path}:{number}: takes more memory than there is; write shorter rows") from None
        except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
            raise UserError(f"{path}:{number}: not JSON ({error}); write one object a line") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: must be an object {{...}}, not a {type(row).__name__}")
        yield f"{path}:{number}", row


def _read_csv(path: Path, source: CsvSource) -> Placed:
    """Every row must have as many columns as the header. Rows whose cells are all blank are passed over, as blank lines are."""
    columns = list(source.columns)
    for number, values in _records(path, source):
        if len(columns or values) > 1 and is_blank_record(values):
            continue
        if not columns:
            if twice := [name for name in values if values.count(name) > 1]:
                raise UserError(f"{path}:{number}: the header names column {twice[0]!r} twice; rename one of the two")
            columns = values
            continue
        if not source.columns:
            check_no_header(values, columns, f"{path}:{number}")
        if len(values) != len(columns):
            named = "source.columns" if source.columns else "the header"
            raise UserError(
                f"{path}:{number}: {_count(len(values), 'column')}, {named} has {len(columns)}; "
                f"is the delimiter right, and are texts that hold it quoted?"
            )
        yield f"{path}:{number}", dict(zip(columns, values, strict=True))


def is_blank_record(values: Iterable[str]) -> bool:
    """Tells whether nothing is in a record: `;;;`, as spreadsheets write behind the last row."""
    return not any(value.strip() for value in values)


def check_no_header(values: list[str], header: list[str], place: str) -> None:
    """Raises UserError if a record is the header once more, perhaps with the byte order mark of a file put behind another."""
    if values[0].startswith("\ufeff"):  # so what is quoted behind it was not read as such
        values = [values[0][1:].removeprefix('"').removesuffix('"'), *values[1:]]
    if values == header:
        raise UserError(f"{place}: is the header again; were files put one behind the other? remove the line")


def named_delimiter(line: str) -> str | None:
    """Returns what a first line as `sep=;` says, which Excel writes and reads; None for any other line."""
    found = re.fullmatch(r'\ufeff?"?sep=([^\w"])"?', line.rstrip("\r\n"), re.IGNORECASE)
    return found[1] if found else None


def _records(path: Path, source: CsvSource) -> Iterator[tuple[int, list[str]]]:
    """Yields (line where a record begins, its texts). Blank lines, and a first one that names the delimiter, are passed over."""
    lines = _lines(path)
    _, first = next(lines, (1, ""))
    named = named_delimiter(first)
    lines = itertools.chain([(1, first if named is None else "\n")], lines)
    delimiter = source.delimiter or named or ("\t" if source.type == "tsv" else ",")
    if source.quoting == "none":  # without Python's csv module, to which a lone CR ends a line all the same
        for number, line in lines:
            if text := line.rstrip("\r\n"):
                yield number, text.split(delimiter)
        return
    csv.field_size_limit(sys.maxsize)  # of the whole process, so it is not put back: another reader may be at work
    begin = size = 0  # line where a record begins, and its bytes or more so far

    def counted() -> Iterator[str]:
        nonlocal size
        for _, line in lines:
            size += len(line)
            if size > LONGEST_ROW:  # a quotation mark that is never closed makes one field of all that follows
                raise too_long(f"{path}:{begin}")
            yield line

    reader = csv.reader(counted(), delimiter=delimiter, strict=True)
    while True:
        begin, size = reader.line_num + 1, 0
        try:
            values = next(reader, None)
        except csv.Error as error:
            why = str(error).partition(" - ")[0]
            raise UserError(
                f"{path}:{begin}: not {source.type.upper()} ({why}); mend the line that begins here, or say quoting: none "
                f"where quotation marks quote nothing"
            ) from None
        if values is None:
            return
        if values:
            yield begin, values


def _read_parquet(path: Path) -> Placed:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with _seekable(path) as file:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=1024):
                for row in _batch_rows(batch):
                    yield f"{path}: row {number}", row
                    number += 1
    except UnicodeDecodeError:
        raise UserError(f"{path}: row {number}: a text is not UTF-8; write the file anew") from None
    except MemoryError:
        raise UserError(f"{path}: takes more memory than there is from row {number} on") from None
    except (*DAMAGED, pyarrow.ArrowException) as error:
        raise UserError(f"{path}: cannot be read from row {number} on ({_first_line(error)}); is it whole?") from error


def _batch_rows(batch: Any) -> Iterator[dict[str, Any]]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # one by one, to tell which it is
        for i in range(batch.num_rows):
            yield batch.slice(i, 1).to_pylist()[0]


def _seekable(path: Path) -> IO[bytes]:
    """Parquet is read from its end."""
    if path.suffix.lower() not in _OPEN:
        return path.open("rb")
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115, the caller closes it
    with open_plain(path) as file:
        shutil.copyfileobj(file, unpacked)
    unpacked.seek(0)
    return unpacked


def _read_json(path: Path) -> Placed:
    """A file that is one object."""
    parts, size = [], 0
    for _, line in _lines(path):
        parts.append(line)
        size += len(line)
        if size > _LONGEST_DOCUMENT:
            raise UserError(f"{path}: more than {_LONGEST_DOCUMENT // 2**20} MiB in one object; write JSON Lines")
    try:
        row = json.loads("".join(parts))
    except MemoryError:
        raise UserError(f"{path}: takes more memory than there is; write JSON Lines") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise UserError(f"{path}: must be an object {{...}}, not a {type(row).__name__}")
    yield str(path), row


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
