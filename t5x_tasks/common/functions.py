"""Functions that users name in cards and configurations: `package.module:function`, or `file.py:function`.

They are called with what the data hold. So none may be of the standard library, where a name alone makes a command or a path of
it: `transform: subprocess:getoutput`. A function of the user's own may do as it likes; that is code which the user has seen.
"""

import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

from t5x_tasks.common.errors import UserError, suggest

_STANDARD_FILES = Path(sysconfig.get_path("stdlib")).resolve()


def is_function_name(name: str) -> bool:
    """Tells whether a text has the form `package.module:function`."""
    module, colon, function = name.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def check_name(name: str, known: Iterable[str], *, kind: str, key: str) -> None:
    """Raises ValueError, which begins with `key`, if `name` is neither known nor of the form `package.module:function`."""
    known = list(known)
    if name not in known and not is_function_name(name):
        hint = suggest(name, known) or f"; known are {', '.join(known)}, or package.module:function"
        raise ValueError(f"{key}: unknown {kind} {name:.80}{hint}")
    if name not in known:
        refuse_standard(name, key=key)


def refuse_standard(name: str, *, key: str) -> None:
    """Raises ValueError, which begins with `key`, if `name` is a function of Python's standard library."""
    if name.partition(":")[0].partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(
            f"{key}: {name:.80} is in Python's standard library; name a function of your own that calls it"
        )


def load_function(name: str, *, folder: Path, where: str) -> Callable[..., Any]:
    """Imports `package.module:function`, or loads `file.py:function` from a file relative to `folder`.

    Args:
      name: of the function.
      folder: of the card.
      where: begins every error: the card and the key.

    Raises:
      UserError: no such module, file or function, importing it fails, or it is the standard library's.
    """
    function = load_object(name, folder=folder, where=where)
    if not callable(function):
        raise UserError(f"{where}: {name}: is a {type(function).__name__}, not a function")
    return function


def load_object(name: str, *, folder: Path, where: str) -> Any:
    """Imports what `package.module:name` or `file.py:name` is. See `load_function`."""
    module_name, _, name_there = name.partition(":")
    try:
        found = getattr(_load(module_name, folder), name_there)
    except FileNotFoundError:
        raise UserError(f"{where}: {name}: no such file in {folder.resolve()}") from None
    except Exception as error:  # whatever the user's module does when it is imported
        raise UserError(f"{where}: {name}: cannot be imported ({describe_exception(error)})") from error
    if _is_standard(found):
        raise UserError(
            f"{where}: {name}: is {getattr(found, '__qualname__', '')} of Python's standard library; name a function of your own "
            "that calls it"
        )
    return found


def _is_standard(found: Any) -> bool:
    """Whether a function or class is the standard library's, whichever module passes it on."""
    name = getattr(found, "__module__", None)
    if not isinstance(found, FunctionType | BuiltinFunctionType | type) or not isinstance(name, str):
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    path = Path(file).resolve() if file else Path()
    is_theirs = path.is_relative_to(_STANDARD_FILES) and not {"site-packages", "dist-packages"} & set(path.parts)
    return is_theirs or name.partition(".")[0] in sys.stdlib_module_names


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
    """Returns the file that a function is written in, without importing anything; None if unknown."""
    return file_of_module(name.partition(":")[0], folder=folder)


def file_of_module(module_name: str, *, folder: Path) -> Path | None:
    """Returns the file of `package.module` or `file.py`; None if there is none. Imports nothing."""
    if module_name.endswith(".py"):
        file = folder / module_name
        return file if file.is_file() else None
    spec = _find_spec(module_name)
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def _find_spec(module_name: str) -> importlib.machinery.ModuleSpec | None:
    """As importlib.util.find_spec, which imports the packages around a module."""
    path: Sequence[str] | None = None
    spec, name = None, ""
    for part in module_name.split("."):
        if spec is not None and (path := spec.submodule_search_locations) is None:
            return None
        name = f"{name}.{part}" if name else part
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        try:
            spec = next(filter(None, (finder.find_spec(name, path) for finder in finders)), None)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
    return spec


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
