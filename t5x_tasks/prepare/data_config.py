"""The section `data` of a run's configuration: the data to learn from, and their layout in batches."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from t5x_tasks.common.config_files import Folder, OneLine, Section, check_folder
from t5x_tasks.common.errors import UserError

# Tokens of a row's side. Attention costs the square of it, so a longer one is a mistake more often than a wish; and T5 tells no
# distances above 128 apart.
MAX_LENGTH = 4096


class Lengths(Section):
    """Length of a packed row, in tokens, on the encoder's and on the decoder's side."""

    inputs: int = Field(default=512, ge=8, le=MAX_LENGTH, description="tokens of a row on the encoder's side")
    targets: int = Field(default=128, ge=8, le=MAX_LENGTH, description="tokens of a row on the decoder's side")


class DataConfig(Section):
    """The data to learn from, and their layout in batches."""

    mixture: str = Field(default="support_chats", description="any task or mixture that is registered")
    cards: tuple[OneLine, ...] = Field(default=(), description="more cards of the user's: files or folders")
    root: Folder | None = Field(
        default=None, description="folder that mirrors data sets: ROOT/<dataset>/<split>.jsonl[.gz]"
    )
    lengths: Lengths | Literal["auto"] = Field(
        default=Lengths(), description="tokens of a row; `auto`: chosen by the lengths of the data"
    )
    pack: bool = Field(default=True, description="put several examples into one row")
    rate_cap: int | None = Field(
        default=None, ge=1, description="examples a data set brings to one epoch of the mixture, at most"
    )
    dedupe: bool = Field(
        default=False,
        description="leave rows out of training whose inputs are in another split too (also a card's key)",
    )
    skip_missing: bool = Field(
        default=False, description="train a mixture without the data sets that are out of reach, and say so"
    )
    modules: tuple[OneLine, ...] = Field(
        default=(), description="Python files or modules that add plain SeqIO tasks and mixtures"
    )
    cache: Folder | None = Field(
        default=None, description="folder of prepared tokens; $FLAN_T5X_CACHE or ~/.cache/flan-t5x"
    )

    def cache_folder(self) -> Path:
        """Where prepared tokens are.

        Raises:
          UserError: $FLAN_T5X_CACHE is a URL, or no folder is named and the user has no home.
        """
        folder = self.cache or os.environ.get("FLAN_T5X_CACHE") or "~/.cache/flan-t5x"
        try:
            return Path(check_folder(folder)).expanduser()
        except ValueError as error:
            raise UserError(f"FLAN_T5X_CACHE: {error}") from None
        except RuntimeError:
            raise UserError(
                f"data.cache: there is no home folder for {folder}; name a folder by data.cache or $FLAN_T5X_CACHE, or set HOME"
            ) from None
