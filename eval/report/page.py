"""Sets the report: one HTML file that opens offline. Nothing is fetched, and no text from data is ever markup."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from eval.comparison.forgetting import Matrix
from eval.comparison.pairs import Standing, standing
from eval.comparison.sensitivity import Choice, Sensitivity
from eval.comparison.slices import Slicing, slicings
from eval.comparison.systems import Run, System
from eval.comparison.task import FEWEST_ROWS, SIGNIFICANT, Comparison, verdict_of
from eval.html import content_policy, environment, script_json
from eval.report import charts, view
from eval.report.cards import Card, card, overall
from eval.report.examples import embed
from eval.report.facts import Facts, facts
from eval.report.links import rows_link
from eval.report.ranking import Ranking, ranking
from eval.score_names import decimals

if TYPE_CHECKING:
    from eval.report.ratings import RatedPair  # imports scipy.stats, which takes a second

_ASSETS = Path(__file__).parent / "assets"
_STYLES = ("base.css", "cards.css", "tables.css", "examples.css", "print.css")
_SCRIPTS = (
    "data.js", "state.js", "rows.js", "diff.js", "example.js", "histogram.js", "list.js", "download.js", "main.js"
)  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """All that a report tells.

    Attributes:
      comparisons: of all tasks, single templates too; they carry the examples.
      shown: those with tables of their own: not the templates of a family, which `sensitivities` sums up.
      over_steps: task -> system -> (step, main score) of all evaluated steps.
      notes: what a reader must know of the choice of systems and rows.
      unsure: of which systems it is not known how much a seed matters; may be empty.
      ratings: what people say of two of the systems, if they were asked.
    """

    title: str
    systems: list[System]
    runs: list[Run]
    comparisons: list[Comparison]
    shown: list[Comparison]
    over_steps: dict[str, dict[str, list[tuple[float, float]]]]
    sensitivities: list[Sensitivity]
    choices: list[Choice]
    matrix: Matrix | None
    notes: list[str]
    unsure: str
    samples: int
    ratings: "RatedPair | None" = None

    @cached_property
    def slicings(self) -> dict[tuple[str, str], list[Slicing]]:
        return {(comparison.task, comparison.split): slicings(comparison) for comparison in self.shown}

    @cached_property
    def marks(self) -> dict[str, int]:
        """Name of a system -> its number, which gives it its mark everywhere."""
        return {system.name: number for number, system in enumerate(self.systems)}

    @cached_property
    def cards(self) -> list[Card]:
        found = (card(c, self.standings[c.task, c.split], self.marks) for c in self.shown)
        return [one for one in found if one is not None]

    @cached_property
    def standings(self) -> dict[tuple[str, str], Standing]:
        return {(comparison.task, comparison.split): standing(comparison) for comparison in self.shown}

    @cached_property
    def rankings(self) -> list[Ranking]:
        found = (ranking(c, self.standings[c.task, c.split]) for c in self.shown)
        return [one for one in found if one is not None]

    @cached_property
    def facts(self) -> list[Facts]:
        return facts(self.systems, self.shown)

    @property
    def overall(self) -> str:
        return overall(self.cards)

    def verdicts(self) -> list[tuple[str, str, list[str]]]:
        """(task, split, a sentence for each system against the first)."""
        return [
            (c.task, c.split, [view.headline(c, i) for i in range(1, len(c.columns))])
            for c in self.shown
            if c.main and len(c.columns) > 1
        ]


def render(contents: Contents) -> str:
    """Returns the HTML file."""
    script, style = _script(), _joined(_STYLES)
    data = embed(contents.comparisons, [system.name for system in contents.systems], contents.slicings)
    return (
        environment(_ASSETS)
        .get_template("report.html.j2")
        .render(
            contents=contents,
            view=view,
            verdict_of=verdict_of,
            SIGNIFICANT=SIGNIFICANT,
            FEWEST_ROWS=FEWEST_ROWS,
            decimals=decimals,
            legend_mark=charts.legend_mark,
            marks=contents.marks,
            charts=_charts(contents),
            script=script,
            style=style,
            data=script_json(data),
            policy=content_policy(script, style),
        )
    )


def _joined(names: Sequence[str]) -> Markup:
    return Markup("\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in names))


def _script() -> Markup:
    """All of the page's code as one script, which shares no name with anything."""
    return Markup('"use strict";\n(() => {{\n{}}})();\n').format(_joined(_SCRIPTS))


def _charts(contents: Contents) -> dict[str, Any]:
    return {
        "scores": {(c.task, c.split): _score_chart(c, contents.marks) for c in contents.shown if c.main},
        "slices": {
            (c.task, c.split, slicing.title): _slice_chart(c, slicing, contents.marks)
            for c in contents.shown
            for slicing in contents.slicings[c.task, c.split]
        },
        "loss": _loss_charts(contents.runs),
        "over_steps": [
            charts.curves(f"{task} over training", of_task, x_label="step", marks=_run_marks(contents, of_task))
            for task, of_task in contents.over_steps.items()
        ],
        "phrasings": _variant_charts(contents.sensitivities, contents.marks),
    }


def _dot(found: Any) -> charts.Dot | None:
    if not found:
        return None
    value = found["value"]
    return charts.Dot(value, found.get("ci_low", value), found.get("ci_high", value))


def _run_marks(contents: Contents, runs: Iterable[str]) -> dict[str, int]:
    """Runs have the marks of their last systems; those of which none is compared, further ones."""
    last = {system.run.name: contents.marks[system.name] for system in contents.systems if system.run and system.step}
    others = iter(range(len(contents.systems), len(contents.systems) + len(contents.runs)))
    return {name: last[name] if name in last else next(others) for name in runs}


def _score_chart(comparison: Comparison, marks: Mapping[str, int]) -> Markup:
    """A row for each system, with its mark; the baselines' dots have the mark after all others."""
    score = comparison.main or ""
    names = [system.name for system in comparison.systems]
    rows: dict[str, list[charts.Dot | None]] = {}
    for name, of_baseline in comparison.columns[0].summary.get("baselines", {}).items():
        if score in of_baseline and comparison.columns[0].summary["n"] == comparison.n:
            rows[view.baseline_name(name)] = [_dot(of_baseline[score])]
    for system, found in zip(comparison.systems, comparison.intervals, strict=True):
        rows[system.name] = [_dot(found.get(score))]
    of_rows = {label: marks[label] if label in names else len(marks) for label in rows}
    title = f"{score} with 95% intervals"
    return charts.intervals(title, rows, [score], decimals=decimals(score), row_marks=of_rows)


def _slice_chart(comparison: Comparison, slicing: Slicing, marks: Mapping[str, int]) -> Markup:
    rows = {f"{part.label}, n={part.n}": [_dot(found) for found in part.values] for part in slicing.slices}
    names = [system.name for system in comparison.systems]
    links = {
        f"{part.label}, n={part.n}": rows_link(
            task=comparison.task, split=comparison.split, slice=f"{slicing.title}: {part.label}"
        )
        for part in slicing.slices
    }
    title = f"{comparison.main} {slicing.title.lower()}"
    return charts.intervals(title, rows, names, marks=[marks[name] for name in names], links=links)


def _loss_charts(runs: Sequence[Run]) -> list[Markup]:
    drawn = []
    for run in runs:
        series = {
            label: _thin([(row["step"], row[key]) for row in run.log if isinstance(row.get(key), int | float)])
            for key, label in (("loss", "training"), ("validation_loss", "validation"))
        }
        drawn.append(charts.curves(f"{run.name}: loss a target token (nats)", series, x_label="step"))
    return [chart for chart in drawn if chart]


def _thin(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """Evenly chosen points, the last one among them: a drawing needs no more."""
    stride = -(-len(points) // most) or 1
    return points[::-1][::stride][::-1]


def _variant_charts(found: Sequence[Sensitivity], marks: Mapping[str, int]) -> dict[tuple[str, str], Markup]:
    drawn = {}
    for dataset, split in dict.fromkeys((s.dataset, s.split) for s in found):
        of_both = [s for s in found if (s.dataset, s.split) == (dataset, split)]
        rows: dict[str, list[charts.Dot | None]] = {}
        for number, sensitivity in enumerate(of_both):
            for asked in sensitivity.asked:
                label = asked.variant + (" (held out)" if asked.heldout else "")
                rows.setdefault(label, [None] * len(of_both))[number] = _dot(asked.interval)
        title = f"{dataset}, {split}: {of_both[0].score} of each template"
        names = [s.system for s in of_both]
        drawn[dataset, split] = charts.intervals(title, rows, names, marks=[marks[name] for name in names])
    return drawn
