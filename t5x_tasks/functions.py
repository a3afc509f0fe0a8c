"""Functions that users name in cards and configurations: `package.module:function`, or `file.py:function`."""

import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType
from typing import Any

from t5x_tasks.errors import UserError, suggest


def is_function_name(name: str) -> bool:
    """Tells whether a text has the form `package.module:function`."""
    module, colon, function = name.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def check_name(name: str, known: Iterable[str], *, kind: str, key: str) -> None:
    """Raises ValueError, which begins with `key`, if `name` is neither known nor of the form `package.module:function`."""
    known = list(known)
    if name not in known and not is_function_name(name):
        hint = suggest(name, known) or f"; known are {', '.join(known)}, or package.module:function"
        raise ValueError(f"{key}: unknown {kind} {name}{hint}")


def load_function(name: str, *, folder: Path, where: str) -> Callable[..., Any]:
    """Imports `package.module:function`, or loads `file.py:function` from a file relative to `folder`.

    Args:
      name: of the function.
      folder: of the card.
      where: begins every error: the card and the key.

    Raises:
      UserError: no such module, file or function, or importing it fails.
    """
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(_load(module_name, folder), function_name)
    except FileNotFoundError:
        raise UserError(f"{where}: {name}: no such file in {folder.resolve()}") from None
    except Exception as error:  # whatever the user's module does when it is imported
        raise UserError(f"{where}: {name}: cannot be imported ({describe_exception(error)})") from error
    if not callable(function):
        raise UserError(f"{where}: {name}: is a {type(function).__name__}, not a function")
    return function


def load_module(name: str, *, folder: Path, where: str) -> Any:
    """Imports `package.module`, or loads `file.py` relative to `folder`.

    Raises:
      UserError: no such module or file, or importing it fails; begins with `where`.
    """
    if (file := file_of_module(name, folder=folder)) is None:
        raise UserError(
            f"{where}: {name}: no such {'file' if name.endswith('.py') else 'module'} (in {folder.resolve()})"
        )
    try:
        return _load(name, folder)
    except Exception as error:  # whatever the user's module does when it is imported
        found = describe_exception(error, within=file.resolve())
        raise UserError(f"{where}: {name}: cannot be imported ({found})") from error


def file_of_function(name: str, *, folder: Path) -> Path | None:
    """Returns the file that a function is written in, without importing it where that can be helped; None if unknown."""
    return file_of_module(name.partition(":")[0], folder=folder)


def file_of_module(module_name: str, *, folder: Path) -> Path | None:
    """Returns the file of `package.module` or `file.py`; None if there is none. Imports the packages around a module."""
    if module_name.endswith(".py"):
        file = folder / module_name
        return file if file.is_file() else None
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def describe_exception(error: BaseException, *, within: Path | None = None) -> str:
    """Returns `KeyError: 'x', line 7 of reader.py`: one line that says where the user's code failed.

    Args:
      within: the user's file: the last line there, rather than in what it calls.
    """
    frames = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in frames if within and Path(frame.filename) == within] or frames
    where = f", line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else ""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"


def _load(module_name: str, folder: Path) -> Any:
    if module_name.endswith(".py"):
        return _load_file((folder / module_name).resolve())
    return importlib.import_module(module_name)


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(path)
    # Named by its content too: a file that was edited is loaded anew, and its dataclasses and pickles find their module.
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:16]
    name = f"t5x_tasks_user_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Reads the source itself. Kept bytecode passes for new where an edit left size and second of the file as they were."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)
