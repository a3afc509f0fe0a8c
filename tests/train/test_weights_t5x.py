"""T5X checkpoints in: written here the plain way, layers apart and scanned, whole and spoiled."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
import tensorstore
from flax.serialization import msgpack_restore, msgpack_serialize
from flax.traverse_util import unflatten_dict

from t5x_tasks.common.errors import UserError
from tests.train.test_export_t5x import CONFIG, REPOSITORY, Arrays, assert_same_bits, random_params, shapes_of
from train.model.t5 import T5Config
from train.params import infer_config, load_weights
from train.weights.locate import resolve_weights
from train.weights.t5x import TABLE


def write_plainly(folder: Path, arrays: Arrays, *, chunk: int = 5) -> Path:
    """A T5X checkpoint, of two-dimensional and larger arrays in zarr, the others in the msgpack file."""
    target: dict[str, Any] = {}
    folder.mkdir(parents=True)
    for name, values in arrays.items():
        target[name] = values
        if values.ndim > 1:
            path = f"target.{name.replace('/', '.')}"
            dtype = "bfloat16" if values.dtype == ml_dtypes.bfloat16 else values.dtype.str
            metadata = {"shape": list(values.shape), "chunks": [chunk] * values.ndim, "dtype": dtype}
            spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(folder / path)}, "metadata": metadata}
            tensorstore.open(spec, create=True).result().write(values).result()
            target[name] = {**spec, "kvstore": {"driver": "gfile", "path": path}}
    tree = {"version": 3, "optimizer": {"target": unflatten_dict(target, sep="/"), "state": {"step": np.int32(7)}}}
    (folder / "checkpoint").write_bytes(msgpack_serialize(tree))
    return folder


def plain_arrays(params: dict, *, block: str | None = None, axis: int = 1) -> Arrays:
    """Parameters under T5X's names: a tensor a layer; or scanned, with `block` for the name of the stacks' block."""
    arrays: Arrays = {}
    for name, path, transposed in TABLE:
        values = params
        for key in path.split("/"):
            values = values[key]
        array = np.asarray(values).T if transposed else np.asarray(values)
        if "{i}" not in name:
            arrays[name] = array
        elif block is None:
            arrays |= {name.format(i=i): layer for i, layer in enumerate(array)}
        else:
            stack = name.split("/")[0]
            arrays[name.replace("layers_{i}", block or stack)] = np.moveaxis(array, 0, axis)
    return arrays


def refusal(folder: Path, config: T5Config = CONFIG) -> str:
    with pytest.raises(UserError) as error:
        load_weights(resolve_weights(str(folder)), shapes_of(config), None, config)
    assert str(folder) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("block", ["", "layers"])
@pytest.mark.parametrize("axis", [0, 1])
def test_scanned_layers_are_taken_apart(tmp_path, block, axis):
    folder = write_plainly(tmp_path / "checkpoint_9", plain_arrays(random_params(), block=block, axis=axis))
    assert_same_bits(load_weights(folder, shapes_of(), None, CONFIG), random_params())
    assert infer_config(folder) == dataclasses.replace(CONFIG, dropout=0.1)


@pytest.mark.parametrize("axis", [0, 1])
def test_bias_that_every_scanned_layer_has_is_taken_once_and_only_if_it_is_one(tmp_path, axis):
    arrays = plain_arrays(random_params(), block="", axis=axis)
    for stack, layers in (("encoder", 2), ("decoder", 3)):
        bias = arrays.pop(f"{stack}/relpos_bias/rel_embedding")
        arrays[f"{stack}/{stack}/relpos_bias/rel_embedding"] = np.stack([bias] * layers, axis)
    folder = write_plainly(tmp_path / "one", arrays)
    assert_same_bits(load_weights(folder, shapes_of(), None, CONFIG), random_params())
    assert infer_config(folder) == dataclasses.replace(CONFIG, dropout=0.1)

    arrays["decoder/decoder/relpos_bias/rel_embedding"].flat[0] += 1
    folder = write_plainly(tmp_path / "apart", arrays)
    assert "1 tensor(s) different in each layer" in refusal(folder)


@pytest.mark.parametrize("block", [None, ""])
def test_bfloat16_comes_in_as_float32(tmp_path, block):
    arrays = plain_arrays(random_params(dtype=ml_dtypes.bfloat16), block=block)
    folder = write_plainly(tmp_path / "half", arrays)
    expected = jax.tree.map(lambda x: x.astype(np.float32), random_params(dtype=ml_dtypes.bfloat16))
    assert_same_bits(load_weights(folder, shapes_of(), None, CONFIG), expected)


def test_each_device_gets_its_part(tmp_path):
    """On 8 simulated devices, in a process of their own; layers apart, and scanned."""
    for block in (None, ""):
        write_plainly(tmp_path / f"block {block}", plain_arrays(random_params(), block=block))
    code = f"""if True:
        import jax, numpy as np
        from pathlib import Path
        from train.params import load_weights
        from train.config import MeshConfig
        from train.model.t5 import T5Config, abstract_model
        from train.parallel.mesh import make_mesh, param_shardings
        from train.weights.t5x import MemoryTensor, ZarrTensor
        config = T5Config(32, 16, 24, 4, 6, 2, 3)
        shapes, axes = abstract_model(config)[1:]
        places = param_shardings(make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)), axes)
        read = []
        for kind in (MemoryTensor, ZarrTensor):
            get = kind.__getitem__
            kind.__getitem__ = lambda self, index, get=get: read.append(values := get(self, index)) or values
        for folder in sorted(Path({str(tmp_path)!r}).iterdir()):
            read.clear()
            params = load_weights(folder, shapes, places, config)
            # Each number once, though two devices have it each.
            assert sum(values.size for values in read) == sum(p.size for p in jax.tree.leaves(params))
            whole = load_weights(folder, shapes, None, config)
            assert jax.tree.map(lambda p: p.sharding, params) == places
            assert params["encoder"]["mlp"]["up"].addressable_shards[0].data.shape == (2, 8, 12)
            jax.tree.map(np.testing.assert_array_equal, params, whole)
            print("equal")
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "equal\nequal\n", done.stderr


def test_every_tensor_that_does_not_fit_is_named_in_one_line(tmp_path):
    arrays = plain_arrays(random_params())
    del arrays["decoder/decoder_norm/scale"], arrays["decoder/layers_2/mlp/wo/kernel"]
    arrays["encoder/adapter/kernel"] = np.zeros((2, 2), np.float32)
    arrays["decoder/logits_dense/kernel"] = np.zeros((32, 16), np.float32)
    arrays["encoder/encoder_norm/scale"] = np.zeros(16, np.int8)
    message = refusal(write_plainly(tmp_path / "t5x", arrays))
    assert "2 tensor(s) missing: decoder/layers_2/mlp/wo/kernel, decoder/decoder_norm/scale" in message
    assert "1 tensor(s) not of this model: encoder/adapter/kernel" in message
    assert "1 tensor(s) misshapen: decoder/logits_dense/kernel [32, 16], must be [16, 32]" in message
    assert "encoder/encoder_norm/scale int8" in message


def test_another_size_is_refused_with_both_values_and_the_preset_that_fits(tmp_path):
    tiny = T5Config(32, 64, 192, 2, 32, 2, 2)
    message = refusal(write_plainly(tmp_path / "t5x", plain_arrays(random_params(tiny)), chunk=64))
    assert "emb_dim is 64, the configured model has 16" in message
    assert "num_decoder_layers is 2, the configured model has 3" in message
    assert "set model.preset=t5-tiny" in message


def test_arrays_and_chunks_that_are_not_there_are_named(tmp_path):
    folder = write_plainly(tmp_path / "t5x", plain_arrays(random_params()))
    (folder / "target.encoder.layers_0.mlp.wo.kernel" / "1.2").unlink()
    (folder / "target.token_embedder.embedding" / ".zarray").unlink()
    message = refusal(folder)
    assert "1 tensor(s) whose zarr array cannot be read: token_embedder/embedding" in message
    assert "1 tensor(s) with chunks that are not there (fetch it again): encoder/layers_0/mlp/wo/kernel" in message


def test_nothing_outside_the_folder_is_read(tmp_path):
    folder = write_plainly(tmp_path / "t5x", plain_arrays(random_params()))
    name = "target.encoder.layers_0.mlp.wo.kernel"
    (folder / name).rename(tmp_path / name)
    tree = msgpack_restore((folder / "checkpoint").read_bytes())
    spec = tree["optimizer"]["target"]["encoder"]["layers_0"]["mlp"]["wo"]["kernel"]
    for path in (f"../{name}", str(tmp_path / name)):
        spec["kvstore"]["path"] = path
        (folder / "checkpoint").write_bytes(msgpack_serialize(tree))
        assert "cannot be read: encoder/layers_0/mlp/wo/kernel" in refusal(folder)
    spec["driver"] = "json"
    (folder / "checkpoint").write_bytes(msgpack_serialize(tree))
    assert "of no kind that T5X writes: encoder/layers_0/mlp/wo/kernel" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'model_checkpoint_path: "model.ckpt-1000000"\n', "TensorFlow checkpoint"),
        (b"\x80\x04\x95", "not the msgpack file of a T5X checkpoint"),
        (msgpack_serialize({"params": {}}), "not the msgpack file of a T5X checkpoint"),
        (msgpack_serialize({"version": 2, "optimizer": {"target": {}}}), "version 2 of T5X's format"),
    ],
)
def test_other_files_of_that_name_are_refused(tmp_path, content, said):
    (tmp_path / "checkpoint").write_bytes(content)
    assert said in refusal(tmp_path)


def test_one_of_several_checkpoints_must_be_named(tmp_path):
    for step in (1, 2):
        write_plainly(tmp_path / f"checkpoint_{step}", plain_arrays(random_params()))
    assert "holds 2 T5X checkpoints (checkpoint_1, checkpoint_2); name one" in refusal(tmp_path)
    assert resolve_weights(str(tmp_path / "checkpoint_2")) == tmp_path / "checkpoint_2"


def test_buckets_are_refused_with_the_way_to_fetch_them():
    with pytest.raises(UserError, match="gcloud storage cp -r gs://t5-data/flan DIR"):
        resolve_weights("gs://t5-data/flan")
