"""T5X checkpoints out, and Google's own fixture through every format and back."""

import dataclasses
import json
import tarfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import tensorstore
from flax.serialization import msgpack_restore
from flax.traverse_util import flatten_dict

from t5x_tasks.common.errors import UserError
from train.export.hf import save_hf
from train.export.t5x import save_t5x
from train.model.t5 import T5Config, abstract_model
from train.params import infer_config, load_weights
from train.weights.locate import resolve_weights

REPOSITORY = Path(__file__).parents[2]
VOCABULARY = next((REPOSITORY / "t5x_tasks" / "vocabularies").glob("*.model"))
CONFIG = T5Config(
    vocab_size=32, emb_dim=16, mlp_dim=24, num_heads=4, head_dim=6, num_encoder_layers=2, num_decoder_layers=3
)
Arrays = dict[str, np.ndarray]


def shapes_of(config: T5Config = CONFIG) -> dict:
    return abstract_model(config)[1]


def random_params(config: T5Config = CONFIG, dtype: Any = np.float32) -> dict:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: jnp.asarray(rng.standard_normal(s.shape, np.float32).astype(dtype)), shapes_of(config)
    )


def assert_same_bits(tree: dict, expected: dict) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def read_as_t5x_does(folder: Path) -> Arrays:
    """Every parameter: msgpack leaves as they are, specs opened as they are there, their path made absolute."""
    tree = msgpack_restore((folder / "checkpoint").read_bytes())
    assert tree["version"] == 3

    def is_spec(_: Any, node: Any) -> bool:
        return not isinstance(node, dict) or {"driver", "kvstore", "metadata"} <= node.keys()

    arrays = {}
    for name, leaf in flatten_dict(tree["optimizer"]["target"], sep="/", is_leaf=is_spec).items():
        if isinstance(leaf, dict):
            assert not leaf["kvstore"]["path"].startswith("/")
            leaf["kvstore"] = {"driver": "file", "path": str(folder / leaf["kvstore"]["path"])}
            leaf = tensorstore.open(leaf, open=True).result().read().result()
        arrays[name] = leaf
    return arrays


@pytest.fixture(scope="module")
def google(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of google-research/prompt-tuning's tests."""
    folder = tmp_path_factory.mktemp("google")
    with tarfile.open(shared_data / "t5x_tiny_checkpoint" / "test_t5_1_1_tiny.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "test_t5_1_1_tiny"


GOOGLE = T5Config(vocab_size=32128, emb_dim=4, mlp_dim=8, num_heads=2, head_dim=2, num_encoder_layers=2,
                  num_decoder_layers=2, relative_position_buckets=4, dropout=0.1)  # fmt: skip


@pytest.mark.needs_shared
def test_googles_fixture_goes_through_every_format_and_back_bit_for_bit(google, tmp_path):
    original = read_as_t5x_does(google / "checkpoint_3")
    assert len(original) == 52
    folder = resolve_weights(str(google))
    config = infer_config(folder)
    assert config == GOOGLE
    ours = load_weights(folder, shapes_of(config), None, config)
    np.testing.assert_array_equal(ours["encoder"]["mlp"]["up"][1], original["encoder/layers_1/mlp/wi_1/kernel"])
    np.testing.assert_array_equal(ours["decoder_bias"]["embedding"].T, original["decoder/relpos_bias/rel_embedding"])

    save_t5x(ours, tmp_path / "t5x", 3)
    save_hf(ours, config, tmp_path / "hf", VOCABULARY)
    for copy in (tmp_path / "t5x", tmp_path / "hf"):
        assert_same_bits(load_weights(copy, shapes_of(config), None, config), ours)
    back = load_weights(tmp_path / "hf", shapes_of(config), None, config)
    save_t5x(back, tmp_path / "back", 3)
    for copy in (tmp_path / "t5x", tmp_path / "back"):
        again = read_as_t5x_does(copy)
        assert again.keys() == original.keys()
        for name, values in original.items():
            assert (again[name].dtype, again[name].shape) == (values.dtype, values.shape)
            assert again[name].tobytes() == values.tobytes()


@pytest.mark.needs_shared
def test_what_we_write_has_the_form_of_googles_fixture(google, tmp_path):
    ours = load_weights(google / "checkpoint_3", shapes_of(GOOGLE), None, GOOGLE)
    save_t5x(ours, tmp_path / "t5x", 3)
    theirs, mine = (
        msgpack_restore((f / "checkpoint").read_bytes()) for f in (google / "checkpoint_3", tmp_path / "t5x")
    )

    def form(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: form(value) for key, value in node.items() if key not in ("chunks", "kvstore")}
        return (node.shape, node.dtype.name) if isinstance(node, np.ndarray) else node

    assert form(mine["optimizer"]["target"]) == form(theirs["optimizer"]["target"])
    assert mine["optimizer"]["state"]["step"] == theirs["optimizer"]["state"]["step"] == 3
    folders = [sorted(p.name for p in f.iterdir()) for f in (google / "checkpoint_3", tmp_path / "t5x")]
    assert folders[0] == folders[1]


@pytest.mark.needs_shared
@pytest.mark.needs_torch
def test_transformers_computes_what_we_do_from_googles_fixture(google, tmp_path):
    import torch  # pyright: ignore[reportMissingImports]
    from flax import nnx
    from transformers import AutoModelForSeq2SeqLM

    params = load_weights(google / "checkpoint_3", shapes_of(GOOGLE), None, GOOGLE)
    save_hf(params, GOOGLE, tmp_path / "hf", VOCABULARY, {"max_new_tokens": 30, "num_beams": 2})
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hf").eval()
    tokens, targets = np.arange(10, 22)[None], np.array([[0, 31, 7, 8]])
    with torch.inference_mode():
        theirs = model(input_ids=torch.tensor(tokens), decoder_input_ids=torch.tensor(targets)).logits.numpy()
    assert model.generate(torch.tensor(tokens), min_new_tokens=30).shape == (1, 31)  # transformers' own limit is 20
    batch = {"encoder_input_tokens": tokens, "encoder_segment_ids": np.ones_like(tokens),
             "decoder_input_tokens": targets, "decoder_segment_ids": np.ones_like(targets)}  # fmt: skip
    config = dataclasses.replace(GOOGLE, dropout=0.0)
    ours = nnx.merge(abstract_model(config)[0], params)(jax.tree.map(jnp.asarray, batch))
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_export_then_import_gives_the_same_bits(tmp_path):
    save_t5x(random_params(), tmp_path / "t5x", 20)
    assert_same_bits(load_weights(tmp_path / "t5x", shapes_of(), None, CONFIG), random_params())
    assert infer_config(tmp_path / "t5x") == dataclasses.replace(CONFIG, dropout=0.1)


def test_large_arrays_are_cut_into_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("train.export.t5x.CHUNK_BYTES", 300)
    save_t5x(random_params(), tmp_path / "t5x", 20)
    chunks = [p.name for p in (tmp_path / "t5x" / "target.token_embedder.embedding").iterdir() if p.name[0] != "."]
    assert len(chunks) == 8  # 4 rows of 16 numbers each
    assert_same_bits(load_weights(tmp_path / "t5x", shapes_of(), None, CONFIG), random_params())


def test_zeros_are_written_like_any_other_numbers(tmp_path):
    zeros = jax.tree.map(jnp.zeros_like, random_params())
    save_t5x(zeros, tmp_path / "t5x", 0)
    assert_same_bits(load_weights(tmp_path / "t5x", shapes_of(), None, CONFIG), zeros)


def test_bfloat16_parameters_go_out_and_in_as_they_are(tmp_path):
    params = random_params(dtype=ml_dtypes.bfloat16)
    save_t5x(params, tmp_path / "t5x", 0)
    assert {a.dtype for a in read_as_t5x_does(tmp_path / "t5x").values()} == {np.dtype(ml_dtypes.bfloat16)}
    shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.bfloat16), shapes_of())
    assert_same_bits(load_weights(tmp_path / "t5x", shapes, None, CONFIG), params)


def test_what_lies_at_the_destination_is_left_alone_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        save_t5x(random_params(), tmp_path / "out", 0)
    monkeypatch.setattr("train.export.t5x.COMPRESSOR", {"id": "none such"})
    with pytest.raises(ValueError, match="none such"):
        save_t5x(random_params(), tmp_path / "other", 0)
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_json_of_the_settings_says_what_the_fixture_cannot(tmp_path):
    """A Hugging Face directory keeps what a T5X checkpoint has no place for."""
    config = dataclasses.replace(CONFIG, relative_position_max_distance=64, dropout=0.2)
    save_hf(random_params(), config, tmp_path / "hf", VOCABULARY)
    assert infer_config(tmp_path / "hf") == config
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["relative_attention_max_distance"] == 64
