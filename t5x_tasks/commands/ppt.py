"""`python -m t5x_tasks.commands.ppt`: from unlabelled text to the tasks that pre-train a soft prompt.

PPT (Gu et al. 2022, arXiv 2109.04332): the three formats of its section 3.2, as a card with its rows each. `<extra_id_0>` is the
blank that the model fills in:

    ppt_pair     A sentence and another: its neighbour (yes), of the same document (maybe), or of another one (no).
                 {first} <extra_id_0>. {second}
    ppt_choice   A sentence and six others, one of them its neighbour, one of the same document, four of others.
                 {query}? A. {a} B. {b} ... F. {f}. Answer is <extra_id_0>.
    ppt_single   A sentence with a label that another model gave it, from terrible to great.
                 {sentence}. <extra_id_0>.

Targets are in T5's form, `<extra_id_0> yes <extra_id_1>`. A prompt that was tuned on one of them is where prompt tuning starts
on a task of that format: `method.init: {type: file, path: ...}`.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from t5x_tasks.card.source import JsonlSource
from t5x_tasks.common.errors import UserError, run_cli
from t5x_tasks.common.sentences import split_sentences
from t5x_tasks.sources.files import read_file

PAIR_LABELS = ("no", "maybe", "yes")
CHOICES = "ABCDEF"
SINGLE_LABELS = ("terrible", "bad", "maybe", "good", "great")
_SHORTEST = 4  # sentences of a document: below, one in the middle has no sentence that is not its neighbour

Document = Sequence[str]  # its sentences
Row = dict[str, str]

TEMPLATES = {
    "ppt_pair": "{first} <extra_id_0>. {second}",
    "ppt_choice": "{query}? " + " ".join(f"{c}. {{{c.lower()}}}" for c in CHOICES) + ". Answer is <extra_id_0>.",
    "ppt_single": "{sentence}. <extra_id_0>.",
}
TARGETS = "<extra_id_0> {answer} <extra_id_1>"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m t5x_tasks.commands.ppt",
        description="Makes the pre-training tasks of PPT from unlabelled text: cards with their rows.",
        epilog="Example: python -m t5x_tasks.commands.ppt my/articles.jsonl --field body --output my/ppt",
    )
    parser.add_argument(
        "text", metavar="FILE", type=Path, help="JSON Lines, a document a row; or text, blank lines between them"
    )
    parser.add_argument(
        "--field", default="text", help="of JSON Lines: where a document's text stands (default: %(default)s)"
    )
    parser.add_argument(
        "--labelled", type=Path, metavar="FILE", help="JSON Lines {sentence, label 0 to 4}, for ppt_single"
    )
    parser.add_argument(
        "--validation", type=float, default=0.05, metavar="SHARE", help="of the documents (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    chosen = parser.parse_args(arguments)
    if chosen.output.exists():
        raise UserError(f"{chosen.output}: exists already and is never overwritten; name another folder")
    documents = [sentences(text) for text in read_documents(chosen.text, chosen.field)]
    labelled = read_labelled(chosen.labelled) if chosen.labelled else []
    for name, rows in build(documents, labelled, seed=chosen.seed, validation=chosen.validation).items():
        card = write_task(chosen.output, name, rows)
        print(f"{card}: {', '.join(f'{len(part):,} {split}' for split, part in rows.items())} rows")


def build(
    documents: Sequence[Document], labelled: Sequence[tuple[str, int]], *, seed: int, validation: float
) -> dict[str, dict[str, list[Row]]]:
    """Task -> split -> rows. A document is in one split only; the same seed gives the same rows.

    Raises:
      UserError: too few documents with enough sentences.
    """
    long = [document for document in documents if len(document) >= _SHORTEST]
    held = max(len(CHOICES) - 1, round(validation * len(long)))  # choices take sentences of five documents
    if len(long) < 2 * (len(CHOICES) - 1):
        raise UserError(
            f"{len(long)} documents have {_SHORTEST} sentences or more; give {2 * (len(CHOICES) - 1)} or more"
        )
    rng = random.Random(seed)
    rng.shuffle(long)
    parts = {"train": long[held:], "validation": long[:held]}
    tasks = {
        "ppt_pair": {split: list(pairs(part, rng)) for split, part in parts.items()},
        "ppt_choice": {split: list(choices(part, rng)) for split, part in parts.items()},
    }
    if labelled:
        order = rng.sample(list(labelled), len(labelled))
        cut = max(1, round(validation * len(order)))
        tasks["ppt_single"] = {"train": singles(order[cut:]), "validation": singles(order[:cut])}
    return tasks


def pairs(documents: Sequence[Document], rng: random.Random) -> Iterator[Row]:
    """Sentence pairs (section 3.2, "sentence-pair classification"): each sentence once, the three labels drawn at random."""
    for number, document in enumerate(documents):
        for index, sentence in enumerate(document):
            label = rng.choice(PAIR_LABELS)
            if label == "yes":
                second = document[_neighbour(document, index, rng)]
            elif label == "maybe":
                second = document[_distant(document, index, rng)]
            else:
                second = rng.choice(documents[_others(len(documents), number, 1, rng)[0]])
            yield {"first": sentence, "second": second, "answer": label}


def choices(documents: Sequence[Document], rng: random.Random) -> Iterator[Row]:
    """Next sentence selection (section 3.2, "multiple-choice classification"): each sentence once, six candidates."""
    for number, document in enumerate(documents):
        for index, sentence in enumerate(document):
            right = document[_neighbour(document, index, rng)]
            others = _others(len(documents), number, len(CHOICES) - 2, rng)
            candidates = [right, document[_distant(document, index, rng)], *(rng.choice(documents[n]) for n in others)]
            order = rng.sample(range(len(CHOICES)), len(CHOICES))
            texts = {CHOICES[place].lower(): candidates[which] for place, which in enumerate(order)}
            yield {"query": sentence, **texts, "answer": CHOICES[order.index(0)]}


def singles(labelled: Sequence[tuple[str, int]]) -> list[Row]:
    """Sentences with pseudo labels (section 3.2, "single-sentence classification"), from 0, the worst, to 4."""
    return [{"sentence": sentence, "answer": SINGLE_LABELS[label]} for sentence, label in labelled]


def sentences(text: str) -> list[str]:
    """Sentences of a document; a line ends them, too."""
    found = [" ".join(sentence.split()) for line in text.split("\n") for sentence in split_sentences(line)]
    return [sentence for sentence in found if sentence]


def read_documents(path: Path, field: str) -> list[str]:
    """UserError: no such file, or a row without the field."""
    if path.suffix == ".txt":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as text ({error})") from None
        return [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    return [_get(row, field, str, where) for where, row in _rows(path)]


def read_labelled(path: Path) -> list[tuple[str, int]]:
    """UserError: no such file, or a row that is no sentence with a label of 0 to 4."""
    found = []
    for where, row in _rows(path):
        label = _get(row, "label", int, where)
        if not 0 <= label < len(SINGLE_LABELS):
            raise UserError(f"{where}: label {label}; 0 (terrible) to {len(SINGLE_LABELS) - 1} (great) are known")
        found.append((_get(row, "sentence", str, where), label))
    return found


def write_task(folder: Path, name: str, rows: dict[str, list[Row]]) -> Path:
    """Writes a card and its rows; returns the card's path."""
    folder.mkdir(parents=True, exist_ok=True)
    source = {"type": "jsonl"}
    for split, part in rows.items():
        source[split] = f"{name}.{split}.jsonl"
        lines = (json.dumps({"id": f"{split}-{n:06}", **row}, ensure_ascii=False) + "\n" for n, row in enumerate(part))
        (folder / source[split]).write_text("".join(lines), encoding="utf-8")
    fields = [field for field in rows["train"][0] if field != "answer"]
    card = {
        "name": name,
        "description": "Made from unlabelled text to pre-train soft prompts on (PPT, Gu et al. 2022).",
        "category": "classification",
        "source": source,
        "fields": {field: field for field in (*fields, "answer")},
        "templates": [{"id": "t00", "inputs": TEMPLATES[name], "targets": TARGETS}],
        "metrics": ["accuracy"],
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(card, sort_keys=False, width=120), encoding="utf-8")
    return path


def _neighbour(document: Document, index: int, rng: random.Random) -> int:
    """The sentence before or behind."""
    return rng.choice([n for n in (index - 1, index + 1) if 0 <= n < len(document)])


def _distant(document: Document, index: int, rng: random.Random) -> int:
    """A sentence of the same document that is neither it nor its neighbour."""
    return rng.choice([n for n in range(len(document)) if abs(n - index) > 1])


def _others(count: int, number: int, wanted: int, rng: random.Random) -> list[int]:
    """Different documents, none of them `number`."""
    return [n + (n >= number) for n in rng.sample(range(count - 1), wanted)]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    return read_file(path, JsonlSource(type="jsonl", train=(str(path),)))


def _get(row: dict[str, Any], field: str, kind: type, where: str) -> Any:
    if not isinstance(row.get(field), kind):
        raise UserError(f"{where}: has no {kind.__name__} {field!r}; it has {', '.join(row)}")
    return row[field]


if __name__ == "__main__":
    run_cli(main)
