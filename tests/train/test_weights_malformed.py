"""Folders of weights that are damaged or hostile: refused in one line before anything large is built from what they say."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import msgpack_restore, msgpack_serialize
from safetensors.numpy import load_file, save_file

from t5x_tasks.common.errors import UserError
from tests.train.test_export_t5x import CONFIG, random_params, shapes_of
from tests.train.test_weights_t5x import plain_arrays, write_plainly
from train.export.hf import save_hf
from train.methods.prompt_tuning import File, PromptTuning
from train.model.t5 import abstract_model
from train.params import infer_config, load_weights

INDEX = "model.safetensors.index.json"


@pytest.fixture
def shards(tmp_path: Path, vocabulary_path: Path) -> Path:
    save_hf(random_params(), CONFIG, tmp_path / "shards", vocabulary_path, shard_bytes=8_000)
    return tmp_path / "shards"


@pytest.fixture
def t5x(tmp_path: Path) -> Path:
    return write_plainly(tmp_path / "t5x", plain_arrays(random_params()))


def refusal(folder: Path, *, infer: bool = False) -> str:
    with pytest.raises(UserError) as error:
        config = infer_config(folder) if infer else CONFIG
        load_weights(folder, abstract_model(config)[1] if infer else shapes_of(CONFIG), None, config)
    assert str(folder) in str(error.value) and len(str(error.value)) < 1000
    return str(error.value)


@pytest.mark.parametrize(
    "weight_map", [None, {}, [], "model.safetensors", 7, {"a": 7}, {"a": ["model.safetensors"]}, {"a": {}}]
)
def test_an_index_that_says_no_files_is_refused(shards, weight_map):
    (shards / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    assert "weight_map" in refusal(shards)


@pytest.mark.parametrize(
    "name", ["../{}", "{folder}/{}", "sub/{}", "..", ".", "", "spiece.model", "a\0.safetensors", "..\\{}"]
)
def test_an_index_names_files_of_its_own_folder_only(shards, tmp_path, name):
    index = json.loads((shards / INDEX).read_text())
    moved = sorted(set(index["weight_map"].values()))[0]
    (shards / "sub").mkdir()
    shutil.copy(shards / moved, shards / "sub")
    shutil.move(shards / moved, tmp_path / moved)  # a folder outside holds what the index asks for
    there = name.format(moved, folder=tmp_path)
    index["weight_map"] = {k: there if v == moved else v for k, v in index["weight_map"].items()}
    (shards / INDEX).write_text(json.dumps(index))
    assert "which is no .safetensors file beside it" in refusal(shards)


def test_a_tensor_that_two_shards_hold_is_refused(shards):
    first, second, *_ = sorted(shards.glob("*.safetensors"))
    tensors = load_file(first)
    name = next(iter(tensors))
    save_file(load_file(second) | {name: tensors[name] + 1}, second)
    assert f"holds {name}, as another file" in refusal(shards)


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_layers", 10**12), ("num_layers", -2), ("num_decoder_layers", "3"), ("d_model", 10**12), ("d_ff", 0),
     ("vocab_size", True), ("d_kv", 2.0), ("num_heads", None), ("relative_attention_num_buckets", [32]),
     ("relative_attention_max_distance", 10**12), ("layer_norm_epsilon", float("nan")), ("layer_norm_epsilon", "x"),
     ("dropout_rate", 7)],
)  # fmt: skip
def test_sizes_that_no_model_has_are_refused_before_one_is_built(shards, key, value):
    config = json.loads((shards / "config.json").read_text()) | {key: value}
    (shards / "config.json").write_text(json.dumps(config))
    assert f"{key} is {value!r:.40}, which no T5 has" in refusal(shards, infer=True)
    assert (key in refusal(shards)) if key != "dropout_rate" else load_weights(shards, shapes_of(CONFIG), None, CONFIG)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "\ufeff{}", "NaN", "1" * 5000, "null", '"t5"'])
def test_other_things_than_a_json_object_are_refused(shards, content):
    (shards / "config.json").write_text(content)
    assert "JSON" in refusal(shards)


def test_headers_that_promise_more_than_the_file_holds_are_refused(shards):
    file = sorted(shards.glob("*.safetensors"))[0]
    whole = file.read_bytes()
    for shape in ([10**12, 10**12], [2**63, 2], [-1, 5], [0, 10**18]):
        header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
        next(entry for name, entry in header.items() if name != "__metadata__")["shape"] = shape
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + int.from_bytes(whole[:8], "little") :])
        assert "no whole safetensors file" in refusal(shards) or shape[0] == 0


def change_array(folder: Path, name: str, **values: Any) -> None:
    file = folder / f"target.{name.replace('/', '.')}" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def change_tree(folder: Path, change: Any) -> None:
    tree = msgpack_restore((folder / "checkpoint").read_bytes())
    change(tree)
    (folder / "checkpoint").write_bytes(msgpack_serialize(tree))


WO = "encoder/layers_0/mlp/wo/kernel"


@pytest.mark.parametrize("chunks", [[10**6, 10**6], [2**31, 5]])
def test_chunks_that_no_memory_holds_are_refused(t5x, chunks):
    """TensorStore would end the process."""
    change_array(t5x, WO, chunks=chunks)
    assert f"1 tensor(s) in chunks of more than 2 GiB, which T5X never writes: {WO}" in refusal(t5x)


def test_a_damaged_chunk_is_named(t5x):
    chunk = t5x / f"target.{WO.replace('/', '.')}" / "1.1"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    assert f"target.{WO.replace('/', '.')}/: is damaged" in refusal(t5x)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(version="3.0"),
        lambda tree: tree.update(version=None),
        lambda tree: tree["optimizer"].update(target=[1]),
        lambda tree: tree["optimizer"].update(target="x"),
        lambda tree: tree["optimizer"]["target"].update(decoder={"driver": "zarr", "kvstore": "x"}),
        lambda tree: tree["optimizer"]["target"].update(decoder={"driver": ["zarr"], "kvstore": {"path": 7}}),
        lambda tree: tree["optimizer"]["target"].update(decoder={"driver": "zarr", "kvstore": {"path": "a\0b"}}),
        lambda tree: tree["optimizer"]["target"]["token_embedder"].update(embedding=np.float32(1)),
        lambda tree: tree["optimizer"]["target"]["token_embedder"].update(embedding=np.zeros(())),
        lambda tree: tree["optimizer"]["target"]["encoder"].update(relpos_bias={"rel_embedding": np.zeros((0, 32))}),
    ],
)
def test_a_tree_that_t5x_never_writes_is_refused(t5x, change):
    change_tree(t5x, change)
    refusal(t5x)
    refusal(t5x, infer=True)


def test_a_tree_deeper_than_functions_can_call_themselves_is_refused(t5x):
    def deepen(tree: Any) -> None:
        node = tree["optimizer"]["target"]
        for _ in range(490):
            node["a"] = node = {}
        node["a"] = 1

    change_tree(t5x, deepen)
    refusal(t5x)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_scanned_bias_of_another_shape_is_refused(tmp_path, axis):
    for number, shape in enumerate([(4, 32), (4,), (), (2, 4, 31), (4, 4, 4, 4)]):
        arrays = plain_arrays(random_params(), block="", axis=axis)
        del arrays["encoder/relpos_bias/rel_embedding"]
        arrays["encoder/encoder/relpos_bias/rel_embedding"] = np.zeros(shape, np.float32)
        refusal(write_plainly(tmp_path / str(number), arrays))


def _npy_header(rows: int) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, 8)})
    return file.getvalue()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: np.savez(path.open("wb"), rows=np.zeros((3, 8), np.float32)),
        lambda path: np.save(path.open("wb"), np.array([["a"] * 8] * 3)),
        lambda path: path.write_bytes(_npy_header(10**12)),
        lambda path: path.write_bytes(b""),
        lambda path: (path.mkdir(), (path / "adapter_model.safetensors").write_bytes(b"damaged")),
        lambda path: (path.mkdir(), save_file({"prompt": np.zeros((3, 8))}, path / "adapter_model.safetensors")),
        lambda path: path.mkdir(),
    ],
)  # fmt: skip
def test_a_file_that_is_no_prompt_is_refused(tmp_path, write, vocabulary):
    write(path := tmp_path / "prompt.npy")
    method = PromptTuning(length=3, init=File(path=str(path)))
    params = {"embedding": jnp.zeros((10, 8)), "prompt": {"rows": jnp.zeros((3, 8))}}
    with pytest.raises(UserError, match=r"prompt\.npy"):
        method.start(params, seed=0, vocabulary=lambda: vocabulary)
