"""Draws the rows of the three splits."""

import datetime
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass

from tools.support_chats.dialogue import MIN_TURNS, Chat, Person, TooLong, converse, summarise
from tools.support_chats.facts import Facts, NoValueLeft
from tools.support_chats.texts import domains, names

SPLITS = {"train": 6000, "validation": 400, "test": 400}
DEFAULT_SEED = 2026


@dataclass(frozen=True)
class Row:
    """One chat. `speakers`, `withdrawn` and `values` are not written to the files; tests want them."""

    id: str
    dialogue: str
    summary: str
    domain: str
    topic: str
    speakers: tuple[str, str]
    withdrawn: tuple[str, ...]
    values: tuple[str, ...]

    def fields(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("id", "dialogue", "summary", "domain", "topic")}


def _person(rng: random.Random, first: str, styles: tuple[str, ...], title: float, full: float) -> Person:
    style, roll, last = rng.choice(styles), rng.random(), rng.choice(names().last_names)
    if roll < title:
        name = f"{rng.choice(('Mr.', 'Ms.', 'Mrs.', 'Dr.'))} {last}"
        return Person(name, name, style)
    return Person(f"{first} {last}" if roll < title + full else first, first, style)


def _chat(rng: random.Random, row_id: str) -> Row:
    domain_name, domain = rng.choice(list(domains().items()))
    topic, intent = rng.choice(list(domain.intents.items()))
    end = rng.choice(intent.ends)
    customer_first, agent_first, colleague_first = rng.sample(names().first_names, 3)
    customer = _person(rng, customer_first, ("formal", "plain", "plain", "chatty", "terse"), 0.08, 0.10)
    agent = _person(rng, agent_first, ("formal", "plain", "plain"), 0.0, 0.08)
    colleague = Person(colleague_first, colleague_first, "plain") if rng.random() < 0.08 else None
    today = datetime.date(2026, 1, 1) + datetime.timedelta(days=rng.randrange(330))
    facts = Facts(rng, today, day_first=rng.random() < 0.3)
    facts.add(intent.facts)
    facts.add(end.facts)
    chat = Chat(rng, domain, facts, customer, agent, rng.choice(domain.companies))
    converse(chat, intent, end, colleague)
    return Row(
        id=row_id,
        dialogue="\n".join(f"{label}: {text}" for label, text in chat.lines),
        summary=summarise(chat, intent, end),
        domain=domain_name,
        topic=topic,
        speakers=(customer.label, chat.agent.label),
        withdrawn=tuple(facts.withdrawn),
        values=tuple(chat.facts.values.values()),
    )


def generate(seed: int = DEFAULT_SEED) -> dict[str, list[Row]]:
    """All splits. The same seed gives the same rows on every Python and machine; no two rows share a text."""
    seen: set[str] = set()
    splits: dict[str, list[Row]] = {}
    for split, size in SPLITS.items():
        rng = random.Random(f"support_chats/{seed}/{split}")
        rows: list[Row] = []
        while len(rows) < size:
            try:
                row = _chat(rng, f"{split}-{len(rows):05d}")
            except (TooLong, NoValueLeft):
                continue
            if row.dialogue.count("\n") + 1 < MIN_TURNS or row.dialogue in seen or row.summary in seen:
                continue
            seen |= {row.dialogue, row.summary}
            rows.append(row)
        splits[split] = rows
    return splits


def encode(rows: Iterable[Row]) -> bytes:
    """JSON lines, one per row."""
    return "".join(json.dumps(row.fields(), ensure_ascii=True) + "\n" for row in rows).encode("ascii")
