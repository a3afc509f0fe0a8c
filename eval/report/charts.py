"""Charts as inline SVG: intervals of scores, and curves. Series differ in shape and dash, not in colour alone.

A system has one mark, a colour with a shape, in all charts, tables and examples: that of its number in the report.

Colours are classes (s0, s1, ...) that the report's style sheet gives; no style attributes, which its content policy forbids.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 440  # of the drawing, in CSS pixels where there is room
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "10 4")
_LABEL = 150  # left of the axis, for names
_RIGHT = 16


@dataclass(frozen=True)
class Dot:
    """A score with its interval."""

    value: float
    low: float
    high: float
    note: str = ""


def intervals(
    title: str,
    rows: Mapping[str, Sequence[Dot | None]],
    series: Sequence[str],
    *,
    decimals: int = 1,
    marks: Sequence[int] | None = None,
    row_marks: Mapping[str, int] | None = None,
    links: Mapping[str, str] | None = None,
) -> Markup:
    """Draws a dot with its interval for each row and series; rows from top to bottom.

    Args:
      rows: label -> a dot of each series; None where there is none.
      marks: of the series; otherwise their places.
      row_marks: label -> mark, where the rows are the systems.
      links: label -> address that the row leads to.
    """
    marks = range(len(series)) if marks is None else marks
    dots = [dot for of_row in rows.values() for dot in of_row if dot]
    if not dots:
        return Markup("")
    ticks = _ticks(min(d.low for d in dots), max(d.high for d in dots), 5)
    left, right = _LABEL, WIDTH - _RIGHT
    x = _scale(ticks[0], ticks[-1], left, right)
    step, gap = 14, 10
    row_height = max(20, step * len(series)) + gap
    height = 8 + row_height * len(rows) + 24
    parts = [_vertical(x(tick), 4, height - 22, f"{tick:g}", height - 8) for tick in ticks]
    for number, (label, of_row) in enumerate(rows.items()):
        top = 8 + number * row_height
        middle = top + (row_height - gap) / 2
        link = (links or {}).get(label)
        parts.append(_linked(_label(label, middle + 4), link, f"Examples of {label}"))
        offset = middle - step * (len(series) - 1) / 2
        for index, dot in enumerate(of_row):
            if dot is None:
                continue
            y = offset + step * index
            mark = row_marks[label] if row_marks else marks[index]
            told = f"{label}, {series[index]}: " if len(series) > 1 else f"{label}: "
            told += f"{dot.value:.{decimals}f}"
            told += f" [{dot.low:.{decimals}f}, {dot.high:.{decimals}f}]{dot.note}" if dot.low < dot.high else dot.note
            parts.append(
                Markup(
                    '<g class="s{}"><title>{}</title><path class="whisker" d="M{:.1f} {:.1f}H{:.1f}"/>{}</g>'
                ).format(mark % 6, told, x(dot.low), y, x(dot.high), shape(mark, x(dot.value), y))
            )
    return _figure(title, height, parts, dict(zip(marks, series, strict=True)) if len(series) > 1 else {})


def curves(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str,
    height: int = 250,
    marks: Mapping[str, int] | None = None,
) -> Markup:
    """Draws (x, y) points as lines, with a mark on each where there are few.

    Args:
      marks: of the series; otherwise their places.
    """
    drawn = {name: points for name, points in series.items() if points}
    if not drawn:
        return Markup("")
    marks = marks or {name: i for i, name in enumerate(drawn)}
    xs, ys = ([point[axis] for points in drawn.values() for point in points] for axis in (0, 1))
    x_ticks, y_ticks = _ticks(min(xs), max(xs), 5), _ticks(min(ys), max(ys), 5)
    left, right, bottom = 46, WIDTH - _RIGHT, height - 38
    x, y = _scale(x_ticks[0], x_ticks[-1], left, right), _scale(y_ticks[0], y_ticks[-1], bottom, 8)
    parts = [_vertical(x(tick), 8, bottom, f"{tick:g}", bottom + 14) for tick in x_ticks]
    for tick in y_ticks:
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(left, y(tick), right))
        parts.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{:g}</text>').format(left - 6, y(tick) + 4, tick)
        )
    parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(right, height - 6, x_label))
    for name, points in drawn.items():
        index = marks[name]
        path = "M" + "L".join(f"{x(px):.1f} {y(py):.1f}" for px, py in points)
        dash = Markup(' stroke-dasharray="{}"').format(_DASHES[index % 6]) if index % 6 else Markup("")
        shapes = Markup("").join(shape(index, x(px), y(py)) for px, py in points) if len(points) <= 12 else ""
        last = f"{name}: {points[-1][1]:.4g} at {points[-1][0]:g}"
        parts.append(
            Markup('<g class="s{}"><title>{}</title><path class="line" d="{}"{}/>{}</g>').format(
                index % 6, last, path, dash, shapes
            )
        )
    return _figure(title, height, parts, {marks[name]: name for name in drawn}, lines=True)


def legend_mark(index: int, *, line: bool = False) -> Markup:
    """The mark of a series, small, for legends and tables."""
    dash = Markup(' stroke-dasharray="{}"').format(_DASHES[index % 6]) if index % 6 else Markup("")
    stroke = Markup('<path class="line" d="M1 7H23"{}/>').format(dash) if line else Markup("")
    width = 24 if line else 14
    return Markup(
        '<svg class="key s{}" viewBox="0 0 {} 14" width="{}" height="14" aria-hidden="true">{}{}</svg>'
    ).format(index % 6, width, width, stroke, shape(index, width / 2, 7))


def _figure(
    title: str, height: float, parts: list[Markup], series: Mapping[int, str], *, lines: bool = False
) -> Markup:
    keys = Markup("").join(
        Markup("<li>{}<span>{}</span></li>").format(legend_mark(i, line=lines), name) for i, name in series.items()
    )
    legend = Markup('<ul class="legend">{}</ul>').format(keys) if keys else Markup("")
    return Markup(
        '<figure class="chart"><figcaption>{}</figcaption>'
        '<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>{}</figure>'
    ).format(title, WIDTH, height, title, Markup("").join(parts), legend)


def shape(index: int, x: float, y: float) -> Markup:
    """The mark of a system: of more than six each colour comes back with another shape. As `shape` of marks.js."""
    kind, r = (index + index // 6) % 6, 4.5
    if kind == 0:
        return Markup('<circle class="mark" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(x, y, r)
    corners = {
        1: [(-r, -r), (r, -r), (r, r), (-r, r)],
        2: [(0, -r - 1), (r + 1, r), (-r - 1, r)],
        3: [(0, -r - 1.5), (r + 1.5, 0), (0, r + 1.5), (-r - 1.5, 0)],
        4: [(-r - 1, -r), (r + 1, -r), (0, r + 1)],
        5: [(-r, -r), (0, -1), (r, -r), (r, r), (0, 1), (-r, r)],
    }[kind]
    path = "M" + "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in corners) + "Z"
    return Markup('<path class="mark" d="{}"/>').format(path)


def _linked(drawn: Markup, address: str | None, told: str) -> Markup:
    return Markup('<a href="{}" aria-label="{}">{}</a>').format(address, told, drawn) if address else drawn


def _vertical(x: float, top: float, bottom: float, text: str, y: float) -> Markup:
    return Markup(
        '<path class="grid" d="M{:.1f} {:.1f}V{:.1f}"/><text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
    ).format(x, top, bottom, x, y, text)


def _label(text: str, y: float, most: int = 20) -> Markup:
    head, comma, count = text.rpartition(", n=")  # of a name that is too long the number of rows stays
    room = most - len(comma + count) - 1
    short = text if len(text) <= most else f"{head[:room] if comma else text[:room]}…{comma}{count if comma else ''}"
    return Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}<title>{}</title></text>').format(
        _LABEL - 10, y, short, text
    )


def _scale(low: float, high: float, start: float, end: float):
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers that hold low and high between the first and the last."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / count
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 10) for i in range(first, last + 1)]
