"""The diagnostics as text: a compact table, and the worst of what was made up. Imports no numpy."""

from collections.abc import Iterable, Mapping
from typing import Any

# Rows of the table: name in metrics.json, label, decimals.
SHOWN = (
    ("made_up_rows", "made-up alarm, % of summaries", 1),
    ("made_up_per_100", "made-up alarm, per 100 names and numbers", 1),
    ("speaker_recall", "speakers of the reference named, %", 1),
    ("length_ratio", "length against the reference's", 2),
    ("copied_share", "copied words, %", 1),
    ("repeated_3grams", "repeated trigrams, %", 1),
    ("empty", "without a word, %", 1),
    ("probe.speakers_swapped", "prefers the reference to swapped speakers, %", 1),
    ("probe.numbers_changed", "prefers the reference to changed numbers, %", 1),
    ("probe.negation_added", "prefers the reference to its negation, %", 1),
)


def diagnostics_table(columns: Mapping[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows: the references' own rates first, then a column for each of `columns`; None where nothing was diagnosed.

    Args:
      columns: title -> what metrics.json says of the task.
    """
    found = {title: column.get("diagnostics", {}) for title, column in columns.items()}
    if not any(found.values()):
        return None
    rows = []
    for name, label, decimals in SHOWN:
        measures = [measures.get(name) for measures in found.values()]
        theirs = next((m["references"] for m in measures if m and "references" in m), None)
        if any(measures):
            rows.append([label, _cell(theirs, decimals), *(_cell(measure, decimals) for measure in measures)])
    return ["", "references", *columns], rows


def worst_made_up(rows: Iterable[dict[str, Any]], count: int = 3) -> list[str]:
    """The predictions with the most made-up alarms, what is alarming in brackets: `id: They meet in [Lisbon].`

    Args:
      rows: of predictions.jsonl; of equals the first are shown.
    """
    alarming = [row for row in rows if row.get("diagnostics", {}).get("made_up")]
    if not alarming:
        return []
    worst = sorted(alarming, key=lambda row: -len(row["diagnostics"]["made_up"]))[:count]
    title = f"Not in the dialogue, as far as words tell ({len(alarming)} summaries; the worst):"
    return [title, *(f"{row['id']}: {bracketed(row['prediction'], row['diagnostics']['made_up'])}" for row in worst)]


def bracketed(text: str, spans: Iterable[Mapping[str, Any]]) -> str:
    """Puts spans into brackets."""
    for span in sorted(spans, key=lambda span: -span["start"]):
        text = f"{text[: span['start']]}[{text[span['start'] : span['end']]}]{text[span['end'] :]}"
    return text


def _cell(measure: Mapping[str, Any] | None, decimals: int) -> str:
    if not measure or measure["value"] is None:
        return "-"
    value, low, high = (f"{measure[key]:.{decimals}f}" for key in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"
