"""Where the rows of a split are: in a mirror folder, or where the card says."""

import glob
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from t5x_tasks.card.card import Card
from t5x_tasks.card.source import (
    FileSource,
    HubSource,
    JsonlSource,
    PythonSource,
    Source,
    TemplatedSource,
    TfdsSource,
)
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.functions import file_of_function
from t5x_tasks.sources.files import DAMAGED, Placed, count_file, read_file
from t5x_tasks.sources.libraries import read_hub, read_python, read_tfds, tfds_folder
from t5x_tasks.sources.templated import untemplate


@dataclass(frozen=True)
class Location:
    """Where the rows of a split are.

    Attributes:
      source: what reads them: the card's own or, for a file of a mirror, JSON Lines.
      split: as the card calls it; `train` where the card cuts the split from it.
      part: the split that the card cuts from these rows, by `split`; else None.
      files: that hold the rows, in order; none where a library or a function gives them.
      folder: of a data set that a library reads and that lies on this machine.
      text: for people.
    """

    source: Source
    split: str
    files: tuple[Path, ...]
    folder: Path | None
    text: str
    part: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def can_move(self) -> bool:
        """Whether it is a data set of the hub whose rows may be others tomorrow."""
        return isinstance(self.source, HubSource) and self.folder is None and not self.source.is_pinned


def locate(card: Card, split: str, root: str | PathLike[str] | None = None) -> Location:
    """Finds a split: ROOT/<mirror's name>/<split>.jsonl[.gz], else the card's own source.

    Raises:
      UserError: the card has no such split, `root` is no folder, the card's file is not there, or the mirror has a split that the
        card cuts from train.
    """
    mirror = Path(root).expanduser() if root is not None else None
    if mirror is not None and not mirror.is_dir():
        raise UserError(f"{mirror}: no such folder; data.root must hold folders of data sets, or be null")
    if card.split is None or split not in ("train", *card.split.fractions):
        return _locate(card, split, mirror)
    for part in card.split.fractions:
        if (file := _in_mirror(card, part, mirror)) is not None:
            raise UserError(f"{file}: split: of {card.path} cuts {part} from train; remove this file, or that key")
    return replace(_locate(card, "train", mirror), part=split)


def _in_mirror(card: Card, split: str, mirror: Path | None) -> Path | None:
    names = [f"{split}.jsonl", f"{split}.jsonl.gz"] if mirror is not None else []
    return next((file for name in names if (file := Path(mirror or "", card.folder, name)).is_file()), None)


def _locate(card: Card, split: str, mirror: Path | None) -> Location:
    if (file := _in_mirror(card, split, mirror)) is not None:
        return Location(JsonlSource(type="jsonl", train=(str(file),)), split, (file,), None, str(file))
    if split not in card.splits:
        hint = suggest(split, card.splits) or f"; it has {', '.join(card.splits) or 'none'}"
        raise UserError(f"{card.path}: {card.name} has no split {split}{hint}")
    source: Source = card.source
    if isinstance(source, TemplatedSource) and source.hub is not None:
        source = source.hub
    folder = None
    if isinstance(source, FileSource):
        files = _find_files(card, source, split, mirror)
        text = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
        return Location(source, split, files, None, text)
    if isinstance(source, HubSource):
        folder = card.path.parent / source.path
        folder = folder if folder.is_dir() else None
        text = str(folder or f"hf://{source.path}" + (f"@{source.revision}" if source.revision else ""))
    elif isinstance(source, TfdsSource):
        folder = tfds_folder(source, card.path)
        text = str(folder or f"tfds://{source.name}")
    else:
        text = f"{source.function}(split={source.named_splits[split]!r})"
    return Location(source, split, (), folder, text)


def raw_rows(card: Card, location: Location) -> Placed:
    """Yields (place, row) as the source has them; of templated collections with `inputs` and `targets`.

    Raises:
      UserError: the data are out of reach or damaged, or a row cannot be read.
    """
    source, split = location.source, location.split
    remedy = _remedy(card, split)
    if isinstance(source, FileSource):
        rows: Placed = (placed for file in location.files for placed in read_file(file, source))
    elif isinstance(source, HubSource):
        rows = read_hub(source, split, card_path=card.path, where=location.text, remedy=remedy)
    elif isinstance(source, TfdsSource):
        rows = read_tfds(source, split, card_path=card.path, where=location.text, remedy=remedy)
    else:
        rows = read_python(source, split, card_path=card.path)
    return untemplate(rows, card.source.layout) if isinstance(card.source, TemplatedSource) else rows


def count_rows(location: Location) -> int | None:
    """Counts the rows of files without checking them; None where only `read_rows` tells: libraries, functions, cut splits."""
    source = location.source
    if not isinstance(source, FileSource) or location.part is not None:
        return None
    try:
        if isinstance(source, TemplatedSource):
            rows = (placed for file in location.files for placed in read_file(file, source))
            return sum(1 for _ in untemplate(rows, source.layout))
        return sum(count_file(file, source) for file in location.files)
    except (*DAMAGED, UserError, ValueError):  # ValueError: of pyarrow
        return None


def source_digest(card: Card, split: str, root: str | PathLike[str] | None = None) -> str | None:
    """Returns what tells one version of a split's data from another, or None if the data is not at hand.

    It is made of the files and of what the card says of reading them. Data of the hub count as not at hand: pin
    `source.revision` in the card to fix their version. Of a function only its own file is seen, not what it reads.
    """
    try:
        location = locate(card, split, root)
    except UserError:
        return None
    source = location.source
    options = card.source.reading_options() if card.source.templated else source.reading_options()
    files = location.files
    if isinstance(source, PythonSource):
        file = file_of_function(source.function, folder=card.path.parent)
        files, options = (file,) if file else (), {"function": source.function, "split": location.text}
    elif location.folder is not None:
        files = tuple(_files_in(location.folder))
        names = [str(path.relative_to(location.folder)) for path in files]
        options = {
            **options,
            "source": source.model_dump(mode="json", exclude={"obtain"}),
            "split": split,
            "names": names,
        }
    if not files:
        return None
    digests = []
    for path in files:
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError:  # whoever reads the rows says why
            return None
    if len(digests) == 1 and not options:
        return f"sha256:{digests[0]}"
    return "sha256:" + hashlib.sha256(json.dumps([options, digests], sort_keys=True).encode()).hexdigest()


def _remedy(card: Card, split: str) -> str:
    where = f"; the data are at {card.source.obtain}" if card.source.obtain else ""
    return (
        f"put {card.folder}/{split}.jsonl.gz into a folder and set data.root to it, "
        f"or get online and log in if the data set asks for it{where}"
    )


def _find_files(card: Card, source: FileSource, split: str, mirror: Path | None) -> tuple[Path, ...]:
    files: dict[Path, None] = {}
    for name in source.files_of_splits[split]:
        path = Path(os.path.normpath(card.path.parent / Path(name).expanduser()))
        if path.is_file():
            files[path] = None
            continue
        # Not Path.glob: it takes no absolute patterns.
        found = glob.glob(name, root_dir=card.path.parent, recursive=True)  # noqa: PTH207
        matches = [file for file in (card.path.parent / name for name in sorted(found)) if file.is_file()]
        if not matches:
            looked = f" (nor {mirror / card.folder / split}.jsonl[.gz])" if mirror is not None else ""
            get = f"; the data are at {source.obtain}" if source.obtain else ""
            raise UserError(f"{path}: no such file{looked}; it is source.{split} of {card.path}{get}")
        files.update(dict.fromkeys(Path(os.path.normpath(file)) for file in matches))
    return tuple(files)


def _files_in(folder: Path) -> Iterator[Path]:
    """Every file of a folder, in the order of their names, without those that hold no data: locks and hidden ones."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path
