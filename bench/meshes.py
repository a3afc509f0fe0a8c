"""Every mesh computes the same, and each device holds its share: all ten meshes of eight simulated devices.

    python -m bench.meshes            # all 60: with each policy of rematerialisation, with and without gradient accumulation
    python -m bench.meshes --quick    # two of them (what the tests run)

Trains a small T5 for ten steps on each, from the same weights on the same batches, and compares the losses with those of
data=8 without either. Prints for each the largest relative difference, and the bytes of parameters and optimizer state on a
device against total / (fsdp x tensor) plus what the rules keep whole. Exits with 1 if one is off by more than 1e-5 or 2%.
"""

import argparse
import math
import os
import sys
from typing import get_args

from train.model.presets import Remat

QUICK: list[tuple[tuple[int, int, int], tuple[Remat, int]]] = [((1, 8, 1), ("layer", 2)), ((2, 2, 2), ("selected", 1))]
LOSS_TOLERANCE, BYTES_TOLERANCE, STEPS, DEVICES = 1e-5, 0.02, 10, 8


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.meshes", description="All meshes of eight devices.")
    parser.add_argument("--quick", action="store_true", help="two of them")
    quick = parser.parse_args(arguments).quick
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(DEVICES)}
    sizes = [2**n for n in range(4)]
    meshes = [(d, f, t) for d in sizes for f in sizes for t in sizes if d * f * t == DEVICES]
    variants: list[tuple[Remat, int]] = [(remat, parts) for remat in get_args(Remat) for parts in (1, 2)]
    cases = [(mesh, variant) for mesh in meshes for variant in variants]
    if quick:
        cases = QUICK
    reference, _ = run((DEVICES, 1, 1), remat="none", parts=1)
    failed = 0
    for mesh, (remat, parts) in cases:
        losses, share = run(mesh, remat=remat, parts=parts)
        off = max(abs(a - b) / b for a, b in zip(losses, reference, strict=True))
        wrong = off > LOSS_TOLERANCE or abs(share - 1) > BYTES_TOLERANCE
        failed += wrong
        print(
            f"data {mesh[0]} fsdp {mesh[1]} tensor {mesh[2]}  remat {remat:8}  accumulation {parts}  "
            f"losses differ by {off:.1e}  bytes {share:.4f} of the share  {'FAILED' if wrong else 'ok'}",
            flush=True,
        )
    print(f"{len(cases) - failed} of {len(cases)} ok; first and last loss {reference[0]:.4f} {reference[-1]:.4f}")
    return int(failed > 0)


def run(axes: tuple[int, int, int], *, remat: Remat, parts: int) -> tuple[list[float], float]:
    """Losses of ten steps; bytes on the fullest device over those that the rules promise."""
    import jax
    import numpy as np

    from train.config import AdamWConfig, MeshConfig, TrainConfig
    from train.model.axes import RULES
    from train.model.t5 import T5Config, init_params
    from train.model_spec import ModelSpec
    from train.optimizer import make_optimizer, make_schedule
    from train.parallel.mesh import global_batch, make_mesh
    from train.state import first_state, state_shapes
    from train.step import make_train_step

    mesh = make_mesh(MeshConfig(data=axes[0], fsdp=axes[1], tensor=axes[2]))
    config = T5Config(
        vocab_size=512, emb_dim=64, mlp_dim=128, num_heads=8, head_dim=8, num_encoder_layers=2, num_decoder_layers=2,
        remat=remat,
    )  # fmt: skip
    model = ModelSpec.on(mesh, config)
    settings = AdamWConfig(learning_rate=1e-3)
    schedule = make_schedule(settings, STEPS)
    optimizer = make_optimizer(settings, schedule, model.axes)
    shapes = state_shapes(model, optimizer)
    train = TrainConfig(steps=STEPS, batch_size=16, grad_accumulation=parts, dropout=0.0)
    draw = np.random.default_rng(0)
    with jax.set_mesh(mesh):
        params = jax.jit(lambda: init_params(config, 0), out_shardings=model.shardings)()
        state = first_state(params, optimizer, 0, shapes)
        update = make_train_step(model.graphdef, optimizer, schedule, train, jax.tree.map(lambda s: s.sharding, shapes))
        losses = []
        for _ in range(STEPS):
            batch = random_batch(draw, rows=16, lengths=(32, 16), vocab=512)
            state, metrics = update(state, {}, global_batch(mesh, batch, parts=parts))
            losses.append(float(metrics["loss"]))
    held = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves((state.params, state.opt_state)):
        for shard in leaf.addressable_shards:
            held[shard.device] += shard.data.nbytes
    # What the rules promise: a parameter, and each of Adam's two moments, is cut by the axes of the mesh that its own name.
    promised = 0.0
    flat_axes = jax.tree.leaves(model.axes, is_leaf=lambda a: isinstance(a, tuple))
    for leaf, names in zip(jax.tree.leaves(state.params), flat_axes, strict=True):
        cuts = math.prod(mesh.shape[axis] for name in names for axis in RULES[name])
        promised += 3 * leaf.nbytes / cuts
    return losses, max(held.values()) / promised


def random_batch(draw, *, rows: int, lengths: tuple[int, int], vocab: int):
    """Rows of two segments and some padding, of which each row has another amount."""
    import numpy as np

    batch = {}
    for side, length in zip(("encoder", "decoder"), lengths, strict=True):
        ends = draw.integers(length // 2, length + 1, (rows, 1))
        column = np.arange(length)[None]
        segments = np.where(column < ends, 1 + (column >= length // 3), 0).astype(np.int32)
        tokens = np.where(segments > 0, draw.integers(3, vocab, (rows, length)), 0).astype(np.int32)
        name = "encoder_input_tokens" if side == "encoder" else "decoder_target_tokens"
        batch |= {name: tokens, f"{side}_segment_ids": segments, f"{side}_positions": np.zeros_like(segments)}
    shifted = np.zeros_like(batch["decoder_target_tokens"])
    shifted[:, 1:] = batch["decoder_target_tokens"][:, :-1]
    return batch | {"decoder_input_tokens": shifted}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
