"""Transforms: the text of a field, made from columns that are not that text yet: lists, nested columns, several columns.

A card names them: `entities: {columns: [tokens, ner_tags], transform: entity_spans}`. Each is a pure function of the
columns' values. It raises ValueError with a reason where a value is not what it takes; whoever calls it adds file and row.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from t5x_tasks.card.turns import turns

# The hub numbers WNUT-17's tags in this order; files of the shared task, and mirrors of them, spell them out.
_WNUT17_TYPES = ("corporation", "creative-work", "group", "location", "person", "product")
WNUT17_TAGS = ("O", *(f"{position}-{kind}" for kind in _WNUT17_TYPES for position in "BI"))

_CHAT_ENTITIES = {
    "person": re.compile(r"^([^:\n]{1,40}):", re.MULTILINE),  # who speaks; each message is a line
    "amount": re.compile(r"(\$\d+(?:\.\d\d)?)"),
    "code": re.compile(r"\b([A-Z]{1,3}\d{3,})\b"),
}
_NOTE = re.compile(r"<<[^<>]*>>")
_CLOSED = re.compile(r"[.!?:;,…][\"'”’)\]]*$")
_CAN_END_A_SENTENCE = re.compile(r"[\w%$€£)\]\"'”’]$")


def join_tokens(tokens: Any) -> str:
    """Returns the tokens with one space between them, so that a mention of `entity_spans` is a piece of this text."""
    return " ".join(_texts(tokens, "tokens"))


def entity_spans(tokens: Any, tags: Any) -> str:
    """Returns the entities of a sentence in their order, as text: `person: Ada; location: Leeds`, or `none`.

    Args:
      tokens: texts.
      tags: one a token, `O`, `B-<type>` or `I-<type>`. An `I-` that goes on with nothing of its type begins an entity, as
        in the CoNLL scorer, so that IOB1 files read right too.
    """
    from t5x_tasks.metrics.entities import format_entities

    words, labels = _texts(tokens, "tokens"), _texts(tags, "tags")
    if len(words) != len(labels):
        raise ValueError(f"{len(words)} tokens but {len(labels)} tags; each token needs one")
    entities: list[tuple[str, list[str]]] = []
    previous = ""  # type of the entity that the token before this one is in
    for number, (word, label) in enumerate(zip(words, labels, strict=True), 1):
        position, dash, kind = label.partition("-")
        if label == "O":
            kind = ""
        elif position not in ("B", "I") or not dash or not kind:
            raise ValueError(f"tag {number} is {label!r}; tags are O, B-<type> or I-<type>")
        elif position == "B" or kind != previous:
            entities.append((kind, [word]))
        else:
            entities[-1][1].append(word)
        previous = kind
    return format_entities([(kind, " ".join(mention)) for kind, mention in entities])


def wnut17_entities(tokens: Any, tags: Any) -> str:
    """Returns `entity_spans` of a WNUT-17 sentence, whose tags are names or, on the hub, numbers."""
    if isinstance(tags, list) and tags and all(type(tag) is int for tag in tags):
        if not all(0 <= tag < len(WNUT17_TAGS) for tag in tags):
            raise ValueError(f"tags must be 0 to {len(WNUT17_TAGS) - 1}, not {min(tags)} to {max(tags)}")
        tags = [WNUT17_TAGS[tag] for tag in tags]
    return entity_spans(tokens, tags)


def chat_entities(dialogue: Any) -> str:
    """Returns who speaks in a chat of `support_chats`, and the amounts and codes that it names, each once, kind by kind.

    As text: `person: Ada; person: Lin; amount: $74; code: YW32612`, or `none`.
    """
    from t5x_tasks.metrics.entities import format_entities

    text = _text(dialogue, "dialogue")
    found = ((kind, mention) for kind, pattern in _CHAT_ENTITIES.items() for mention in pattern.findall(text))
    return format_entities(dict.fromkeys(found))


def titled(title: Any, text: Any) -> str:
    """Returns title and text as one; the text alone where the title is blank or null."""
    if title is None or not _text(title, "title").strip():
        return _text(text, "text")
    return f"{_closed(title.strip())}\n{_text(text, 'text')}"


def sentences(text: Any) -> str:
    """Returns a text whose lines all end like sentences.

    T5's vocabulary folds line breaks into spaces: `x = 3` above `y = 4` would be read as `x = 3 y = 4`, and a rationale
    would run into what a template puts behind it.
    """
    return "\n".join(_closed(line.strip()) for line in _text(text, "text").splitlines() if line.strip())


def unescaped(text: Any) -> str:
    r"""Returns a text with line breaks for each `\n` of two characters: what the files of FLAN's chain-of-thought data hold."""
    return _text(text, "text").replace("\\n", "\n")


def unescaped_sentences(text: Any) -> str:
    """Returns `sentences` of an `unescaped` text."""
    return sentences(unescaped(text))


def gsm8k_rationale(answer: Any) -> str:
    """Returns the steps of a GSM8K solution: without `<<48/2=24>>` calculator notes and without the final line."""
    return sentences(_NOTE.sub("", _gsm8k_parts(answer)[0]))


def gsm8k_answer(answer: Any) -> str:
    """Returns the number after `####`, without thousands separators: one number, one text."""
    return _gsm8k_parts(answer)[1].replace(",", "")


def squad_answers(answers: Any) -> list[str]:
    """Returns the different right answers of a SQuAD question, in order: for a card's `references`.

    Args:
      answers: `{"text": [...], "answer_start": [...]}` as on the hub, or `[{"text": ..., "answer_start": ...}, ...]` as in
        the files of the authors.
    """
    texts = answers.get("text") if isinstance(answers, Mapping) else answers
    if isinstance(texts, list):
        texts = [item.get("text") if isinstance(item, Mapping) else item for item in texts]
    found = list(dict.fromkeys(_texts(texts, "answers")))
    if not found:
        raise ValueError("no answer; questions without one (SQuAD 2.0) are another task")
    return found


def squad_answer(answers: Any) -> str:
    """Returns the first of `squad_answers`: the one that is learned."""
    return squad_answers(answers)[0]


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "chat_entities": chat_entities,
    "entity_spans": entity_spans,
    "gsm8k_answer": gsm8k_answer,
    "gsm8k_rationale": gsm8k_rationale,
    "join_tokens": join_tokens,
    "sentences": sentences,
    "squad_answer": squad_answer,
    "squad_answers": squad_answers,
    "titled": titled,
    "turns": turns,
    "unescaped": unescaped,
    "unescaped_sentences": unescaped_sentences,
    "wnut17_entities": wnut17_entities,
}


def _gsm8k_parts(answer: Any) -> tuple[str, str]:
    steps, mark, final = _text(answer, "answer").rpartition("####")
    if not mark or not final.strip() or not steps.strip():
        raise ValueError("must be steps and then a line `#### <answer>`")
    return steps, final.strip()


def _closed(line: str) -> str:
    return line + "." if _CAN_END_A_SENTENCE.search(line) and not _CLOSED.search(line) else line


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text, not {type(value).__name__} {value!r:.60}")
    return value


def _texts(values: Any, what: str) -> list[str]:
    if not isinstance(values, list | tuple):
        raise ValueError(f"{what} must be a list of texts, not {type(values).__name__} {values!r:.60}")
    return [_text(value, f"{what}[{number}]") for number, value in enumerate(values)]
