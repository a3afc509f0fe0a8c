"""YAML whose values know their lines, for errors that say `file:line`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from t5x_tasks.errors import UserError


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
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        return (loader.construct_document(node) if node else None), Lines(node)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', None) or error})") from None


def located_error(path: Path, lines: Lines, loc: Iterable[Any], message: str) -> UserError:
    return UserError(f"{path}:{lines(loc)}: {message}")
