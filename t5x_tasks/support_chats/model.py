"""What a scenario is made of. Texts hold slots: `{item}` and so on from the facts, and these of the cast:

{C} {c}   the customer: as the chat labels them ("Ms. Haddad", "Leila"), and as an agent addresses them
{A} {a}   the agent: as the chat labels them ("Tomas Weber"), and by first name
{company}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from t5x_tasks.support_chats.facts import Kind

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Ask:
    """A question of the agent for the fact `slot`, put only when the customer has not named it yet."""

    slot: str
    question: Texts
    answer: Texts


@dataclass(frozen=True)
class End:
    """One way in which a request ends.

    agent: the decision or offer. customer: the reaction, or "yes" / "no" for the shared pools. confirm: last word of
    the agent on it. offer: the fact that the customer may turn down once, so that another value is agreed.
    summary: the second half of the summary.
    """

    agent: Texts
    summary: Texts
    customer: Texts | str = "yes"
    confirm: Texts = ()
    facts: Mapping[str, Kind] = field(default_factory=dict)
    offer: str = ""


@dataclass(frozen=True)
class Intent:
    """One kind of request. `opens`: how the customer says it, each a text or several utterances in a row.

    want: the first half of the summary. fixable: facts that the customer may name wrongly and take back.
    trouble: the customer has been wronged, so the agent is sorry first.
    """

    name: str
    facts: Mapping[str, Kind]
    opens: tuple[str | Texts, ...]
    want: Texts
    ends: tuple[End, ...]
    asks: tuple[Ask | str, ...] = ()
    fixable: Texts = ()
    trouble: bool = False


@dataclass(frozen=True)
class Domain:
    """A field of support: who answers (`companies`), which team takes over, what it is `about`."""

    name: str
    companies: Texts
    team: str
    about: str
    intents: tuple[Intent, ...]
