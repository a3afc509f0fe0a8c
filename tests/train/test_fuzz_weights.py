"""Whatever a folder of weights holds, it is loaded or refused in one line; no traceback, no hang, no file written.

300 mutations in all, 60 of each kind of folder; FUZZ_WEIGHTS=200 makes it so many of each kind.
"""

import contextlib
import copy
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax.serialization import msgpack_restore, msgpack_serialize
from safetensors.numpy import save_file

from t5x_tasks.common.errors import Failure, UserError, explained
from tests.test_fuzz import garbled, mutated, paths
from tests.train.test_export_t5x import CONFIG, random_params, shapes_of
from tests.train.test_weights_t5x import plain_arrays, write_plainly
from train.export.hf import save_hf
from train.model.t5 import T5Config, abstract_model
from train.params import infer_config, load_weights
from train.weights.locate import resolve_weights

COUNT = int(os.environ.get("FUZZ_WEIGHTS", "60"))  # mutations of each kind
LONGEST = 20  # seconds
ABSURD: list[Any] = [
    10**12, -1, 0, 2**31, 2**63, 2**64, -(10**30), 1e308, float("nan"), float("inf"), True, None, "", "x", "../../x",
    "/etc/hostname", "a\0b", "~nobody", ".", "..", "a" * 300, "\ud800", [], [[]], [10**12, 10**12], [-1], [0], {}, {"a": 1},
    "F8_E4M3", "I64", "BF16",
]  # fmt: skip


def hf(folder: Path, vocabulary: Path) -> None:
    save_hf(random_params(), CONFIG, folder, vocabulary)


def sharded(folder: Path, vocabulary: Path) -> None:
    save_hf(random_params(), CONFIG, folder, vocabulary, shard_bytes=8_000)


def t5x(folder: Path, _: Path) -> None:
    write_plainly(folder, plain_arrays(random_params()), chunk=16)


def scanned(folder: Path, _: Path) -> None:
    write_plainly(folder, plain_arrays(random_params(), block=""), chunk=16)


def peft(folder: Path, vocabulary: Path) -> None:
    """DoRA of two kernels in one layer; its base is beside it."""
    hf(folder.with_name("base"), vocabulary)
    folder.mkdir()
    rng = np.random.default_rng(0)
    module = "base_model.model.decoder.block.2.layer.1.EncDecAttention"
    sizes = {"q": (16, 24), "o": (24, 16)}
    tensors = {}
    for name, (fan_in, fan_out) in sizes.items():
        parts = {"lora_A.weight": (4, fan_in), "lora_B.weight": (fan_out, 4), "lora_magnitude_vector": (fan_out,)}
        tensors |= {f"{module}.{name}.{part}": rng.standard_normal(s, np.float32) for part, s in parts.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA", "base_model_name_or_path": str(folder.with_name("base")), "r": 4, "lora_alpha": 8,
        "use_dora": True, "use_rslora": False, "bias": "none", "init_lora_weights": True, "rank_pattern": {},
        "revision": None, "modules_to_save": None, "target_modules": ["q", "o"], "layers_to_transform": [2],
        "layers_pattern": "block",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(settings))


KINDS = {function.__name__: function for function in (hf, sharded, t5x, scanned, peft)}


def absurd(tree: Any, draw: random.Random) -> Any:
    """The tree with one to three values replaced."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.randint(1, 3)):
        if places := list(paths(tree)):
            *above, key = draw.choice(places)
            parent = tree
            for part in above:
                parent = parent[part]
            parent[key] = copy.deepcopy(draw.choice(ABSURD))
    return tree


def changed_tree(tree: Any, draw: random.Random) -> Any:
    return draw.choice((absurd, mutated))(tree, draw)


def changed_json(content: bytes, draw: random.Random) -> bytes:
    with contextlib.suppress(ValueError):  # it is none any more
        if draw.random() < 0.2:
            return garbled(content.decode(), draw).encode("utf-8", "surrogatepass")
        return json.dumps(changed_tree(json.loads(content), draw)).encode()
    return changed_bytes(content, draw)


def changed_safetensors(content: bytes, draw: random.Random) -> bytes:
    """Another header before the same numbers."""
    size = int.from_bytes(content[:8], "little")
    header = changed_json(content[8 : 8 + size], draw)
    said = draw.choice((len(header), len(header), len(header), 0, len(header) + 1, 2**40, 2**64 - 1))
    return said.to_bytes(8, "little") + header + content[8 + size :]


def changed_msgpack(content: bytes, draw: random.Random) -> bytes:
    with contextlib.suppress(Exception):  # not all trees are msgpack's
        return msgpack_serialize(changed_tree(msgpack_restore(content), draw))
    return changed_bytes(content, draw)


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """A few bytes replaced, lost or doubled, or the end lost."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(min(len(data), draw.choice((16, 10**9))) + 1)
        data[at : at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
    return bytes(data[: draw.choice((len(data), len(data), draw.randrange(len(data) + 1)))])


def groups(folder: Path) -> list[list[Path]]:
    """Files that weights are read from, those of a kind together: a T5X checkpoint has hundreds of chunks."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ("spiece.model", "generation_config.json", "README.md"):
            found.setdefault("chunk" if path.name[0].isdigit() else path.suffix or path.name, []).append(path)
    return list(found.values())


def spoil(folder: Path, draw: random.Random) -> str:
    """Changes one or two files of a folder; says how."""
    said = []
    for _ in range(draw.randint(1, 2)):
        file = draw.choice(draw.choice(groups(folder)))
        content, kind = file.read_bytes(), draw.random()
        said.append(f"{file.name} {kind:.2f}")
        if kind < 0.05:
            file.unlink()
        elif kind < 0.1:
            file.unlink()
            file.mkdir()
        elif kind < 0.15:
            file.write_bytes(draw.choice((b"", b"\0", b"null", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"a":' * 5000)))
        elif kind < 0.3 or not content:
            file.write_bytes(changed_bytes(content, draw))
        elif file.suffix == ".safetensors":
            file.write_bytes(changed_safetensors(content, draw))
        elif file.suffix == ".json" or file.name == ".zarray":
            file.write_bytes(changed_json(content, draw))
        elif file.name == "checkpoint":
            file.write_bytes(changed_msgpack(content, draw))
        else:
            file.write_bytes(changed_bytes(content, draw))
    return ", ".join(said)


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise TimeoutError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refused(read: Callable[[], Any]) -> bool:
    """Whether reading ends as commands do that refuse: UserError or Failure, in one line."""
    try:
        with at_most(LONGEST):
            read()
    except Exception as error:
        known = explained(error)
        if not isinstance(known, UserError | Failure):
            raise
        assert 10 < len(" ".join(str(known).split())) < 2000
        return True
    return False


def files(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_folder_is_loaded_or_refused_in_one_line(kind, tmp_path, vocabulary_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    KINDS[kind](tmp_path / "whole", vocabulary_path)
    shapes = shapes_of(CONFIG)

    def load(config: T5Config | None = None) -> None:
        there = resolve_weights("spoiled")
        config = config or infer_config(there)
        params = load_weights(there, shapes if config is CONFIG else abstract_model(config)[1], None, config)
        assert all(leaf.size for leaf in jax.tree.leaves(params))

    counts = {True: 0, False: 0}
    for number in range(COUNT):
        draw = random.Random(f"{kind} {number}")
        shutil.rmtree(tmp_path / "spoiled", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "spoiled")
        said = spoil(tmp_path / "spoiled", draw)
        before = files(tmp_path)
        for read in (load, lambda: load(CONFIG)):
            try:
                counts[refused(read)] += 1
            except BaseException as error:
                raise AssertionError(f"mutation {number} of {kind} ({said}): {error!r}") from error
        assert files(tmp_path) == before, said
    if COUNT >= 10:
        assert counts[True] > COUNT // 4 and counts[False], "both ends are reached"
