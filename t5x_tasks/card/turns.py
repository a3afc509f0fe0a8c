"""Turns: a dialogue as text, with a line `Speaker: text` for each message, out of the shapes in which chats are stored.

    [{"role": "agent", "content": "Hello"}, {"role": "customer", "content": "Hi"}]      # a list of objects
    {"speaker": ["Ann", "Bob"], "utterance": ["Hello", "Hi"]}                           # an object of lists
    ["Ann: Hello", "Bob: Hi"]                                                           # a list of texts, lines already
    {"messages": [...]}                                                                 # one of these under a usual name
    '[{"role": ...}]'                                                                   # the same as a text: JSON, or as pandas

Which keys hold speaker and text is told by their names. What is not understood is a ValueError with a reason of one line.
"""

import ast
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from t5x_tasks.common.values import is_missing, known_columns, name_parts, scalar_text, shown

# Words of the keys that say who speaks, the most telling first: a name before a role, for a summary says who did what.
_SPEAKERS = (
    {"name", "speaker name", "sender name", "author name", "user name", "username", "display name", "from name",
     "participant name", "full name", "nickname", "real name"},
    {"speaker", "sender", "author", "from", "who", "participant", "actor", "user", "interlocutor",
     "speakers", "senders", "authors"},
    {"role", "speaker role", "sender role", "author role", "user role", "participant role", "speaker type", "sender type",
     "author type", "user type", "participant type", "party", "direction", "roles"},
    {"speaker id", "sender id", "author id", "user id", "from id", "participant id"},
)  # fmt: skip
# In an object that is itself the author of a message.
_OF_AN_AUTHOR = (*_SPEAKERS, {"first name"}, {"type"}, {"id"}, {"email"})
# And of the keys of the text. `value` is ShareGPT's, `parts` Gemini's.
_TEXTS = (
    {"message text", "message body", "message content", "text content", "utterance text"},
    {"text", "content", "body", "utterance", "message", "msg", "texts", "utterances"},
    {"value", "sentence", "transcript", "comment", "statement", "reply", "parts"},
)
# Last words of keys that say nothing of the speaker.
_BESIDE = {"id", "type", "timestamp", "time", "date", "ts", "at", "index", "turn", "number", "lang", "language"}
# What `type` says where nothing else names the speaker (LangChain).
_ROLES = {"human", "ai", "user", "assistant", "system", "bot", "agent", "customer", "tool", "function"}
# Keys of an object around a list of messages.
_AROUND = {"messages", "turns", "conversation", "conversations", "dialogue", "dialog", "utterances", "chat", "history"}
# What to do where the keys do not tell.
NAME_BOTH = "; name both in the card, as {columns: [COLUMN.sender, COLUMN.body], transform: turns}"
_NOT_GIVEN: Any = object()


class Message(NamedTuple):
    """One line of a dialogue. `speaker` is "" where nobody is named, `text` where there is none."""

    speaker: str
    text: str


class Keys(NamedTuple):
    """Of a message: keys of the speaker, of which the first that is not blank counts, and the key of the text."""

    speakers: tuple[str, ...]
    text: str


def turns(messages: Any, texts: Any = _NOT_GIVEN) -> str:
    """Returns a dialogue with a line for each message: `Speaker: text`, or the text alone where nobody is named.

    Line breaks within a message become spaces; messages without text (null, blank, an attachment) are passed over; of a text
    in parts (`[{"type": "text", "text": ...}]`) those that are text are joined. No messages give an empty text.

    Args:
      messages: as above; null stands for none. With `texts` a list of the speakers, one a text, names or objects with one.
      texts: what they say, in order.

    Raises:
      ValueError: it is nothing of that, or which keys hold speaker and text cannot be told; says which there are.
    """
    if texts is _NOT_GIVEN:
        return as_lines(read_messages(messages))
    speakers, said = _list(messages, "speakers"), _list(texts, "texts")
    if len(speakers) != len(said):
        raise ValueError(f"{len(speakers)} speakers but {len(said)} texts; each message needs one of both")
    return as_lines(Message(speaker_of(one), text_of(other)) for one, other in zip(speakers, said, strict=True))


def as_lines(messages: Iterable[Message]) -> str:
    """Returns the text of a dialogue. See `turns`."""
    lines = (f"{speaker}: {text}" if speaker else text for speaker, text in messages if text)
    return "\n".join(lines)


def read_messages(value: Any) -> list[Message]:
    """Returns the messages of a dialogue, those without text, too. See `turns`.

    Raises:
      ValueError: as `turns`.
    """
    value = _loaded(value)
    if isinstance(value, Mapping):
        return _of_object(value)
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of messages, not {type(value).__name__} {shown(value)}")
    items = [item for item in value if item is not None]
    if all(isinstance(item, str) for item in items):
        return [Message("", text_of(item)) for item in items]
    for number, item in enumerate(value, 1):
        if item is not None and not isinstance(item, Mapping):
            raise ValueError(
                f"message {number} must be an object with speaker and text, not {type(item).__name__} {shown(item)}"
            )
    keys = message_keys(tuple(dict.fromkeys(str(key) for item in items for key in item)))
    if not keys.speakers and all(str(item.get("type")) in _ROLES for item in items):
        keys = keys._replace(speakers=("type",))
    return [_message(item, keys, number) for number, item in enumerate(items, 1)]


@lru_cache(maxsize=1024)
def message_keys(names: tuple[str, ...]) -> Keys:
    """Returns which keys of messages hold speaker and text.

    Raises:
      ValueError: none or several may be; says what they are.
    """
    texts = text_names(names)
    if len(texts) != 1:
        what = f"{' and '.join(texts)} may each be the text" if texts else "none is known to be the text"
        raise ValueError(f"of the keys {known_columns(names)} {what}{NAME_BOTH}")
    tiers = speaker_names(names)
    if tiers and len(tiers[0]) > 1:
        raise ValueError(
            f"of the keys {known_columns(names)} {' and '.join(tiers[0])} may each be the speaker{NAME_BOTH}"
        )
    if not tiers and any((name_parts(name) or [""])[-1] not in _BESIDE for name in names if name not in texts):
        raise ValueError(f"of the keys {known_columns(names)} none is known to be the speaker{NAME_BOTH}")
    return Keys(tuple(tier[0] for tier in tiers if len(tier) == 1), texts[0])


def text_names(names: Iterable[str]) -> list[str]:
    """Returns those of the names, equally likely, that may be the text of a message."""
    return next(iter(_tiers(names, _TEXTS)), [])


def speaker_names(names: Iterable[str]) -> list[list[str]]:
    """Returns the names that may say who speaks, in tiers, the most telling first; those of a tier are equally likely."""
    return _tiers(names, _SPEAKERS)


def speaker_of(value: Any) -> str:
    """Returns the name of a speaker, in one line: a text, a number, or an object with one; "" for null or blank.

    Raises:
      ValueError: it is something else.
    """
    if is_missing(value):
        return ""
    if isinstance(value, Mapping):
        tiers = _tiers(map(str, value), _OF_AN_AUTHOR)
        names = (speaker_of(value[tier[0]]) for tier in tiers if len(tier) == 1)
        if (name := next(filter(None, names), None)) is None:
            raise ValueError(f"a speaker is an object of the keys {known_columns(value)}, none of which is a name")
        return name
    if (text := scalar_text(value)) is None:
        raise ValueError(f"a speaker must be a text, not {type(value).__name__} {shown(value)}")
    return " ".join(text.split()).rstrip(": ")


def text_of(value: Any) -> str:
    """Returns what a message says, in one line: a text, a number, or parts of it; "" for null or blank.

    Raises:
      ValueError: it is something else.
    """
    if is_missing(value):
        return ""
    if isinstance(value, list | tuple):
        return " ".join(filter(None, map(text_of, value)))
    if isinstance(value, Mapping):
        names = text_names(map(str, value))
        if len(names) == 1:
            return text_of(value[names[0]])
        if "type" in value:  # an image, a call of a tool
            return ""
        raise ValueError(f"a text is an object of the keys {known_columns(value)}; which of them it is cannot be told")
    if (text := scalar_text(value)) is None:
        raise ValueError(f"a text of a message must be a text, not {type(value).__name__} {shown(value)}")
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _message(item: Mapping[str, Any], keys: Keys, number: int) -> Message:
    try:
        speakers = (speaker_of(item.get(key)) for key in keys.speakers)
        return Message(next(filter(None, speakers), ""), text_of(item.get(keys.text)))
    except ValueError as error:
        raise ValueError(f"message {number}: {error}") from None


def _of_object(value: Mapping[str, Any]) -> list[Message]:
    lists = {str(key): item for key, item in value.items() if isinstance(item, list | tuple)}
    around = [
        item for key, item in value.items() if _words(key) in _AROUND and isinstance(item, list | tuple | Mapping)
    ]
    if len(around) == 1 and (len(lists) < 2 or all(isinstance(item, Mapping) for item in around[0])):
        return read_messages(around[0])
    if text_names(map(str, value)) and speaker_names(map(str, value)) and not speaker_names(lists):
        return read_messages([value])  # one message
    if not lists:
        raise ValueError(f"an object of the keys {known_columns(value)} holds no list of messages")
    keys = message_keys(tuple(lists))
    texts = lists[keys.text]
    for key in keys.speakers:
        if len(lists[key]) != len(texts):
            raise ValueError(
                f"{len(lists[key])} of {key} but {len(texts)} of {keys.text}; each message needs one of both"
            )
    used = (*keys.speakers, keys.text)
    rows = zip(*(lists[key] for key in used), strict=True)
    return [_message(dict(zip(used, row, strict=True)), keys, number) for number, row in enumerate(rows, 1)]


def _loaded(value: Any) -> Any:
    """Returns what a text holds, and null as no messages."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            value = _of_pandas(text, error)
    return [] if is_missing(value) else value


def _of_pandas(text: str, error: Exception) -> Any:
    """Reads a list as pandas writes it into a CSV, in Python's syntax: `[{'role': 'agent', 'content': "It's"}]`."""
    if not text.startswith(("[", "{")):
        raise ValueError(f"must be messages, not the text {shown(text)}; a column of such texts needs no transform")
    try:
        with warnings.catch_warnings():  # of a text that only looks like it, on what Python makes of its backslashes
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"is a text that is no whole JSON ({error}): {shown(text)}") from None


def _list(value: Any, what: str) -> Sequence[Any]:
    value = _loaded(value)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{what} must be a list, not {type(value).__name__} {shown(value)}")
    return value


def _tiers(names: Iterable[str], known: Iterable[set[str]]) -> list[list[str]]:
    words = {name: _words(name) for name in names}
    found = ([name for name in words if words[name] in tier] for tier in known)
    return [tier for tier in found if tier]


def _words(name: Any) -> str:
    return " ".join(name_parts(str(name)))
