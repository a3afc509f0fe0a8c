"""A model's answers in a file, kept batch by batch, so that a kill at any moment costs no more than the batch in work.

The file's first line is a fingerprint of all that the answers depend on: weights, decoding, inputs, devices. Each further
line is a finished batch, written at once. A last line that a kill cut off is cut away; with another fingerprint
everything is. Since batches are always cut alike and come in one order, the file has the same bytes whether decoding
was killed or not.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t5x_tasks.common.output import naming
from t5x_tasks.common.vocabulary import Vocabulary
from train.log import say

if TYPE_CHECKING:
    from eval.decoding.decoder import Decoder


@dataclass(frozen=True)
class Answer:
    """Of one example.

    Attributes:
      texts: one, or as many as were sampled.
      ended: the (first) one came to its end within `max_tokens`.
    """

    texts: list[str]
    ended: bool


class AnswerFile:
    """The answers of one model to one list of inputs: `answers[index]`.

    Raises:
      OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any], *, writes: bool = True):
        """`writes`: of several hosts only one does; the others read what is done already."""
        self.path, self._writes = path, writes
        self._head = json.dumps({"fingerprint": digest(fingerprint)}).encode() + b"\n"
        self.answers: dict[int, Answer] = {}
        whole = self._read()
        if writes:
            path.parent.mkdir(parents=True, exist_ok=True)
            with naming(path), path.open("r+b" if whole else "wb") as file:
                file.truncate(whole)
                if not whole:
                    file.write(self._head)

    def append(self, answers: Mapping[int, Answer]) -> None:
        """Adds a finished batch."""
        self.answers |= answers
        if self._writes:
            line = json.dumps({i: [a.texts, a.ended] for i, a in answers.items()}, ensure_ascii=False)
            with naming(self.path), self.path.open("ab") as file:
                file.write(line.encode() + b"\n")

    def _read(self) -> int:
        """Reads what is there; returns the length of what is whole, in bytes."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        lines = content.splitlines(keepends=True)
        if not lines or lines[0] != self._head:
            return 0
        whole = len(lines[0])
        for number, line in enumerate(lines[1:], 2):
            if not line.endswith(b"\n"):
                break
            try:
                batch = {int(i): _checked(*answer) for i, answer in json.loads(line).items()}
            except (
                ValueError,
                TypeError,
                AttributeError,
                RecursionError,
            ):  # a machine that went down leaves anything behind
                say(f"{self.path}: line {number} is damaged; what follows is decoded again")
                break
            self.answers |= batch
            whole += len(line)
        return whole


def _checked(texts: Any, ended: Any) -> Answer:
    """TypeError: no answer."""
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts) or not isinstance(ended, bool):
        raise TypeError
    return Answer(texts, ended)


def answer(
    decoder: "Decoder",
    params: Any,
    inputs: Sequence[np.ndarray],
    ids: Sequence[str],
    *,
    vocabulary: Vocabulary,
    file: AnswerFile,
    report: Callable[[int], None],
) -> list[Answer]:
    """Decodes what `file` lacks, into it, and returns all answers in the order of the inputs.

    `report` is called with the number of answers there are, after each batch.
    """
    for batch in decoder.stream(params, inputs, ids=ids, done=file.answers.keys()):
        file.append(
            {
                index: Answer([vocabulary.decode(tokens) for tokens in outputs], _ended(outputs[0], vocabulary))
                for index, outputs in zip(batch.indices, batch.outputs, strict=True)
            }
        )
        report(len(file.answers))
    return [file.answers[index] for index in range(len(inputs))]


def _ended(tokens: np.ndarray, vocabulary: Vocabulary) -> bool:
    return len(tokens) > 0 and int(tokens[-1]) == vocabulary.eos_id


def digest(value: Mapping[str, Any]) -> str:
    """A hash of JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def inputs_digest(inputs: Sequence[np.ndarray], ids: Sequence[str]) -> str:
    """A hash of token ids and the examples' ids."""
    hashed = hashlib.sha256(json.dumps(list(ids)).encode())
    for tokens in inputs:
        hashed.update(np.int64(len(tokens)).tobytes() + np.asarray(tokens, np.int32).tobytes())
    return hashed.hexdigest()
