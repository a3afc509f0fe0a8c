"""Heuristic templates: built by rule from the names of a card's fields and its category, for `templates: heuristic`.

They give a new data set its first phrasings within the minute; a person's own wordings beat them, so look at them with
`preview` and write better ones into the card. The answer is the field with a name that says so (`summary`, `gold_label`),
otherwise the last one.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from t5x_tasks.card.foreign_names import ANSWERS, SUMMARIES
from t5x_tasks.common.errors import suggest

# Names of answers, those first that can hardly be anything else. `new` looks for them among the columns of a file.
ANSWER_NAMES = (
    "summary", "recap", "tldr", "highlights", "abstract", *sorted(SUMMARIES),
    "answer", "answers", "target", "targets", "label", "labels",
    "completion", "response", "output", "reply", "translation", "entities", "rating", "stars", "score", "grade", "sentiment",
    "intent", "emotion", "verdict", "category", "class", "topic", "outcome", "result", "gold", "reference", "solution",
    *sorted(ANSWERS),
)  # fmt: skip
# Categories that wordings, metrics, baselines or diagnostics go by; a card may have any other word.
CATEGORIES = ("summarization", "classification", "rating", "entities", "code", "translation", "qa", "nli", "reasoning")
# Of cards here, or what `new` falls back on.
_MORE_CATEGORIES = ("entity_recognition", "code_translation", "generation")
_ALIKE = 0.8  # as difflib measures it: `extraction` is no misspelled translation
_TEXTS = ("text", "content", "log", "history")  # words that say little of what is in a field
_HELDOUT = 2  # of the templates, the last ones

_LANGUAGES = {"java": "Java", "python": "Python", "cs": "C#", "cpp": "C++", "sql": "SQL", "html": "HTML", "json": "JSON",
              "english": "English", "german": "German", "french": "French", "spanish": "Spanish"}  # fmt: skip
_SPELLINGS = {**_LANGUAGES, "url": "URL", "xml": "XML", "faq": "FAQ", "tldr": "TL;DR"}
# What is not counted, and so has no `a`.
_MASS = {"code", "feedback", "information", "data", "news", "advice", "metadata", "content", "background", "evidence"}
_MASS |= set(_LANGUAGES.values())
_NOT_PLURAL = ("ss", "us", "is", "news", "series")
# Vowels that sound like consonants (`a user`, `a one-line note`), and the other way round (`an hour`).
_A = re.compile(r"(?:uni(?!n)|use|usu|uti|eu|one\b|once)", re.IGNORECASE)
_AN = re.compile(r"(?:hour|honest|honou?r|heir)", re.IGNORECASE)
_SPELLED_AN = "AEFHILMNORSX"  # letters whose names begin with a vowel: an SQL query, an FAQ


@dataclass(frozen=True)
class _Task:
    """What is asked for, in words; `{x}` stands for the fields that it is about.

    Attributes:
      do: an instruction without capital and period: `summarize {x}`.
      ask: a question.
      label: stands before the answer.
      about: the fields behind `{x}`.
      has_question: the data hold a question already.
    """

    do: str
    ask: str
    label: str
    about: list[str]
    has_question: bool = False


def named_answer(fields: Iterable[str]) -> str | None:
    """Returns the field whose name says that it is the answer (`summary`, `Gold Label`), or None."""
    last_words = {field: last_word(field) for field in fields}
    for answer in ANSWER_NAMES:
        if found := [field for field, word in last_words.items() if word == answer]:
            return min(found, key=lambda field: len(name_parts(field)))  # `summary` rather than `ticket_summary`
    return None


def last_word(name: str) -> str:
    """Returns what a name says that it names: `Agent Summary` -> summary, `chat_text` -> chat."""
    *others, last = name_parts(name) or [""]
    return others[-1] if others and last in _TEXTS else last


def name_parts(name: str) -> list[str]:
    """Returns a name's words: `reviewText`, `review_text` and `Review text` -> [review, text]; `sentence1` -> [sentence, 1]."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", unicodedata.normalize("NFC", name))
    return re.findall(r"[^\W_]+", spaced.lower())


def answer_field(fields: Iterable[str]) -> str:
    """Returns the field that the others ask for."""
    names = list(fields)
    return named_answer(names) or names[-1]


def category_hint(category: str) -> str:
    """Returns `, did you mean CATEGORY?` for a word of the user's own that looks like a category with a meaning, else ""."""
    if category in (*CATEGORIES, *_MORE_CATEGORIES):
        return ""
    word = category.lower()
    return suggest(word, [known for known in CATEGORIES if known[0] == word[:1]], cutoff=_ALIKE)


def heuristic_templates(
    fields: Iterable[str], category: str, *, options: bool = False, answer: str = ""
) -> list[dict[str, str]]:
    """Returns templates as a card has them: id, inputs, targets, and split for the held-out ones.

    Args:
      fields: names, two or more, or one, which then stands on both sides.
      category: of the card.
      options: the card has answer options, which are shown before the answer.
      answer: the field that the others ask for, where its name does not say so.
    """
    names = list(fields)
    answer = answer or answer_field(names)
    asked = [name for name in names if name != answer] or [answer]
    task = _task(category, asked, answer)
    labelled = "\n\n".join(f"{title(name)}: {{{name}}}" for name in asked)
    data = labelled if len(asked) > 1 else f"{{{asked[0]}}}"
    choices = "\n\n{options}" if options else ""
    what, about = words(answer), task.about
    here = f"Here {'are' if _is_many(asked) else 'is'} {joined(with_article(name) for name in asked)}."
    pointed = _pronoun(about) if len(about) == len(asked) else _the(about)
    wordings = [
        f"{_do(task, _following(about))}\n\n{data}{choices}\n\n{task.label}:",
        f"{labelled}{choices}\n\n{task.label}:",
        f"{data}\n\n{_do(task, f'{_the(about)} above')}{choices}",
        f"{_ask(task)}\n\n{data}{choices}",
        f"Task: {task.do.format(x=_these(about))}.\n\n{labelled}{choices}\n\n{task.label}:",
        f"{data}\n\n{'' if task.has_question else 'Question: '}{_ask(task)}{choices}\n\nAnswer:",
        f"{here} {_do(task, pointed)}\n\n{labelled}{choices}",
        f"Please {task.do.format(x=_following(about))}.\n\n{labelled}{choices}",
        f"Can you {task.do.format(x=_these(about))}?\n\n{data}{choices}\n\n{task.label}:",
        f"{data}\n\nYour job is to {task.do.format(x=f'{_the(about)} above')}. Reply with the {what} only.{choices}",
    ]
    heldout = len(wordings) - _HELDOUT
    return [
        {
            "id": f"h{number:02}",
            "inputs": inputs,
            "targets": f"{{{answer}}}",
            "split": "heldout" if number >= heldout else "train",
        }
        for number, inputs in enumerate(wordings)
    ]


def words(name: str) -> str:
    """Returns the name of a field as words: `review_text` -> review text, `sqlQuery` -> SQL query, `cs` -> C#."""
    return " ".join(_SPELLINGS.get(word, word) for word in name_parts(name))


def title(name: str) -> str:
    """Returns the name of a field as a label: `review_text` -> Review text."""
    text = words(name)
    return text[:1].upper() + text[1:]


def is_plural(text: str) -> bool:
    """Tells whether words name several things: `reviews`, `answer choices`; neither `class` nor `news`."""
    last = text.split()[-1].lower()
    return len(last) > 2 and last.endswith("s") and not last.endswith(_NOT_PLURAL)


def with_article(name: str) -> str:
    """Returns `an answer`, `a user question`, `an SQL query`; of what is not counted, `some code`."""
    text = words(name)
    first = text.split()[0]
    if is_plural(text) or text.split()[-1] in _MASS:
        return f"some {text}"
    if first.isupper() and first.isalpha() and len(first) > 1:
        return f"{'an' if first[0] in _SPELLED_AN else 'a'} {text}"
    vowel = (first[0].lower() in "aeiou" and not _A.match(first)) or _AN.match(first)
    return f"{'an' if vowel else 'a'} {text}"


def joined(texts: Iterable[str]) -> str:
    """Returns `a`, `a and b`, `a, b and c`."""
    *first, last = list(texts)
    return f"{', '.join(first)} and {last}" if first else last


def _task(category: str, asked: list[str], answer: str) -> _Task:
    kind = " ".join(name_parts(category))
    what, label = words(answer), title(answer)
    be = "are" if is_plural(what) else "is"
    question = next((name for name in asked if name_parts(name)[-1:] == ["question"]), "")
    others = [name for name in asked if name != question]
    using = f", using {_the(others)}" if others else ""
    if kind == "summarization":
        return _Task("summarize {x}", f"What {be} the {what} of {{x}}?", label, asked)
    if kind == "rating":
        much = "How many" if be == "are" else "What"
        return _Task("rate {x}", f"{much} {what} would you give {{x}}?", label, asked)
    if kind in ("entities", "entity recognition"):
        return _Task("list the named entities in {x}", "Which named entities are in {x}?", label, asked)
    if kind in ("code", "code translation", "translation"):
        into = f" into {what}" if what not in ("translation", "target", "output", "answer", "reference") else ""
        said = f" in {what}" if into else ", translated"
        return _Task(f"translate {{x}}{into}", f"What is {{x}}{said}?", "Translation" if not into else label, asked)
    if kind == "reasoning" and question:
        return _Task(
            f"answer {{x}} step by step{using}", "What is the answer to {x}, and why?", label, [question], True
        )
    if question:
        return _Task(f"answer {{x}}{using}", f"What {be} the right {what} to {{x}}?", label, [question], True)
    if kind == "nli" and len(asked) == 2:
        first, second = map(words, asked)
        do = f"decide whether the {second} follows from the {first}"
        return _Task(do, f"Does the {second} follow from the {first}?", label, asked)
    if kind == "classification":
        return _Task(
            f"give the {what} that fits {{x}}", f"Which {what} {'fit' if be == 'are' else 'fits'} {{x}}?", label, asked
        )
    return _Task(f"write the {what} for {{x}}", f"What {be} the {what} for {{x}}?", label, asked)


def _do(task: _Task, things: str) -> str:
    text = task.do.format(x=things)
    return f"{text[0].upper()}{text[1:]}."


def _ask(task: _Task) -> str:
    return task.ask.format(x=_these(task.about))


def _the(fields: Sequence[str]) -> str:
    return joined(f"the {words(name)}" for name in fields)


def _following(fields: Sequence[str]) -> str:
    return f"the following {joined(words(name) for name in fields)}"


def _these(fields: Sequence[str]) -> str:
    return joined(f"{'these' if is_plural(words(name)) else 'this'} {words(name)}" for name in fields)


def _pronoun(fields: Sequence[str]) -> str:
    return "them" if _is_many(fields) else "it"


def _is_many(fields: Sequence[str]) -> bool:
    return len(fields) > 1 or is_plural(words(fields[0]))
