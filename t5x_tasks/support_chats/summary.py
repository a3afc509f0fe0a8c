"""The summary of a chat: what was asked, what was agreed, and a further request if there was one."""

from t5x_tasks.support_chats.dialogue import Chat, slots
from t5x_tasks.support_chats.model import End, Intent
from t5x_tasks.support_chats.style import repair

_CAST = {"C", "A"}


def summarise(chat: Chat, intent: Intent, end: End) -> str:
    """One to three sentences in the third person. Both people are named; every fact in it was said in the chat."""
    outcome = chat.pick(end.summary)
    wants = intent.want if "{A}" in outcome else tuple(text for text in intent.want if "{A}" in text)
    want = chat.pick(wants)
    unsaid = (slots(want) | slots(outcome)) - _CAST - chat.said
    if unsaid:
        raise ValueError(f"{chat.domain.name}.{intent.name}: the summary needs {sorted(unsaid)}, which nobody said")
    return " ".join(repair(chat.fill(text)) for text in (want, outcome, chat.extra_summary) if text)
