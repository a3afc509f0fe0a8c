"""Prepare: from cards to the token cache, once; natively, without SeqIO and TensorFlow, on all cores.

Rows are read once a data set and split, rendered in each template and tokenised by SentencePiece in batches. All
templates of a data set hold the same rows in the same order: index i is the same example in each. See worker.py
for the work itself; here is decided what is missing, and it is dealt out to processes.
"""

import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from t5x_tasks.cache import is_prepared
from t5x_tasks.card.card import Card, Variant
from t5x_tasks.card.catalog import Catalog, dataset_name, load_catalog
from t5x_tasks.common.errors import UserError, error_of_process, is_disk_fault
from t5x_tasks.common.progress import Progress
from t5x_tasks.common.terminal import escaped
from t5x_tasks.common.vocabulary import Vocabulary, num_cores
from t5x_tasks.prepare.prepared import Data, Prepared
from t5x_tasks.prepare.recipe import is_at_hand, prepared_before, recipe, source_identity
from t5x_tasks.prepare.user_tasks import prepare_modules
from t5x_tasks.prepare.worker import Job, Written, run
from t5x_tasks.rendering.fewshot import AUTO_FIT
from t5x_tasks.sources import locate

__all__ = ["Data", "Prepared", "ensure_prepared"]

_INLINE_BYTES = 30_000_000  # of source times templates: below, starting processes takes longer than they save
_JOBS_PER_CORE = 4  # so that no core waits long for the last one


def ensure_prepared(
    names: str | Sequence[str],
    split: str,
    *,
    data: Data,
    vocabulary: Vocabulary,
    text: bool = False,
    catalog: Catalog | None = None,
    optional: bool = False,
    prompt: Callable[[str], Sequence[int]] = lambda dataset: (),
    progress: bool = True,
) -> list[Prepared]:
    """Prepares what is missing or out of date, and returns one entry for each task behind `names`.

    Without `text` (training) rows with an empty field are left out, counted and reported; with `text` (evaluation) they
    stay, and each example's texts, references and fields are stored beside its tokens.

    A prepared split is used as it is when its card, template, vocabulary, source and this code are the same: their hash
    is in the name of its folder, so that runs on different data never share one. When the source is not at hand (a
    machine that has only the cache; the hub out of reach), what the same card made before is used, and a line says so.

    Args:
      names: tasks (`dialogsum.t00`) or mixtures (`dialogsum`, `dialogsum.heldout`, `multitask`), or plain SeqIO ones of
        the user's (see user_tasks.py).
      data: cards, root, modules and cache folder.
      catalog: of these cards, where the caller has loaded it.
      optional: leave out the data sets of a mixture that have no such split (many have no validation split), if any has.
      prompt: data set -> tokens that a fine-tuning method puts in front of its inputs: exemplars leave them their room.
      progress: lines on stderr for what is written.

    Raises:
      UserError: see `Catalog.resolve`, `read_rows` and `write_split`; or held-out data or templates were asked for as
        training data.
    """
    catalog = catalog or load_catalog(data.cards)
    names = [names] if isinstance(names, str) else list(names)
    plain: list[Prepared] = []
    if data.modules and (others := [name for name in names if not catalog.knows(name)]):
        plain = prepare_modules(
            others, split, data=data, vocabulary=vocabulary, text=text, optional=optional, known=catalog.task_names(),
            progress=progress,
        )  # fmt: skip
        if not (names := [name for name in names if name not in others]):
            return plain
    if split == "train" and not text:
        catalog.refuse_heldout(names)
    pairs = catalog.resolve(names)
    if optional and any(split in card.splits for card, _ in pairs):
        pairs = [(card, variant) for card, variant in pairs if split in card.splits]
    works = [
        _Dataset(card, [p for c, p in pairs if c.name == card.name], split, data, vocabulary, text, prompt)
        for card in {card.name: card for card, _ in pairs}.values()
    ]
    portion = sum(work.cost for work in works) / (num_cores() * _JOBS_PER_CORE)
    jobs = [(work, job) for work in works for job in work.jobs(portion)]
    total = sum(len(job.variants) for _, job in jobs)
    with Progress(total, enabled=progress) as shown, closing(_deal_out(jobs, vocabulary)) as dealt:
        for (work, job), results in dealt:
            left = len(job.variants)
            try:
                for written in results:
                    work.written.append(written)
                    shown.advance()
                    left -= 1
            except UserError as error:
                work.fall_back(job, error, skip=data.skip_missing and len(works) > 1)
                shown.leave_out(left)
    for work in works if progress else []:
        work.report()
    prepared = [*plain, *(entry for work in works for entry in work.prepared())]
    if not prepared:
        raise UserError(f"{', '.join(names)}: none of its data is at hand; see the lines above")
    return prepared


class _Dataset:
    """The templates of one data set and split: which folders they have, and which are missing."""

    def __init__(
        self,
        card: Card,
        variants: list[Variant],
        split: str,
        data: Data,
        vocabulary: Vocabulary,
        text: bool,
        prompt: Callable[[str], Sequence[int]],
    ):
        self.written: list[Written] = []
        self._card, self._split, self._data, self._text = card, split, data, text
        self._vocabulary = vocabulary
        self._identities: dict[str, str | None] = {}  # of each split that decides what is written
        self._identity(split)
        self._dedupe = card.dedupe or data.dedupe
        self._fit = AUTO_FIT if data.lengths == "auto" else data.lengths.inputs
        if any(variant.shots for variant in variants):
            self._fit -= len(prompt(card.name))  # inverted templates have no exemplars
        self._skipped = self._said = False
        self._folders = {variant: self._folder(variant) for variant in variants}

        self._missing = tuple((p, *made) for p, made in self._folders.items() if not is_prepared(made[0]))
        self.cost = len(self._missing) * self._source_bytes()

    def jobs(self, portion: float) -> list[Job]:
        """Returns what is to do, cut into portions of about this cost: each process reads its rows again."""
        if not self._missing:
            return []
        job = Job(
            card=self._card,
            split=self._split,
            root=self._data.root,
            variants=self._missing,
            identities=dict(self._identities),
            vocabulary=str(self._vocabulary.path),
            text=self._text,
            dedupe=self._dedupe,
            fit=self._fit,
        )
        if num_cores() == 1 or self.cost < _INLINE_BYTES:
            return [job]
        count = len(self._missing)
        size = -(-count // min(count, math.ceil(self.cost / portion)))
        portions = [self._missing[start : start + size] for start in range(0, count, size)]
        return [replace(job, variants=portion, threads=1) for portion in portions]

    def fall_back(self, job: Job, error: UserError, *, skip: bool) -> None:
        """Uses what was prepared before where the source is not at hand. Raises `error` where that is no way out."""
        if is_at_hand(self._identity(self._split)) or is_disk_fault(error):
            raise error  # the file is there and it is wrong, or cannot be read for now
        for variant, _, made_by in job.variants:
            folders = self._data.cache_folder() / self._card.task_name(variant)
            before = prepared_before(folders, self._split, made_by, self._text)
            if before is None and skip:
                self._say_once(f"{self._card.name} {self._split}: left out (data.skip_missing), for {error}")
                self._skipped = True
                return
            if before is None:
                raise error
            self._folders[variant] = (before, made_by)
        name = self._card.task_name(job.variants[0][0])
        self._say_once(f"{name} {self._split}: prepared before is used, for the source is not at hand ({error})")

    def report(self) -> None:
        """Says in one line what was written and what became of the rows."""
        new = [written for written in self.written if written.new]
        if not new:
            return
        first = new[0]
        examples, tokens = sum(w.examples for w in new), sum(w.tokens for w in new)
        unknown, lacking = sum(w.unknown_tokens for w in new), sum(w.unknown_in_targets for w in new)
        in_targets = (
            f", of targets {lacking:,}, which a model then never writes: t5x_tasks check names them" if lacking else ""
        )
        seconds = sum(w.seconds for w in new)
        skipped = first.skipped.items()
        left_out = ", ".join(f"{e['rows']} {reason} ({', '.join(e['ids'][:3])})" for reason, e in skipped) or "none"
        empty = f", empty inputs {first.empty_inputs:,}" if first.empty_inputs else ""
        asked, kept = (sum(w.exemplars.get(key, 0) for w in new) for key in ("asked", "kept"))
        shots = f", exemplars that fit {kept:,} of {asked:,}" if asked else ""
        columns = [" or ".join(self._card.groups[name]) for name in first.ungrouped]
        groups = f", no row has a value in {', '.join(columns)} (groups of the card)" if columns else ""
        line = (
            f"prepared {self._card.name} {self._split}: {len(new)} templates x {first.examples:,} examples, "
            f"{examples / max(seconds, 1e-9):,.0f}/s a process, unknown tokens {unknown:,} "
            f"({100 * unknown / max(1, tokens):.3f}%{in_targets}), rows left out: {left_out}{empty}{shots}{groups}"
        )
        print(escaped(line), file=sys.stderr, flush=True)

    def prepared(self) -> list[Prepared]:
        card = self._card
        return [
            Prepared(card.task_name(variant), dataset_name(card, variant), variant.id, self._split, folder)
            for variant, (folder, _) in self._folders.items()
            if not self._skipped
        ]

    def _folder(self, variant: Variant) -> tuple[Path, str]:
        made_by = recipe(self._card, variant, self._vocabulary, dedupe=self._dedupes(variant), fit=self._fit)
        others = self._other_sources(variant)
        fingerprint = hashlib.sha256(f"{made_by} {self._identity(self._split)}{others}".encode()).hexdigest()
        name = f"{self._split}-{fingerprint[:16]}" + "-text" * self._text
        return self._data.cache_folder() / self._card.task_name(variant) / name, made_by

    def _other_sources(self, variant: Variant) -> str:
        """Other splits that decide what is written: exemplars come from train, and repeated rows are looked for in all."""
        splits = set(self._card.splits) if self._dedupes(variant) else {"train"} if variant.shots else set()
        seen = sorted(splits - {self._split})
        return "".join(f" {split} {self._identity(split)}" for split in seen)

    def _identity(self, split: str) -> str | None:
        if split not in self._identities:
            self._identities[split] = source_identity(self._card, split, self._data.root)
        return self._identities[split]

    def _dedupes(self, variant: Variant) -> bool:
        """Whether other splits decide what is written: rows are left out of training, and of the exemplars of any split."""
        return self._dedupe and (bool(variant.shots) or (self._split == "train" and not self._text))

    def _source_bytes(self) -> int:
        try:
            files = locate(self._card, self._split, self._data.root).files
            return sum(
                file.stat().st_size * (5 if file.suffix in (".gz", ".bz2", ".xz", ".zst") else 1) for file in files
            )
        except (UserError, OSError):
            return 0

    def _say_once(self, line: str) -> None:
        if not self._said:
            print(escaped(line), file=sys.stderr, flush=True)
        self._said = True


def _deal_out(
    jobs: list[tuple[_Dataset, Job]], vocabulary: Vocabulary
) -> Generator[tuple[tuple[_Dataset, Job], Iterator[Written]]]:
    """Yields each job with what it writes; portions run in processes of their own, on all cores at once."""
    processes = _Processes()
    with ThreadPoolExecutor(num_cores()) as pool:
        apart = {pool.submit(processes.run, job): (work, job) for work, job in jobs if job.threads == 1}
        try:
            for work, job in jobs:
                if job.threads != 1:
                    yield (work, job), run(job, vocabulary)
            for future in as_completed(apart):
                yield apart[future], _results(future)
        finally:  # all are done, or one has failed
            pool.shutdown(wait=False, cancel_futures=True)
            processes.stop()


def _results(future: "Future[list[Written]]") -> Iterator[Written]:
    yield from future.result()


class _Processes:
    """Runs jobs as `python -m t5x_tasks.prepare.worker`."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, job: Job) -> list[Written]:
        # The package that is running, wherever it was imported from, and what the user's own functions are imported from.
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
        process = subprocess.Popen(
            [sys.executable, "-m", "t5x_tasks.prepare.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._running.append(process)
        output, errors = process.communicate(pickle.dumps(job))
        self._running.remove(process)
        message = errors.decode(errors="replace").strip()
        if process.returncode:
            raise error_of_process(process.returncode, message, f"preparing {job.card.name} {job.split}")
        return [Written(**json.loads(line)) for line in output.splitlines()]

    def stop(self) -> None:
        for process in list(self._running):
            process.terminate()
