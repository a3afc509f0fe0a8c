"""Whatever a configuration or a card says, it is loaded or refused in one line; no traceback, no file."""

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from t5x_tasks import card_file
from t5x_tasks.errors import UserError
from train import config as configuration

REPOSITORY = Path(__file__).parents[1]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))
CARDS = sorted((REPOSITORY / "t5x_tasks" / "cards").glob("*.yaml"))
MUTATIONS = 400  # of configurations, and of cards; with 1,000 of each it passed as well

# Values of the wrong type, size and shape, and texts that YAML, JSON, paths and format strings stumble over.
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**80), 0.0, -0.5, 1e-300, 1e308, float("inf"), float("nan"),
    "", " ", "a", "null", "-1", "1e-3", "{", "{}", "{x}", "{0}", "{{", "%s", "..", "/", "~", "\0", "\n", "é🙂", "a" * 5000,
    "hf://", "hf://a", "hf://../..", "!!python/object:os.system", "${HOME}", "full", "lora", "jsonl", "python", "constant",
    [], [None], [[]], [1, 2], ["a", "a"], {}, {"type": None}, {"type": "full"}, {"a": {"b": 1}}, {1: 2}, {"": ""},
]  # fmt: skip


def paths(tree: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield (*here, key)
            yield from paths(value, (*here, key))


def mutated(tree: Any, draw: random.Random) -> Any:
    """The tree with one to three changes: a value replaced, removed, renamed, moved, or a part of it copied elsewhere."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.randint(1, 3)):
        places = list(paths(tree))
        if not places:
            break
        *above, key = draw.choice(places)
        parent = tree
        for part in above:
            parent = parent[part]
        kind = draw.randrange(5)
        if kind == 0:
            parent[key] = copy.deepcopy(draw.choice(VALUES))
        elif kind == 1:
            del parent[key]
        elif kind == 2 and isinstance(parent, dict):
            name = str(key)
            at = draw.randrange(len(name) + 1)
            parent[draw.choice((name[:at] + draw.choice("x_é\0 .") + name[at:], name[:at], name.upper(), at))] = (
                parent.pop(key)
            )
        elif kind == 3 and isinstance(parent, dict):
            parent[draw.choice([p[-1] for p in places])] = copy.deepcopy(parent[key])
        elif isinstance(parent[key], str):
            at = draw.randrange(len(parent[key]) + 1)
            parent[key] = (
                parent[key][:at] + draw.choice(("{", "}", "\n", "\t", "\0", "é", "{x}", "-", " ")) + parent[key][at:]
            )
        else:
            parent[key] = draw.choice(([parent[key]], {"a": parent[key]}, str(parent[key])))
    return tree


def garbled(text: str, draw: random.Random) -> str:
    """The text with a few characters lost, doubled or replaced: often no YAML any more."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(text) + 1)
        text = (
            text[:at]
            + draw.choice(("", ":", "- ", "'", '"', "{", "]", "\t", "&a ", "*a", "!!", "\0", "\ud800", "? "))
            + text[at + draw.randrange(3) :]
        )
    return text


@pytest.mark.parametrize(
    ("files", "load"),
    [(CONFIGS, lambda path: configuration.load(path, [])), (CARDS, card_file.load_card)],
    ids=["configurations", "cards"],
)
def test_a_mutated_file_is_loaded_or_refused_in_one_line(
    tmp_path: Path, files: list[Path], load: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0)
    trees = {path: yaml.safe_load(path.read_text()) for path in files}
    loaded = refused = 0
    for number in range(MUTATIONS):
        source = draw.choice(files)
        path = tmp_path / "mutated.yaml"
        if number % 4:
            text = yaml.safe_dump(mutated(trees[source], draw), allow_unicode=True, sort_keys=False)
        else:
            text = garbled(source.read_text(), draw)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            load(path)
            loaded += 1
        except UserError as error:
            assert len(line := " ".join(str(error).split())) > 10 and ".yaml" in line, text
            refused += 1
        except BaseException as error:
            raise AssertionError(f"mutation {number} of {source.name}: {error!r}\n{text}") from error
        assert [p.name for p in tmp_path.iterdir()] == ["mutated.yaml"], text
    assert loaded > MUTATIONS // 50 and refused > MUTATIONS // 4, "both ends are reached"
