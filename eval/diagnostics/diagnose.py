"""The measures that need no model, of all rows and of each, those of the references beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.diagnostics.copying import Copying, Said, copying, copying_scores, length_ratio
from eval.diagnostics.particulars import Particular, particulars
from eval.diagnostics.source import Source
from eval.diagnostics.speakers import best_reference, named, speaker_scores, speakers
from eval.score_names import better_side
from t5x_tasks.metrics.pooled import Pooled, Scores, divide

Interval = Callable[[Scores], Mapping[str, dict[str, float]]]  # value, ci_low and ci_high of each score

_ALARM = (
    "own rules 2: names, numbers, amounts, times, dates without a match in the dialogue (eval/diagnostics/particulars.py); an "
    "alarm to be looked at, not a faithfulness score; compare with the references' own rate"
)
_SPEAKERS = (
    "own rules 1: speakers of the dialogue, named in the summary and in the reference whose speakers give the best F1"
)
_WORDS = "words in lower case without punctuation, pooled over rows"
SETTINGS = {
    "made_up_rows": f"{_ALARM}; % of summaries with one or more: falls where summaries say less, so no side is better",
    "made_up_per_100": f"{_ALARM}; alarms per 100 such particulars, of summaries that are not all in lower case",
    "speaker_precision": f"{_SPEAKERS}; %",
    "speaker_recall": f"{_SPEAKERS}; %",
    "speaker_f1": f"{_SPEAKERS}; %",
    "length_ratio": f"words of the prediction / words of the reference (of several, their mean); {_WORDS}",
    "copied_share": f"coverage of extractive fragments (Grusky et al. 2018), %; {_WORDS}",
    "copied_density": f"density of extractive fragments (Grusky et al. 2018), words; {_WORDS}",
    **{f"novel_{n}grams": f"{n}-grams of the summary that the dialogue lacks, %; {_WORDS}" for n in (1, 2, 3)},
    "repeated_3grams": f"trigrams that stand earlier in the same summary, %; {_WORDS}",
    "empty": "summaries without a word, %",
}


@dataclass(frozen=True)
class Diagnosis:
    """The diagnostics of a task.

    Attributes:
      summary: name -> value, ci_low, ci_high, settings; `references`: the same of the references, where they have it;
        `excess`: prediction minus references, of the made-up alarm, with its interval (the same rows drawn for both).
        `made_up_per_100` has `found` and `expected`, the particulars of the predictions and of the references, no value where
        none is found, and a `caution` instead of the excess where they are few.
      rows: for each row, `made_up`: [{start, end, text, kind}] of the prediction; `particulars` that were looked up, and
        `expected_particulars`, those of its references; `speakers`: {named, missed, unexpected}; `length_ratio`, `copied_share`,
        `novel_2grams`.
    """

    summary: dict[str, dict[str, Any]]
    rows: list[dict[str, Any]]


def diagnose(
    dialogues: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    interval: Interval,
    settings: str,
) -> Diagnosis:
    """Diagnoses summaries.

    Args:
      dialogues: [rows], raw text.
      predictions: [rows].
      references: [rows] of one or more.
      interval: gives scores their bootstrap intervals.
      settings: said with every number: split, rows, interval.
    """
    said: list[_Measured] = []
    right: list[list[_Measured]] = []
    of_speakers: list[tuple[set[str], set[str]]] = []
    rows = []
    for dialogue, prediction, texts in zip(dialogues, predictions, references, strict=True):
        source = _Dialogue(dialogue)
        said.append(source.measure(prediction))
        right.append([source.measure(text) for text in texts])
        mentioned = named(prediction, source.speakers)
        expected = best_reference(mentioned, [named(text, source.speakers) for text in texts])
        of_speakers.append((mentioned, expected))
        rows.append(_row(said[-1], right[-1], source.speakers, mentioned, expected))

    said_only = [[measured] for measured in said]
    of_predictions = {
        **_made_up(said_only),
        **speaker_scores(*zip(*of_speakers, strict=True)),
        "length_ratio": length_ratio([m.copying for m in said], [[m.copying for m in texts] for texts in right]),
        **copying_scores([[m.copying for m in texts] for texts in said_only]),
    }
    of_references = {**_made_up(right), **copying_scores([[m.copying for m in texts] for texts in right])}
    of_both = {"": of_predictions, "references": of_references, "excess": _excess(said_only, right)}
    # all in one call: resamples are drawn once
    found = interval(
        {f"{whose}/{name}": values for whose, scores in of_both.items() for name, values in scores.items()}
    )
    summary: dict[str, dict[str, Any]] = {}
    for name in of_predictions:
        summary[name] = {**found[f"/{name}"], "better": better_side(name), "settings": f"{SETTINGS[name]}, {settings}"}
        for whose in ("references", "excess"):
            if name in of_both[whose]:
                summary[name][whose] = found[f"{whose}/{name}"]
    summary["made_up_per_100"] = _of_found(summary["made_up_per_100"], rows)
    return Diagnosis(summary, rows)


def found_and_expected(rows: Sequence[Mapping[str, Any]]) -> tuple[int, float]:
    """The names, numbers, amounts, times and dates that the alarm looked up, and those of the references."""
    return sum(row["particulars"] for row in rows), sum(row["expected_particulars"] for row in rows)


def few_found(rows: Sequence[Mapping[str, Any]]) -> str:
    """Says that there is too little to look up for the alarm to be compared: less than half of what references hold; or ''."""
    found, expected = found_and_expected(rows)
    if 2 * found >= expected:
        return ""
    return (
        f"the made-up alarm found {found} names and numbers to look up where the references have {expected:.0f} (answers that "
        "are short, empty or in lower case): too few to be compared"
    )


def _of_found(measure: dict[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found, expected = found_and_expected(rows)
    measure = {**measure, "found": found, "expected": round(expected, 2)}
    unknown = dict.fromkeys(("value", "ci_low", "ci_high"))
    if not expected:
        measure["references"] = unknown
    if not found:
        measure |= unknown
    if not (found and expected) or few_found(rows):
        measure.pop("excess")
    return {**measure, "caution": few_found(rows)} if few_found(rows) else measure


@dataclass(frozen=True)
class _Measured:
    text: str
    particulars: list[Particular]
    copying: Copying

    @property
    def alarms(self) -> list[Particular]:
        return [particular for particular in self.particulars if particular.span]

    @property
    def looked_up(self) -> list[Particular]:
        """The items that a rate counts: nothing of a text in lower case, of which only numbers can be seen."""
        return [] if self.text == self.text.lower() else self.particulars


class _Dialogue:
    """The facts of one dialogue that summaries are measured against."""

    def __init__(self, text: str):
        self.speakers = speakers(text)
        self._source, self._said = Source.of(text, len(self.speakers)), Said(text)

    def measure(self, summary: str) -> _Measured:
        return _Measured(summary, particulars(summary, self._source), copying(summary, self._said))


def _row(
    said: _Measured, right: list[_Measured], names: list[str], mentioned: set[str], expected: set[str]
) -> dict[str, Any]:
    copied, lengths = said.copying, [reference.copying.words for reference in right]
    made_up = []
    for alarm in said.alarms:
        start, end = alarm.span or (0, 0)
        made_up.append({"start": start, "end": end, "text": said.text[start:end], "kind": alarm.kind})
    return {
        "made_up": made_up,
        "particulars": len(said.looked_up),
        "expected_particulars": round(float(np.mean([len(reference.looked_up) for reference in right])), 4),
        "speakers": {
            "named": [name for name in names if name in mentioned],
            "missed": [name for name in names if name in expected - mentioned],
            "unexpected": [name for name in names if name in mentioned - expected],
        },
        "length_ratio": _share(copied.words, float(np.mean(lengths)), 1),
        "copied_share": _share(copied.copied, copied.words),
        "novel_2grams": _share(copied.novel[1], copied.grams[1]),
    }


def _share(part: float, whole: float, scale: float = 100) -> float:
    return round(scale * part / whole, 4) if whole else 0.0


def _counts(rows: Sequence[Sequence[_Measured]]) -> np.ndarray:
    """[rows, 4]: texts with an alarm, texts; alarms, particulars, of those not in lower case."""
    counts = [
        (
            sum(bool(text.alarms) for text in texts),
            len(texts),
            sum(bool(particular.span) for text in texts for particular in text.looked_up),
            sum(len(text.looked_up) for text in texts),
        )
        for texts in rows
    ]
    return np.array(counts, np.float64).reshape(-1, 4)


def _rates(sums: np.ndarray, which: int) -> np.ndarray:
    return 100 * divide(sums[..., 2 * which], sums[..., 2 * which + 1])


def _made_up(rows: Sequence[Sequence[_Measured]]) -> Scores:
    counts = _counts(rows)
    one_text = bool((counts[:, 1] == 1).all())  # then it is a share of rows, which has a better interval
    return {
        "made_up_rows": 100 * counts[:, 0] if one_text else Pooled(counts, lambda sums: _rates(sums, 0)),
        "made_up_per_100": Pooled(counts, lambda sums: _rates(sums, 1)),
    }


def _excess(said: Sequence[Sequence[_Measured]], right: Sequence[Sequence[_Measured]]) -> Scores:
    counts = np.concatenate([_counts(said), _counts(right)], axis=1)
    return {
        "made_up_rows": Pooled(counts, lambda sums: _rates(sums[..., :4], 0) - _rates(sums[..., 4:], 0)),
        "made_up_per_100": Pooled(counts, lambda sums: _rates(sums[..., :4], 1) - _rates(sums[..., 4:], 1)),
    }
