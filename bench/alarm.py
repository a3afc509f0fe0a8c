"""The made-up alarm as a detector: how many invented particulars it finds, and how many human references raise it.

    python -m bench.alarm --root ../shared/data

Needs `samsum/SPLIT.jsonl.gz` and `dialogsum/SPLIT.jsonl.gz` in the folder. For each kind of particular it puts one that the
dialogue does not hold into each of 1,000 human references: at the beginning of a sentence, at its end or between two words,
and a name also in the place of one that is there. It is found if an alarm overlaps it. The names are speakers of other
dialogues of SAMSum, each as likely as the next, without what people are called who have no name (Mom, Teacher). Names that look
like other words (Emily, Fred, Will) have a line of their own. Beside the recall: how many of the untouched references raise the
alarm. Ends with 1 where the recall of a kind is below 97%, or more than 2.5% of the references of either data set alarm.
"""

import argparse
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.diagnostics.particulars import particulars
from eval.diagnostics.show import bracketed
from eval.diagnostics.source import Source
from eval.diagnostics.speakers import speakers
from eval.diagnostics.words import NAMES_TOO, OPENERS
from t5x_tasks.common.errors import UserError, run_cli

RECALL, FALSE_ALARMS = 97.0, 2.5  # percent, the aims
DATA_SETS = {"samsum": "SAMSum", "dialogsum": "DialogSum"}
_SMALL = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_LIKE_WORDS = (
    "Emily", "Kelly", "Sally", "Lily", "Kimberly", "Beverly", "Carly", "Fred", "Ted", "Ned", "Alfred", "Jared", "Ahmed",
    "Mildred", "Ming", "King", "Sterling", "Irving", "Fleming", "Will", "May",
)  # fmt: skip
_PLACES = ("start", "within", "end")


@dataclass(frozen=True)
class Row:
    dialogue: str
    references: list[str]
    source: Source


@dataclass(frozen=True)
class Invented:
    """A reference with something made up.

    Attributes:
      start, end: of the invention.
      place: start, within or end of its sentence.
    """

    text: str
    start: int
    end: int
    place: str

    def found(self, source: Source) -> bool:
        spans = (found.span for found in particulars(self.text, source))
        return any(span and span[0] < self.end and self.start < span[1] for span in spans)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.alarm", description="The made-up alarm as a detector.")
    parser.add_argument("--root", type=Path, required=True, help="folder with samsum and dialogsum")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--count", type=int, default=1000, help="inventions of each kind and data set (default: 1000)")
    parser.add_argument("--missed", type=int, default=0, help="shows as many missed inventions of each kind")
    chosen = parser.parse_args(arguments)
    rows = {name: read_rows(chosen.root / name / f"{chosen.split}.jsonl.gz") for name in DATA_SETS}
    spoken = {name for row in rows["samsum"] for name in speakers(row.dialogue) if re.fullmatch(r"[A-Z]\w{2,}", name)}
    names = sorted(name for name in spoken if name.lower() not in OPENERS - NAMES_TOO)
    failed = False
    for name, title in DATA_SETS.items():
        references, alarming = false_alarms(rows[name])
        rate = 100 * alarming / references
        failed |= rate > FALSE_ALARMS
        print(f"{title}, {chosen.split}: {alarming} of {references} untouched references alarm, {rate:.1f}%")
        for kind, invent in inventors(names).items():
            seen, found = Counter(), Counter()
            missed = []
            for row, invented in inventions(rows[name], invent, kind, chosen.count):
                seen[invented.place] += 1
                if invented.found(row.source):
                    found[invented.place] += 1
                else:
                    missed.append(invented)
            recall = 100 * found.total() / seen.total()
            failed |= recall < RECALL
            places = ", ".join(f"{place} {100 * found[place] / seen[place]:.1f}" for place in _PLACES if seen[place])
            print(f"  {kind:<17} {found.total()} of {seen.total()} found, {recall:.1f}% ({places})")
            for invented in missed[: chosen.missed]:
                print("   ", bracketed(invented.text, [{"start": invented.start, "end": invented.end}]))
    return int(failed)


def read_rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; name the folder that holds it with --root")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    return [
        Row(
            row["dialogue"],
            row.get("summaries") or [row["summary"]],
            Source.of(row["dialogue"], len(speakers(row["dialogue"]))),
        )
        for row in read
    ]


def false_alarms(rows: Sequence[Row]) -> tuple[int, int]:
    """References, and how many of them alarm."""
    alarming = [any(found.span for found in particulars(text, row.source)) for row in rows for text in row.references]
    return len(alarming), sum(alarming)


def inventions(
    rows: Sequence[Row], invent: Callable[[random.Random], str], kind: str, count: int
) -> Iterator[tuple[Row, Invented]]:
    """References, each with one invention, drawn with a seed."""
    draw = random.Random(kind)
    for _ in range(count):
        row = draw.choice(rows)
        text = draw.choice(row.references)
        held = held_words(row.dialogue + " " + text)
        while held & words_of(thing := invent(draw)) - NAMES_TOO:
            pass
        names = [found for found in particulars(text, row.source) if found.kind == "name"] if "name" in kind else []
        if names and draw.random() < 0.5:
            chosen = draw.choice(names).parts
            yield row, put(text, chosen[0].start, chosen[-1].end, thing)
        else:
            gap = draw.choice([0, *(match.start() for match in re.finditer(r"(?<=[\w.!?]) (?=\S)|[.!?]?\s*\Z", text))])
            yield row, put(text, gap, gap, thing)


def put(text: str, start: int, end: int, thing: str) -> Invented:
    """Puts a thing in the place of what is there, with the spaces and the capital letter that the place asks for."""
    before, after = text[:start].rstrip(), text[end:]
    opens = not before or before[-1] in ".!?"
    place = "start" if opens else "end" if not after or after.lstrip()[:1] in ".!?" else "within"
    thing = thing[0].upper() + thing[1:] if opens else thing
    space = " " if before and text[start - 1 : start] not in "('\"" else text[len(before) : start]
    begin = len(before) + len(space)
    after = f" {after.lstrip()}" if start == end and after.strip() and place != "end" else after
    return Invented(f"{before}{space}{thing}{after}", begin, begin + len(thing), place)


def inventors(names: Sequence[str]) -> dict[str, Callable[[random.Random], str]]:
    def number(draw: random.Random) -> str:
        value = draw.choice((draw.randrange(3, 13), draw.randrange(13, 100), draw.randrange(100, 10_000)))
        if value < 13 and draw.random() < 0.5:
            return _SMALL[value - 2]
        return f"{value:,}" if draw.random() < 0.5 else str(value)

    def date(draw: random.Random) -> str:
        day, month = draw.randrange(1, 29), draw.choice(_MONTHS)
        ordinal = f"{day}{'th' if 10 < day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
        forms = (
            draw.choice(_DAYS), f"in {month}", f"{month} {day}", f"{day} {month}", f"{month} {ordinal}", f"the {ordinal}",
            f"in {draw.randrange(1950, 2040)}",
        )  # fmt: skip
        return draw.choice(forms)

    def amount(draw: random.Random) -> str:
        value = draw.choice((draw.randrange(2, 100), draw.randrange(100, 10_000)))
        cents = f".{draw.randrange(5, 100):02}" if draw.random() < 0.2 else ""
        sign, word = draw.choice((("$", "dollars"), ("€", "euros"), ("£", "pounds")))
        return f"{sign}{value:,}{cents}" if draw.random() < 0.5 else f"{value}{cents} {word}"

    return {
        "name": lambda draw: draw.choice(names),
        "name like a word": lambda draw: draw.choice(_LIKE_WORDS),
        "number": number,
        "date": date,
        "amount": amount,
    }


def held_words(text: str) -> set[str]:
    """Words and figures of a text, and the figures of its words: what would be no invention."""
    found = words_of(text)
    return found | {str(i) for i, word in enumerate(_SMALL, 2) if word in found}


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower().replace(",", "")))


if __name__ == "__main__":
    run_cli(main)
