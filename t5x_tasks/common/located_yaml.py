"""YAML whose values know their lines, for errors that say `file:line`."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.problems import in_words

# libyaml's parser, ten times as fast where PyYAML was built with it, as its wheels are.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 1000  # characters that may nest; libyaml's recursion is C's, which dies where Python's raises
# A few lines of aliases can stand for 10^12 values, over which whoever walks, compares or shows them hangs. So values count as
# often as aliases repeat them, a text once more for every hundred characters.
_MOST_VALUES = 100_000
_MOST_CHARACTERS = 10_000_000
_LONGEST_NUMBER = 200  # characters: so every integer, of whichever base, has a float, and Python shows it
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# PyYAML raises whatever comes for a value that does not fit its tag: KeyError of `!!bool x`, AttributeError of `!!timestamp x`,
# ValueError of a date like 2024-13-45, OverflowError of 1:1:...:1.5.
_BAD = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)


class NotYaml(ValueError):
    """Why a text is refused; `line` counts from 1, 0 where it is unknown."""

    def __init__(self, problem: str, line: int = 0):
        super().__init__(problem)
        self.line = line


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
        return parse(text)
    except NotYaml as error:
        line = f":{error.line}" if error.line else ""
        raise UserError(f"{path}{line}: not valid YAML ({error})") from None


def parse(text: str) -> tuple[Any, Lines]:
    """Returns the value of a YAML document, None of an empty one. All YAML of users is read here.

    Raises:
      NotYaml: it is none, it is too long or stands for too much, or one of its aliases leads to what it is in.
    """
    if len(text) > _MOST_CHARACTERS:
        raise NotYaml(f"it is longer than {_MOST_CHARACTERS:,} characters")
    try:
        if sum(text.count(character) for character in "[{-?") < _DEEPEST:
            return _parse(text, _FastLoader)
    except NotYaml:
        raise
    except _BAD:
        pass
    try:
        return _parse(text, _CountingLoader)  # which says more of what is wrong
    except NotYaml:
        raise
    except _BAD as error:
        mark = getattr(error, "problem_mark", None)
        problem = "it is nested too deep" if isinstance(error, RecursionError) else getattr(error, "problem", None)
        if not isinstance(error, yaml.YAMLError | ValueError | RecursionError):
            problem = f"a value does not fit its tag: {type(error).__name__}: {error}"
        raise NotYaml(" ".join(str(problem or error).split()), mark.line + 1 if mark else 0) from None


class _CountingLoader(yaml.SafeLoader):
    """Gives up on a long text early: PyYAML's own parser takes minutes for what libyaml reads in seconds."""

    def __init__(self, text: str):
        super().__init__(text)
        self._composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._composed += 1
        if self._composed > _MOST_VALUES:
            raise _too_many(self.peek_event().start_mark)
        return super().compose_node(parent, index)


def _parse(text: str, loader_class: Any) -> tuple[Any, Lines]:
    loader = loader_class(text)
    node = loader.get_single_node()
    if node is None:
        return None, Lines(None)
    _check_size(node, {}, set())
    return loader.construct_document(node), Lines(node)


def _check_size(node: yaml.Node, sizes: dict[yaml.Node, int], above: set[yaml.Node]) -> int:
    """Counts the values that a node stands for; each node is looked at once.

    Raises:
      NotYaml: there are too many, a number is too long, a text is none, or the node is a part of itself.
    """
    if node in sizes:
        return sizes[node]
    if node in above:
        raise NotYaml("an alias leads to what it is in", node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        if not node.value.isascii() and any("\ud800" <= character <= "\udfff" for character in node.value):
            raise NotYaml("a text holds half a character", node.start_mark.line + 1)
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise NotYaml(f"a number of more than {_LONGEST_NUMBER:,} characters", node.start_mark.line + 1)
        size = 1 + len(node.value) // 100
    else:
        above.add(node)
        parts = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        size = 1 + sum(_check_size(part, sizes, above) for part in parts)
        above.remove(node)
    if size > _MOST_VALUES:
        raise _too_many(node.start_mark)
    sizes[node] = size
    return size


def _too_many(mark: Any) -> NotYaml:
    return NotYaml(f"more than {_MOST_VALUES:,} values, those of aliases counted each time", mark.line + 1)


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
    """Validates values that are in a file.

    Args:
      prefix: keys that lead to the values.
      known_keys: place of an unknown key -> keys that may be there.

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
