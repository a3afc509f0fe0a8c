"""Prepare: from cards to the token cache, once; natively, without SeqIO and TensorFlow.

Rows are read once a data set and split, rendered with each template and tokenised by SentencePiece in batches on all
cores. All templates of a data set hold the same rows in the same order: index i is the same example in each.
"""

import contextlib
import functools
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from t5x_tasks.cache import CachedSplit, Example, is_prepared, task_lock, write_split
from t5x_tasks.card import Card, Template, all_cards, resolve
from t5x_tasks.errors import UserError
from t5x_tasks.rendering import Rendering, field_values, is_blank, placeholders, render
from t5x_tasks.sources import locate, read_rows, source_digest
from t5x_tasks.vocabulary import Vocabulary

Row = dict[str, Any]
Ids = np.ndarray  # 1-D int32

_BATCH = 1024  # rows tokenised at once
_SHOWN_IDS = 20  # of skipped rows, in the manifest


class Data(Protocol):
    """The part of `configuration.DataConfig` that preparing needs."""

    @property
    def cards(self) -> tuple[str, ...]: ...
    @property
    def root(self) -> str | None: ...
    def cache_folder(self) -> Path: ...


@dataclass(frozen=True)
class Prepared:
    """A prepared task and split: `open()` gives its tokens.

    Attributes:
      task: dialogsum.t00.
      dataset: dialogsum.
      template: t00.
      split: train, validation or test.
      folder: of the cache.
      max_examples: what the card lets this data set bring to an epoch of a mixture; None for all.
    """

    task: str
    dataset: str
    template: str
    split: str
    folder: Path
    max_examples: int | None

    def open(self) -> CachedSplit:
        return CachedSplit.open(self.folder)


def ensure_prepared(
    names: str | Sequence[str],
    split: str,
    *,
    data: Data,
    vocabulary: Vocabulary,
    text: bool = False,
    progress: bool = True,
) -> list[Prepared]:
    """Prepares what is missing or out of date, and returns one entry for each template's task behind `names`.

    Without `text` (training) rows with an empty field are left out, counted and reported; with `text` (evaluation) they
    stay, and each example's texts, references and fields are stored beside its tokens.

    A prepared split is used as it is when its card, template, vocabulary, source and this code are the same: their hash is in
    the name of its folder, so that runs on different data never share one. When the source is not at hand (a machine that
    has only the cache; the hub out of reach), what the same card made before is used, and a line says so.

    Args:
      names: tasks (`dialogsum.t00`) or mixtures (`dialogsum`, `dialogsum.heldout`).
      data: cards, root and cache folder.
      progress: one line on stderr for every data set and split written.

    Raises:
      UserError: see `resolve`, `read_rows` and `write_split`; or held-out data or phrasings were asked for as training data.
    """
    pairs = resolve(names, all_cards(data.cards))
    if split == "train" and not text:
        _refuse_heldout(pairs)
    prepared: list[Prepared] = []
    for card in {card.name: card for card, _ in pairs}.values():
        templates = [template for other, template in pairs if other.name == card.name]
        work = _DatasetSplit(card, split, data, vocabulary, text)
        for template in templates:
            folder = work.prepare(template)
            prepared.append(
                Prepared(card.task_name(template), card.name, template.id, split, folder, card.max_examples)
            )
        if work.fallbacks:  # one line for all phrasings
            print(work.fallbacks[0], file=sys.stderr, flush=True)
        if progress and work.written:
            print(work.report(), file=sys.stderr, flush=True)
    return prepared


def _refuse_heldout(pairs: list[tuple[Card, Template]]) -> None:
    for card, template in pairs:
        if card.heldout:
            raise UserError(
                f"{card.name}: {card.path} holds it out of training (heldout: true); train on another data set"
            )
        if template.split == "heldout":
            name = card.task_name(template)
            raise UserError(f"{name}: a held-out phrasing is evaluated, never trained on; train on {card.name}")


class _DatasetSplit:
    """Prepares the templates of one data set and split; what they share is read and tokenised once."""

    def __init__(self, card: Card, split: str, data: Data, vocabulary: Vocabulary, text: bool):
        self.card = card
        self.split = split
        self.data = data
        self.vocabulary = vocabulary
        self.text = text
        self.source = _source_identity(card, split, data.root)
        self.written: list[CachedSplit] = []  # by this process; what was there already is not in it
        self.fallbacks: list[str] = []
        self.seconds = 0.0
        self._targets: dict[str, list[Ids]] = {}  # template's targets -> ids of all rows

    def prepare(self, template: Template) -> Path:
        name = self.card.task_name(template)
        recipe = _recipe(self.card, template, self.vocabulary)
        suffix = "-text" if self.text else ""
        folders = self.data.cache_folder() / name
        fingerprint = hashlib.sha256(f"{recipe} {self.source}".encode()).hexdigest()
        folder = folders / f"{self.split}-{fingerprint[:16]}{suffix}"
        if is_prepared(folder):
            return folder
        try:
            _ = self._rows_and_empty  # read now, before anything is written
        except UserError as error:
            if self.source and not self.source.startswith("hub:"):
                raise  # the file is there and it is wrong
            if (before := _prepared_before(folders, f"{self.split}-*", recipe, self.text)) is None:
                raise
            self.fallbacks.append(
                f"{name} {self.split}: prepared before is used, for the source is not at hand ({error})"
            )
            return before
        with task_lock(folder.parent):
            if is_prepared(folder):  # another process was faster
                return folder
            start = time.perf_counter()
            manifest = {
                "task": name,
                "split": self.split,
                "fingerprint": fingerprint,
                "recipe": recipe,
                "source": str(locate(self.card, self.split, self.data.root)),
                "source_identity": self.source,
                "vocabulary_sha256": self.vocabulary.sha256,
                "counts": self._counts(template),
            }
            written = write_split(
                folder,
                self._examples(template),
                manifest,
                vocabulary_size=self.vocabulary.size,
                text=self.text,
                eos_id=self.vocabulary.eos_id,
                unk_id=self.vocabulary.unk_id,
            )
            self.written.append(written)
            self.seconds += time.perf_counter() - start
        return folder

    def report(self) -> str:
        """Says in one line what was written and what became of the rows."""
        counts = [split.manifest["counts"] for split in self.written]
        unknown = sum(sum(c["unknown_tokens"].values()) for c in counts)
        tokens = sum(int(split.lengths.sum()) for split in self.written)
        examples = sum(len(split) for split in self.written)
        skipped = counts[0]["skipped"].items()
        left_out = ", ".join(f"{e['rows']} {reason} ({', '.join(e['ids'][:3])})" for reason, e in skipped) or "none"
        empty = f", empty inputs {counts[0]['empty_inputs']:,}" if counts[0]["empty_inputs"] else ""
        return (
            f"prepared {self.card.name} {self.split}: {len(self.written)} phrasings x {len(self.written[0]):,} examples in "
            f"{self.seconds:.1f} s ({examples / max(self.seconds, 1e-9):,.0f}/s), unknown tokens {unknown:,} "
            f"({100 * unknown / max(1, tokens):.3f}%), rows left out: {left_out}{empty}"
        )

    @functools.cached_property
    def _rows_and_empty(self) -> tuple[list[Row], dict[str, list[str]]]:
        """Returns the rows to write, and the ids of those with an empty field, by field."""
        rows = read_rows(self.card, self.split, self.data.root)
        empty: dict[str, list[str]] = {}
        kept = []
        for row in rows:
            blank = [f for f, value in field_values(self.card, row).items() if is_blank(value)]
            for field in blank:
                empty.setdefault(field, []).append(row["id"])
            if self.text or not blank:
                kept.append(row)
        return kept, empty

    @property
    def rows(self) -> list[Row]:
        return self._rows_and_empty[0]

    def _counts(self, template: Template) -> dict[str, Any]:
        """Says what became of rows with an empty field: kept and counted for evaluation, left out for training."""
        empty = self._rows_and_empty[1]
        if not self.text:
            skipped = {f"empty {f}": {"rows": len(ids), "ids": ids[:_SHOWN_IDS]} for f, ids in empty.items()}
            return {"skipped": skipped, "empty_inputs": 0}
        without = {row_id for field in placeholders(template.inputs) for row_id in empty.get(field, [])}
        return {"skipped": {}, "empty_inputs": len(without)}

    def _examples(self, template: Template) -> Iterator[Example]:
        for rows, renderings, inputs, targets in self._encoded(template):
            for row, rendering, inputs_ids, targets_ids in zip(rows, renderings, inputs, targets, strict=True):
                stored = None
                if self.text:
                    stored = {
                        "id": row["id"],
                        "template": template.id,
                        "inputs": rendering.inputs,
                        "targets": rendering.targets,
                        "references": rendering.references,
                        "fields": field_values(self.card, row),
                    }
                yield Example(row["id"], inputs_ids, targets_ids, stored)

    def _encoded(self, template: Template) -> Iterator[tuple[list[Row], list[Rendering], list[Ids], list[Ids]]]:
        """Yields (rows, renderings, inputs, targets) in batches, the next being tokenised while one is written."""
        known_targets = self._targets.setdefault(template.targets, [])

        def encode(start: int) -> tuple[list[Row], list[Rendering], list[Ids], list[Ids]]:
            rows = self.rows[start : start + _BATCH]
            renderings = [render(self.card, template, row) for row in rows]
            inputs = self.vocabulary.encode_batch([r.inputs for r in renderings])
            if len(known_targets) <= start:  # templates of a card mostly share the form of their targets
                known_targets.extend(self.vocabulary.encode_batch([r.targets for r in renderings]))
            return rows, renderings, inputs, known_targets[start : start + _BATCH]

        with ThreadPoolExecutor(1) as thread:  # SentencePiece works without the interpreter's lock
            ahead = thread.submit(encode, 0)
            for start in range(_BATCH, len(self.rows) + _BATCH, _BATCH):
                batch = ahead.result()
                ahead = thread.submit(encode, start)  # at the end an empty batch, which nobody asks for
                yield batch


def _source_identity(card: Card, split: str, root: str | None) -> str | None:
    """What tells the data of this run from other data: a file's hash, a hub data set's name and revision; None if out of reach.

    Raises:
      UserError: `root` is given and is no folder.
    """
    if root is not None and not Path(root).expanduser().is_dir():
        locate(card, split, root)
    if (digest := source_digest(card, split, root)) is not None:
        return digest
    with contextlib.suppress(UserError):
        locate(card, split, root)
        return f"hub:{json.dumps(card.source.model_dump(mode='json'), sort_keys=True)}"
    return None


def _prepared_before(folders: Path, pattern: str, recipe: str, text: bool) -> Path | None:
    """The newest folder that the same recipe made from whatever source there was then: a machine may have only the cache."""
    found = []
    for path in folders.glob(f"{pattern}/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest.get("recipe") == recipe and manifest.get("text") == text:
            found.append((path.stat().st_mtime_ns, path.parent))
    return max(found)[1] if found else None


def _recipe(card: Card, template: Template, vocabulary: Vocabulary) -> str:
    """Returns the hash of all that decides the tokens, apart from the data themselves."""
    parts = {
        "name": card.name,
        "fields": card.fields,
        "references": card.references,
        "group_by": card.group_by,
        "inverted": template.id in card.inverted,
        # Of all templates: a row that one of them cannot use is left out for all, so that they stay aligned.
        "used_fields": card.used_fields,
        "template": template.model_dump(exclude={"split"}),
        "vocabulary": vocabulary.sha256,
        "code": _code_digest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@functools.cache
def _code_digest() -> str:
    """Returns the hash of the code that makes tokens out of rows: nobody has to remember to raise a version."""
    here = Path(__file__).parent
    names = ("rendering.py", "sources.py", "vocabulary.py", "prepare.py")
    return hashlib.sha256(b"\0".join((here / name).read_bytes() for name in names)).hexdigest()
