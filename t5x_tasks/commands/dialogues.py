"""`python -m t5x_tasks dialogues FILE...`: makes conversations of a table with one message a row, and joins their summaries.

Writes JSON Lines: `id`, `dialogue` (a line `Speaker: text` for each message, as the transform `turns` makes it), the columns that
are the same in all messages of a conversation, and those of the table of answers. Nothing is overwritten.
"""

import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5x_tasks.card.heuristic_templates import name_parts, named_answer
from t5x_tasks.card.turns import Message, as_lines, speaker_of, text_of
from t5x_tasks.commands.message_order import Order, sort
from t5x_tasks.commands.message_table import conversation_names, conversations, speaker_columns, text_column
from t5x_tasks.commands.table import Table, differing, expanded, first_value, is_blank
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.output import check_writable, naming
from t5x_tasks.common.values import known_columns, scalar_text, short_line
from t5x_tasks.sources.named import COMPRESSED

_Rows = Mapping[str, dict[str, Any]]  # key of the conversation -> what is written of it

_WRITTEN = ("id", "dialogue")  # of every conversation
_SHOWN_KEYS = 3
_WORDS = 3  # of a text on average, or more; a label or a name has fewer


@dataclass(frozen=True)
class Given:
    """What the user says of the columns; None is guessed."""

    by: str | None = None
    speaker: str | None = None
    text: str | None = None
    order: tuple[str, ...] = ()
    answers_by: str | None = None


@dataclass(frozen=True)
class _Used:
    """What the columns are for.

    Attributes:
      by: names the conversation.
      speakers: say who speaks; of them the first that is not blank.
      text: what is said.
      order: by which the messages are sorted.
      kept: the same in all messages of a conversation.
      lost: column -> conversations within which it differs.
      taken: those that would be kept, under a name that is written anyway.
      says_little: the speaker is the same throughout each conversation.
    """

    by: str
    speakers: tuple[str, ...]
    text: str
    order: Order
    kept: list[str]
    lost: dict[str, list[str]]
    taken: list[str]
    says_little: bool


def dialogues(files: Sequence[Path], given: Given, *, answers: Path | None = None, output: Path | None = None) -> Path:
    """Writes the conversations of files of messages, and prints what was guessed, kept and left out. Returns its path.

    Args:
      files: JSON Lines, CSV, TSV or Parquet, one message a row, or patterns of such; they are one table, in this order.
      answers: a table with one row a conversation; conversations without a row in it are left out.
      output: FILE.dialogues.jsonl beside the first file of messages if not given.

    Raises:
      UserError: a file cannot be read or has other columns than the first, a column is not there or cannot be guessed, a row
        has no key, two answers have the same, or the output is there already or cannot be written.
    """
    files = expanded(files)
    output = output or files[0].with_name(f"{_stem(files[0])}.dialogues.jsonl")
    if output.suffix.lower() != ".jsonl":
        raise UserError(f"--output: {output}: what is written is JSON Lines; choose a name that ends with .jsonl")
    _check_new(output)
    check_writable(output.parent, "--output")
    table = Table(*files)
    theirs = None if answers is None else Table(answers)
    by, groups = conversations(table, given.by, theirs)
    used = _choose(table, groups, by, given)
    messages = _messages(table, groups, used)
    _report(table, used, given, messages)
    rows = {
        key: {"id": key, "dialogue": as_lines(messages[key])} | {n: first_value(table, numbers, n) for n in used.kept}
        for key, numbers in groups.items()
    }
    if theirs is not None:
        rows = _join(theirs, given.answers_by, by, rows, table.name)
    _write(output, rows, table.name)
    print(f"wrote {output}: {_count(len(rows), 'conversation')}\n\nNext, a card for it:\n")
    print(f"  python -m t5x_tasks new NAME --from {shlex.quote(str(output))}")
    return output


def _choose(table: Table, groups: Mapping[str, list[int]], by: str, given: Given) -> _Used:
    """Decides on the columns, and sorts the rows of each conversation."""
    differ = {name: keys for name in table.columns if name != by and (keys := differing(table, groups, name))}
    are_several = len(groups) < len(table.rows)
    speakers = speaker_columns(table, given.speaker, by, differ, are_several)
    text = text_column(table, given.text, {by, *speakers})
    order = sort(table, groups, given.order, [name for name in differ if name not in (text, *speakers)])
    rest = [name for name in table.columns if name not in (by, text, *speakers, *order.columns)]
    lost = {name: differ[name] for name in rest if name in differ}
    kept = [name for name in rest if name not in differ and name not in _WRITTEN]
    taken = [name for name in rest if name not in differ and name in _WRITTEN]
    return _Used(by, speakers, text, order, kept, lost, taken, are_several and speakers[0] not in differ)


def _report(table: Table, used: _Used, given: Given, messages: Mapping[str, Sequence[Message]]) -> None:
    print(f"{table.name}: {_count(len(table.rows), 'message')} of {_count(len(messages), 'conversation')}")
    for path in table.empty:
        _say("no rows", str(path))
    _say("by", used.by, is_guessed=given.by is None)
    _say("speaker", ", or where that is blank ".join(used.speakers), is_guessed=given.speaker is None)
    if used.says_little:
        _say("", "is the same in all messages of each conversation; if another says who speaks: --speaker COLUMN")
    _say("text", used.text, is_guessed=given.text is None)
    if used.order.columns:
        moved = f": {_count(used.order.moved, 'conversation')} stood in another order"
        _say("order", ", ".join(used.order.columns), is_guessed=not given.order, more=moved)
    else:
        _say("order", "as in the file")
    if used.order.unused:
        _say("warning", f"messages stand as in the file: {used.order.unused}")
    if empty := sum(not message.text for lines in messages.values() for message in lines):
        _say("empty", f"{_count(empty, 'message')} without text, passed over")
    if silent := [key for key, lines in messages.items() if not as_lines(lines)]:
        _say("blank", f"{_count(len(silent), 'conversation')} without any text, kept{_some(silent)}")
    if used.kept:
        _say("kept", f"{', '.join(used.kept)}: the same in all messages of a conversation")
    for name, keys in used.lost.items():
        _say("not kept", f"{name}: differs within {_count(len(keys), 'conversation')}{_some(keys)}")
    for name in used.taken:
        _say("not kept", f"{name}: the name is taken by what is written; rename the column")


def _messages(table: Table, groups: Mapping[str, Sequence[int]], used: _Used) -> dict[str, list[Message]]:
    def message(number: int) -> Message:
        row = table.rows[number]
        try:
            names = (speaker_of(row.get(name)) for name in used.speakers)
            return Message(next(filter(None, names), ""), text_of(row.get(used.text)))
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{table.places[number]}: {short_line(str(error))}; name another --speaker or --text"
            ) from None

    return {key: [message(number) for number in numbers] for key, numbers in groups.items()}


def _join(theirs: Table, given: str | None, by: str, rows: _Rows, messages: str) -> _Rows:
    """Returns the conversations that have an answer, with its columns; says what is left out."""
    key = _same_key(theirs, by) if given is None else theirs.named(given, "--answers-by")
    found = theirs.by(key)
    for name, (first, *more) in found.items():
        if other := next((number for number in more if theirs.rows[number] != theirs.rows[first]), None):
            raise UserError(
                f"{theirs.places[other]}: {key} {name[:60]} has another row already, {theirs.places[first]}; keep one"
            )
    names = [name for name in theirs.columns if name not in (key, *_WRITTEN)]
    answer = named_answer(names) or _only_text(theirs, names)
    missing = [name for name in rows if name not in found]
    blank = [n for n in rows if n in found and answer and is_blank(theirs.rows[found[n][0]].get(answer))]
    left_out = {*missing, *blank}
    joined = {
        name: row | {column: first_value(theirs, found[name][:1], column) for column in names}
        for name, row in rows.items()
        if name not in left_out
    }
    if not joined:
        ours, other = next(iter(rows)), next(iter(found))
        why = f"{answer} is blank in each" if blank else f"{by} is {ours[:40]} there, and {key} is {other[:40]} here"
        raise UserError(
            f"{theirs.name}: has no answer to a conversation of {messages}: {why}; say --by COLUMN and --answers-by COLUMN"
        )
    print(f"{theirs.name}: {_count(len(theirs.rows), 'row')}")
    _say("by", key, is_guessed=given is None)
    _say("joined", ", ".join(names))
    for name in theirs.columns:
        if name in _WRITTEN and name != key:
            _say("not joined", f"{name}: the name is taken by what is written; rename the column")
    if missing:
        _say("no answer", f"{_count(len(missing), 'conversation')} without a row, left out{_some(missing)}")
    if blank:
        _say("no answer", f"{_count(len(blank), 'conversation')} with a blank {answer}, left out{_some(blank)}")
    if alone := [name for name in found if name not in rows]:
        _say("no messages", f"{_count(len(alone), 'row')} of no conversation, left out{_some(alone)}")
    return joined


def _only_text(table: Table, names: Sequence[str]) -> str | None:
    """Returns the column that alone holds texts, or that is alone: the answer where no name says so."""
    texts = [name for name in names if _mean_words(row.get(name) for row in table.rows) >= _WORDS]
    return texts[0] if len(texts) == 1 else names[0] if len(names) == 1 else None


def _mean_words(values: Iterable[Any]) -> float:
    counts = [len(value.split()) for value in values if isinstance(value, str) and not is_blank(value)]
    return sum(counts) / max(1, len(counts))


def _same_key(theirs: Table, by: str) -> str:
    """Returns the column of a table that holds the keys of another's column `by`."""
    alike = [name for name in theirs.columns if name_parts(name) == name_parts(by)]
    for names in ({by} & {*theirs.columns}, alike, conversation_names(theirs.columns), {"id"} & {*theirs.columns}):
        if len(names) == 1:
            return next(iter(names))
    raise UserError(
        f"{theirs.name}: no column is called {by}; it has {known_columns(theirs.columns)}; say --answers-by COLUMN"
    )


def _write(output: Path, rows: _Rows, messages: str) -> None:
    """Writes the file in one step. OSError: it cannot be written, and nothing of it is left."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with naming(output), temporary.open("x", encoding="utf-8", newline="\n") as file:
            for key, row in rows.items():
                try:
                    file.write(json.dumps(row, ensure_ascii=False, default=_plain) + "\n")
                except UnicodeEncodeError:
                    raise UserError(
                        f"{messages}: conversation {key[:60]!a} holds half a character (a text cut inside an emoji?); mend it"
                    ) from None
        _check_new(output)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def _check_new(output: Path) -> None:
    if os.path.lexists(output):
        raise UserError(f"{output}: exists already and is never overwritten; remove it, or give another --output")


def _stem(path: Path) -> str:
    """Returns `messages.2024` of `messages.2024.csv.gz`."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return plain.stem


def _plain(value: Any) -> str:
    return scalar_text(value) or str(value)


def _some(keys: Sequence[str]) -> str:
    return f" ({', '.join(key[:40] for key in keys[:_SHOWN_KEYS])}{', ...' * (len(keys) > _SHOWN_KEYS)})"


def _say(what: str, text: str, *, is_guessed: bool = False, more: str = "") -> None:
    print(f"  {what:<11} {text}{' (guessed)' * is_guessed}{more}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
