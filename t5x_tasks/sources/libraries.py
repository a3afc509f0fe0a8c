"""Rows that others' code holds: the Hugging Face hub, TensorFlow Datasets, a function of the user's.

The readers yield (place, row) as those of files do. Their libraries are imported when they are used.
"""

import contextlib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from t5x_tasks.card.source import HubSource, PythonSource, TfdsSource
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.functions import describe_exception, load_function
from t5x_tasks.common.hub import reason, skip_retries_if_unreachable
from t5x_tasks.common.values import shown
from t5x_tasks.sources.files import Placed
from t5x_tasks.sources.folders import (
    check_front_matter,
    check_hub_files,
    check_inside,
    check_tfds_name,
    own_features_only,
)

_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


def read_hub(source: HubSource, split: str, *, card_path: Path, where: str, remedy: str) -> Placed:
    """Yields (place, row) of a data set of the hub, or of a local folder.

    Args:
      source: the card's.
      split: as the card calls it.
      card_path: the card's file; local folders are relative to it.
      where: begins every error.
      remedy: ends the error of a data set out of reach: how else to get the data.

    Raises:
      UserError: no such data set or split, out of reach, or a row cannot be read.
    """
    local = card_path.parent / source.path
    is_local = local.is_dir()
    if not is_local and not _HUB_ID.match(source.path):
        raise UserError(
            f"{card_path}: source.path: {source.path} is neither a folder nor an id of the hub (owner/name)"
        )
    number = 0
    try:
        if not is_local:
            skip_retries_if_unreachable()
        with tempfile.TemporaryDirectory() as scratch:
            for row in _load_hub(source, split, local if is_local else None, scratch):
                yield f"{where}: row {number}", dict(row)
                number += 1
    except UserError:
        raise
    except Exception as error:  # of many libraries: no network, no such data set, no such split, no access, bad files
        from_row = f" from row {number} on" if number else ""
        raise UserError(f"{where}: split {split} cannot be read{from_row} ({reason(error)}); {remedy}") from error


def _load_hub(source: HubSource, split: str, local: Path | None, scratch: str) -> Iterable[Any]:
    import datasets  # a second and more
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    theirs = source.named_splits[split]
    if local is not None and any((local / name).is_file() for name in ("dataset_dict.json", "state.json")):
        loaded: Any = datasets.load_from_disk(str(local))
        several = isinstance(loaded, datasets.DatasetDict)
        opened = [file for files in loaded.cache_files.values() for file in files] if several else loaded.cache_files
        check_inside([file["filename"] for file in opened], local)
        if several:
            if theirs not in loaded:
                raise ValueError(f"{local} has no split {theirs}; it has {', '.join(map(str, loaded))}")
            return loaded[theirs]
        if len(source.splits) > 1 and str(loaded.split) != theirs:
            raise ValueError(f"{local} is one split, {loaded.split}; say splits: [{split}]")
        return loaded
    # As datasets.load_dataset, but that the files are looked at before they are read.
    if local is not None:
        # The library keeps what it learned of a folder, and takes another one of the same name and layout for it: so it
        # reads the files themselves, and its notes go to a folder that is thrown away.
        check_front_matter(local)
        builder = datasets.load_dataset_builder(str(local), source.name, cache_dir=scratch)
        check_inside(_data_files(builder), local)
        return builder.as_streaming_dataset(split=theirs)
    builder = datasets.load_dataset_builder(source.path, source.name, revision=source.revision)
    check_hub_files(_data_files(builder))
    if source.streaming:
        return builder.as_streaming_dataset(split=theirs)
    builder.download_and_prepare()
    return builder.as_dataset(split=theirs)


def _data_files(builder: Any) -> list[str]:
    """The files that a builder of the library `datasets` is going to read, of all splits."""
    return [str(file) for files in (builder.config.data_files or {}).values() for file in files]


def tfds_folder(source: TfdsSource, card_path: Path) -> Path | None:
    """Returns the folder of a data set that is prepared in a place that the card names, or None."""
    own = card_path.parent / source.name
    if (own / "dataset_info.json").is_file():
        return own
    if source.data_dir is None:
        return None
    name, _, version = source.name.partition(":")
    folder = card_path.parent / Path(source.data_dir).expanduser() / name / version
    return folder if folder.is_dir() else None


def read_tfds(source: TfdsSource, split: str, *, card_path: Path, where: str, remedy: str) -> Placed:
    """Yields (place, row) of a TFDS data set; bytes become text, arrays lists. See `read_hub`.

    Prepares the data set if the library knows it and it is not there. TensorFlow is imported for TFRecord files alone;
    ArrayRecord is read without it.
    """
    if not (card_path.parent / source.name / "dataset_info.json").is_file():
        check_tfds_name(source.name, f"{card_path}: source.name")
    number = 0
    try:
        for row in _load_tfds(source, split, card_path):
            yield f"{where}: row {number}", plain(row)
            number += 1
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except ModuleNotFoundError as error:
        raise UserError(f"{where}: {error}; pip install {error.name}") from error
    except Exception as error:  # as of the hub
        from_row = f" from row {number} on" if number else ""
        raise UserError(f"{where}: split {split} cannot be read{from_row} ({reason(error)}); {remedy}") from error


def _load_tfds(source: TfdsSource, split: str, card_path: Path) -> Iterator[Any]:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    own = card_path.parent / source.name
    with own_features_only(tfds):
        if (own / "dataset_info.json").is_file():
            builder: Any = tfds.builder_from_directory(own)
        else:
            data_dir = None if source.data_dir is None else card_path.parent / Path(source.data_dir).expanduser()
            builder = tfds.builder(source.name, data_dir=data_dir)
        if not builder.is_prepared():
            with contextlib.redirect_stdout(sys.stderr):  # what a command prints is its own
                builder.download_and_prepare()
    if (folder := tfds_folder(source, card_path)) is not None:
        check_inside([str(path) for split in builder.info.splits.values() for path in split.filepaths], folder)
    theirs = source.named_splits[split]
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        data: Any = builder.as_data_source(split=theirs)
        yield from (data[i] for i in range(len(data)))
        return
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # raised when TensorFlow is in use already
        tf.config.set_visible_devices([], "GPU")  # or it takes all the memory that JAX is to train in
    yield from tfds.as_numpy(builder.as_dataset(split=theirs, shuffle_files=False))


def plain(value: Any) -> Any:
    """Turns what NumPy and TFDS give into what JSON would: text, numbers, lists, dicts. Bytes that are no UTF-8 stay."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return plain(value.tolist())
    return value


def read_python(source: PythonSource, split: str, *, card_path: Path) -> Placed:
    """Yields (place, row) of what a function of the user's gives for a split.

    Raises:
      UserError: the function is not there or fails, or gives something else than dicts; names the function and the row.
    """
    function = load_function(source.function, folder=card_path.parent, where=f"{card_path}: source.function")
    theirs = source.named_splits[split]
    where = f"{source.function}(split={theirs!r})"
    number = 0
    try:
        for row in function(split=theirs):
            if not isinstance(row, Mapping):
                raise UserError(f"{where}: row {number}: must be a dict, not {type(row).__name__} {shown(row)}")
            yield f"{where}: row {number}", dict(row)
            number += 1
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{where}: row {number}: {describe_exception(error)}") from error
