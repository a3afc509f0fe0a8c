import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from t5x_tasks.common.errors import UserError
from train.config import MeshConfig
from train.export.hf import save_hf
from train.model.t5 import T5Config, abstract_model
from train.parallel.mesh import make_mesh, param_shardings
from train.params import load_weights
from train.weights.locate import resolve_weights

REPOSITORY = Path(__file__).parents[2]
VOCABULARY = next((REPOSITORY / "t5x_tasks" / "vocabularies").glob("*.model"))
CONFIG = T5Config(
    vocab_size=32, emb_dim=16, mlp_dim=24, num_heads=4, head_dim=6, num_encoder_layers=2, num_decoder_layers=3
)


def shapes_of(config: T5Config = CONFIG) -> dict:
    return abstract_model(config)[1]


def random_params(config: T5Config = CONFIG, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape, np.float32)), shapes_of(config))


def assert_same_bits(tree: dict, expected: dict) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert (ours.dtype, ours.shape) == (np.float32, theirs.shape)
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face directory of CONFIG, seed 0."""
    save_hf(random_params(), CONFIG, tmp_path / "hf", VOCABULARY)
    return tmp_path / "hf"


def change_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **values) -> None:
    content = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def refusal(folder: Path, config: T5Config = CONFIG) -> str:
    with pytest.raises(UserError) as error:
        load_weights(folder, shapes_of(config), None, config)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    return str(error.value)


def test_export_then_import_gives_the_same_bits(folder):
    assert_same_bits(load_weights(folder, shapes_of(), None, CONFIG), random_params())


def test_linear_layers_are_transposed_and_layers_taken_apart(folder):
    tensors, params = load_file(folder / "model.safetensors"), random_params()
    query = tensors["decoder.block.2.layer.1.EncDecAttention.q.weight"]
    np.testing.assert_array_equal(query, np.asarray(params["decoder"]["cross_attention"]["query"][2]).T)
    np.testing.assert_array_equal(tensors["shared.weight"], np.asarray(params["embedding"]))
    np.testing.assert_array_equal(tensors["lm_head.weight"], np.asarray(params["head"]).T)


def test_shards_hold_the_same_tensors_under_an_index(tmp_path, folder):
    save_hf(random_params(), CONFIG, tmp_path / "shards", VOCABULARY, shard_bytes=8_000)
    files = sorted((tmp_path / "shards").glob("*.safetensors"))
    assert len(files) > 2
    assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"
    assert all(sum(t.nbytes for t in load_file(file).values()) <= 8_000 for file in files)
    index = json.loads((tmp_path / "shards" / "model.safetensors.index.json").read_text())
    whole = load_file(folder / "model.safetensors")
    assert index["weight_map"].keys() == whole.keys()
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in whole.values())
    assert_same_bits(load_weights(tmp_path / "shards", shapes_of(), None, CONFIG), random_params())


def test_shard_that_is_not_there_is_named(tmp_path):
    save_hf(random_params(), CONFIG, tmp_path / "shards", VOCABULARY, shard_bytes=8_000)
    gone = sorted((tmp_path / "shards").glob("*.safetensors"))[1]
    gone.unlink()
    assert gone.name in refusal(tmp_path / "shards")


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_half_precision_comes_in_as_float32(folder, dtype):
    change_tensors(folder, lambda tensors: tensors.update({k: v.astype(dtype) for k, v in tensors.items()}))
    rounded = jax.tree.map(lambda x: np.asarray(x).astype(dtype).astype(np.float32), random_params())
    assert_same_bits(load_weights(folder, shapes_of(), None, CONFIG), rounded)


def test_each_device_gets_its_part(folder):
    """On 8 simulated devices, in a process of their own."""
    code = f"""if True:
        import jax, numpy as np
        from pathlib import Path
        from train.params import load_weights
        from train.config import MeshConfig
        from train.model.t5 import T5Config, abstract_model
        from train.parallel.mesh import make_mesh, param_shardings
        config = T5Config(32, 16, 24, 4, 6, 2, 3)
        shapes, axes = abstract_model(config)[1:]
        places = param_shardings(make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)), axes)
        params = load_weights(Path({str(folder)!r}), shapes, places, config)
        whole = load_weights(Path({str(folder)!r}), shapes, None, config)
        assert jax.tree.map(lambda p: p.sharding, params) == places
        assert params["encoder"]["mlp"]["up"].addressable_shards[0].data.shape == (2, 8, 12)
        jax.tree.map(np.testing.assert_array_equal, params, whole)
        print("equal")
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "equal\n", done.stderr


def test_parameters_lie_where_they_are_wanted(folder):
    shapes, axes = abstract_model(CONFIG)[1:]
    places = param_shardings(make_mesh(MeshConfig(data=1, fsdp=1, tensor=1), jax.devices()[:1]), axes)
    params = load_weights(folder, shapes, places, CONFIG)
    assert jax.tree.map(lambda p: p.sharding, params) == places
    assert_same_bits(params, random_params())


def test_every_tensor_that_does_not_fit_is_named_in_one_line(folder):
    def spoil(tensors):
        del tensors["decoder.final_layer_norm.weight"], tensors["encoder.block.1.layer.0.SelfAttention.q.weight"]
        tensors["adapter.weight"] = np.zeros(3, np.float32)
        tensors["lm_head.weight"] = np.zeros((16, 32), np.float32)
        tensors["shared.weight"] = tensors["shared.weight"].astype(np.int8)

    change_tensors(folder, spoil)
    message = refusal(folder)
    assert (
        "2 tensor(s) missing: decoder.final_layer_norm.weight, encoder.block.1.layer.0.SelfAttention.q.weight"
        in message
    )
    assert "1 tensor(s) not of this model: adapter.weight" in message
    assert "1 tensor(s) misshapen: lm_head.weight [16, 32], must be [32, 16]" in message
    assert "shared.weight I8" in message


def test_long_lists_are_cut_and_counted(folder):
    change_tensors(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if ".block.0." in name])
    message = refusal(folder)
    assert "25 tensor(s) missing" in message
    assert "and 15 more" in message
    assert len(message) < 1000


def test_missing_output_layer_is_named(folder):
    change_tensors(folder, lambda tensors: tensors.pop("lm_head.weight"))
    assert "1 tensor(s) missing: lm_head.weight" in refusal(folder)


def test_copies_of_the_embedding_are_accepted_only_as_copies(folder):
    def copies(tensors):
        tensors["encoder.embed_tokens.weight"] = tensors["decoder.embed_tokens.weight"] = tensors["shared.weight"]

    change_tensors(folder, copies)
    assert_same_bits(load_weights(folder, shapes_of(), None, CONFIG), random_params())
    change_tensors(folder, lambda tensors: tensors.pop("shared.weight"))
    assert_same_bits(load_weights(folder, shapes_of(), None, CONFIG), random_params())
    change_tensors(folder, lambda t: t.update({"decoder.embed_tokens.weight": t["decoder.embed_tokens.weight"] + 1}))
    assert "not equal to shared.weight, which they copy: decoder.embed_tokens.weight" in refusal(folder)


def test_config_of_another_size_is_refused_with_both_values(folder):
    change_config(folder, d_ff=48, num_layers=5)
    message = refusal(folder)
    assert "d_ff is 48, the configured model has 24" in message
    assert "num_layers is 5, the configured model has 2" in message


def test_preset_that_fits_is_suggested(folder):
    change_config(folder, d_model=512, d_ff=1024, num_heads=6, d_kv=64, num_layers=8, num_decoder_layers=8)
    assert "set model.preset=flan-t5-small" in refusal(folder)


def test_another_activation_is_refused(folder):
    change_config(folder, feed_forward_proj="gated-silu")
    assert 'feed_forward_proj is "gated-silu", the configured model has gated-gelu' in refusal(folder)


@pytest.mark.parametrize("value", [True, None])  # T5 1.0's own files lack the key
def test_tied_checkpoint_is_refused_by_name(folder, value):
    change_config(folder, tie_word_embeddings=value, feed_forward_proj="relu")
    message = refusal(folder)
    assert "tied" in message
    assert "T5 1.0" in message


def test_output_layer_that_transformers_5_tied_starts_as_the_embedding(folder, caplog):
    # What transformers 5 writes for a T5 1.1 that it made itself: a gated, unscaled model without lm_head.
    change_config(folder, tie_word_embeddings=True, scale_decoder_outputs=False)
    assert_same_bits(load_weights(folder, shapes_of(), None, CONFIG), random_params())
    assert not caplog.messages
    change_tensors(folder, lambda tensors: tensors.pop("lm_head.weight"))
    params = load_weights(folder, shapes_of(), None, CONFIG)
    np.testing.assert_array_equal(params["head"], params["embedding"].T)
    assert "copy of the embedding" in caplog.text


def test_other_model_types_are_refused(folder):
    change_config(folder, model_type="umt5")
    assert "'umt5'" in refusal(folder)


def test_pickles_are_refused_with_the_way_to_convert_them(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refusal(folder)
    assert "pytorch_model.bin" in message
    assert "save_pretrained" in message


def test_cut_off_file_is_refused(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "no whole safetensors file" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_folder_without_a_needed_file_is_refused(folder, name):
    (folder / name).unlink()
    assert name in refusal(folder)


def test_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder; give hf://ID"):
        resolve_weights(str(tmp_path / "nowhere"))


def test_hub_id_comes_from_the_cache_when_offline(folder, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=r"hf://someone/t5 cannot be fetched .* run `hf download someone/t5 --local-dir DIR`"
    ):
        resolve_weights("hf://someone/t5")

    # As huggingface_hub lays out a download: files by content, linked from a snapshot, named by a ref.
    repository, revision = tmp_path / "hub" / "models--someone--t5", "a" * 40
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    (repository / "blobs").mkdir()
    (snapshot / "spiece.model").write_bytes(VOCABULARY.read_bytes())
    with pytest.raises(UserError, match="no safetensors in"):  # only the vocabulary was fetched
        resolve_weights("hf://someone/t5")

    for number, file in enumerate(folder.iterdir()):
        (repository / "blobs" / str(number)).write_bytes(file.read_bytes())
        (snapshot / file.name).unlink(missing_ok=True)
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / str(number))
    found = resolve_weights("hf://someone/t5")
    assert found == snapshot
    assert_same_bits(load_weights(found, shapes_of(), None, CONFIG), random_params())
