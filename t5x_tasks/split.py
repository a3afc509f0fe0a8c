"""`python -m t5x_tasks split FILE`: cuts a file of rows into FILE.train, FILE.validation and FILE.test beside it.

Which rows go where comes from a hash of their content: the same file gives the same splits anywhere, and rows that are equal
but for their `id` fall together, so that none is learned from and scored on. Lines are copied as they are; nothing is
overwritten.
"""

import csv
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from t5x_tasks.card_source import ParquetSource
from t5x_tasks.errors import Failure, UserError, is_disk_fault, one_line, run_cli
from t5x_tasks.output import check_writable, naming
from t5x_tasks.sources.files import (
    DAMAGED,
    LONGEST_ROW,
    check_no_header,
    decode_line,
    is_blank_record,
    named_delimiter,
    numbered_lines,
    open_plain,
    read_file,
    too_long,
)
from t5x_tasks.sources.named import COMPRESSED, find_delimiter, known_kind

_Records = Callable[[], Iterator[bytes]]
_ID = "id"


class _Opened(NamedTuple):
    """A file to cut.

    Attributes:
      header: if its format has one.
      records: reads its rows anew.
      content: what of a row is hashed: the row as it stands, or what it holds beside its id.
    """

    header: bytes
    records: _Records
    content: Callable[[bytes], bytes]


def main(arguments: list[str]) -> None:
    """`python -m t5x_tasks.split` is `python -m t5x_tasks split`."""
    from t5x_tasks import __main__ as commands

    commands.main(["split", *arguments])


def split(path: Path, shares: dict[str, float]) -> None:
    """Cuts a file and prints what goes into its card. See `split_file`."""
    written = split_file(path, shares)
    print("for `source:` of the card:")
    for name, (file, rows) in written.items():
        print(f"  {name}: {file.name}   # {rows:,} rows")


def split_file(path: Path, shares: dict[str, float]) -> dict[str, tuple[Path, int]]:
    """Writes the splits; returns each one's file and number of rows, train first.

    Raises:
      UserError: no such file, not a format that is known, it is damaged or not UTF-8, too few different rows, or a split's
        file is there already or cannot be written.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    stem, kind = _name(path)
    files = {split: path.with_name(f"{stem}.{split}{kind}") for split in ("train", *shares)}
    for file in files.values():
        if file.exists():
            raise UserError(f"{file}: exists already and is never overwritten; remove it or rename {path.name}")
    check_writable(path.parent, path.name)
    before = _digest(path)
    try:
        header, records, content = _open(path, kind)
        hashes = [_hash(content(record)) for record in records()]
    except (*DAMAGED, ValueError) as error:  # ValueError: pyarrow's
        raise UserError(f"{path}: cannot be read ({one_line(error)}); is it whole?") from error
    split_of = _deal(hashes, shares, path)
    try:
        with naming(path.parent):
            _write(path, kind, files, header, records, [split_of[number] for number in hashes])
        _check_unchanged(path, before)
    except FileExistsError:  # since a moment ago: another's
        raise
    except BaseException as error:
        for file in files.values():
            file.unlink(missing_ok=True)
        if isinstance(error, Exception) and not is_disk_fault(error):
            _check_unchanged(path, before)  # which says more than a row that is not there any more
        raise
    counts = dict.fromkeys(files, 0)
    for number in hashes:
        counts[split_of[number]] += 1
    return {split: (file, counts[split]) for split, file in files.items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_unchanged(path: Path, before: str) -> None:
    """Raises Failure if a file is not as it was: it is read twice, to deal the rows and to write them."""
    if not path.is_file() or _digest(path) != before:
        raise Failure(f"{path}: changed while it was cut, so that nothing of it was kept; start the command again")


def _name(path: Path) -> tuple[str, str]:
    known_kind(path)
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return plain.stem, plain.suffix


def _deal(hashes: list[int], shares: dict[str, float], path: Path) -> dict[int, str]:
    """Hash -> split, as near to the shares as equal rows allow; each split gets one row or more."""
    order = sorted(set(hashes))
    if len(order) <= len(shares):
        raise UserError(f"{path}: has {len(order)} different rows, too few to cut")
    split_of: dict[int, str] = {}
    for split, share in shares.items():
        room = max(1, min(round(share * len(order)), len(order) - len(split_of) - len(shares)))
        taken = order[len(split_of) : len(split_of) + room]
        split_of |= dict.fromkeys(taken, split)
    return split_of | dict.fromkeys(order[len(split_of) :], "train")


def _open(path: Path, kind: str) -> _Opened:
    if kind.lower() == ".parquet":
        return _Opened(b"", lambda: _parquet_rows(path), lambda row: row)
    if kind.lower() in (".csv", ".tsv"):
        delimiter, _ = find_delimiter(path, "csv" if kind.lower() == ".csv" else "tsv")

        def rows() -> Iterator[bytes]:
            records = _csv_records(path, delimiter)
            next(records, None)
            return records

        header = next(_csv_records(path, delimiter), b"")
        return _Opened(header, rows, _csv_content(header, delimiter))
    return _Opened(b"", lambda: _lines(path), _json_content)


def _json_content(line: bytes) -> bytes:
    """Returns a row of JSON Lines without its id; as it stands, if it has none or nothing else. `check` names a broken line."""
    if b'"id"' not in line:
        return line
    try:
        row = json.loads(line)
        others = {key: value for key, value in row.items() if key != _ID} if isinstance(row, dict) else {}
        return json.dumps(others).encode() if others and len(others) < len(row) else line
    except (ValueError, RecursionError):
        return line


def _csv_content(header: bytes, delimiter: str) -> Callable[[bytes], bytes]:
    """Returns what gives a record of CSV without its id, or as it stands where the header has no id or nothing else."""
    first, _, rest = header.partition(b"\n")  # the line that names the delimiter, and the header behind it
    names = _csv_values(header if named_delimiter(first.decode("utf-8-sig")) is None else rest, delimiter)
    if names.count(_ID) != 1 or len(names) == 1:
        return lambda record: record
    at = names.index(_ID)

    def others(record: bytes) -> bytes:
        values = _csv_values(record, delimiter)
        return json.dumps(values[:at] + values[at + 1 :]).encode()

    return others


def _csv_values(record: bytes, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(record.decode("utf-8-sig"), newline="\n"), delimiter=delimiter), [])


def _lines(path: Path) -> Iterator[bytes]:
    for number, line in numbered_lines(path):
        text = decode_line(line, path, number)
        if text.strip():
            yield text.rstrip("\r\n").encode() + b"\n"


def _csv_records(path: Path, delimiter: str) -> Iterator[bytes]:
    """Yields records as they stand in the file, the header first: quoted texts may hold line breaks."""
    kept: dict[int, bytes] = {}  # line number -> line

    def lines() -> Iterator[str]:
        size = 0
        for number, line in numbered_lines(path):
            size = size + len(line) if kept else len(line)
            if size > LONGEST_ROW:
                raise too_long(f"{path}:{next(iter(kept))}")
            kept[number] = line
            text = decode_line(line, path, number)
            if number > 1 or named_delimiter(text) is None:  # else it goes before the header
                yield text

    header: list[str] = []
    csv.field_size_limit(sys.maxsize)
    try:
        for values in csv.reader(lines(), delimiter=delimiter, strict=True):
            begin, record = next(iter(kept)), b"".join(kept.values())
            kept.clear()
            if not values or (len(header or values) > 1 and is_blank_record(values)):
                continue
            if header:
                check_no_header(values, header, f"{path}:{begin}")
            header = header or values
            yield record.rstrip(b"\r\n") + b"\n"
    except csv.Error as error:
        raise UserError(f"{path}: not CSV ({error}); `python -m t5x_tasks check` names the line") from None


def _parquet_rows(path: Path) -> Iterator[bytes]:
    """Yields what is hashed of each row, which is all that is needed: the rows themselves are taken by number."""
    for _, row in read_file(path, ParquetSource(type="parquet", train=(str(path),))):
        others = {name: value for name, value in row.items() if name != _ID} or row
        yield repr(others).encode("utf-8", "surrogatepass")


def _parquet(path: Path) -> Any:
    import pyarrow.parquet

    with open_plain(path) as file:
        return pyarrow.parquet.read_table(pyarrow.BufferReader(file.read()))


def _write(path: Path, kind: str, files: dict[str, Path], header: bytes, records: _Records, splits: list[str]) -> None:
    if kind.lower() == ".parquet":
        import pyarrow.parquet

        table = _parquet(path)
        for split, file in files.items():
            chosen = table.take([number for number, name in enumerate(splits) if name == split])
            pyarrow.parquet.write_table(chosen, file)
        return
    opened = {split: file.open("xb") for split, file in files.items()}
    try:
        for file in opened.values():
            file.write(header)
        for record, split in zip(records(), splits, strict=True):
            opened[split].write(record)
    finally:
        for file in opened.values():
            file.close()


def _hash(record: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(record, digest_size=8).digest(), "big")


if __name__ == "__main__":
    run_cli(main)
