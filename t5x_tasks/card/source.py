"""The models of a card's `source:`, one for each `type`."""

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from t5x_tasks.common.config_files import Section
from t5x_tasks.common.functions import refuse_standard

SPLITS = ("train", "validation", "test")
Split = Literal["train", "validation", "test"]
Text = Annotated[str, StringConstraints(min_length=1)]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _as_mapping(value: Any) -> Any:
    """A list of names; anything else is pydantic's to refuse."""
    names = isinstance(value, list | tuple) and all(isinstance(split, str) for split in value)
    return {split: split for split in value} if names else value


# One file, a glob, or a list of both.
Files = Annotated[
    tuple[Text, ...],
    BeforeValidator(_as_tuple),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
# Splits as the card calls them -> as the library does: `[train, test]`, or `{validation: dev_r1}`.
SplitNames = Annotated[
    dict[Split, Text],
    BeforeValidator(_as_mapping),
    Field(min_length=1),
    WithJsonSchema(
        {
            "type": ["array", "object"],
            "items": {"enum": list(SPLITS)},
            "propertyNames": {"enum": list(SPLITS)},
            "additionalProperties": {"type": "string"},
        }
    ),
]
ALL_SPLITS: dict[Split, str] = {"train": "train", "validation": "validation", "test": "test"}


class BaseSource(Section):
    """The keys that all sources have."""

    obtain: str = Field(
        default="", description="where a person gets the data, for the error that says they are missing"
    )

    templated: ClassVar[bool] = False  # by others: says nothing about paraphrases, so no statistics of them

    @property
    @abstractmethod
    def named_splits(self) -> dict[str, Any]:
        """Split -> what the source says of it."""

    @property
    def split_names(self) -> tuple[str, ...]:
        return tuple(self.named_splits)

    def reading_options(self) -> dict[str, Any]:
        """The keys that change which rows the same files give."""
        return {}


class SplitsSource(BaseSource):
    """A source that has its splits by name."""

    splits: SplitNames = Field(
        default=ALL_SPLITS,
        description="splits that the data set has: a list, or `{validation: dev_r1}` for those of other names",
    )

    @property
    def named_splits(self) -> dict[str, Any]:
        return {**self.splits}


class FileSource(BaseSource):
    """Files beside the card: each split is one file, a glob (`train/*.jsonl`, sorted by name) or a list of both.

    Plain or compressed: .gz, .bz2, .xz or .zst.
    """

    train: Files = Field(default=(), description="files of the training split")
    validation: Files = Field(default=(), description="files of the validation split")
    test: Files = Field(default=(), description="files of the test split")

    @model_validator(mode="after")
    def _has_splits(self) -> "FileSource":
        if not self.named_splits:
            raise ValueError("source: names no split; add train: FILE")
        return self

    @property
    def named_splits(self) -> dict[str, Any]:
        return self.files_of_splits

    @property
    def files_of_splits(self) -> dict[str, Files]:
        return {split: getattr(self, split) for split in SPLITS if getattr(self, split)}


class JsonlSource(FileSource):
    """JSON Lines: one object a line, UTF-8."""

    type: Literal["jsonl"] = Field(description="which source this is")


class CsvSource(FileSource):
    """Comma- or tab-separated values, UTF-8, with a header unless `columns` names the columns."""

    type: Literal["csv", "tsv"] = Field(description="which source this is")
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = Field(
        default=None, description="one character; null: comma for csv, tab for tsv"
    )
    columns: tuple[Text, ...] = Field(default=(), description="names of the columns of files without a header")
    quoting: Literal["double", "none"] = Field(
        default="double", description='`double` undoes `""`; with `none` a quotation mark is a character like others'
    )

    def reading_options(self) -> dict[str, Any]:
        return self.model_dump(mode="json", include={"type", "delimiter", "columns", "quoting"})


class ParquetSource(FileSource):
    """Parquet files, read batch by batch."""

    type: Literal["parquet"] = Field(description="which source this is")


class HubSource(SplitsSource):
    """A data set of the Hugging Face hub, a local folder laid out like one, or one that `save_to_disk` wrote."""

    type: Literal["hub"] = Field(description="which source this is")
    path: Text = Field(description="id on the hub, or a folder relative to the card")
    name: str | None = Field(default=None, description="configuration of the data set: `rte` of `nyu-mll/glue`")
    revision: str | None = Field(
        default=None,
        description="commit (40 hexadecimal digits), which pins what is read, or a branch or tag, which can move",
    )
    streaming: bool = Field(
        default=False, description="fetch rows while they are used, for data that do not fit on the disk"
    )

    @property
    def is_pinned(self) -> bool:
        return re.fullmatch("[0-9a-f]{40}", self.revision or "") is not None


class TfdsSource(SplitsSource):
    """A TensorFlow Datasets data set."""

    type: Literal["tfds"] = Field(description="which source this is")
    name: Text = Field(
        description="`glue/rte:2.0.0`, or a prepared folder relative to the card (the one with dataset_info.json)"
    )
    data_dir: str | None = Field(
        default=None, description="folder of prepared data sets, relative to the card; null: the library's own"
    )


def _function(text: str) -> str:
    if not re.fullmatch(r"[^:]+:[A-Za-z_]\w*", text):
        raise ValueError(f"must be package.module:function or file.py:function, not {text!r:.80}")
    refuse_standard(text, key="function")
    return text


class PythonSource(BaseSource):
    """A function of the user's that is called with `split=` and gives dicts."""

    type: Literal["python"] = Field(description="which source this is")
    function: Annotated[str, AfterValidator(_function)] = Field(
        description="`package.module:function`, or `file.py:function` with the file beside the card"
    )
    splits: SplitNames = Field(description="splits that the function knows")

    @property
    def named_splits(self) -> dict[str, Any]:
        return {**self.splits}


class TemplatedSource(FileSource):
    """A collection whose rows are templated already, from files or from the hub.

    Its rows become `inputs` and `targets` (with `references`, where an instance has several right answers), beside the
    columns that they had. The files are Parquet, CSV, TSV or JSON Lines, by their name; SuperNI's task files are JSON.
    """

    type: Literal["templated"] = Field(description="which source this is")
    layout: Literal["flan", "p3", "superni"] = Field(
        description="flan: columns `inputs`, `targets`; p3: `inputs_pretokenized`, `targets_pretokenized`; superni: task files "
        "with `Definition` and `Instances`, or rows with `definition`, `inputs`, `targets`"
    )
    path: Text | None = Field(default=None, description="id on the hub, in place of files")
    name: str | None = Field(default=None, description="as in a hub source")
    revision: str | None = Field(default=None, description="as in a hub source")
    splits: SplitNames = Field(default=ALL_SPLITS, description="as in a hub source")
    streaming: bool = Field(default=False, description="as in a hub source")
    templated: ClassVar[bool] = True

    @model_validator(mode="after")
    def _is_either(self) -> "TemplatedSource":
        of_hub = self.model_fields_set & {"name", "revision", "splits", "streaming"}
        if self.path and self.files_of_splits:
            raise ValueError("source: path and files: give a data set of the hub or files, not both")
        if of_hub and not self.path:
            raise ValueError(f"source: {min(of_hub)} goes with path, an id of the hub; give that, too")
        return self

    @property
    def hub(self) -> HubSource | None:
        """The hub source that the rows come from; None if they come from files."""
        if self.path is None:
            return None
        keys = {"path", "name", "revision", "splits", "streaming", "obtain"}
        return HubSource(type="hub", **self.model_dump(include=keys))

    @property
    def named_splits(self) -> dict[str, Any]:
        return {**self.splits} if self.path else self.files_of_splits

    def reading_options(self) -> dict[str, Any]:
        return {"layout": self.layout}


# To be discriminated by `type`.
Source = JsonlSource | CsvSource | ParquetSource | HubSource | TfdsSource | PythonSource | TemplatedSource
_MODELS: dict[str, type[BaseSource]] = {
    name: model for model in get_args(Source) for name in get_args(model.model_fields["type"].annotation)
}


def known_source_keys(loc: Sequence[Any]) -> list[str]:
    """Returns the keys of the model that an error is about; pydantic puts the source's type into the error's place."""
    model = next((_MODELS[part] for part in loc if part in _MODELS), None)
    return list(model.model_fields) if model else []
