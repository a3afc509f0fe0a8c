"""How a person writes: formal, plain, chatty or terse; and small repairs of grammar after slots were filled in."""

import random
import re

# "an hour", "an 8 pm show", but "a user", "a one-way ticket".
_ARTICLE = re.compile(r"\b([Aa])n? (?=(\$?[A-Za-z0-9][\w-]*))")
_VOWEL_SOUND = re.compile(r"(?i)^(?!(?:uni|use|usb|uti|euro|one)\w*)(?:[aeiou]|hour|honest|x-ray|\$?8|11\b|18\b)")
_LONG_FORMS = (
    (r"\bI'm\b", "I am"), (r"\bI've\b", "I have"), (r"\bI'd like\b", "I would like"), (r"\bI'll\b", "I will"),
    (r"\bdon't\b", "do not"), (r"\bdoesn't\b", "does not"), (r"\bdidn't\b", "did not"), (r"\bcan't\b", "cannot"),
    (r"\bisn't\b", "is not"), (r"\bwasn't\b", "was not"), (r"\bhasn't\b", "has not"), (r"\bhaven't\b", "have not"),
    (r"\bit's\b", "it is"), (r"\bIt's\b", "It is"), (r"\bthat's\b", "that is"), (r"\bThat's\b", "That is"),
    (r"\bwon't\b", "will not"), (r"\bthere's\b", "there is"), (r"\bThere's\b", "There is"), (r"\bwe're\b", "we are"),
)  # fmt: skip
_TYPOS = {
    "received": "recieved", "address": "adress", "because": "becuase", "please": "plese", "tomorrow": "tommorow",
    "definitely": "definately", "the": "teh", "would": "woudl", "appointment": "apointment", "already": "allready",
}  # fmt: skip
# Words that may lose their capital at the start of a terse message; anything else could be a name or a fact.
_SMALL_START_WORDS = """
A All And Are Because But Can Correction Could Did Do Does Fine From Good Great Hello Hey Hi How In Is It It's Just
My No Not Nothing Oh Ok Okay Order Perfect Please Really Since So Sorry Sure Take Thank Thanks That That's The Then
There There's This To Two Wait We Well What What's When Where Which Why Will Yes Your
"""
_SMALL_STARTS = frozenset(_SMALL_START_WORDS.split())


def repair(text: str) -> str:
    """`a` or `an` as the word after it wants; a capital at the start; single spaces; no doubled full stop."""
    text = _ARTICLE.sub(lambda m: f"{m[1]}n " if _VOWEL_SOUND.match(m[2]) else f"{m[1]} ", text)
    text = re.sub(r"\b(am|pm)\.\.", r"\1.", re.sub(r" +", " ", text)).strip()
    text = re.sub(r"(?<!\.)\.\.(?!\.)", ".", text)
    text = re.sub(r"(?<=[^.][.?!] )([a-z])(?=[a-z']* )", lambda m: m[1].upper(), text) if ". " in text else text
    text = text.replace("the The ", "The ")
    return text if "@" in text.split(" ")[0] else text[:1].upper() + text[1:]


def write(text: str, style: str, rng: random.Random, typos: bool) -> str:
    """The text as a person of this style would type it. Names, numbers and dates stay as they are.

    typos: whether this person makes one now and then.
    """
    if style == "formal":
        for pattern, full in _LONG_FORMS:
            text = re.sub(pattern, full, text)
    elif style == "terse":
        first, space, rest = text.partition(" ")
        if rng.random() < 0.7 and first.strip(",.!?") in _SMALL_STARTS:
            text = first.lower() + space + rest
        if rng.random() < 0.7 and text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
    elif style == "chatty":
        roll = rng.random()
        if roll < 0.12 and text.endswith("."):
            text = text[:-1] + "!"
        elif roll < 0.18 and text.endswith((".", "!")):
            text += " :)"
    if typos and style != "formal" and rng.random() < 0.04:
        words = [word for word in _TYPOS if re.search(rf"\b{word}\b", text)]
        if words:
            word = rng.choice(words)
            text = re.sub(rf"\b{word}\b", _TYPOS[word], text, count=1)
    return text
