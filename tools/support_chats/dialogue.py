"""The turns of a chat: opening, problem, questions, corrections, small talk, decision, closing."""

import random
import string
from dataclasses import dataclass, field

from t5x_tasks.common.errors import UserError
from tools.support_chats.facts import Facts, Kind, Value
from tools.support_chats.style import repair, write
from tools.support_chats.texts import Ask, Domain, End, Intent, shared

MAX_TURNS = 20
MIN_TURNS = 4
_OPENINGS = ("agent", "agent", "agent", "customer", "customer", "anyone", "hello", "vague", "vague")


@dataclass(frozen=True)
class Person:
    """label: as the chat shows the person; called: as others address them; style: formal, plain, chatty or terse."""

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
        try:
            return text.format_map({**self.facts.values, **cast, **place, **over})
        except KeyError as slot:
            raise UserError(f"{text!r}: there is no fact {slot}; add it to the facts, or correct the text") from None

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

    def lead(self, phrase: str, **over: str) -> None:
        """The agent's short answer: part of the next utterance, or (now and then) an utterance of its own."""
        if not self._lead:
            self._lead.append(self.fill(self.phrase(phrase), **over))

    def _flush(self, keep: float) -> None:
        if self._lead and self.rng.random() >= keep:
            text, self._lead = " ".join(self._lead), []
            self._add(self.agent, text)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, options: tuple[str, ...]) -> str:
        return self.rng.choice(options)

    def phrase(self, *names: str) -> str:
        """One of the shared phrases of these names."""
        return self.pick(tuple(text for name in names for text in shared().phrases[name]))

    # --- moves ---------------------------------------------------------------------------------------------------

    def states(self, text: str, fixable: dict[str, Kind]) -> None:
        """The customer says facts, and now and then gets one of them wrong at first."""
        named = sorted((slots(text) & set(fixable)) - self.said)
        if not named or self.facts.withdrawn or not self.chance(0.3):
            self.by_customer(text)
            return
        slot = self.rng.choice(named)
        right = self.facts.values[slot]
        wrong = self.facts.another(fixable[slot], like=right)
        self.facts.withdrawn.append(wrong)
        self.said.add(slot)
        same_month = right.day and wrong.day and right.day.month == wrong.day.month
        brief = {"right": right.short() if same_month and self.chance(0.6) else right, "wrong": _brief(wrong, right)}
        way = self.rng.choice(("tail", "next", "next", "heard", "check") if self.introduced else ("tail", "next"))
        if way == "tail":
            tail = self.fill(self.phrase("correct_tail"), **brief)
            self.by_customer(
                f"{text.rstrip('.')}. {tail}" if text[-1] not in "?!" else f"{text} {tail}", **{slot: wrong}
            )
        elif way == "next":
            self.by_customer(text, **{slot: wrong})
            self.by_customer(self.phrase("correct_next"), **brief)
        else:
            # The agent repeats the wrong value: the customer's own slip, or misheard.
            self.by_customer(text, **({slot: wrong} if way == "check" else {}))
            self.by_agent(self.phrase("check"), wrong=wrong)
            own_slip = ("correct_own_slip",) if way == "check" else ()
            self.by_customer(self.phrase("correct_check", *own_slip), **brief)
        self.lead("corrected", right=right)

    def asks(self, ask: Ask, fixable: dict[str, Kind]) -> None:
        if ask.slot in self.said:
            return
        self.by_agent(self.pick(ask.question))
        self.said.discard(ask.slot)
        self.states(self.pick(ask.answer), fixable)
        if self.chance(0.5):
            self.lead("got_it")

    def identity(self) -> None:
        check = self.rng.choice(shared().identity)
        fact = self.facts.another(check.fact)
        self.by_agent(self.pick(check.question))
        self.by_customer(self.pick(check.answer), fact=fact)
        if self.chance(0.6):
            self.lead("got_it")

    def hold(self) -> None:
        self.by_agent(self.phrase("hold"))
        if self.chance(0.6):
            self.by_customer(self.phrase("hold_reply"))
            if self.chance(0.6):
                self.lead("back")

    def small_talk(self) -> None:
        if self.talked:
            return
        self.talked = True
        turns = self.rng.choice(shared().small_talk.talks)
        drawn = {slot: self.facts.another(kind) for slot, kind in shared().small_talk.facts.items()}
        for turn in turns:
            who, _, text = turn.partition(": ")
            (self.by_agent if who == "A" else self.by_customer)(text, **drawn)

    def opening(self) -> None:
        """Who says hello first. Leaves in `greeting` what the customer has still to say before the problem."""
        self.greeting = self.phrase(f"hello_{self.customer.style}")
        way = self.rng.choice(_OPENINGS)
        self.introduced = way != "customer"
        if way == "agent":
            self.by_agent(self.phrase("hello_agent"))
            if self.chance(0.4):
                self.by_customer(f"{self._greet()} {self.phrase('vague')}")
                self.by_agent(self.phrase("go_ahead"))
        elif self.introduced:
            if way == "anyone":
                self.by_customer(self.phrase("anyone"))
            else:
                self.by_customer(self.greeting if way == "hello" else f"{self._greet()} {self.phrase('vague')}")
            self.by_agent(self.phrase("hello_back"))
            self.greeting = ""
        if not self.greeting and self.chance(0.12):
            self.small_talk()

    def _greet(self) -> str:
        greeting, self.greeting = self.greeting, ""
        return greeting if greeting[-1] in ".!?," else f"{greeting}."

    def problem(self, intent: Intent, fixable: dict[str, Kind]) -> None:
        parts = list(self.rng.choice(intent.opens))
        if self.greeting and self.chance(0.85):
            if self.chance(0.2):
                self.by_customer(self.greeting)
            else:
                parts[0] = f"{self._greet()} {parts[0]}"
        if self.chance(0.2):
            parts[-1] += " " + self.phrase("plea_trouble" if intent.trouble else "plea")
        for place, part in enumerate(parts):
            if place and self.introduced and self.chance(0.35):
                self.by_agent(self.phrase("go_on"))
            self._lead.clear()
            self.states(part, fixable)
        if not self.introduced:
            self._lead.insert(0, self.fill(self.phrase("hello_late")))
        self._lead.append(self.fill(self.phrase("sorry" if intent.trouble else "sure")))
        self._flush(0.6)

    def transfer(self, agent: Person) -> None:
        # The last thing in mind is the offer to help, which the colleague makes now.
        del self._lead[-1:]
        self.by_agent(self.phrase("pass_on"), a=agent.called)
        if self.chance(0.5):
            self.by_customer(self.phrase("hold_reply"))
        self.agent = agent
        self.by_agent(self.phrase("take_over"))

    def decision(self, end: End) -> None:
        text = self.pick(end.agent)
        if not self._lead and self.chance(0.3):
            self._lead.append(self.phrase("found_no" if end.refused else "found"))
        if end.offer and not self.facts.withdrawn and self.chance(0.33):
            right = self.facts.values[end.offer]
            wrong = self.facts.another(end.facts[end.offer], like=right)
            self.facts.withdrawn.append(wrong)
            self.said.add(end.offer)
            self.by_agent(text, **{end.offer: wrong})
            self.by_customer(self.phrase("turn_down"), wrong=_brief(wrong, right))
            self.by_agent(self.phrase("offer_again"), right=right)
            self.by_customer(self.phrase("take_offer"), right=right)
        else:
            self.by_agent(text)
            yes = "yes_offer" if end.offer or text.endswith("?") else "yes"
            self.by_customer(self.pick(end.customer) if end.customer else self.phrase("no" if end.refused else yes))
        if end.confirm:
            self.by_agent(self.pick(end.confirm))

    def extra(self) -> None:
        extra = self.rng.choice(shared().extras)
        fact = self.facts.another(extra.fact)
        self.by_customer(self.pick(extra.customer), fact=fact)
        self.by_agent(self.pick(extra.agent), fact=fact)
        self.extra_summary = self.fill(self.pick(extra.summary), fact=fact)

    def closing(self, refused: bool) -> None:
        no = "_no" if refused else ""
        roll = self.rng.random()
        last_is_agent = self.lines[-1][0] == self.agent.label
        if roll < 0.35:
            if not last_is_agent or self.chance(0.5):
                self.by_agent(self.phrase("anything_else"))
                self.by_customer(self.phrase(f"nothing_else{no}"))
            else:
                self.by_customer(self.phrase(f"thanks{no}"))
            if self.chance(0.6):
                self.by_agent(self.phrase(f"bye{no}"))
        elif roll < 0.75:
            if last_is_agent:
                self.by_customer(self.phrase(f"thanks{no}"))
            if self.chance(0.7):
                self.by_agent(self.phrase(f"bye{no}"))


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
        chat.asks(ask, fixable)
    # After the questions: a bare "On which day?" must not follow small talk.
    detours = ((chat.identity, 0.33), (chat.small_talk, 0.22), (chat.hold, 0.25))
    for move, probability in rng.sample(detours, len(detours)):
        if chat.chance(probability):
            move()
    chat.decision(end)
    if rng.random() < 0.16:
        chat.extra()
    chat.closing(end.refused)


def summarise(chat: Chat, intent: Intent, end: End) -> str:
    """One to three sentences in the third person. Both people are named; every fact in it was said in the chat."""
    outcome = chat.pick(end.summary)
    want = chat.pick(intent.want if "{A}" in outcome else tuple(text for text in intent.want if "{A}" in text))
    unsaid = (slots(want) | slots(outcome)) - {"C", "A"} - chat.said
    if unsaid:
        raise UserError(f"{want!r}, {outcome!r}: nobody said {', '.join(sorted(unsaid))}; ask for it")
    return " ".join(repair(chat.fill(text)) for text in (want, outcome, chat.extra_summary) if text)
