"""Nested dicts of parameters: split by path, join, flatten."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def split(tree: dict[str, Any], keep: Callable[[str], bool], path: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """A tree of parameters -> the leaves whose paths are to be kept, and the others. Empty branches are left out."""
    kept: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, node in tree.items():
        here = f"{path}/{name}" if path else str(name)
        if isinstance(node, dict):
            for side, part in zip((kept, rest), split(node, keep, here), strict=True):
                if part:
                    side[name] = part
        else:
            (kept if keep(here) else rest)[name] = node
    return kept, rest


def join(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The tree of which `split` made two."""
    joined = dict(one)
    for name, node in other.items():
        joined[name] = join(joined[name], node) if name in joined else node
    return joined


def flat(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    """The leaves of a tree of parameters under their paths, as `encoder/attention/query`."""
    leaves: dict[str, Any] = {}
    for name, node in tree.items():
        here = f"{path}/{name}" if path else str(name)
        leaves |= flat(node, here) if isinstance(node, dict) else {here: node}
    return leaves
