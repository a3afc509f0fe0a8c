"""Attention, by each path that a CPU can run: XLA's, all at once and by rows; the TPU's kernel in plain JAX ("interpreted")."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import programs
from train.model import attention as attention_module
from train.model.attention import attention, pallas
from train.model.attention import choose as choosing
from train.model.attention.choose import choose_path, largest_difference
from train.model.attention.mask import Mask, segment_mask
from train.model.attention.pallas import block_of_queries

REPOSITORY = Path(__file__).parent.parent.parent

PATHS = ("xla", "rows", "interpreted")
EVERYWHERE = segment_mask(jnp.ones((1, 4), jnp.int32), jnp.ones((1, 4), jnp.int32))


@pytest.fixture(autouse=True)
def few_logits_go_by_rows_too(monkeypatch):
    monkeypatch.setattr(attention_module, "LEAST_LOGITS", 0)


def plain(q, k, v, bias, mask: Mask):
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k)
    weights = jax.nn.softmax(jnp.where(mask.allowed, logits if bias is None else logits + bias, -1e9), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)


def random_inputs(batch, q_length, k_length, heads, head_dim, *, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(batch, n, heads, head_dim) for n in (q_length, k_length, k_length)] + [(1, heads, q_length, k_length)]
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def segments(batch, length, *, seed):
    """Packed rows: some segments, then padding."""
    cuts = np.sort(np.random.default_rng(seed).integers(1, length, size=(batch, 3)), axis=1)
    ids = 1 + (np.arange(length)[None, :, None] >= cuts[:, None, :]).sum(-1)
    return jnp.asarray(np.where(ids == 4, 0, ids), jnp.int32)


def gradients(f, *inputs):
    return jax.grad(lambda *x: jnp.sum(jnp.sin(f(*x))), argnums=tuple(range(len(inputs))))(*inputs)


@pytest.mark.parametrize("path", PATHS)
def test_attention_is_the_textbook_formula_without_scaling(path):
    q, k, v, bias = random_inputs(2, 5, 5, 3, 4)
    ids = np.array([[1, 1, 2, 2, 2], [1, 1, 1, 1, 0]])
    mask = segment_mask(jnp.asarray(ids), jnp.asarray(ids), causal=True)
    got = attention(q, k, v, mask=mask, bias=bias, path=path)
    q, k, v, bias = (np.asarray(x) for x in (q, k, v, bias))
    for b in range(2):
        for h in range(3):
            for i in range(5):
                allowed = [j for j in range(i + 1) if ids[b, i] == ids[b, j]]
                logits = np.array([q[b, i, h] @ k[b, j, h] + bias[0, h, i, j] for j in allowed])
                weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
                np.testing.assert_allclose(got[b, i, h], weights @ v[b, allowed, h], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_gradient_reaches_the_bias(path):
    q, k, v, bias = random_inputs(1, 4, 4, 2, 3)

    def f(bias):
        return jnp.sum(jnp.square(attention(q, k, v, mask=EVERYWHERE, bias=bias, path=path)))

    gradient, step = jax.grad(f)(bias), jnp.zeros_like(bias).at[0, 1, 2, 3].set(1e-2)
    numeric = (f(bias + step) - f(bias - step)) / 2e-2
    assert float(gradient[0, 1, 2, 3]) == pytest.approx(float(numeric), rel=1e-2)


def test_dropping_keys_is_dropping_attention_weights_alike_for_all_queries():
    q, k, v, _ = random_inputs(1, 4, 4, 2, 3)
    keep = jnp.array([1.0, 0.0, 1.0, 1.0]).reshape(1, 4, 1, 1) / 0.75
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k), axis=-1)
    dropped = weights * keep.reshape(1, 1, 1, 4)
    expected = jnp.einsum("bhqk,bkhd->bqhd", dropped, v)
    np.testing.assert_allclose(attention(q, k, v, mask=EVERYWHERE, key_dropout=keep), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_attention_has_the_gradients_of_the_plain_formula(path):
    q, k, v, bias = random_inputs(3, 5, 6, 2, 4)
    # The third row has nothing to attend to: its gradients are zero.
    mask = segment_mask(
        jnp.array([[1, 1, 2, 2, 0], [1] * 5, [1] * 5]), jnp.array([[1, 1, 2, 2, 0, 0], [1] * 6, [2] * 6])
    )
    expected = gradients(lambda q, k, v, bias: plain(q, k, v, bias, mask), q, k, v, bias)
    got = gradients(lambda q, k, v, bias: attention(q, k, v, mask=mask, bias=bias, path=path), q, k, v, bias)
    assert not np.any(got[0][2])
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize(("q_length", "causal", "with_bias"), [(64, False, True), (64, True, True), (32, False, False)])
def test_the_kernel_agrees_with_xla_in_value_and_in_every_gradient(blocks, q_length, causal, with_bias, monkeypatch):
    k_length = 64
    monkeypatch.setattr(pallas, "_BLOCK", q_length * k_length // blocks)
    assert block_of_queries(q_length, k_length) == q_length // blocks
    q, k, v, bias = random_inputs(3, q_length, k_length, 4, 64)  # two groups of two heads
    mask = segment_mask(segments(3, q_length, seed=1), segments(3, k_length, seed=2), causal=causal)
    inputs = (q / 8, k, v, bias) if with_bias else (q / 8, k, v)

    def by(path):
        return lambda q, k, v, bias=None: attention(q, k, v, mask=mask, bias=bias, path=path)

    np.testing.assert_allclose(by("interpreted")(*inputs), by("xla")(*inputs), rtol=1e-5, atol=1e-5)
    for one, other in zip(gradients(by("interpreted"), *inputs), gradients(by("xla"), *inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


ON_A_MESH = """
import jax
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from tests.train.test_attention import gradients, random_inputs, segments
from train.model.attention import attention
from train.model.attention.mask import segment_mask
from train.parallel.mesh import make_mesh
from train.config import MeshConfig

inputs, ids = random_inputs(8, 16, 16, 4, 8), segments(8, 16, seed=3)

def f(*x):
    q, k, v, bias = x
    return attention(q, k, v, mask=segment_mask(ids, ids), bias=bias, path="interpreted")

expected = gradients(f, *inputs)
with jax.set_mesh(make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))):
    got = jax.jit(lambda *x: gradients(f, *x))(*inputs)
for one, other in zip(got, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
print("equal")
"""


def test_the_kernel_on_a_mesh_sums_the_gradient_of_the_bias_over_all_rows():
    done = subprocess.run([sys.executable, "-c", ON_A_MESH], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr


def test_by_rows_no_array_is_as_large_as_the_logits_of_the_batch():
    q, k, v, bias = random_inputs(3, 16, 16, 2, 4)
    ids = jnp.ones((3, 16), jnp.int32)

    def holds_them(path):
        def f(*inputs):
            *inputs, bias = inputs
            return attention(*inputs, mask=segment_mask(ids, ids), bias=bias, path=path)

        program = jax.jit(lambda *inputs: gradients(f, *inputs)).lower(q, k, v, bias).as_text()
        return "3x2x16x16xf32" in program

    assert holds_them("xla")
    assert not holds_them("rows")


HEADS = {"num_heads": 2, "head_dim": 64}


def test_auto_takes_a_fused_path_that_agrees_with_xla(monkeypatch):
    assert choose_path("auto", dtype="float32", **HEADS) == ("rows" if jax.device_count() == 1 else "xla")
    assert choose_path("pallas", dtype="float32", **HEADS) == "pallas", "what is asked for is not doubted"
    assert largest_difference("interpreted", dtype="float32", **HEADS) < 1e-5
    monkeypatch.setattr(choosing, "FUSED", {"cpu": ("interpreted",)})
    assert choose_path.__wrapped__("auto", dtype="bfloat16", **HEADS) == "interpreted"


@pytest.mark.needs_accelerator
@pytest.mark.parametrize("head_dim", [32, 64, 128])
def test_the_devices_own_fused_paths_agree_with_xlas(head_dim):
    for fused in choosing.FUSED[jax.default_backend()]:
        if fused == "tokamax":
            pytest.importorskip("tokamax")
        difference = largest_difference(fused, dtype="bfloat16", num_heads=4, head_dim=head_dim)
        assert difference <= choosing.TOLERANCE["bfloat16"]


FOR_A_GPU = """
import jax
jax.config.update("jax_platforms", "cpu")
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_policies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from launch.plan import topologies
from train.model.adapters import PRODUCT
from train.model.attention import attention
from train.model.attention.mask import segment_mask

(device,) = topologies.devices("h100:1")
place = NamedSharding(Mesh([device], "x"), PartitionSpec())

def of(shape, dtype):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

def loss(x, bias, ids):
    def layer(x, _):
        y = attention(x, x, x, mask=segment_mask(ids, ids), bias=bias, path="tokamax")
        return x + jnp.sin(y), None
    keep = checkpoint_policies.save_only_these_names(PRODUCT)
    return jnp.sum(jax.lax.scan(jax.checkpoint(layer, policy=keep, prevent_cse=False), x, length=4)[0].astype(jnp.float32))

inputs = of((8, 256, 4, 64), jnp.bfloat16), of((1, 4, 256, 256), jnp.float32), of((8, 256), jnp.int32)
with jax.default_device(device):
    program = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(*inputs).lower(lowering_platforms=("cuda",)).compile()
text = program.as_text()
print(text.count('custom_call_target="mosaic_gpu'))

def of_elements(x):
    return 0.5 * x * (1.0 + jnp.tanh(0.8 * (x + 0.04 * x**3)))

program = jax.jit(of_elements).trace(of((1024, 1024), jnp.float32)).lower(lowering_platforms=("cuda",)).compile()
print(program.as_text().count(" fusion("))
"""


@pytest.mark.needs_cuda_compiler
def test_on_a_hopper_gpu_a_scan_over_layers_takes_three_kernels():
    """One forward and two backward, none of them twice; and what goes by elements is one. Compiled for a GPU that is not here."""
    environment = os.environ | {"PYTHONPATH": str(programs.cuda_compiler())}
    done = subprocess.run(
        [sys.executable, "-c", FOR_A_GPU], cwd=REPOSITORY, capture_output=True, text=True, env=environment
    )
    assert done.stdout == "3\n1\n", done.stderr


@pytest.mark.parametrize("causal", [False, True])
def test_the_keys_that_a_query_sees_are_a_range(causal):
    ids, keys = segments(4, 24, seed=5), segments(4, 24 if causal else 16, seed=6)
    mask = segment_mask(ids, ids if causal else keys, causal=causal)
    allowed = np.asarray(mask.allowed[:, 0])
    place = np.arange(allowed.shape[-1])
    seen = (place >= np.asarray(mask.first_key)[..., None]) & (place < np.asarray(mask.end_key)[..., None])
    some = allowed.any(-1)
    np.testing.assert_array_equal(seen[some], allowed[some])
    assert causal or not some.all(), "this has queries without a key"
    assert (seen[~some].sum(-1) == 1).all(), "which see one, so that no softmax is over nothing"


def test_auto_refuses_a_path_that_forgets_the_gradient_of_the_bias_or_does_not_run(monkeypatch, capsys):
    def forgetful(*inputs, bias, path, **rest):
        return attention(*inputs, bias=bias if path == "xla" else jax.lax.stop_gradient(bias), path="xla", **rest)

    monkeypatch.setattr(choosing, "FUSED", {"cpu": ("interpreted",)})
    with monkeypatch.context() as patched:
        patched.setattr(choosing, "attention", forgetful)
        other_heads = {"num_heads": 3, "head_dim": 32}  # that no test before has compiled
        assert choose_path.__wrapped__("auto", dtype="float32", **other_heads) == "xla"
    assert "attention: not interpreted, it differs from xla here by 1 of" in capsys.readouterr().err
    monkeypatch.setattr(choosing, "FUSED", {"cpu": ("cudnn", "interpreted")})
    assert choose_path.__wrapped__("auto", dtype="bfloat16", **HEADS) == "interpreted"
    assert "attention: not cudnn, it fails here: " in capsys.readouterr().err


def test_blocks_hold_what_the_vector_memory_allows_and_are_whole_tiles():
    assert block_of_queries(512, 512) == 512
    assert block_of_queries(144, 768) == 144
    assert block_of_queries(1024, 1024) == 256
    assert block_of_queries(4096, 4096) == 64
    assert block_of_queries(1200, 1200) == 80, "not 200, which ends in half a tile"
    assert block_of_queries(1537, 1537) is None, "its parts, 29 and 53, are no whole tiles"
