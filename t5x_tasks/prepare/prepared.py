"""The request to prepare data, and its result."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from t5x_tasks.cache import CachedSplit
from t5x_tasks.prepare.data_config import Lengths


class Data(Protocol):
    """The part of `configuration.DataConfig` that preparing needs."""

    @property
    def cards(self) -> tuple[str, ...]: ...
    @property
    def root(self) -> str | None: ...
    @property
    def lengths(self) -> Lengths | Literal["auto"]: ...
    @property
    def dedupe(self) -> bool: ...
    @property
    def skip_missing(self) -> bool: ...
    @property
    def modules(self) -> tuple[str, ...]: ...
    def cache_folder(self) -> Path: ...


@dataclass(frozen=True)
class Prepared:
    """A prepared task and split: `open()` gives its tokens.

    Attributes:
      task: dialogsum.t00.
      dataset: what its examples are drawn from: dialogsum, or dialogsum.inverted.
      variant: t00.
      split: train, validation or test.
      folder: of the cache.
      rate: of a plain SeqIO task in its mixture: how many of its examples stand for how many of the others'. None where
        the catalog says so.
    """

    task: str
    dataset: str
    variant: str
    split: str
    folder: Path
    rate: float | None = None

    def open(self) -> CachedSplit:
        return CachedSplit.open(self.folder)
