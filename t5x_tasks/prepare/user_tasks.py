"""Plain SeqIO tasks of the user's, from Python files and modules that call `seqio.TaskRegistry.add` when they are imported.

    data:
      modules: [my_tasks.py]        # relative to the working directory; or importable: my_package.tasks
      mixture: my_mixture

They are prepared through SeqIO itself, with their own preprocessors, in a process of its own (user_worker.py): whoever
trains or evaluates imports no TensorFlow. What is prepared is found again without that process.

SeqIO does not tell what data are behind a task. So what was prepared is used for as long as the modules' files (not what
they import), the vocabulary and our code stay the same. When the *data* change, delete the task's folder, which a line on
stderr names; it is then prepared anew.

What a task needs: features `inputs` and `targets` of the run's vocabulary; examples are not cut here, and end of sequence is
added where the task has not done so. A mixture keeps its SeqIO rates.

In evaluation the references are what the task's `postprocess_fn` makes of the targets, provided that it leaves predictions as
they are; otherwise the targets, and a line says so. The task's own `metric_fns` are not run: they score all rows at
once, which gives no score of a row and no confidence interval. `eval.metrics` names the metrics, by default ROUGE.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5x_tasks.cache import DAMAGE, FORMAT, is_prepared, unsealed
from t5x_tasks.common.errors import UserError, error_of_process
from t5x_tasks.common.functions import file_of_module
from t5x_tasks.common.terminal import escaped
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.prepared import Data, Prepared

VARIANT = "seqio"  # where a card has the name of a template
_CODE = ("prepare/user_tasks.py", "prepare/user_worker.py", "common/vocabulary.py")


class MissingSplit(UserError):
    """Nothing behind a name has the split that was asked for."""


@dataclass(frozen=True)
class SeqioJob:
    """The job of the other process.

    Attributes:
      names: of tasks and mixtures.
      known: names that cards and mixture files have.
      version: ends the names of folders: TASK/<split>-<version>.
    """

    modules: tuple[str, ...]
    names: tuple[str, ...]
    split: str
    text: bool
    vocabulary: str
    cache: str
    version: str
    known: tuple[str, ...]


def index_file(cache: Path, name: str, split: str, version: str) -> Path:
    """Returns the file that says what a name consists of: {"tasks": {task: {folder, rate}}, "splits": {task: [...]}}."""
    return cache / name / f"{split}-{version}.json"


def prepare_modules(
    names: Sequence[str],
    split: str,
    *,
    data: Data,
    vocabulary: Vocabulary,
    text: bool = False,
    optional: bool = False,
    known: Sequence[str] = (),
    progress: bool = True,
) -> list[Prepared]:
    """Prepares tasks and mixtures of `data.modules`; see `ensure_prepared`, which comes here for names that no card has.

    Args:
      known: names of cards and mixtures, for suggestions.

    Raises:
      UserError: a module is not there or cannot be imported, adds no such name, or one that a card has; the task fails, or
        is not one for this vocabulary.
      MissingSplit: a task (with `optional`: all tasks of a name) has no such split.
    """
    cache, version = data.cache_folder(), modules_version(data.modules, vocabulary) + "-text" * text
    missing = [name for name in names if _read_index(cache, name, split, version) is None]
    if missing:
        job = SeqioJob(
            tuple(data.modules), tuple(missing), split, text, str(vocabulary.path), str(cache.absolute()), version,
            tuple(known),
        )  # fmt: skip
        _run(job, progress=progress)
    found: dict[str, Prepared] = {}
    for name in names:
        index = _read_index(cache, name, split, version)
        assert index is not None, "the process would have failed"
        lacking = [task for task, splits in index["splits"].items() if split not in splits]
        if lacking and (not optional or not index["tasks"]):
            splits = index["splits"][lacking[0]]
            raise MissingSplit(f"{lacking[0]}: has no split {split}; it has {', '.join(splits)}")
        for task, entry in index["tasks"].items():
            found[task] = Prepared(task, task, VARIANT, split, cache / entry["folder"], entry["rate"])
    if progress and not missing:
        for entry in found.values():
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.folder.stat().st_mtime))
            print(
                f"{entry.task} {split}: as prepared on {since}; if its data have changed since, delete {entry.folder}",
                file=sys.stderr,
                flush=True,
            )
    return list(found.values())


def _read_index(cache: Path, name: str, split: str, version: str) -> dict[str, Any] | None:
    """Reads the index of a name; None if it, or a folder it names, is not there."""
    try:
        index = unsealed(index_file(cache, name, split, version).read_text(encoding="utf-8"))
    except DAMAGE:  # or edited, or not there: it is made again
        return None
    return index if all(is_prepared(cache / entry["folder"]) for entry in index["tasks"].values()) else None


def modules_version(modules: Sequence[str], vocabulary: Vocabulary) -> str:
    """Returns the hash of the modules' files, the vocabulary and our code, which names what is prepared of them.

    Raises:
      UserError: a module is not there.
    """
    digest = hashlib.sha256(vocabulary.sha256.encode())
    for name in modules:
        if (file := file_of_module(name, folder=Path())) is None:
            kind = "file" if name.endswith(".py") else "module"
            raise UserError(f"data.modules: {name}: no such {kind} (looked for from {Path.cwd()})")
        digest.update(name.encode() + b"\0" + file.read_bytes())
    for name in _CODE:
        digest.update((Path(__file__).parents[1] / name).read_bytes())
    digest.update(bytes([FORMAT]))
    return digest.hexdigest()[:16]


def _run(job: SeqioJob, *, progress: bool) -> None:
    # The package that is running, wherever it was imported from, and what the user's modules import.
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    # The accelerator belongs to whoever has started this.
    quiet = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "t5x_tasks.prepare.user_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **quiet, "PYTHONPATH": path},
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin:  # its own error says more
                json.dump(dataclasses.asdict(job), process.stdin)
            for line in process.stdout:
                if progress:
                    print(escaped(line), end="", file=sys.stderr, flush=True)
            code = process.wait()
        finally:
            process.terminate()  # does nothing to one that has ended
            process.wait()
            process.stdout.close()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
    if code:
        raise error_of_process(code, said, f"preparing {', '.join(job.names)} through SeqIO")
