"""How a checkpoint stores the arrays of a state: under their path in the tree, in two parts, whatever its containers."""

from pathlib import Path
from typing import Any

import jax

from t5x_tasks.common.errors import UserError

PyTree = Any


def by_name(tree: PyTree) -> dict[str, Any]:
    """Leaves under their path: {"opt_state": (Adam(mu={"w": x}),)} -> {"opt_state/0/mu/w": x}, in the tree's order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def divide(state: PyTree) -> dict[str, dict[str, Any]]:
    """The two parts of a checkpoint, the parameters and the rest, so that one can be read without the other."""
    items: dict[str, dict[str, Any]] = {"params": {}, "train_state": {}}
    for name, leaf in by_name(state).items():
        items["params" if name.startswith("params/") else "train_state"][name] = leaf
    return {item: leaves for item, leaves in items.items() if leaves}


def check_match(path: Path, *, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises UserError with the first array that the checkpoint and the program see differently."""

    def text(arrays: dict[str, Any], name: str) -> str:
        return f"{arrays[name].dtype}{list(arrays[name].shape)}" if name in arrays else "nothing"

    wrong = [name for name in sorted(saved.keys() | wanted.keys()) if text(saved, name) != text(wanted, name)]
    if wrong:
        name, more = wrong[0], f" ({len(wrong) - 1} more differ)" if len(wrong) > 1 else ""
        raise UserError(
            f"{path}: {name}: the checkpoint holds {text(saved, name)}, this configuration needs {text(wanted, name)}"
            f"{more}; use the configuration of the run that saved it, or another run_dir"
        )
    for name, leaf in wanted.items():
        if leaf.sharding is None:
            raise ValueError(f"{name}: the tree to restore into has no sharding for it")
