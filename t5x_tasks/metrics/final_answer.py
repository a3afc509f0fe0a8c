"""Final answers of reasoning: what stands after `The answer is` or `####`, as a number, an option's letter or a text.

The habit of GSM8K (Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021) and of chain-of-thought prompting
(Wei et al. 2022).
"""

import re
from collections.abc import Sequence
from decimal import Decimal, DecimalException
from typing import NamedTuple, TypeAlias

import numpy as np

from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.accuracy import normalize_label
from t5x_tasks.metrics.pooled import check_rows

LOWER_IS_BETTER = frozenset({"no_answer"})

_MARKER = re.compile(
    r"####|\banswer\s++(?:is|(?:would|will|should|must)\s++be)\b(?:\s*+:)?|\banswer\s*+[:=]"
    r"|\b(?:correct|right)\s++(?:option|choice)\s++is\b(?:\s*+:)?",
    re.IGNORECASE,
)
_NEXT_QUESTION = re.compile(r"(?<=[.!?\n])\s*+(?:Q|Question|Problem)\s?\d{0,3}\s?:", re.IGNORECASE)
_ASKS = re.compile(r"\b(?:how|what|which|who|where|when|why)\b(?:[^.!?\n]|\.\d){0,300}\?", re.IGNORECASE)
# 1,234.50 and 1 000 and $5 and -3 % and 1/2 and 2 1/2; a minus after a word or number, or before a space, is none of the number's
_WHOLE = r"(?:(?<![\d.,])\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3}(?!\d))++|\d++(?:,\d{3}(?!\d))*+)"
_NUMBER = re.compile(
    r"(?P<minus>(?<![\w.)])[-−])?(?:[$€£¥]\s?(?P<minus2>[-−])?)?(?:(?P<units>(?<![\d.,])\d{1,4}) (?=\d{1,3}/\d))?"
    rf"(?P<digits>{_WHOLE}?(?<![A-Za-z])\.\d++|{_WHOLE})(?:/(?P<divisor>\d++))?\s?%?"
)
# where a minus before a space is the number's all the same: the answer begins with it, or it follows `=` or `is`
_AMOUNT_FOLLOWS = r"(?=(?:[$€£¥]\s?)?\.?\d)"
_FIRST_MINUS = re.compile(rf"\A([ \t]*)(?:[-−]|minus\b)[ \t]*{_AMOUNT_FOLLOWS}", re.IGNORECASE)
_MINUS = re.compile(
    rf"((?:=|\bis)[ \t]*)(?:[-−]|minus\b)[ \t]*{_AMOUNT_FOLLOWS}|\bnegative[ \t]+{_AMOUNT_FOLLOWS}", re.IGNORECASE
)
_NOT = re.compile(r"\bnot\s+\Z", re.IGNORECASE)
# `5 apples * 3 = 15`: what follows a number that is reckoned with, and what the result follows
_OPERATOR = re.compile(
    r"[ \t]*(?:[A-Za-z]{1,30}[ \t]+){0,2}?(?:[-−+*/×÷x]|of\b|times\b|plus\b|minus\b|divided\s+by\b)[ \t]*[($€£¥]*\d",
    re.IGNORECASE,
)
_EQUALS = re.compile(r"=|≈|\bequals\b|\bis\b", re.IGNORECASE)
_OPTION = re.compile(
    r"(?<!\w)[(\[]([A-Za-z])[)\]]|\{([A-Za-z])\}|\b(?i:option|choice|letter)\s+([A-HJ-Za-hj-z])\b(?!['’])"
)
_BARE_OPTION = re.compile(r"[\s*_]*([A-Za-z])\s*(?:[.):,*_]|$)")
_MARKED_OPTION = re.compile(r"[\s*_]*(?:([B-HJ-Z])\b(?!['’])|([A-Za-z])\s+(?:because|since|as|is)\b)")
_SENTENCE_END = re.compile(r"[.!?]\s")

Answer: TypeAlias = Decimal | tuple[str, str]  # a number, ("option", letter) or ("text", label)


class _Extract(NamedTuple):
    text: str
    marked: bool  # a marker stood before it


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return (
        "own implementation 2: what follows the last `answer is`, `answer:` or `####` before a further question (its first "
        "number or option, the result of what is reckoned there), else the whole text (its last number or option); numbers by "
        "value without , $ %, options by letter, other answers as labels; accuracy and no_answer (lower is better) in %"
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


def same_answers(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether references are the same right answers, one with its rationale and the other without, say.

    Raises:
      UserError: a reference has no answer.
    """
    return {_reference(text, 0) for text in first} == {_reference(text, 0) for text in second}


def extract_answer(text: str) -> str:
    """Returns the line after the last `answer is`, `answer:` or `####`, and without one of these the whole text; stripped.

    Not of a further question that a model asked itself: a labelled one (`Q:`), or between two such markers one with a question
    word (`How many are left?`).
    """
    return _extract(text).text


def _extract(text: str) -> _Extract:
    end = None
    for found in _MARKER.finditer(text):
        if end is not None and any(asked.search(text, end, found.start()) for asked in (_NEXT_QUESTION, _ASKS)):
            break
        end = found.end()
    if end is None:
        return _Extract(_NEXT_QUESTION.split(text.strip(), maxsplit=1)[0].strip(), marked=False)
    after = _FIRST_MINUS.sub(r"\1-", text[end:])  # on the marker's line: on the next one it is a list's
    return _Extract(after.strip().partition("\n")[0].strip(), marked=True)


def _reference(text: str, row: int) -> Answer:
    answer = extract_answer(text)
    if not answer:
        raise UserError(
            f"metrics: final_answer: row {row} (from 0): the reference {text!r:.80} has no answer; give the field that holds it"
        )
    bare = answer.rstrip(".")
    if (number := _NUMBER.fullmatch(bare)) and (amount := _amount(number)) is not None:
        return amount
    if option := re.match(r"\(([A-Za-z])\)", bare) or re.fullmatch(r"(?:[Oo]ption )?([A-Z])\)?", bare):
        return "option", option[1].upper()
    return "text", normalize_label(answer)


def _answers(prediction: str, reference: Answer) -> Sequence[Answer]:
    """The answer that a prediction can be taken to give, of the reference's kind; nothing if there is no answer of that kind."""
    answer, marked = _extract(prediction)
    if isinstance(reference, Decimal):
        amounts = _amounts(answer, first=marked)
        return amounts[:1] if marked else amounts[-1:]
    kind, _ = reference
    if kind == "option":
        named = _options(answer, first=marked)
        return [("option", letter.upper()) for letter in (named[:1] if marked else named[-1:])]
    said = [answer, _SENTENCE_END.split(answer, maxsplit=1)[0]] if marked else [answer]
    return [("text", normalize_label(text)) for text in said if text]


def _amounts(text: str, *, first: bool) -> list[Decimal]:
    """The amounts of a text; if only the first is asked for and something is reckoned from it, the result."""
    text = _MINUS.sub(lambda found: f"{found[1] or ' '}-", text)
    numbers = [
        found for found in _NUMBER.finditer(text) if not _NOT.search(text, max(0, found.start() - 8), found.start())
    ]
    if first and numbers:
        numbers = [_result(text, numbers[0])]
    return [amount for found in numbers if (amount := _amount(found)) is not None]


def _result(text: str, found: re.Match[str]) -> re.Match[str]:
    """`5 * 3 = 15` answers 15, `15 = 5 * 3` does, too."""
    sentence = _SENTENCE_END.search(text, found.end())
    stop = sentence.start() if sentence else len(text)
    while (operator := _OPERATOR.match(text, found.end(), stop)) and (
        equals := _EQUALS.search(text, operator.end(), stop)
    ):
        result = _NUMBER.search(text, equals.end(), stop)
        if result is None:
            break
        found = result
    return found


def _options(text: str, *, first: bool) -> list[str]:
    if letter := _BARE_OPTION.match(text) or (first and _MARKED_OPTION.match(text)):
        return [letter[letter.lastindex or 1]]
    options = [
        found for found in _OPTION.finditer(text) if not _NOT.search(text, max(0, found.start() - 8), found.start())
    ]
    return [found[found.lastindex or 1] for found in options]


def _amount(found: re.Match[str]) -> Decimal | None:
    try:
        amount = Decimal(re.sub(r"[^\d.]", "", found["digits"]))
        if found["divisor"]:
            amount = Decimal(found["units"] or 0) + amount / Decimal(found["divisor"])
    except DecimalException:  # divided by zero, or larger than decimals can be
        return None
    return amount.copy_negate() if found["minus"] or found["minus2"] else amount  # `-amount` would round to 28 digits
