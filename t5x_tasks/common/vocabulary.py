"""The vocabulary: a SentencePiece model with T5's ids, without TensorFlow.

Ids: 0 padding, 1 end of sequence, 2 unknown, the pieces, then 100 sentinels of which `<extra_id_0>` is the last: as in
T5 (Raffel et al. 2020, appendix on span corruption), in SeqIO with `extra_ids=100`, and in the Hugging Face tokenizers.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from t5x_tasks.common.errors import UserError, one_line
from t5x_tasks.common.hub import SCHEME, parse_hub_id, reason, skip_retries_if_unreachable

EXTRA_IDS = 100
DEFAULT = "hf://google/flan-t5-base"
UNKNOWN = "⁇"  # as which the unknown token reads
_SHOWN = 8  # characters that are named


def locate_vocabulary(source: str | PathLike[str]) -> Path:
    """Returns the file of a SentencePiece model: a file itself, a folder's `spiece.model`, that of
    `hf://owner/name` or `hf://owner/name@revision`.

    Raises:
      UserError: there is none, or the hub is out of reach.
    """
    if str(source).startswith(SCHEME):
        return _fetch(str(source))
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "spiece.model").is_file():
            raise UserError(
                f"{path}: no spiece.model in this folder; model.vocabulary names the file itself or its folder"
            )
        return path / "spiece.model"
    if not path.is_file():
        raise UserError(f"{path}: no such vocabulary; give a SentencePiece model, its folder, or hf://owner/name")
    return path


def _fetch(uri: str) -> Path:
    hub = parse_hub_id(uri)
    try:
        skip_retries_if_unreachable()
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(hub.repository, "spiece.model", revision=hub.revision))
    except Exception as error:  # no network, no such repository, no such file, no access
        raise UserError(
            f"{uri}: spiece.model cannot be fetched ({reason(error)}); get online, or set model.vocabulary to a local one"
        ) from error


class Vocabulary:
    """Texts to token ids and back.

    Attributes:
      path: file of the model.
      sha256: of that file, in hexadecimal.
      size: pieces and sentinels: 32,100 for T5. Models pad it further.
    """

    pad_id, eos_id, unk_id = 0, 1, 2

    def __init__(self, path: Path):
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2

        message: Any = sentencepiece_model_pb2  # its classes are made when it is imported
        self.path = path
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            model = message.ModelProto.FromString(content)
            num_pieces = len(model.pieces)
            for i in reversed(range(EXTRA_IDS)):
                user_defined = message.ModelProto.SentencePiece.USER_DEFINED
                model.pieces.add(piece=f"▁<extra_id_{i}>", score=0.0, type=user_defined)
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
        except Exception as error:  # protobuf's DecodeError, or SentencePiece's RuntimeError for an empty model
            raise UserError(f"{path}: not a SentencePiece model ({one_line(error, most=80)})") from error
        ids = (self._processor.pad_id(), self._processor.eos_id(), self._processor.unk_id())
        if ids != (self.pad_id, self.eos_id, self.unk_id):
            raise UserError(
                f"{path}: padding, end and unknown have the ids {ids}, T5 needs (0, 1, 2); "
                "train it with --pad_id=0 --eos_id=1 --unk_id=2 --bos_id=-1"
            )
        self.size = num_pieces + EXTRA_IDS

    @classmethod
    def load(cls, source: str | PathLike[str] = DEFAULT) -> "Vocabulary":
        """Loads a SentencePiece model; see `locate_vocabulary` for what `source` may be.

        Raises:
          UserError: not there, out of reach, not a SentencePiece model, or one with other ids for padding and end.
        """
        return cls(locate_vocabulary(source))

    def encode_batch(self, texts: Sequence[str], num_threads: int | None = None) -> list[np.ndarray]:
        """Returns the ids of each text, 1-D int32 without end of sequence."""
        return self._processor.EncodeAsNumpy(list(texts), num_threads=num_threads or num_cores())

    def unknown_characters(self, texts: Sequence[str], tokens: Sequence[np.ndarray]) -> Counter[str]:
        """Counts the characters, as SentencePiece normalises them, that the vocabulary lacks.

        Args:
          tokens: of each text, as `encode_batch` gives them; the end of sequence may be behind.
        """
        found: Counter[str] = Counter()
        for text, ids in zip(texts, tokens, strict=True):
            if self.unk_id in ids:
                pieces = self._processor.encode(text, out_type=str)
                lacking = (piece for piece, i in zip(pieces, ids, strict=False) if i == self.unk_id)
                found.update(char for piece in lacking for char in piece.strip("▁"))
        return found

    def spell(self, entries: Iterable[str | int], where: str) -> list[tuple[int, ...]]:
        """Returns the ids of each entry, a text as it is split at the start of a word, or the id of a token.

        Raises:
          UserError: an id or a text that the vocabulary does not have; it begins with `where`.
        """
        sequences = []
        for entry in entries:
            ids = (entry,) if isinstance(entry, int) else tuple(self.encode_batch([entry])[0].tolist())
            if not ids or any(not 0 <= i < self.size or i in (self.pad_id, self.eos_id, self.unk_id) for i in ids):
                raise UserError(
                    f"{where}: {entry!r} is no text that {self.path} can spell, nor the id of one of its tokens"
                )
            sequences.append(ids)
        return sequences

    def agrees_with(self, processor: Any) -> bool:
        """Tells whether another SentencePiece processor has the same pieces and scores, and with them the same tokens."""
        own, n = self._processor, self.size
        return processor.GetPieceSize() == n and all(
            own.IdToPiece(i) == processor.IdToPiece(i) and own.GetScore(i) == processor.GetScore(i) for i in range(n)
        )

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text up to the first end of sequence; padding is dropped, ids beyond the vocabulary are unknown."""
        kept: list[int] = []
        for token in map(int, ids):
            if token == self.eos_id:
                break
            if token != self.pad_id:
                kept.append(token if token < self.size else self.unk_id)
        return self._processor.decode(kept)


def shown_characters(counts: Counter[str]) -> str:
    """Returns `ü 412, € 160`: the most frequent ones; those without a shape as U+200B."""
    shown = [f"{char if char.isprintable() else f'U+{ord(char):04X}'} {n:,}" for char, n in counts.most_common(_SHOWN)]
    return ", ".join(shown) + f" and {len(counts) - _SHOWN} more" * (len(counts) > _SHOWN)


def num_cores() -> int:
    """Returns the processors that this process may use."""
    # What this process may use: in a container that is often less than the machine has. macOS cannot tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
