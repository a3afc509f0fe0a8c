"""Folders of data that somebody else wrote, and what they name in turn: files stay inside, code is TFDS's own.

A card is the user's, and may name any file or folder of this machine. A folder of data is downloaded: its README, the notes of
`save_to_disk` and TFDS's JSON are input, which the libraries behind them would follow anywhere.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.located_yaml import NotYaml, parse

_TFDS = "tensorflow_datasets."
_TFDS_NAME = re.compile(r"\w+(/[\w+.-]+)?(:[\d*]+(\.[\d*]+){2})?")
_FRONT_MATTER = re.compile(r"\s*---[\r\n]+(.*?)[\r\n]+---[ \t]*([\r\n]|$)", re.DOTALL)  # as huggingface_hub finds it


def check_inside(files: Iterable[str], folder: Path) -> None:
    """Raises UserError if a file of a folder is, or as a link leads, outside it."""
    root = folder.resolve()
    if root.parent.name == "snapshots":  # of the hub's own cache, whose files are links into its blobs
        root = root.parent.parent
    for file in files:
        name = file.rpartition("::")[2]  # of the archive in `zip://train.csv::data.zip`
        if "://" in name or not (folder / name).resolve().is_relative_to(root):
            raise UserError(
                f"{folder}: names {name}, which is outside the folder; copy it there, or name it in the card"
            )


def check_hub_files(files: Iterable[str]) -> None:
    """Raises UserError if a data set of the hub names a file of this machine."""
    for file in files:
        scheme, separator, _ = file.rpartition("::")[2].partition("://")
        if not separator or scheme in ("file", "local"):
            raise UserError(f"the data set names {file}, a file of this machine")


def check_front_matter(folder: Path) -> None:
    """Reads what says how a hub-layout folder is laid out, before a library does.

    Raises:
      UserError: it is no YAML that we would read, or names files by an absolute path, a URL or `..`.
    """
    for name in ("README.md", ".huggingface.yaml"):
        path = folder / name
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if name == "README.md":
            found = _FRONT_MATTER.match(text)
            text = found[1] if found else ""
        try:
            values, _ = parse(text)
        except NotYaml as error:
            line = f":{error.line + (name == 'README.md')}" if error.line else ""
            raise UserError(f"{path}{line}: not valid YAML ({error})") from None
        configs = values.get("configs") if isinstance(values, dict) else None
        for pattern in _patterns(configs):
            if re.search(r"^[/~]|::|://|(^|/)\.\.(/|$)", pattern.replace("\\", "/")):
                raise UserError(f"{path}: configs: {pattern} is outside the folder; its data files must be in it")


def _patterns(value: Any, *, names_files: bool = False) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _patterns(item, names_files=names_files or key in ("data_files", "data_dir"))
    elif isinstance(value, list):
        for item in value:
            yield from _patterns(item, names_files=names_files)
    elif isinstance(value, str) and names_files:
        yield value


def check_tfds_name(name: str, where: str) -> None:
    """Raises UserError for a name with a namespace, whose code TFDS fetches and runs, or with arguments."""
    if not _TFDS_NAME.fullmatch(name):
        raise UserError(
            f"{where}: {name} is neither a prepared folder nor NAME, NAME/CONFIG or NAME:1.2.3 of TFDS's own"
        )


@contextlib.contextmanager
def own_features_only(tfds: Any) -> Iterator[None]:
    """Within it TFDS makes no feature of a class that is not its own: it would import the module that features.json names.

    Raises:
      UserError: of such a class.
    """
    connector = tfds.features.FeatureConnector
    original, resolve = connector.__dict__["cls_from_name"], connector.cls_from_name

    def checked(name: str) -> type:
        if not name.startswith(_TFDS):
            raise UserError(f"a feature of class {name}, which is not TFDS's own; its code is not run")
        return resolve(name)

    connector.cls_from_name = staticmethod(checked)
    try:
        yield
    finally:
        connector.cls_from_name = original
