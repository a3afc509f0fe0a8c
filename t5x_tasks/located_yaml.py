"""YAML whose values know their lines, for errors that say `file:line`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from t5x_tasks.errors import UserError, suggest
from t5x_tasks.problems import in_words

# libyaml's parser, ten times as fast where PyYAML was built with it, as its wheels are.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 1000  # characters that may nest; libyaml's recursion is C's, which dies where Python's raises
_BAD = (yaml.YAMLError, ValueError, RecursionError)  # ValueError: a date like 2024-13-45


class Lines:
    """Line numbers of a YAML document by the path of keys that leads to a value."""

    def __init__(self, root: yaml.Node | None):
        self._root = root

    def __call__(self, loc: Iterable[Any]) -> int:
        node, line = self._root, 1
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                found = [(key, value) for key, value in node.value if key.value == str(part)]
                if not found:
                    continue  # pydantic puts the tag of a union's member into the path
                line = found[0][0].start_mark.line + 1
                node = found[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line


def read_yaml(path: Path) -> tuple[Any, Lines]:
    """Reads a file of one document; None if it is empty.

    Raises:
      UserError: it is not there, no text or no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    try:
        if sum(text.count(character) for character in "[{-?") < _DEEPEST:
            return _parse(text, _FastLoader)
    except _BAD:
        pass
    try:
        return _parse(text, yaml.SafeLoader)  # which says more of what is wrong
    except _BAD as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = "it is nested too deep" if isinstance(error, RecursionError) else getattr(error, "problem", None)
        raise UserError(f"{path}{line}: not valid YAML ({' '.join(str(problem or error).split())})") from None


def _parse(text: str, loader_class: Any) -> tuple[Any, Lines]:
    loader = loader_class(text)
    node = loader.get_single_node()
    return (loader.construct_document(node) if node else None), Lines(node)


def quoted(text: str) -> str:
    """Returns a text in YAML's double quotes: it reads back as it is, whatever characters it holds."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'


def located_error(path: Path, lines: Lines, loc: Iterable[Any], message: str) -> UserError:
    return UserError(f"{path}:{lines(loc)}: {message}")


def validate(
    adapter: TypeAdapter[Any],
    values: Any,
    path: Path,
    lines: Lines,
    prefix: tuple[Any, ...] = (),
    *,
    known_keys: Callable[[tuple[Any, ...]], Iterable[str]],
) -> Any:
    """Validates values that stand in a file.

    Args:
      prefix: keys that lead to the values.
      known_keys: place of an unknown key -> keys that may stand there.

    Raises:
      UserError: the first problem, with file and line. The message of a validator of a whole model begins with the key.
    """
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        loc: tuple[Any, ...] = (*prefix, *problem["loc"])
        tag = 1 if loc[0:1] == ("source",) and len(loc) > 2 else None  # of the union's member
        key = ".".join(str(part) for n, part in enumerate(loc) if n != tag and part != "[key]") or "(top)"
        message = in_words([problem])
        if problem["type"] == "extra_forbidden":
            known = sorted(known_keys(loc))
            message = "unknown key" + (suggest(str(problem["loc"][-1]), known) or f"; known are {', '.join(known)}")
        if problem["type"] == "value_error" and not loc:
            loc = tuple(int(part) if part.isdecimal() else part for part in message.partition(":")[0].split("."))
        says_key = problem["type"] == "value_error" and bool(loc) and message.startswith(str(next(iter(loc))))
        text = message if says_key else f"{key}: {message[0].lower()}{message[1:]}"
        raise located_error(path, lines, loc, text) from None
