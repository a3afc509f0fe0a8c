"""The loss in parts of the positions is the loss of all logits at once, in value and in gradient."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.model.loss import Parts, head_loss_sums, loss_sums

REPOSITORY = Path(__file__).parent.parent.parent
ROWS, LENGTH, EMB, VOCAB = 3, 12, 8, 40


def inputs() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    hidden, head = rng.normal(size=(ROWS, LENGTH, EMB)), rng.normal(size=(EMB, VOCAB))
    weights = np.arange(LENGTH) < np.array([12, 7, 0])[:, None]
    targets = rng.integers(0, VOCAB, (ROWS, LENGTH))
    return jnp.float32(hidden), jnp.float32(head), jnp.asarray(targets), jnp.asarray(weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_parts_give_the_loss_and_the_gradients_of_the_whole(smoothing):
    hidden, head, targets, weights = inputs()

    def whole(hidden, head):
        return loss_sums(hidden @ head, targets, weights, z_loss=0.01, label_smoothing=smoothing)

    def parts(hidden, head):
        return head_loss_sums(hidden, head, targets, weights, z_loss=0.01, label_smoothing=smoothing)

    (expected, sums), gradients = jax.value_and_grad(whole, argnums=(0, 1), has_aux=True)(hidden, head)
    (got, got_sums), got_gradients = jax.value_and_grad(parts, argnums=(0, 1), has_aux=True)(hidden, head)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    for name in sums:
        np.testing.assert_allclose(got_sums[name], sums[name], rtol=1e-6)
    for one, other in zip(got_gradients, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_logits_of_all_positions_are_never_in_memory():
    hidden, head, targets, weights = inputs()

    def loss(hidden, head):
        return head_loss_sums(hidden, head, targets, weights, z_loss=0.01, label_smoothing=0.0)[0]

    gradient = jax.grad(loss, argnums=(0, 1))
    program = str(jax.make_jaxpr(gradient)(hidden, head))
    positions = ROWS * LENGTH
    assert f"f32[1,{positions // 4},{VOCAB}]" in program
    assert f"f32[{ROWS},{LENGTH},{VOCAB}]" not in program
    assert f"f32[1,{positions},{VOCAB}]" not in program


@pytest.mark.parametrize(("targets", "parts"), [(0, 0), (1, 1), (9, 1), (10, 2), (19, 3), (36, 4)])
def test_parts_without_a_target_are_not_computed(targets, parts):
    weights = jnp.asarray(np.random.default_rng(0).permutation(ROWS * LENGTH) < targets).reshape(ROWS, LENGTH)
    assert int(Parts(weights).count) == parts


def test_parts_take_what_they_bring_back():
    hidden, _, _, weights = inputs()
    parts = Parts(weights)
    taken = parts.take(hidden)
    np.testing.assert_array_equal(parts.back(taken, hidden.shape), hidden)
    np.testing.assert_array_equal(taken[0, : int(weights.sum())], hidden[weights], "targets first, in their order")


ON_A_MESH = """
import re
import jax
jax.config.update("jax_num_cpu_devices", 8)
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from train.model.axes import spec
from train.parallel.mesh import make_mesh
from train.config import MeshConfig
from train.model.loss import head_loss_sums, loss_sums

rng = np.random.default_rng(0)
hidden, head = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((16, 32, 64), (64, 512)))
targets, weights = jnp.asarray(rng.integers(0, 512, (16, 32))), jnp.asarray(np.arange(32) < rng.integers(0, 24, (16, 1)))

def of(loss):
    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)

rest = {"z_loss": 0.01, "label_smoothing": 0.1}
expected = of(lambda hidden, head: loss_sums(hidden @ head, targets, weights, **rest))(hidden, head)
mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
with jax.set_mesh(mesh):
    places = ("batch", "length", None), ("embed", "vocab"), ("batch", "length"), ("batch", "length")
    given = [jax.device_put(x, NamedSharding(mesh, spec(axes)))
             for x, axes in zip((hidden, head, targets, weights), places, strict=True)]
    program = jax.jit(of(lambda *x: head_loss_sums(*x, **rest))).lower(*given).compile()
    got = program(*given)
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5), got, expected)
text = program.as_text()
print(sorted(set(re.findall(r"= (\\S+?)\\{\\S* (?:all-gather|all-to-all|collective-permute)\\(", text))))
bodies = re.findall(r"body=%([^\\s,]+)", text)
summed = {"in the loop": [], "once": []}
for computation in text.split("\\n\\n"):
    where = "in the loop" if any(computation.startswith(f"%{name} ") for name in bodies) else "once"
    summed[where] += re.findall(r"= (f32\\[[\\d,]+\\]).* (?:all-reduce|reduce-scatter)\\(", computation)
print(summed)
"""


def test_on_a_mesh_each_device_orders_its_own_rows_and_gradients_of_the_head_are_summed_once():
    done = subprocess.run([sys.executable, "-c", ON_A_MESH], cwd=REPOSITORY, capture_output=True, text=True)
    gathered, summed = done.stdout.splitlines() or (done.stderr, "")
    assert gathered == "['f32[64,256]']", "the head alone is gathered"
    # [1, positions, embed]: a part's hidden states, whose gradient the devices along `tensor` share.
    assert summed == "{'in the loop': ['f32[1,32,64]'], 'once': ['f32[64,256]']}"
