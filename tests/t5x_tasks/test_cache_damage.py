"""Damage to the files of a prepared split is said in one line, and never changes what is read."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t5x_tasks.cache import CachedSplit, Example, is_prepared, write_split
from t5x_tasks.common.errors import UserError
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared

ROWS = 42


@pytest.fixture(params=[False, True], ids=["tokens", "text"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    examples = [
        Example(f"row-{i}", rng.integers(3, 32_000, rng.integers(1, 60)), rng.integers(3, 32_000, 5), {"topic": "x"})
        for i in range(ROWS)
    ]
    path = tmp_path / "chats.t00" / "train-0123456789abcdef"
    write_split(path, examples, {"counts": {"skipped": {}}}, vocabulary_size=32_100, text=request.param)
    return path


def everything(folder: Path) -> list[object]:
    split = CachedSplit.open(folder)
    tokens = [(inputs.tolist(), targets.tolist()) for inputs, targets in split.tokens(range(ROWS))]
    texts = [split.example(i) for i in range(ROWS)] if split.has_text else []
    return [tokens, texts, split.keys.tolist(), [split.id(i) for i in range(ROWS)], split.manifest]


@pytest.mark.parametrize(
    "name", ["keys.npy", "lengths.npy", "ids.txt", "manifest.json", "shard-00000-of-00001.array_record"]
)
def test_a_flipped_bit_in_any_file_is_one_line_or_changes_nothing(folder: Path, name: str):
    whole, content = everything(folder), (folder / name).read_bytes()
    for at in random.Random(0).sample(range(len(content)), 100):
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        (folder / name).write_bytes(damaged)
        try:
            found = everything(folder)
        except UserError as error:
            assert "damaged cache" in str(error) and "delete this folder" in str(error)
            assert "\n" not in str(error)
        else:
            assert found == whole, f"byte {at} of {name}: read without a word"
    (folder / name).write_bytes(content)
    assert everything(folder) == whole


def edit(path: Path, change: Callable[[dict], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("counts"),
        lambda m: m.update(text=not m["text"]),
        lambda m: m["counts"].update(examples=7),
        lambda m: m.update(tokens="0" * 16),
        lambda m: m.update(shards=None),
        lambda m: m.update(format=1),
        lambda m: m.clear(),
    ],
    ids=["counts", "text", "examples", "tokens", "shards", "format", "empty"],
)
def test_a_manifest_edited_by_hand_is_refused_in_one_line(folder: Path, change):
    edit(folder / "manifest.json", change)
    with pytest.raises(UserError, match=r"^[^\n]*damaged cache \([^\n]*delete this folder[^\n]*$"):
        CachedSplit.open(folder)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"null", b"[" * 100_000, b'{"format": 2}'])
def test_a_manifest_that_is_none_is_refused_in_one_line(folder: Path, content: bytes):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged cache"):
        CachedSplit.open(folder)


def test_a_split_of_the_format_before_is_one_line_and_nothing_that_is_prepared_has_its_name(folder: Path):
    edit(folder / "manifest.json", lambda m: [m.pop(key) for key in ("sha256", "tokens", "checksum")])
    edit(folder / "manifest.json", lambda m: m.update(format=1))
    with pytest.raises(UserError, match=r"format 1, this version reads 2\); delete this folder"):
        CachedSplit.open(folder)


def test_the_digest_of_tokens_is_that_of_the_examples_however_they_are_cut_and_whoever_computes_it(tmp_path: Path):
    given = [Example(f"row-{i}", np.arange(3, 5 + i), np.array([9])) for i in range(30)]

    def digest(name: str, examples: list[Example], shard_bytes: int = 10**6) -> str:
        return write_split(
            tmp_path / "t" / name, examples, {}, vocabulary_size=32_100, shard_bytes=shard_bytes
        ).tokens_digest()

    whole = digest("whole", given)
    assert digest("cut", given, shard_bytes=100) == whole
    swapped = [given[1], given[0], *given[2:]]
    renamed = [Example("other", given[0].inputs_ids, given[0].targets_ids), *given[1:]]
    moved = [Example("row-0", np.array([3]), np.array([4, 9])), *given[1:]]
    assert len({whole, digest("a", swapped), digest("b", renamed), digest("c", moved), digest("d", given[1:])}) == 5
    edit(tmp_path / "t" / "whole" / "manifest.json", lambda m: [m.pop(key) for key in ("sha256", "tokens", "checksum")])
    edit(tmp_path / "t" / "whole" / "manifest.json", lambda m: m.update(format=1))
    assert CachedSplit.open(tmp_path / "t" / "whole", formats=(1,)).tokens_digest() == whole


def test_a_damaged_manifest_beside_stands_in_for_no_data_and_stops_nobody(make_card, tmp_path: Path, vocabulary):
    """Where the source is out of reach, what was prepared before is looked for among all splits of the task."""
    card = make_card()
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))
    (before,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    (card.parent / "train.jsonl").unlink()
    for name, content in (("train-1", "{"), ("train-2", "[]"), ("train-3", '{"format": 2}')):
        (before.folder.parent / name).mkdir()
        (before.folder.parent / name / "manifest.json").write_text(content)
    (after,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    assert after.folder == before.folder and is_prepared(after.folder)
