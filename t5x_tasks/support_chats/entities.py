"""The people, amounts of money and codes that a chat names, read off its text: a second task on the same chats.

Imports no more than the text needs, so that a card can name it: `transform: t5x_tasks.support_chats.entities:entities`.
"""

import re

from t5x_tasks.metrics.entities import format_entities

_KINDS = {
    "person": re.compile(r"^([^:\n]{1,40}):", re.MULTILINE),  # who speaks; each message is a line
    "amount": re.compile(r"(\$\d+(?:\.\d\d)?)"),
    "code": re.compile(r"\b([A-Z]{1,3}\d{3,})\b"),
}


def entities(dialogue: str) -> str:
    """Returns `person: Ada; person: Lin; amount: $74; code: YW32612`, each once, kinds in this order; or `none`."""
    found = ((kind, mention) for kind, pattern in _KINDS.items() for mention in pattern.findall(dialogue))
    return format_entities(dict.fromkeys(found))
