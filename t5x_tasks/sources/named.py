"""Which source reads a file, by its name: `chats.csv.gz` is a CSV file."""

import os
from pathlib import Path

from t5x_tasks.card.source import CsvSource, FileSource, JsonlSource, ParquetSource
from t5x_tasks.common.errors import UserError, one_line
from t5x_tasks.sources.files import DAMAGED, named_delimiter, numbered_lines

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


def kind_of(path: Path) -> str | None:
    """Returns jsonl, csv, tsv or parquet; None if the name tells none of them."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return _KINDS.get(suffixes[-1]) if suffixes else None


def source_of(files: dict[str, Path], folder: Path) -> FileSource:
    """Makes the source of a card, with files relative to its folder; finds out the delimiter of a CSV.

    Raises:
      UserError: a file is not there, its name tells no kind, or the splits are of several kinds.
    """
    kinds = {split: known_kind(path) for split, path in files.items()}
    for split, kind in kinds.items():
        if not files[split].is_file():
            raise UserError(f"{files[split]}: no such file")
        if kind != kinds["train"]:
            raise UserError(
                f"{files[split]}: is {kind}, {files['train']} is {kinds['train']}; all splits of a card have one format"
            )
    names = {split: (_relative(path, folder),) for split, path in files.items()}
    kind = kinds["train"]
    if kind == "parquet":
        return ParquetSource.model_validate({"type": kind, **names})
    if kind == "jsonl":
        return JsonlSource.model_validate({"type": kind, **names})
    delimiter, usual = find_delimiter(files["train"], kind)
    return CsvSource.model_validate({"type": kind, **names, **({} if usual else {"delimiter": delimiter})})


def known_kind(path: Path) -> str:
    """Returns what `kind_of` does. UserError: the name tells none."""
    if (kind := kind_of(path)) is None:
        raise UserError(
            f"{path}: its name must end with {', '.join(_KINDS)} (and {', '.join(COMPRESSED)} where it is compressed)"
        )
    return kind


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def find_delimiter(path: Path, kind: str) -> tuple[str, bool]:
    """Returns what separates the columns of a CSV or TSV file by its first line, and whether it is the usual one.

    Raises:
      UserError: the file cannot be read.
    """
    usual = "," if kind == "csv" else "\t"
    try:
        _, first = next(numbered_lines(path), (1, b""))
        header = first.decode("utf-8", errors="replace")
    except DAMAGED as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}); is it whole?") from error
    if named := named_delimiter(header):
        return named, named == usual
    others = [delimiter for delimiter in ",;\t|" if delimiter in header]
    if usual in header or not others:
        return usual, True
    return max(others, key=header.count), False
