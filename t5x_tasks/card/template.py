"""Templates: plain text with placeholders, `{dialogue}` for a field and `{{`, `}}` for braces, and with pseudo tokens.

Pseudo tokens, `[p0..p9] {dialogue} [p10] Summary:`, are places that hold no word but what P-tuning learns for them. Pseudo
token n is the vocabulary's sentinel `<extra_id_n>`, a piece that no text holds. So a template with pseudo tokens is rendered,
tokenised, cached and packed like any other, and whatever reads the vocabulary knows its text.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from t5x_tasks.common.vocabulary import EXTRA_IDS

OPTIONS = "options"  # `{options}` stands for the card's options
_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")
_MARK = re.compile(r"\[p(\d+)(?:\.\.p(\d+))?\]")
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


@lru_cache(maxsize=4096)
def parse(template: str) -> tuple[tuple[str, bool], ...]:
    """Splits a template into (text, is_field) parts.

    Raises:
      ValueError: a brace that is neither part of a placeholder nor doubled.
    """
    parts: list[tuple[str, bool]] = []
    literal = ""
    end = 0
    for match in _TOKEN.finditer(template):
        literal += template[end : match.start()]
        end = match.end()
        if match[1]:
            parts += [(literal, False)] * bool(literal) + [(match[1], True)]
            literal = ""
        elif len(match[0]) == 2:
            literal += match[0][0]
        else:
            raise ValueError(f"lone {match[0]!r} near {template[max(0, match.start() - 12) : end + 12]!r}; double it")
    literal += template[end:]
    return (*parts, *([(literal, False)] if literal else []))


def placeholders(template: str) -> list[str]:
    """Returns the names of the fields that a template uses, in order, each once."""
    return list(dict.fromkeys(text for text, is_field in parse(template) if is_field))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Puts values into a template in one pass: braces inside a value stay what they are."""
    return "".join([values[text] if is_field else text for text, is_field in parse(template)])


def expand_pseudo_tokens(template: str) -> str:
    """Writes the marks of a template as sentinels.

    Raises:
      ValueError: a mark with a number that has no sentinel, or a range that runs backwards.
    """

    def sentinels(match: re.Match[str]) -> str:
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < EXTRA_IDS:
            raise ValueError(f"{match[0]}: pseudo tokens are numbered upwards, from p0 to p{EXTRA_IDS - 1}")
        before = match.string[: match.start()][-1:]
        space = " " if before and not before.isspace() else ""  # the piece of a sentinel begins with one
        return space + " ".join(f"<extra_id_{number}>" for number in range(first, last + 1))

    return _MARK.sub(sentinels, template)


def count_pseudo_tokens(template: str) -> int:
    """Returns how many pseudo tokens an expanded template has, the highest number plus one."""
    return max((int(number) + 1 for number in _SENTINEL.findall(template)), default=0)
