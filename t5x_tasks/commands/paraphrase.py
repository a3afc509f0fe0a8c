"""Paraphrases of a card's templates by rule: other verbs, another order, a question for an order, other labels.

    for proposal in paraphrases(card, 10):
        print(proposal.inputs)

What comes out is a proposal, with the placeholders of the template that it was made from: a person chooses what enters a
card. The rules are in paraphrase_rules.py.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from t5x_tasks.card.card import Card, Template
from t5x_tasks.card.template import parse
from t5x_tasks.commands.paraphrase_rules import FIELD, RULES, Draft, instruction_block, join_blocks, split_blocks

_TRIES = 60  # candidates for each proposal that is wanted
_TOO_ALIKE = 0.25  # share of different words, below which two wordings are the same in a reader's eyes


@dataclass(frozen=True)
class Proposal:
    """A wording that a card does not have.

    Attributes:
      inputs, targets: as in a template.
      template: the id of the one that it was made from.
      how: what was done to it.
    """

    inputs: str
    targets: str
    template: str
    how: str


def paraphrases(card: Card, count: int, *, seed: int = 0) -> list[Proposal]:
    """Proposes other wordings of a card's forward templates, the ones that differ most from what it has first.

    They are made from templates that are trained on, so that no held-out one gets into training in other clothes. The same
    card, count and seed give the same proposals. Fewer than `count` where the rules find no more.
    """
    templates = training_templates(card)
    known = {normal(template.inputs) for template in card.templates}
    found: dict[str, Proposal] = {}
    draw = random.Random(seed)
    for number in range(_TRIES * count):
        template = templates[number % len(templates)]
        proposal = _rewrite(card, template, draw)
        key = normal(proposal.inputs) if proposal else ""
        if proposal and key not in known:
            found.setdefault(key, proposal)
    return _most_different(list(found.values()), [t.inputs for t in templates], count)


def forward_templates(card: Card) -> list[Template]:
    """Returns the templates that ask for the answer, held-out ones, too."""
    inverted = {phrasing.template for phrasing in card.phrasings if phrasing.inverted}
    return [template for template in card.templates if template.id not in inverted]


def training_templates(card: Card) -> list[Template]:
    """Returns the forward templates that are not held out; all of them where all are."""
    forward = forward_templates(card)
    return [template for template in forward if template.split == "train"] or forward


def normal(inputs: str) -> str:
    """Returns the words of a wording: without placeholders, case, punctuation and white space."""
    return " ".join(re.findall(r"\w+", FIELD.sub(" ", inputs).casefold()))


def same_placeholders(one: str, other: str) -> bool:
    """Tells whether two wordings have the same placeholders, each as often."""
    counts = [Counter(text for text, is_field in parse(inputs) if is_field) for inputs in (one, other)]
    return counts[0] == counts[1]


def instruction_of(inputs: str) -> str:
    """Returns the block of a wording that says what to do, where there is just one without data; else ""."""
    blocks, _ = split_blocks(inputs)
    number = instruction_block(blocks)
    return blocks[number] if number >= 0 else ""


def with_instruction(inputs: str, instruction: str) -> str:
    """Returns a wording with another instruction in the place of its own; braces in it are doubled."""
    blocks, label = split_blocks(inputs)
    blocks[instruction_block(blocks)] = instruction.replace("{", "{{").replace("}", "}}")
    return join_blocks(blocks, label)


def _rewrite(card: Card, template: Template, draw: random.Random) -> Proposal | None:
    draft = Draft(card, template, *split_blocks(template.inputs), draw)
    done = []
    rules = draw.sample(RULES, k=draw.randint(2, 4))
    for name, rule in sorted(rules, key=lambda named: named[0] == "words"):  # last: one name for a thing in all blocks
        if rule(draft):  # each rule at most once, so that an instruction stays one
            done.append(name)
    inputs = join_blocks(draft.blocks, draft.label)
    if not done or not same_placeholders(inputs, template.inputs):
        return None
    return Proposal(inputs, template.targets, template.id, ", ".join(done))


def _most_different(proposals: Sequence[Proposal], known: Iterable[str], count: int) -> list[Proposal]:
    """Chooses one after the other what is farthest from all that is there, by the share of words that are not common."""
    bags = {proposal: set(normal(proposal.inputs).split()) for proposal in proposals}
    distance = {
        proposal: min(_distance(bag, set(normal(inputs).split())) for inputs in known) for proposal, bag in bags.items()
    }
    chosen: list[Proposal] = []
    per_template = max(2, -(-2 * count // len({proposal.template for proposal in proposals} or {""})))
    while distance and len(chosen) < count:
        best = max(distance, key=lambda proposal: distance[proposal])  # of equals the first: the order is the seed's
        if distance.pop(best) < _TOO_ALIKE and chosen:
            break
        chosen.append(best)
        full = sum(p.template == best.template for p in chosen) >= per_template
        distance = {
            p: min(far, _distance(bags[p], bags[best]))
            for p, far in distance.items()
            if not (full and p.template == best.template)
        }
    return chosen


def _distance(one: set[str], other: set[str]) -> float:
    return 1 - len(one & other) / max(1, len(one | other))
