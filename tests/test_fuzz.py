"""Whatever a configuration or a card says, it is loaded or refused in one line: no traceback, no hang, no file.

`FUZZ_MUTATIONS=2000 pytest tests/test_fuzz.py` tries more than the suite does, of configurations and of cards so many each.
"""

import contextlib
import copy
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from t5x_tasks.card import load as card_file
from t5x_tasks.common.errors import UserError
from train import config as configuration

REPOSITORY = Path(__file__).parents[1]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))
CARDS = sorted((REPOSITORY / "t5x_tasks" / "library" / "cards").glob("*.yaml"))
MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "1000"))  # of configurations, and of cards
LONGEST_S = 20  # that one may take

# Values of the wrong type, size and shape, and texts that YAML, JSON, paths and format strings stumble over.
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**80), 0.0, -0.5, 1e-300, 1e308, float("inf"), float("nan"),
    "", " ", "a", "null", "-1", "1e-3", "{", "{}", "{x}", "{0}", "{{", "%s", "..", "/", "~", "\0", "\n", "é🙂", "a" * 5000,
    "hf://", "hf://a", "hf://../..", "!!python/object:os.system", "${HOME}", "full", "lora", "jsonl", "python", "constant",
    10**30, 10**400, -(10**400), 2**64, "1\x1b[31mred", "a\x07b\x7f", "a\x85b", "a\u2028b", "a\ud800b", "a\nb", "\ufeff", "\r",
    "0x" + "f" * 900, "1:" * 200 + "1", "2024-13-45", "1" * 5000, "9" * 400,
    [], [None], [[]], [1, 2], ["a", "a"], {}, {"type": None}, {"type": "full"}, {"a": {"b": 1}}, {1: 2}, {"": ""},
]  # fmt: skip


# Written as they are, for a loader of YAML to stumble over.
NUMBERS = [
    "9" * 19, "9" * 400, "9" * 6000, "0x" + "f" * 6000, "0b" + "1" * 9000, "1:" * 700 + "1", "1:" * 700 + "1.5", "1_000" * 50,
    "-1e999", "1e308", "1e-400", "!!int ''", "!!float x", "!!bool x", "!!timestamp x",
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


def with_aliases(tree: Any, draw: random.Random) -> Any:
    """The tree with a part that stands twice, or that holds itself, or with a few lines that stand for up to 10^12 values."""
    places = list(paths(tree))
    *above, key = draw.choice(places)
    *around, _ = draw.choice([place for place in places if len(place) > 1] or places)
    parent = tree
    for part in above:
        parent = parent[part]
    shared = tree
    for part in around:
        shared = shared[part]
    kind = draw.randrange(3)
    if kind == 0:
        parent[key] = shared
    elif kind == 1:
        parent[key] = draw.choice(([parent], {"a": parent}, tree))
    else:
        bomb: Any = draw.choice((["x"] * 10, {"a": 1}, "x" * 5000))
        for _ in range(draw.randint(3, 12)):
            bomb = draw.choice(([bomb] * 10, {str(n): bomb for n in range(10)}))
        parent[key] = bomb
    return tree


def with_numbers(text: str, draw: random.Random) -> str:
    """The text with one of its numbers, or words, replaced by a number that few people write."""
    number = draw.choice(NUMBERS)
    found = draw.choice(list(re.finditer(r"(?<=: )[\w./-]+", text)))
    return text[: found.start()] + number + text[found.end() :]


def garbled(text: str, draw: random.Random) -> str:
    """The text with a few characters lost, doubled or replaced: often no YAML any more."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(text) + 1)
        text = (
            text[:at]
            + draw.choice(
                (
                    "",
                    ":",
                    "- ",
                    "'",
                    '"',
                    "{",
                    "]",
                    "\t",
                    "&a ",
                    "*a",
                    "!!",
                    "\0",
                    "\ud800",
                    "? ",
                    "<<: *a",
                    "\x1b",
                    "\x85",
                    "\u2028",
                    "\r",
                )
            )
            + text[at + draw.randrange(3) :]
        )
    return text


class Hangs(BaseException):
    pass


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hangs(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("files", "load"),
    [(CONFIGS, lambda path: configuration.dump(configuration.load(path, []))), (CARDS, card_file.load_card)],
    ids=["configurations", "cards"],
)
@pytest.mark.timeout(3600)
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
        if number % 4 == 0:
            text = garbled(source.read_text(), draw)
        else:
            tree = mutated(trees[source], draw)
            tree = with_aliases(tree, draw) if number % 4 == 1 and tree else tree
            text = yaml.safe_dump(tree, allow_unicode=number % 2 == 0, sort_keys=False)
            text = with_numbers(text, draw) if number % 4 == 2 and ": " in text else text
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            with at_most(LONGEST_S):
                load(path)
            loaded += 1
        except UserError as error:
            assert 10 < len(line := " ".join(str(error).split())) < 20_000 and ".yaml" in line, text
            refused += 1
        except BaseException as error:
            raise AssertionError(f"mutation {number} of {source.name}: {error!r}\n{text[:20_000]}") from error
        assert [p.name for p in tmp_path.iterdir()] == ["mutated.yaml"], text
    assert loaded > MUTATIONS // 50 and refused > MUTATIONS // 4, "both ends are reached"
