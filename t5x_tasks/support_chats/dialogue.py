"""The turns of a chat: opening, problem, questions, corrections, small talk, decision, closing."""

import random
import string
from dataclasses import dataclass, field

from t5x_tasks.support_chats import detours, phrases
from t5x_tasks.support_chats.facts import Facts, Kind, Value
from t5x_tasks.support_chats.model import Ask, Domain, End, Intent
from t5x_tasks.support_chats.style import repair, write

MAX_TURNS = 20
MIN_TURNS = 4
_OPENINGS = ("agent", "agent", "agent", "customer", "customer", "anyone", "hello", "vague", "vague")


@dataclass(frozen=True)
class Person:
    """label: as the chat shows the person; called: as others address them; style: see `style.STYLES`."""

    label: str
    called: str
    style: str


class TooLong(Exception):
    """The chat has outgrown MAX_TURNS; the generator throws it away and draws another one."""


def slots(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@dataclass
class Chat:
    rng: random.Random
    domain: Domain
    facts: Facts
    customer: Person
    agent: Person
    company: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    extra_summary: str = ""
    greeting: str = ""
    introduced: bool = False
    talked: bool = False
    # Sentences that the agent still wants to say, put before the next utterance ("Thanks. And the order number?").
    _lead: list[str] = field(default_factory=list)

    def fill(self, text: str, **over: str) -> str:
        cast = {"c": self.customer.called, "a": self.agent.called, "C": self.customer.label, "A": self.agent.label}
        place = {"company": self.company, "team": self.domain.team, "about": self.domain.about}
        return text.format_map({**self.facts.values, **cast, **place, **over})

    def _add(self, person: Person, text: str) -> None:
        self.lines.append((person.label, write(repair(text), person.style, self.rng, typos=person is self.customer)))
        if len(self.lines) > MAX_TURNS:
            raise TooLong

    def by_customer(self, text: str, **over: str) -> None:
        self._flush(0.0)
        self.said |= slots(text) - set(over)
        self._add(self.customer, self.fill(text, **over))

    def by_agent(self, text: str, **over: str) -> None:
        self.said |= slots(text) - set(over)
        self._add(self.agent, " ".join([*self._lead, self.fill(text, **over)]))
        self._lead.clear()

    def lead(self, options: tuple[str, ...], **over: str) -> None:
        """The agent's short answer: part of the next utterance, or (now and then) an utterance of its own."""
        if not self._lead:
            self._lead.append(self.fill(self.rng.choice(options), **over))

    def _flush(self, keep: float) -> None:
        if self._lead and self.rng.random() >= keep:
            text, self._lead = " ".join(self._lead), []
            self._add(self.agent, text)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, options: tuple[str, ...]) -> str:
        return self.rng.choice(options)

    # --- moves ---------------------------------------------------------------------------------------------------

    def states(self, text: str, fixable: dict[str, Kind]) -> None:
        """The customer says facts, and now and then gets one of them wrong at first."""
        named = sorted((slots(text) & set(fixable)) - self.said)
        if not named or self.facts.withdrawn or not self.chance(0.3):
            self.by_customer(text)
            return
        slot = self.rng.choice(named)
        right, wrong = self.facts.values[slot], self.facts.another(fixable[slot], like=self.facts.values[slot])
        self.facts.withdrawn.append(wrong)
        self.said.add(slot)
        same_month = right.day and wrong.day and right.day.month == wrong.day.month
        brief = {"right": right.short() if same_month and self.chance(0.6) else right, "wrong": _brief(wrong, right)}
        way = self.rng.choice(("tail", "next", "next", "heard", "check") if self.introduced else ("tail", "next"))
        if way == "tail":
            tail = self.fill(self.pick(phrases.CORRECT_TAIL), **brief)
            self.by_customer(
                f"{text.rstrip('.')}. {tail}" if text[-1] not in "?!" else f"{text} {tail}", **{slot: wrong}
            )
        elif way == "next":
            self.by_customer(text, **{slot: wrong})
            self.by_customer(self.pick(phrases.CORRECT_NEXT), **brief)
        else:
            # The agent repeats the wrong value: the customer's own slip, or misheard.
            self.by_customer(text, **({slot: wrong} if way == "check" else {}))
            self.by_agent(self.pick(phrases.CHECK), wrong=wrong)
            self.by_customer(
                self.pick(phrases.CORRECT_CHECK[:-1] if way == "heard" else phrases.CORRECT_CHECK), **brief
            )
        self.lead(phrases.CORRECTED, right=right)

    def asks(self, ask: Ask, fixable: dict[str, Kind]) -> None:
        if ask.slot in self.said:
            return
        self.by_agent(self.pick(ask.question))
        self.said.discard(ask.slot)
        self.states(self.pick(ask.answer), fixable)
        if self.chance(0.5):
            self.lead(phrases.GOT_IT)

    def identity(self) -> None:
        kind, questions, answers = self.rng.choice(detours.IDENTITY)
        fact = self.facts.another(kind)
        self.by_agent(self.pick(questions))
        self.by_customer(self.pick(answers), fact=fact)
        if self.chance(0.6):
            self.lead(phrases.GOT_IT)

    def hold(self) -> None:
        self.by_agent(self.pick(phrases.HOLD))
        if self.chance(0.6):
            self.by_customer(self.pick(phrases.HOLD_REPLY))
            if self.chance(0.6):
                self.lead(phrases.BACK)

    def small_talk(self) -> None:
        if self.talked:
            return
        self.talked = True
        who, turns = self.rng.choice(detours.SMALL_TALK)
        drawn = {slot: self.facts.another(kind) for slot, kind in detours.SMALL_FACTS.items()}
        for turn in turns:
            if who == "a":
                self.by_agent(turn, **drawn)
            else:
                self.by_customer(turn, **drawn)
            who = "c" if who == "a" else "a"

    def opening(self) -> None:
        """Who says hello first. Leaves in `greeting` what the customer has still to say before the problem."""
        self.greeting = self.pick(phrases.HELLO_CUSTOMER[self.customer.style])
        way = self.rng.choice(_OPENINGS)
        self.introduced = way != "customer"
        if way == "agent":
            self.by_agent(self.pick(phrases.HELLO_AGENT))
            if self.chance(0.4):
                self.by_customer(f"{self._greet()} {self.pick(phrases.VAGUE)}")
                self.by_agent(self.pick(phrases.GO_AHEAD))
        elif self.introduced:
            if way == "anyone":
                self.by_customer(self.pick(phrases.ANYONE))
            else:
                self.by_customer(self.greeting if way == "hello" else f"{self._greet()} {self.pick(phrases.VAGUE)}")
            self.by_agent(self.pick(phrases.HELLO_BACK))
            self.greeting = ""
        if not self.greeting and self.chance(0.12):
            self.small_talk()

    def _greet(self) -> str:
        greeting, self.greeting = self.greeting, ""
        return greeting if greeting[-1] in ".!?," else f"{greeting}."

    def problem(self, intent: Intent, fixable: dict[str, Kind]) -> None:
        opens = self.rng.choice(intent.opens)
        parts = [opens] if isinstance(opens, str) else list(opens)
        if self.greeting and self.chance(0.85):
            if self.chance(0.2):
                self.by_customer(self.greeting)
            else:
                parts[0] = f"{self._greet()} {parts[0]}"
        if self.chance(0.2):
            parts[-1] += " " + self.pick(phrases.PLEA_TROUBLE if intent.trouble else phrases.PLEA)
        for place, part in enumerate(parts):
            if place and self.introduced and self.chance(0.35):
                self.by_agent(self.pick(phrases.GO_ON))
            self._lead.clear()
            self.states(part, fixable)
        if not self.introduced:
            self._lead.insert(0, self.fill(self.pick(phrases.HELLO_LATE)))
        self._lead.append(self.fill(self.pick(phrases.SORRY if intent.trouble else phrases.SURE)))
        self._flush(0.6)

    def transfer(self, agent: Person) -> None:
        # The last thing in mind is the offer to help, which the colleague makes now.
        del self._lead[-1:]
        self.by_agent(self.pick(phrases.PASS_ON), a=agent.called)
        if self.chance(0.5):
            self.by_customer(self.pick(phrases.HOLD_REPLY))
        self.agent = agent
        self.by_agent(self.pick(phrases.TAKE_OVER))

    def decision(self, end: End) -> None:
        text = self.pick(end.agent)
        if not self._lead and self.chance(0.3):
            self._lead.append(self.pick(phrases.FOUND_NO if end.customer == "no" else phrases.FOUND))
        if end.offer and not self.facts.withdrawn and self.chance(0.33):
            right, wrong = (
                self.facts.values[end.offer],
                self.facts.another(end.facts[end.offer], like=self.facts.values[end.offer]),
            )
            self.facts.withdrawn.append(wrong)
            self.said.add(end.offer)
            self.by_agent(text, **{end.offer: wrong})
            self.by_customer(self.pick(phrases.TURN_DOWN), wrong=_brief(wrong, right))
            self.by_agent(self.pick(phrases.OFFER_AGAIN), right=right)
            self.by_customer(self.pick(phrases.TAKE_OFFER), right=right)
        else:
            self.by_agent(text)
            yes = phrases.YES_OFFER if end.offer or text.endswith("?") else phrases.YES
            pools = {"yes": yes, "no": phrases.NO}
            reply = pools[end.customer] if isinstance(end.customer, str) else end.customer
            self.by_customer(self.pick(reply))
        if end.confirm:
            self.by_agent(self.pick(end.confirm))

    def extra(self) -> None:
        kinds, customer, agent, summary = self.rng.choice(detours.EXTRAS)
        drawn = {slot: self.facts.another(kind) for slot, kind in kinds.items()}
        self.by_customer(self.pick(customer), **drawn)
        self.by_agent(self.pick(agent), **drawn)
        self.extra_summary = self.fill(self.pick(summary), **drawn)

    def closing(self, refused: bool) -> None:
        nothing, thanks, bye = (
            (phrases.NOTHING_ELSE_NO, phrases.THANKS_NO, phrases.BYE_NO)
            if refused
            else (phrases.NOTHING_ELSE, phrases.THANKS, phrases.BYE)
        )
        roll = self.rng.random()
        last_is_agent = self.lines[-1][0] == self.agent.label
        if roll < 0.35:
            if not last_is_agent or self.chance(0.5):
                self.by_agent(self.pick(phrases.ANYTHING_ELSE))
                self.by_customer(self.pick(nothing))
            else:
                self.by_customer(self.pick(thanks))
            if self.chance(0.6):
                self.by_agent(self.pick(bye))
        elif roll < 0.75:
            if last_is_agent:
                self.by_customer(self.pick(thanks))
            if self.chance(0.7):
                self.by_agent(self.pick(bye))


def _brief(wrong: Value, right: Value) -> str:
    """The withdrawn value as one says it beside the right one: "the 12th" when only the day differs."""
    same_month = wrong.day and right.day and wrong.day.month == right.day.month
    return wrong.short() if same_month else str(wrong)


def converse(chat: Chat, intent: Intent, end: End, colleague: Person | None) -> None:
    """Plays the chat to its end. With `colleague`, that other agent takes over and decides."""
    rng = chat.rng
    fixable = {slot: intent.facts[slot] for slot in intent.fixable}
    chat.opening()
    chat.problem(intent, fixable)
    if colleague is not None:
        chat.transfer(colleague)
    for ask in intent.asks:
        chat.asks(_ask(ask), fixable)
    # After the questions: a bare "On which day?" must not follow small talk.
    detours = ((chat.identity, 0.33), (chat.small_talk, 0.22), (chat.hold, 0.25))
    for move, probability in rng.sample(detours, len(detours)):
        if chat.chance(probability):
            move()
    chat.decision(end)
    if rng.random() < 0.16:
        chat.extra()
    chat.closing(refused=end.customer == "no")


def _ask(ask: Ask | str) -> Ask:
    return phrases.SHARED_ASKS[ask] if isinstance(ask, str) else ask
