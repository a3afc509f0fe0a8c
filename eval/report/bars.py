"""Small bars for the verdict cards: a difference around zero, and rows won, tied and lost. Inline SVG, as charts.py."""

from markupsafe import Markup

from eval.comparison.pairs import Outcome
from eval.report.charts import shape

_WIDTH, _HEIGHT = 240, 22
_EDGE = 8  # room for a mark at the end of the scale


def around_zero(value: float, low: float, high: float, *, most: float, mark: int, verdict: str, told: str) -> Markup:
    """A bar from zero to a difference with its interval; better is to the right.

    Args:
      value, low, high: gains: of a score of which less is better, the negative difference.
      most: at the ends of the scale.
      mark: of the system.
      verdict: better, worse, even or empty: gives the bar its colour and its pattern.
      told: the whole in words.
    """
    middle = _WIDTH / 2

    def x(gain: float) -> float:
        return middle + gain / (most or 1.0) * (middle - _EDGE)

    start, end = sorted((middle, x(value)))
    y = _HEIGHT / 2
    return Markup(
        '<svg class="gain {}" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<path class="grid" d="M{} {}H{}"/><rect class="fill" x="{:.1f}" y="{}" width="{:.1f}" height="8"/>'
        '<path class="zero" d="M{} 1V{}"/>'
        '<g class="s{}"><path class="whisker" d="M{:.1f} {}H{:.1f}M{:.1f} {}v8M{:.1f} {}v8"/>{}</g></svg>'
    ).format(
        verdict or "unknown", _WIDTH, _HEIGHT, told, _EDGE, y, _WIDTH - _EDGE, start, y - 4, end - start, middle,
        _HEIGHT - 1, mark % 6, x(low), y, x(high), x(low), y - 4, x(high), y - 4, shape(mark, x(value), y),
    )  # fmt: skip


def shares(outcome: Outcome) -> Markup:
    """Won, tied and lost rows as parts of one bar, from left to right; the numbers are beside it in words."""
    total = outcome.won + outcome.tied + outcome.lost
    parts, at = [], 0.0
    for name, count in (("won", outcome.won), ("tied", outcome.tied), ("lost", outcome.lost)):
        width = _WIDTH * count / total
        parts.append(Markup('<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="10"/>').format(name, at, width))
        at += width
    return Markup('<svg class="shares" viewBox="0 0 {} 10" aria-hidden="true">{}</svg>').format(
        _WIDTH, Markup("").join(parts)
    )
