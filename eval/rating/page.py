"""Sets the page on which people rate: one HTML file that opens offline, keeps ratings in the browser and saves them as a file."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.comparison.task import Comparison
from eval.html import content_policy, environment, script_json
from eval.rating.files import FORMAT, MARKS
from eval.rating.sheet import Sheet, by_id, source

_ASSETS = Path(__file__).parent / "assets"


def render(sheet: Sheet, comparison: Comparison) -> str:
    """Returns the HTML file of a sheet that was drawn from a comparison of two systems."""
    script, style = (Markup((_ASSETS / f"rate.{kind}").read_text(encoding="utf-8")) for kind in ("js", "css"))
    dialogues = any(row.get("dialogue") for row in comparison.columns[0].rows)
    page = environment(_ASSETS).get_template("rate.html.j2")
    return page.render(
        rows=len(sheet.rows),
        source="Dialogue" if dialogues else "Input",
        output="summary" if dialogues else "answer",
        outputs="summaries" if dialogues else "answers",
        marks=MARKS,
        script=script,
        style=style,
        data=script_json(_data(sheet, comparison)),
        policy=content_policy(script, style),
    )


def _data(sheet: Sheet, comparison: Comparison) -> dict[str, Any]:
    """The data of the page's script: `page` goes into the result file unchanged, `texts` are those on both sides."""
    ids = [id for id, _ in sheet.rows]
    first, second = (by_id(column.rows, ids) for column in comparison.columns)
    rows = [
        {
            "id": id,
            "left": left,
            "source": source(a),
            "texts": [row["prediction"] for row in ((a, b) if left == "A" else (b, a))],
        }
        for (id, left), a, b in zip(sheet.rows, first, second, strict=True)
    ]
    page = {
        "format": FORMAT,
        "page": sheet.page,
        "task": sheet.task,
        "split": sheet.split,
        "seed": sheet.seed,
        "systems": list(sheet.systems),
        "common": sheet.common,
        "identical": sheet.identical,
    }
    return {"page": page, "rows": rows, "marks": list(MARKS)}
