"""The rules behind `paraphrase.py`: what a wording is made of, and what can be changed about it.

A wording is looked at as blocks between blank lines: those with placeholders are data, a short last one that ends with a
colon is the label of the answer, the others instruct. The rules rewrite words and move whole blocks; placeholders are never
touched. Each rule takes a draft, changes it, and tells whether it did.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from t5x_tasks.card.card import Card, Template
from t5x_tasks.card.heuristic_templates import is_plural, joined, title, with_article, words
from t5x_tasks.card.template import OPTIONS, parse

FIELD = re.compile(r"(\{\{|\}\}|\{\w+\})")

# Verbs that can take each other's place before an object, where they give an order.
_VERBS = (
    ("summarize", "sum up", "condense", "give a short account of"),
    ("write down", "note down", "record"),
    ("read", "look at", "go through"),
    ("give", "state", "provide"),
    ("find", "identify", "pick out"),
    ("list", "name", "write out"),
    ("decide", "determine", "judge", "work out"),
    ("translate", "convert"),
    ("classify", "categorize"),
    ("rate", "grade", "score"),
    ("answer", "reply to", "respond to"),
    ("write", "compose", "produce"),
    ("report", "describe", "relate"),
    ("guess", "estimate"),
)
# Other words that can take each other's place anywhere in an instruction.
_WORDS = (
    ("briefly", "in a few words"),
    ("dialogue", "conversation"),
    ("right answer", "correct answer"),
    ("talked about", "discussed"),
    ("main points", "key points", "essentials"),
    ("named entities", "names of entities"),
)
_OBJECT = r"(?= (?:the|this|these|it|them|who|what|which|how|whether|all|a|an|your|in|briefly)\b)"
_ORDER = r"(^|[.!?:] +|\b(?:to|you|please|and|then) )"
_VERB = {verb: group for group in _VERBS for verb in group if verb != "condense"}  # `condense it to what matters`
_VERB_PATTERN = re.compile(
    f"{_ORDER}({'|'.join(sorted(_VERB, key=len, reverse=True))}){_OBJECT}", re.IGNORECASE | re.MULTILINE
)
_WORD = {word: group for group in _WORDS for word in group}
_WORD_PATTERN = re.compile(rf"(?<!as )\b({'|'.join(sorted(_WORD, key=len, reverse=True))})\b(?! as\b)", re.IGNORECASE)
_ORDERED = re.compile(rf"^(?:{'|'.join(sorted(_VERB, key=len, reverse=True))})\b", re.IGNORECASE)
_FRAMED = re.compile(
    r"^(?:please|(?:can|could|would) you(?: please)?|task:|i would like you to|your task is to) +", re.IGNORECASE
)
# What `this` and `the following` may point to, beside the names of the card's fields.
_DATA = ("dialogue", "conversation", "text", "review", "sentence", "passage", "question", "code", "article", "document",
         "message", "messages", "opinion", "problem", "statement")  # fmt: skip

_FRAMES = (
    ("order", "{X}."),
    ("politeness", "Please {x}."),
    ("question", "Can you {x}?"),
    ("question", "Could you {x}?"),
    ("question", "Would you {x}, please?"),
    ("frame", "Your task is to {x}."),
    ("frame", "I would like you to {x}."),
    ("frame", "Task: {x}."),
)
# What stands before the answer, by the answer's name or the card's category; `{}` is the answer's name.
_LABELS = {
    "summary": ("Summary:", "In short:", "Short version:", "In brief:", "The gist:"),
    "answer": ("Answer:", "Your answer:", "Reply:", "Response:"),
    "rating": ("Rating:", "Score:", "My rating:"),
    "entities": ("Entities:", "Found:", "List of entities:"),
    "translation": ("Translation:", "Translated:", "Result:"),
    "": ("{}:", "Your {}:", "The {}:", "Answer:"),
}
_FAMILIES = {"summarization": "summary", "qa": "answer", "reasoning": "answer", "rating": "rating", "entities": "entities",
             "translation": "translation", "code": "translation"}  # fmt: skip


@dataclass
class Draft:
    """A template on its way.

    Attributes:
      blocks: without the label.
      label: the block before the answer, or "".
    """

    card: Card
    template: Template
    blocks: list[str]
    label: str
    draw: random.Random

    @property
    def instruction(self) -> int:
        """The number of the block that instructs; -1 where there is none or more than one."""
        return instruction_block(self.blocks)

    @property
    def asked(self) -> list[str]:
        """Fields of the data, in order; neither options nor what is the same in every row."""
        fields = [text for text, is_field in parse(self.template.inputs) if is_field and text != OPTIONS]
        return [field for field in fields if self.card.fields[field].text is None]

    @property
    def nouns(self) -> str:
        """Regular expression of what the data may be called."""
        return "|".join(sorted({*_DATA, *(words(field) for field in self.asked)}, key=len, reverse=True))


def split_blocks(inputs: str) -> tuple[list[str], str]:
    """Returns the blocks of a wording and the label of the answer, or ""."""
    blocks = inputs.split("\n\n")
    label = blocks.pop() if len(blocks) > 1 and _is_label(blocks[-1]) else ""
    return blocks, label


def join_blocks(blocks: Sequence[str], label: str) -> str:
    """The inverse of `split_blocks`."""
    return "\n\n".join([*blocks, *([label] if label else [])])


def instruction_block(blocks: Sequence[str]) -> int:
    """Returns the number of the only block without placeholders, or -1."""
    free = [number for number, block in enumerate(blocks) if not FIELD.search(block)]
    return free[0] if len(free) == 1 else -1


def _is_label(block: str) -> bool:
    short = not FIELD.search(block) and len(block.split()) <= 4
    return short and (block.endswith(":") or not block.endswith((".", "?", "!")))


def _synonyms(draft: Draft) -> bool:
    def verb(match: re.Match[str]) -> str:
        return match[1] + _like(match[2], draft.draw.choice(_others(_VERB[match[2].lower()], match[2])))

    # One word for a thing in all of a wording: not `dialogue` here and `conversation` there.
    chosen = {group: draft.draw.choice(group) for group in _WORDS}

    def word(match: re.Match[str]) -> str:
        return _like(match[1], chosen[_WORD[match[1].lower()]])

    return _each_text(draft, lambda text: _WORD_PATTERN.sub(word, _VERB_PATTERN.sub(verb, text)))


def _position(draft: Draft) -> bool:
    """The instruction from before the data to behind them, and back."""
    number = draft.instruction
    if (
        number < 0
        or len(draft.blocks) < 2
        or re.match(r"(here (is|are)|below is)\b", draft.blocks[number], re.IGNORECASE)
    ):
        return False
    text = draft.blocks[number]
    if text.endswith(":") or (number not in (0, len(draft.blocks) - 1)):
        return False
    if number == 0:
        moved = re.sub(rf"\bthe following (?={draft.nouns})", "the above ", text)
        moved = re.sub(r"\bbelow\b", "above", moved)
        wrong = "following"
    else:
        moved = re.sub(rf"\bthe ({draft.nouns}) above\b|\bthe above ({draft.nouns})\b", _point_forward, text)
        wrong = "above"
    if wrong in moved:  # it points at the data in words of its own
        return False
    draft.blocks.pop(number)
    draft.blocks.insert(0 if number else len(draft.blocks), moved)
    return True


def _frame(draft: Draft) -> bool:
    """An order as a question, a request, a task; or back."""
    number = draft.instruction
    if number < 0:
        return False
    text = draft.blocks[number]
    core = _FRAMED.sub("", text).rstrip("?.!").removesuffix(", please")
    if "\n" in text or text[-1] not in ".?!" or re.search(r"[.?!:] ", core) or not _ORDERED.match(core):
        return False
    _, frame = draft.draw.choice(_FRAMES)
    framed = frame.format(X=core[0].upper() + core[1:], x=core[0].lower() + core[1:])
    changed, draft.blocks[number] = framed != text, framed
    return changed


def _reference(draft: Draft) -> bool:
    """`the following dialogue` for `this dialogue`, and back, where it stands before the data."""
    number = draft.instruction
    if number != 0:
        return False
    text = draft.blocks[number]
    if "the following " in text:
        new = re.sub(
            rf"\bthe following ({draft.nouns})\b", lambda m: f"{'these' if is_plural(m[1]) else 'this'} {m[1]}", text
        )
    else:
        new = re.sub(rf"\b(?:this|these) (?={draft.nouns})", "the following ", text, count=1)
    changed, draft.blocks[number] = new != text, new
    return changed


def _label(draft: Draft) -> bool:
    answer = next((text for text, is_field in parse(draft.template.targets) if is_field), "")
    family = next((name for name in _LABELS if name and name in (answer, *answer.split("_"))), "")
    family = family or _FAMILIES.get(draft.card.category, "")
    labels = [label.format(words(answer)) for label in _LABELS[family]]
    labels = [label[0].upper() + label[1:] for label in labels]
    if (draft.label and not draft.label.endswith(":")) or draft.blocks[-1][-1] not in ".?!}":
        return False  # the answer goes on with words of its own: `TL;DR`, `Out of five stars I give it`
    others = [label for label in labels if label != draft.label]
    if draft.label and draft.instruction >= 0:
        others.append("")  # an instruction needs no label
    draft.label = draft.draw.choice(others)
    return True


def _data_labels(draft: Draft) -> bool:
    """`Dialogue: {dialogue}` for `{dialogue}`, and back where the data are one text."""
    changed = False
    alone = sum(bool(FIELD.search(block)) for block in draft.blocks if f"{{{OPTIONS}}}" not in block) == 1
    for number, block in enumerate(draft.blocks):
        bare, labelled = re.fullmatch(r"\{(\w+)\}", block), re.fullmatch(r"[\w ]+:\s(\{\w+\})", block)
        if bare and bare[1] != OPTIONS:
            between = draft.draw.choice((" ", "\n"))
            draft.blocks[number] = f"{title(bare[1])}:{between}{block}"
            changed = True
        elif labelled and alone and draft.instruction >= 0:
            draft.blocks[number] = labelled[1]
            changed = True
    return changed


def _introduction(draft: Draft) -> bool:
    """`Here is a dialogue.` before all, where the data come before the instruction."""
    if draft.instruction < 1 or not draft.asked:
        return False
    things = joined(with_article(field) for field in draft.asked)
    many = len(draft.asked) > 1 or is_plural(words(draft.asked[0]))
    intro = draft.draw.choice(("Here is {}.", "Below is {}.", "You are given {}.")).format(things)
    draft.blocks.insert(0, intro.replace(" is ", " are ", 1) if many else intro)
    return True


RULES: tuple[tuple[str, Callable[[Draft], bool]], ...] = (
    ("words", _synonyms),
    ("order", _position),
    ("question or request", _frame),
    ("reference", _reference),
    ("label", _label),
    ("data labels", _data_labels),
    ("introduction", _introduction),
)


def _each_text(draft: Draft, change: Callable[[str], str]) -> bool:
    """Changes the texts between placeholders."""
    before = list(draft.blocks)
    draft.blocks = [
        "".join(part if FIELD.fullmatch(part) else change(part) for part in FIELD.split(block)) for block in before
    ]
    return draft.blocks != before


def _others(group: Sequence[str], word: str) -> list[str]:
    return [other for other in group if other != word.lower()]


def _like(old: str, new: str) -> str:
    return new[0].upper() + new[1:] if old[0].isupper() else new


def _point_forward(match: re.Match[str]) -> str:
    return f"the following {match[1] or match[2]}"
