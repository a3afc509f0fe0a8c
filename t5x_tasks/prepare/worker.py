"""Prepares templates of one data set and split: rows are read, rendered, tokenised and written to the cache.

Also a program, `python -m t5x_tasks.prepare.worker`: it takes a pickled `Job` from stdin and prints a JSON line for each
template that it has written. `prepare` starts several of them; unlike forked or spawned workers they neither inherit an
accelerator's threads nor run the caller's script again.
"""

import dataclasses
import functools
import itertools
import json
import pickle
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5x_tasks.cache import CachedSplit, Example, is_prepared, task_lock, write_split
from t5x_tasks.card.card import Card, Variant
from t5x_tasks.card.template import placeholders
from t5x_tasks.common.errors import Failure, UserError, run_cli
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.recipe import is_at_hand, made_of, source_identity
from t5x_tasks.rendering.fewshot import Exemplars, exemplar_pool
from t5x_tasks.rendering.render import Rendering, is_blank, render
from t5x_tasks.rendering.training_rows import Question, questions_elsewhere
from t5x_tasks.sources import Row, iter_rows, locate, question

Ids = np.ndarray  # 1-D int32

HELD_ROWS = 200_000  # of a split that are kept in memory; a larger one is read once for each template
_BATCH = 1024  # rows tokenised at once
_SHOWN_IDS = 20  # of skipped rows, in the manifest


@dataclass(frozen=True)
class Job:
    """Templates of one data set and split to prepare.

    Attributes:
      variants: with the folder that each is written to and its recipe's hash.
      identities: of the source of each split that decides what is written; see recipe.py.
      text: keep blank rows, and each example's texts beside its tokens: for evaluation.
      dedupe: rows whose inputs occur in another split are neither trained on nor exemplars.
      fit: tokens that inputs with exemplars may have.
      threads: that tokenise.
    """

    card: Card
    split: str
    root: str | None
    variants: tuple[tuple[Variant, Path, str], ...]
    identities: Mapping[str, str | None]
    vocabulary: str
    text: bool
    dedupe: bool
    fit: int
    threads: int | None = None


@dataclass(frozen=True)
class Written:
    """The result for one template. `new` is False where another process was faster; no row has any of the groups `ungrouped`."""

    folder: str
    examples: int
    tokens: int
    unknown_tokens: int
    unknown_in_targets: int
    skipped: dict[str, Any]
    empty_inputs: int
    exemplars: dict[str, int]
    ungrouped: list[str]
    seconds: float
    new: bool


def run(job: Job, vocabulary: Vocabulary | None = None) -> Iterator[Written]:
    """Does a job, template by template.

    Raises:
      UserError: see `read_rows` and `write_split`.
      Failure: the data changed meanwhile, or the disk is full.
    """
    work = _DatasetSplit(job, vocabulary or Vocabulary.load(job.vocabulary))
    for variant, folder, recipe in job.variants:
        yield work.prepare(variant, folder, recipe)


class _DatasetSplit:
    """Prepares the templates of one data set and split; what they share is read and tokenised once."""

    def __init__(self, job: Job, vocabulary: Vocabulary):
        self.job = job
        self.card = job.card
        self.vocabulary = vocabulary
        self._held: list[Row] | None = None
        self._pool: list[Row] | None = None
        self._targets: dict[str, list[Ids]] = {}  # template's targets -> ids of all rows, where they are few enough

    def prepare(self, variant: Variant, folder: Path, recipe: str) -> Written:
        job, start = self.job, time.perf_counter()
        with task_lock(folder.parent):
            if is_prepared(folder):  # another process was faster
                return _written(CachedSplit.open(folder), 0.0, new=False)
            counts: dict[str, Any] = {"skipped": {}, "empty_inputs": 0}
            manifest = {
                "task": self.card.task_name(variant),
                "split": job.split,
                "fingerprint": folder.name,
                "recipe": recipe,
                "made_of": made_of(self.card, variant, self.vocabulary, dedupe=job.dedupe, fit=job.fit),
                "source": str(locate(self.card, job.split, job.root)),
                "source_identity": job.identities[job.split],
                "vocabulary_sha256": self.vocabulary.sha256,
                "counts": counts,
            }
            try:
                split = write_split(
                    folder,
                    self._examples(variant, counts),
                    manifest,
                    vocabulary_size=self.vocabulary.size,
                    text=job.text,
                    eos_id=self.vocabulary.eos_id,
                    unk_id=self.vocabulary.unk_id,
                )
            except UserError:  # a file that is being written anew reads as a bad one
                self._check_unchanged()
                raise
        return _written(split, time.perf_counter() - start, new=True)

    def _examples(self, variant: Variant, counts: dict[str, Any]) -> Iterator[Example]:
        ungrouped = dict.fromkeys(self.card.groups)
        for rows, renderings, inputs, targets in self._encoded(variant, counts):
            for row, rendering, inputs_ids, targets_ids in zip(rows, renderings, inputs, targets, strict=True):
                stored = None
                if self.job.text:
                    for name in row.groups:
                        ungrouped.pop(name, None)
                    stored = {
                        "id": row.id,
                        "phrasing": variant.id,
                        "inputs": rendering.inputs,
                        "targets": rendering.targets,
                        "references": rendering.references,
                        "fields": dict(row.fields),
                        "groups": row.groups,
                    }
                yield Example(row.id, inputs_ids, targets_ids, stored)
        if self.job.text:  # what a report parts the rows by
            counts["ungrouped"] = list(ungrouped)
        self._check_unchanged()  # after the last row is read and before anything is published

    def _check_unchanged(self) -> None:
        """Raises Failure if data are not those that the folder's fingerprint was made of: rows may be some old, some new.

        Data that no digest was taken of (of the hub, or prepared by TFDS meanwhile) are not compared.
        """
        for split, before in self.job.identities.items():
            if is_at_hand(before) and source_identity(self.card, split, self.job.root) != before:
                try:
                    place = str(locate(self.card, split, self.job.root))
                except UserError:  # it is gone
                    place = f"{self.card.path}: source.{split}"
                raise Failure(
                    f"{place}: changed while {self.card.name} {self.job.split} was prepared, so that was discarded; start "
                    "the command again"
                )

    def _encoded(
        self, variant: Variant, counts: dict[str, Any]
    ) -> Iterator[tuple[list[Row], list[Rendering], list[Ids], list[Ids]]]:
        """Yields (rows, renderings, inputs, targets) in batches, the next being tokenised while one is written."""
        exemplars = self._exemplars(variant)
        known = self._targets.get(variant.targets)
        new: list[Ids] = []  # templates of a card mostly share the form of their targets
        rows = self._kept_rows(variant, counts)

        def encode(start: int) -> tuple[list[Row], list[Rendering], list[Ids], list[Ids]]:
            batch = list(itertools.islice(rows, _BATCH))
            shots = exemplars.choose(batch) if exemplars and batch else [[] for _ in batch]
            pairs = zip(batch, shots, strict=True)
            renderings = [render(self.card, variant, row, before) for row, before in pairs]
            inputs = self._tokenize([r.inputs for r in renderings])
            if known is None:
                targets = self._tokenize([r.targets for r in renderings])
                if start < HELD_ROWS:
                    new.extend(targets)
            else:
                targets = known[start : start + len(batch)]
            return batch, renderings, inputs, targets

        with ThreadPoolExecutor(1) as thread:  # SentencePiece works without the interpreter's lock
            ahead = thread.submit(encode, 0)
            for start in itertools.count(_BATCH, _BATCH):
                batch = ahead.result()
                if not batch[0]:
                    break
                ahead = thread.submit(encode, start)
                yield batch
        if self._held is not None and known is None:
            self._targets[variant.targets] = new
        if exemplars:
            counts["exemplars"] = {"asked": exemplars.asked, "kept": exemplars.kept}

    def _tokenize(self, texts: list[str]) -> list[Ids]:
        return self.vocabulary.encode_batch(texts, self.job.threads)

    def _kept_rows(self, variant: Variant, counts: dict[str, Any]) -> Iterator[Row]:
        """Yields the rows to write, and counts the others and those with an empty input.

        In training, rows with an empty field are left out, of all templates alike.
        """
        asked = set(placeholders(variant.inputs))
        elsewhere = self._elsewhere if self.job.split == "train" and not self.job.text else {}
        for row in self._rows():
            reasons = [f"empty {field}" for field, text in row.fields.items() if is_blank(text)]
            if other := elsewhere.get(question(self.card, row)):
                reasons.append(f"inputs also in {other}")
            if self.job.text or not reasons:
                counts["empty_inputs"] += any(is_blank(row.fields[field]) for field in asked & row.fields.keys())
                yield row
            else:
                for reason in reasons:
                    skipped = counts["skipped"].setdefault(reason, {"rows": 0, "ids": []})
                    skipped["rows"] += 1
                    skipped["ids"] += [row.id] * (len(skipped["ids"]) < _SHOWN_IDS)

    def _rows(self) -> Iterator[Row]:
        if self._held is not None:
            yield from self._held
            return
        held: list[Row] = []
        for number, row in enumerate(iter_rows(self.card, self.job.split, self.job.root)):
            if number < HELD_ROWS:
                held.append(row)
            elif number == HELD_ROWS:
                held = []
            yield row
        self._held = held or None

    def _exemplars(self, variant: Variant) -> Exemplars | None:
        if not variant.shots:
            return None
        if self._pool is None:
            self._pool = exemplar_pool(self.card, iter_rows(self.card, "train", self.job.root), self._elsewhere)
        return Exemplars(self.card, variant, self._pool, self.vocabulary, self.job.fit)

    @functools.cached_property
    def _elsewhere(self) -> dict[Question, str]:
        if not self.job.dedupe:
            return {}
        return questions_elsewhere(self.card, lambda split: iter_rows(self.card, split, self.job.root))


def _written(split: CachedSplit, seconds: float, *, new: bool) -> Written:
    counts = split.manifest["counts"]
    return Written(
        folder=str(split.folder),
        examples=len(split),
        tokens=int(split.lengths.sum()),
        unknown_tokens=sum(counts["unknown_tokens"].values()),
        unknown_in_targets=counts["unknown_tokens"]["targets"],
        skipped=counts["skipped"],
        empty_inputs=counts["empty_inputs"],
        exemplars=counts.get("exemplars", {}),
        ungrouped=counts.get("ungrouped", []),
        seconds=seconds,
        new=new,
    )


def main(arguments: list[str]) -> int:
    del arguments
    output, sys.stdout = sys.stdout, sys.stderr  # whatever a user's functions print is no line of ours
    for written in run(pickle.load(sys.stdin.buffer)):
        print(json.dumps(dataclasses.asdict(written)), file=output, flush=True)
    return 0


if __name__ == "__main__":
    run_cli(main)
