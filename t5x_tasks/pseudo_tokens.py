"""Pseudo tokens in templates: `[p0..p9] {dialogue} [p10] Summary:`, places that hold no word but what P-tuning learns for them.

Pseudo token n is the vocabulary's sentinel `<extra_id_n>`, a piece that no text holds. So a template with pseudo tokens is
rendered, tokenised, cached and packed like any other, and whatever reads the vocabulary knows its text.
"""

import re

from t5x_tasks.vocabulary import EXTRA_IDS

_MARK = re.compile(r"\[p(\d+)(?:\.\.p(\d+))?\]")
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


def expand(template: str) -> str:
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


def count(template: str) -> int:
    """How many pseudo tokens a template that was expanded has, the highest number plus one."""
    return max((int(number) + 1 for number in _SENTINEL.findall(template)), default=0)
