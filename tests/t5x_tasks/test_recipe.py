import ast
from pathlib import Path

import t5x_tasks
from t5x_tasks.prepare.recipe import code_files

ROOT = Path(t5x_tasks.__file__).parent
# Imported by the code that makes tokens, and no part of what it makes: what a card says is in the recipe itself.
BESIDE = {
    "cache",
    "card.card",
    "card.source",
    "common.config_files",
    "common.errors",
    "common.hub",
    "common.located_yaml",
    "metrics.pooled",
    "prepare.recipe",
    "sources",
}


def test_all_code_that_makes_tokens_counts_for_whether_they_are_made_anew():
    files = code_files()
    assert all(path.is_file() for path in files)
    counted = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    assert {"card.turns", "common.values", "rendering.render", "sources.files"} <= counted
    imported = {name.removeprefix("t5x_tasks.") for path in files for name in _imports(path)}
    assert imported - counted == BESIDE


def _imports(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module for module in modules if module.startswith("t5x_tasks.")}
