"""Final answers of reasoning: what stands after `The answer is` or `####`, as a number, an option's letter or a text.

The habit of GSM8K (Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021) and of chain-of-thought prompting
(Wei et al. 2022).
"""

import re
from collections.abc import Sequence
from decimal import Decimal, DecimalException
from typing import NamedTuple, TypeAlias

import numpy as np

from t5x_tasks.errors import UserError
from t5x_tasks.metrics.accuracy import normalize_label
from t5x_tasks.metrics.pooled import check_rows

_MARKER = re.compile(r"####|\banswer\s++is\b(?:\s*+:)?|\banswer\s*+:", re.IGNORECASE)
# 1,234.50 and $5 and -3 % and 1/2; a minus after a word or number, or before a space, is none of the number's
_NUMBER = re.compile(
    r"(?P<minus>(?<![\w.)])[-−])?(?:[$€£¥]\s?(?P<minus2>[-−])?)?"
    r"(?P<digits>(?:\d++(?:,\d{3}(?!\d))*+)?\.\d++|\d++(?:,\d{3}(?!\d))*+)(?:/(?P<divisor>\d++))?\s?%?"
)
_OPTION = re.compile(r"\(([A-Za-z])\)")
_BARE_OPTION = re.compile(r"\s*([A-Za-z])\s*(?:[.):,]|$)")
_SENTENCE_END = re.compile(r"[.!?]\s")

Answer: TypeAlias = Decimal | tuple[str, str]  # a number, ("option", letter) or ("text", label)


class _Extract(NamedTuple):
    text: str
    marked: bool  # a marker stood before it


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return (
        "own implementation 1: what follows the last `answer is`, `answer:` or `####` (its first number or option), else the "
        "whole text (its last number or option); numbers by value without , $ %, options by letter, other answers as labels; "
        "accuracy and no_answer (lower is better) in %"
    )


def final_answer(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Scores the answers at the end of rationales.

    What a reference is decides how it is compared: a number with numbers by value (`$1,200.00` is `1200`), an option `(B)` or
    `B` with options by letter, another text as a label (case, white space and punctuation around it aside).

    Returns:
      `accuracy` in percent, [rows]: against any of the references. `no_answer` in percent, [rows]: predictions in which no
      number (option, text) can be found though some reference is one; they are wrong.

    Raises:
      UserError: a reference has no answer.
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    check_rows(predictions, references)
    correct, missing = np.zeros(len(predictions)), np.zeros(len(predictions))
    for row, (prediction, texts) in enumerate(zip(predictions, references, strict=True)):
        rights = [_reference(text, row) for text in texts]
        found = [_answers(prediction, right) for right in rights]
        correct[row] = 100.0 * any(right in answers for right, answers in zip(rights, found, strict=True))
        missing[row] = 100.0 * (not any(found))
    return {"accuracy": correct, "no_answer": missing}


def extract_answer(text: str) -> str:
    """Returns the line after the last `answer is`, `answer:` or `####`, and without one of these the whole text; stripped."""
    return _extract(text).text


def _extract(text: str) -> _Extract:
    end = max((found.end() for found in _MARKER.finditer(text)), default=None)
    if end is None:
        return _Extract(text.strip(), marked=False)
    return _Extract(text[end:].strip().partition("\n")[0].strip(), marked=True)


def _reference(text: str, row: int) -> Answer:
    answer = extract_answer(text)
    if not answer:
        raise UserError(
            f"metrics: final_answer: row {row} (from 0): the reference {text!r:.80} has no answer; give the field that holds it"
        )
    bare = answer.rstrip(".")
    if (number := _NUMBER.fullmatch(bare)) and (amount := _amount(number)) is not None:
        return amount
    if option := _OPTION.match(bare) or re.fullmatch(r"([A-Z])\)?", bare):
        return "option", option[1].upper()
    return "text", normalize_label(answer)


def _answers(prediction: str, reference: Answer) -> Sequence[Answer]:
    """What the prediction can be taken to answer, of the reference's kind; nothing if there is no answer of that kind."""
    answer, marked = _extract(prediction)
    if isinstance(reference, Decimal):
        amounts = [amount for found in _NUMBER.finditer(answer) if (amount := _amount(found)) is not None]
        return amounts[:1] if marked else amounts[-1:]
    kind, _ = reference
    if kind == "option":
        letters = _BARE_OPTION.match(answer)
        named = [letters[1]] if letters else _OPTION.findall(answer)
        return [("option", letter.upper()) for letter in (named[:1] if marked else named[-1:])]
    said = [answer, _SENTENCE_END.split(answer, maxsplit=1)[0]] if marked else [answer]
    return [("text", normalize_label(text)) for text in said if text]


def _amount(found: re.Match[str]) -> Decimal | None:
    try:
        amount = Decimal(found["digits"].replace(",", ""))
        if found["divisor"]:
            amount /= Decimal(found["divisor"])
    except DecimalException:  # divided by zero, or larger than decimals can be
        return None
    return amount.copy_negate() if found["minus"] or found["minus2"] else amount  # `-amount` would round to 28 digits
