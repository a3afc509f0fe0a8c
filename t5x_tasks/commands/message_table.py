"""A table with one message a row: which column names the conversation, which the speaker, which tells the order.

For `python -m t5x_tasks dialogues`, which makes conversations of it, and for `new`, which says that this is wanted.
"""

from collections.abc import Iterable, Mapping, Sequence

from t5x_tasks.card.heuristic_templates import name_parts
from t5x_tasks.card.turns import speaker_names, text_names
from t5x_tasks.commands.column import Column
from t5x_tasks.commands.table import Table
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.values import known_columns

_CONVERSATIONS = {
    "conversation", "conversations", "conv", "convo", "dialogue", "dialog", "chat", "thread", "ticket", "case", "session",
    "call", "issue", "interaction", "discussion",
}  # fmt: skip
_KEYS = {"id", "key", "nr", "number", "no", "uuid", "guid", "ref", "reference", "sid"}
_MANY = (
    1.5  # messages of a conversation on average, or more; where there are fewer, a column hardly names conversations
)


def conversation_names(names: Iterable[str]) -> list[str]:
    """Returns those that may name a conversation: `conversation_id` and `Ticket Number`; where there are none, `thread`."""
    parts = {name: name_parts(name) for name in names}
    keys = [name for name, words in parts.items() if {*words[-1:]} & _KEYS and {*words[:-1]} & _CONVERSATIONS]
    return keys or [name for name, words in parts.items() if len(words) == 1 and words[0] in _CONVERSATIONS]


def conversations(table: Table, given: str | None, theirs: Table | None) -> tuple[str, dict[str, list[int]]]:
    """Returns the column that names the conversations, and key -> its rows.

    Args:
      given: the column, as the user says.
      theirs: the table of answers; a column that it has, too, goes before others.

    Raises:
      UserError: none or several columns may be, or a row has no key.
    """
    if given is not None:
        by = table.named(given, "--by")
        return by, table.by(by)
    names = conversation_names(table.columns)
    if theirs is not None and len(shared := [name for name in names if name in theirs.columns]) == 1:
        names = shared
    if not (names := [name for name in names if table.repeats(name)] or names):
        raise UserError(
            f"{table.name}: no column is called like the key of a conversation, as conversation_id; it has "
            f"{known_columns(table.columns)}; say --by COLUMN"
        )
    groups = table.by(names[0])
    for other in names[1:]:
        if list(groups.values()) != list(table.by(other).values()):
            raise UserError(f"{table.name}: {names[0]} and {other} may each name the conversations; say --by COLUMN")
    return names[0], groups


def speaker_columns(
    table: Table, given: str | None, by: str, differing: Mapping[str, Sequence[str]], are_several: bool
) -> tuple[str, ...]:
    """Returns the columns that say who speaks, of which the first that is not blank counts.

    Args:
      given: the column, as the user says.
      by: the column that names the conversations.
      differing: the columns that differ within conversations.
      are_several: there are conversations of several messages.

    Raises:
      UserError: none or several columns may be.
    """
    if given is not None:
        return (table.named(given, "--speaker"),)
    tiers = speaker_names(name for name in table.columns if name != by)
    if are_several and any(name in differing for tier in tiers for name in tier):
        # The customer's name, the same in each of a conversation's rows, does not say who speaks.
        tiers = [kept for tier in tiers if (kept := [name for name in tier if name in differing])]
    if not tiers or len(tiers[0]) > 1:
        what = f"{' and '.join(tiers[0])} may each say" if tiers else "no column is called as if it said"
        raise UserError(f"{table.name}: {what} who speaks; it has {known_columns(table.columns)}; say --speaker COLUMN")
    return tuple(tier[0] for tier in tiers if len(tier) == 1)


def text_column(table: Table, given: str | None, taken: set[str]) -> str:
    """Returns the column of the texts, none of those that are taken. UserError: none or several columns may be."""
    if given is not None:
        return table.named(given, "--text")
    names = text_names(name for name in table.columns if name not in taken)
    if len(names) != 1:
        what = f"{' and '.join(names)} may each be" if names else "no column is called like"
        raise UserError(
            f"{table.name}: {what} the text of a message; it has {known_columns(table.columns)}; say --text COLUMN"
        )
    return names[0]


def looks_like_messages(columns: Mapping[str, Column]) -> str:
    """Says why a file looks like one message a row, not one dialogue; "" where it does not."""
    keys = [name for name in conversation_names(columns) if _repeats(columns[name]) >= _MANY and _is_key(columns[name])]
    speakers = [name for tier in speaker_names(columns) for name in tier if _repeats(columns[name]) > 1]
    texts = [name for name in text_names(columns) if not columns[name].is_messages]
    if not keys or not speakers or not texts:
        return ""
    return f"{keys[0]} comes again and again, {speakers[0]} says who speaks and {texts[0]} what"


def _is_key(column: Column) -> bool:
    return all(any(char.isdigit() for char in text) for text in column.values)


def _repeats(column: Column) -> float:
    """Returns how often a value comes on average."""
    return sum(column.values.values()) / max(1, len(column.values))
