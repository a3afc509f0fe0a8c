"""Prepares plain SeqIO tasks: `python -m t5x_tasks.prepare.user_worker` takes a `SeqioJob` as JSON (user_tasks.py).

The only other file beside registry.py that imports SeqIO, and only when it runs. What it has to say goes to stdout; whatever the
user's modules and TensorFlow print goes to stderr.
"""

import contextlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from t5x_tasks.cache import CachedSplit, Example, is_prepared, sealed, write_split
from t5x_tasks.common.errors import Failure, UserError, run_cli, suggest
from t5x_tasks.common.functions import describe_exception, load_module
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.recipe import CODE
from t5x_tasks.prepare.user_tasks import VARIANT, SeqioJob, index_file, modules_version

SIDES = ("inputs", "targets")
_SAY_EVERY_S = 15
_SHOWN = 12  # names in a message

Say = Callable[[str], None]


def main(arguments: list[str]) -> None:
    del arguments
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    values: dict[str, Any] = json.load(sys.stdin)
    values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    prepare(SeqioJob(**values), lambda line: print(line, file=out, flush=True))


def prepare(job: SeqioJob, say: Say) -> None:
    """Does a job and writes an index for each name.

    Raises:
      UserError: see `prepare_modules`.
    """
    vocabulary = Vocabulary.load(job.vocabulary)
    added = _import_modules(job)
    for name in job.names:
        provider = _provider(name, job, added)
        tasks = list(getattr(provider, "tasks", [provider]))  # a mixture's
        folders = {task.name: _prepare_task(task, job, vocabulary, say) for task in tasks if job.split in task.splits}
        rates = {} if job.text else _rates(provider, tasks, job)
        index = {
            "tasks": {
                task: {"folder": f"{task}/{folder.name}", "rate": rates.get(task, 1.0)}
                for task, folder in folders.items()
            },
            "splits": {task.name: list(task.splits) for task in tasks},
        }
        path = index_file(Path(job.cache), name, job.split, job.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial_path = path.with_name(f".{path.name}.{os.getpid()}")
        partial_path.write_text(sealed(index), encoding="utf-8")
        partial_path.replace(path)


def _import_modules(job: SeqioJob) -> list[str]:
    """Imports the user's modules; returns the names that they have added."""
    import seqio

    registries = (seqio.TaskRegistry, seqio.MixtureRegistry)
    before = {name for registry in registries for name in registry.names()}
    for module in job.modules:
        load_module(module, folder=Path(), where="data.modules")
    return sorted({name for registry in registries for name in registry.names()} - before)


def _provider(name: str, job: SeqioJob, added: list[str]) -> Any:
    import seqio

    if taken := [n for n in added if n in job.known and not _is_of_a_card(n)]:
        raise UserError(f"data.modules: {taken[0]} is the name of a card or mixture, too; choose another")
    if name not in added and name not in (*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()):
        hint = suggest(name, [*added, *job.known]) or (
            f"; {', '.join(job.modules)} (data.modules) add{'s' * (len(job.modules) == 1)} "
            f"{', '.join(added[:_SHOWN]) + ', ...' * (len(added) > _SHOWN) or 'nothing to SeqIO'}"
        )
        raise UserError(f"{name}: unknown task or mixture{hint}")
    return seqio.get_mixture_or_task(name)


def _prepare_task(task: Any, job: SeqioJob, vocabulary: Vocabulary, say: Say) -> Path:
    folder = Path(job.cache) / task.name / f"{job.split}-{job.version}"
    if is_prepared(folder):  # as part of another mixture
        return folder
    _check_features(task, vocabulary)
    counts: dict[str, Any] = {"skipped": {}}
    manifest = {
        "task": task.name,
        "split": job.split,
        "fingerprint": folder.name,
        "source": str(task.source),
        "modules": list(job.modules),
        "made_of": {f"data.modules, the vocabulary or the {CODE}": job.version.removesuffix("-text")},
        "seqio": importlib.metadata.version("seqio"),
        "vocabulary_sha256": vocabulary.sha256,
        "counts": counts,
    }
    start = time.perf_counter()
    rows = _unchanged(task, job, vocabulary, _rows(task, job.split, say))
    split = write_split(
        folder,
        _with_texts(task, rows, vocabulary, say) if job.text else (_example(task, n, row) for n, row in rows),
        manifest,
        vocabulary_size=vocabulary.size,
        text=job.text,
        eos_id=vocabulary.eos_id,
        unk_id=vocabulary.unk_id,
    )
    seconds = time.perf_counter() - start
    say(
        f"prepared {task.name} {job.split} through SeqIO: {len(split):,} examples, {len(split) / seconds:,.0f}/s; SeqIO does "
        f"not tell when its data change: delete {folder} then"
    )
    return folder


def _unchanged(
    task: Any, job: SeqioJob, vocabulary: Vocabulary, rows: Iterator[tuple[int, Mapping[str, Any]]]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields the rows; raises Failure after the last one if a module, our code or a file that holds rows changed meanwhile."""
    before = _files(task, job.split)
    yield from rows
    after = _files(task, job.split)
    if modules_version(job.modules, vocabulary) + "-text" * job.text != job.version:
        what = f"a file of {', '.join(job.modules)} or of the program"
    elif changed := sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
        what = changed[0]
    else:
        return
    raise Failure(
        f"{what}: changed while {task.name} {job.split} was prepared, so that was discarded; start the command again"
    )


def _files(task: Any, split: str) -> dict[str, tuple[int, int]]:
    """Returns length and time of the files that SeqIO reads the rows from, as far as the task's source names files."""
    import tensorflow as tf

    try:
        names = tf.io.gfile.glob(f"{task.cache_dir}/*") if _is_cached(task) else task.source.list_shards(split)
    except Exception:  # of the user's source; reading it says more
        return {}
    found = {}
    for name in names:
        with contextlib.suppress(Exception):  # a source of functions names its split
            stat = tf.io.gfile.stat(name)
            if not stat.is_directory:
                found[str(name)] = (stat.length, stat.mtime_nsec)
    return found


def _is_cached(task: Any) -> bool:
    """Tells whether SeqIO's own tool has cached a task's rows, which are then read in place of its source's."""
    return task.supports_caching and task.cache_dir is not None


def _rows(task: Any, split: str, say: Say) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields the numbered examples of a split, whole and in order."""
    last = time.monotonic()
    try:
        dataset = task.get_dataset(
            None, split=split, shuffle=False, seed=0, use_cached=_is_cached(task), try_in_mem_cache=False
        )
        for number, row in enumerate(dataset.as_numpy_iterator()):
            yield number, row
            if time.monotonic() - last > _SAY_EVERY_S:
                last = time.monotonic()
                say(f"preparing {task.name} {split}: {number + 1:,} examples")
    except UserError:
        raise
    except Exception as error:  # whatever the user's source and preprocessors do
        raise UserError(f"{task.name}: SeqIO cannot make its {split} split ({describe_exception(error)})") from error


def _example(task: Any, number: int, row: Mapping[str, Any], stored: dict[str, Any] | None = None) -> Example:
    id = row.get("id", number)
    inputs, targets = (_without_end(task, number, side, row[side]) for side in SIDES)
    return Example(_text(id) or str(id), inputs, targets, stored)


def _without_end(task: Any, number: int, side: str, ids: np.ndarray) -> np.ndarray:
    ends = np.flatnonzero(ids == Vocabulary.eos_id)
    first = int(ends[0]) if len(ends) else len(ids)
    if np.any(ids[first:] > Vocabulary.eos_id):  # what follows an end may be ends and padding
        raise UserError(f"{task.name}: example {number} (from 0): {side} go on after their end of sequence")
    return ids[:first]


def _with_texts(
    task: Any, rows: Iterator[tuple[int, Mapping[str, Any]]], vocabulary: Vocabulary, say: Say
) -> Iterator[Example]:
    """Yields examples with their texts and references, for evaluation."""
    held = list(rows)
    texts = []
    for _, row in held:
        given = [_text(row.get(f"{side}_pretokenized")) for side in SIDES]
        texts.append(
            [vocabulary.decode(row[s]) if text is None else text for s, text in zip(SIDES, given, strict=True)]
        )
    references, why = _references(task, [row for _, row in held], [targets for _, targets in texts])
    if why:
        say(f"{task.name}: its references are the targets as they are, for its postprocess_fn {why}")
    if task.metric_fns:
        names = ", ".join(getattr(function, "__name__", str(function)) for function in task.metric_fns)
        say(f"{task.name}: scored with eval.metrics, not with its own metric_fns ({names})")
    for (number, row), (inputs, targets), answers in zip(held, texts, references, strict=True):
        stored = {"phrasing": VARIANT, "inputs": inputs, "targets": targets, "references": answers, "fields": {}}
        yield _example(task, number, row, stored)


def _references(task: Any, rows: list[Mapping[str, Any]], targets: list[str]) -> tuple[list[list[str]], str]:
    """Returns the right answers of each row, and why they are not those of the task's `postprocess_fn`, if so."""
    plain = [[text] for text in targets]
    if task.postprocessor is None:
        return plain, ""
    found = []
    for row, text in zip(rows, targets, strict=True):
        try:
            answers = _texts(task.postprocess_fn(text, example=row, is_target=True))
            said = task.postprocess_fn(text, example=row, is_target=False)
        except Exception as error:
            return plain, f"fails on (target, example, is_target) with {describe_exception(error)}"
        if not answers:
            return plain, "gives no text"
        if said != text:
            return plain, "changes predictions, too, which is not done here"
        found.append(answers)
    return found, ""


def _texts(answers: Any) -> list[str]:
    if isinstance(answers, np.ndarray):
        answers = answers.tolist()
    texts = [_text(a) for a in answers] if isinstance(answers, (list, tuple)) else [_text(answers)]
    return [text for text in texts if text is not None] if None not in texts else []


def _text(value: Any) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else None


def _rates(provider: Any, tasks: list[Any], job: SeqioJob) -> dict[str, float]:
    """Returns the mixing rate of each task. Rates that are functions of a task's size get what was counted here."""
    import seqio

    if not isinstance(provider, seqio.Mixture):
        return {}
    for task in tasks:
        count = partial(_count, task, job)
        # SeqIO knows no size of most sources, and what it knows (rows before preprocessing) may not be the examples.
        task.num_input_examples = count
        task.get_cached_stats = lambda split="train", count=count: {"examples": count(split)}
    try:
        rates = {task.name: float(provider.get_rate(task)) for task in tasks}
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{provider.name}: its rates cannot be computed ({describe_exception(error)})") from error
    if any(not 0 <= rate < float("inf") for rate in rates.values()) or not sum(rates.values()):
        raise UserError(f"{provider.name}: rates must be 0 or more, and some of them more, not {rates}")
    return rates


def _count(task: Any, job: SeqioJob, split: str) -> int:
    folder = Path(job.cache) / task.name / f"{split}-{job.version}"
    if is_prepared(folder):
        return len(CachedSplit.open(folder))
    return sum(1 for _ in _rows(task, split, lambda line: None))


def _check_features(task: Any, vocabulary: Vocabulary) -> None:
    import seqio

    if missing := [side for side in SIDES if side not in task.output_features]:
        raise UserError(
            f"{task.name}: has no feature {missing[0]}, only {', '.join(task.output_features)}; T5 needs inputs and targets"
        )
    for side in SIDES:
        feature = task.output_features[side]
        theirs = feature.vocabulary
        where = f"{task.name}: feature {side}"
        if feature.rank != 1 or not np.issubdtype(np.dtype(feature.dtype.as_numpy_dtype), np.integer):
            raise UserError(f"{where} must be token ids, integers of rank 1")
        if not isinstance(theirs, seqio.SentencePieceVocabulary):
            raise UserError(
                f"{where} has a {type(theirs).__name__}; the run's is SentencePiece, {vocabulary.path} (model.vocabulary)"
            )
        if (size := theirs.vocab_size) != vocabulary.size:
            hint = ", with extra_ids=100" if size + 100 == vocabulary.size else ""
            raise UserError(
                f"{where} has a vocabulary of {size:,}, the run {vocabulary.size:,}: give it {vocabulary.path}{hint}, or set "
                "model.vocabulary to the task's"
            )
        if not vocabulary.agrees_with(theirs.tokenizer):
            raise UserError(
                f"{where} has other pieces than the run's vocabulary, {vocabulary.path} (model.vocabulary); use one for both"
            )


def _is_of_a_card(name: str) -> bool:
    """Tells whether the user's module itself has called `t5x_tasks.install`, to mix our tasks with its own."""
    import seqio

    registry = sys.modules.get("t5x_tasks.registry")
    return registry is not None and registry.is_installed(seqio.get_mixture_or_task(name))


if __name__ == "__main__":
    run_cli(main)
