"""Training is what it is in PyTorch: logits, loss and the gradient of every tensor, over three steps of AdamW, in float32.

    python -m bench.parity                       # flan-t5-small, flan-t5-base, and XL's heads at a quarter of its width
    python -m bench.parity --shapes flan-t5-base

transformers' T5 and ours start from the same random weights and see the same batches, rows of different lengths. Ours takes
the real train step; its gradients are read off AdamW's first moment. Prints for each step the largest relative difference
of any tensor, ||ours - theirs|| / ||theirs||, and exits with 1 if one is above 1e-4.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.pytorch import Sizes, open_model, write_random
from t5x_tasks.common.errors import run_cli
from train.model.presets import FLAN_VOCAB_SIZE, PRESETS

TOLERANCE, STEPS = 1e-4, 3
ROWS, INPUTS, TARGETS = 4, 64, 32
# Adam's first update is lr * g / (|g| + eps). With its usual eps of 1e-8 that is the sign of g, also where g is nothing but
# rounding: two correct programs then walk apart.
# At ten times this rate these random weights lie where PyTorch's float32 is 2e-4 from its own float64 after three steps.
LEARNING_RATE, B1, EPS = 1e-4, 0.9, 1e-4
# XL has 32 heads of 64. Here they do not multiply to emb_dim, which hides no transposition.
SHAPES: dict[str, Sizes] = {name: PRESETS[name] for name in ("flan-t5-small", "flan-t5-base")} | {
    "xl-heads": (512, 1280, 32, 64, 4, 4)
}

Tensors = dict[str, np.ndarray]  # by their names in a Hugging Face directory


class Step(NamedTuple):
    """The results of a train step, with the weights before it and after it."""

    loss: float
    logits: np.ndarray
    gradients: Tensors
    weights: Tensors


class Difference(NamedTuple):
    """The tensor in which two steps differ most, and by how much: relative, in the Euclidean norm."""

    step: int
    what: str
    worst: str
    relative: float


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.parity", description="Training beside PyTorch's.")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    failed = False
    for name in parser.parse_args(arguments).shapes:
        with tempfile.TemporaryDirectory() as folder:
            for found in compare(Path(folder), SHAPES[name]):
                print(f"{name:<14} step {found.step}  {found.what:<10} {found.relative:.1e}  {found.worst}", flush=True)
                failed |= not found.relative <= TOLERANCE
    print("FAILED" if failed else f"all within {TOLERANCE}")
    return int(failed)


def compare(folder: Path, sizes: Sizes, *, vocab_size: int = FLAN_VOCAB_SIZE) -> Iterator[Difference]:
    """Trains both on `STEPS` batches and says how far they are apart after each."""
    write_random(folder, sizes, vocab_size=vocab_size)
    draw = np.random.default_rng(0)
    batches = [random_batch(draw, vocab_size) for _ in range(STEPS)]
    theirs = list(their_steps(folder, batches))
    for number, (our, their) in enumerate(zip(our_steps(folder, batches), theirs, strict=True), start=1):
        yield Difference(number, "logits", "", _relative(our.logits, their.logits))
        yield Difference(number, "loss", "", abs(our.loss - their.loss) / their.loss)
        for what in ("gradients", "weights"):
            ours, expected = getattr(our, what), getattr(their, what)
            assert ours.keys() == expected.keys()
            differences = {name: _relative(ours[name], expected[name]) for name in ours}
            worst = max(differences, key=differences.__getitem__)
            yield Difference(number, what, worst, differences[worst])


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(np.subtract(ours, theirs).ravel()) / np.linalg.norm(theirs.ravel()))


def random_batch(draw: np.random.Generator, vocab_size: int) -> dict[str, np.ndarray]:
    """One example a row, each of another length: what PyTorch's users feed it."""
    batch = {}
    for side, length in (("encoder", INPUTS), ("decoder", TARGETS)):
        ends = draw.integers(length // 2, length + 1, (ROWS, 1))
        batch[f"{side}_segment_ids"] = (np.arange(length) < ends).astype(np.int32)
    inputs, targets = (batch[f"{side}_segment_ids"] for side in ("encoder", "decoder"))
    batch["encoder_input_tokens"] = inputs * draw.integers(2, vocab_size, inputs.shape).astype(np.int32)
    batch["decoder_target_tokens"] = targets * draw.integers(2, vocab_size, targets.shape).astype(np.int32)
    batch["decoder_input_tokens"] = np.pad(batch["decoder_target_tokens"], ((0, 0), (1, 0)))[:, :-1] * targets
    return batch


def their_steps(folder: Path, batches: list[dict[str, np.ndarray]]) -> Iterator[Step]:
    import torch  # pyright: ignore[reportMissingImports]

    model = open_model(folder, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, (B1, 0.999), EPS, weight_decay=0.0)
    named = dict(model.named_parameters())
    for batch in batches:
        tensors = {name: torch.tensor(values, dtype=torch.long) for name, values in batch.items()}
        real = batch["decoder_segment_ids"] > 0
        output = model(
            input_ids=tensors["encoder_input_tokens"],
            attention_mask=tensors["encoder_segment_ids"],
            decoder_input_ids=tensors["decoder_input_tokens"],
            decoder_attention_mask=tensors["decoder_segment_ids"],
            labels=torch.where(torch.from_numpy(real), tensors["decoder_target_tokens"], -100),
        )
        optimizer.zero_grad()
        output.loss.backward()
        gradients = {name: parameter.grad.numpy().copy() for name, parameter in named.items()}
        optimizer.step()
        weights = {name: parameter.detach().numpy().copy() for name, parameter in named.items()}
        yield Step(output.loss.item(), output.logits.detach().numpy()[real], gradients, weights)


def our_steps(folder: Path, batches: list[dict[str, np.ndarray]]) -> Iterator[Step]:
    import jax
    from flax import nnx

    from train import params as weights
    from train.config import AdamWConfig, MeshConfig, TrainConfig
    from train.model_spec import ModelSpec
    from train.optimizer import make_optimizer, make_schedule
    from train.parallel.mesh import global_batch, make_mesh
    from train.state import first_state, state_shapes
    from train.step import make_train_step
    from train.weights.hf import TABLE
    from train.weights.stream import foreign_tensors, layout

    settings = AdamWConfig(learning_rate=LEARNING_RATE, b1=B1, eps=EPS)
    schedule = make_schedule(settings, STEPS)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    model = ModelSpec.on(mesh, dataclasses.replace(weights.infer_config(folder), dropout=0.0))
    optimizer = make_optimizer(settings, schedule, model.axes)
    shapes = state_shapes(model, optimizer)
    slots = layout(model.shapes, TABLE)

    def as_theirs(params: Any) -> Tensors:
        return {name: tensor.read() for name, tensor in foreign_tensors(params, slots).items()}

    with jax.set_mesh(mesh):
        params = weights.load_weights(folder, model.shapes, model.shardings, model.config)
        state = first_state(params, optimizer, 0, shapes)
        placed = jax.tree.map(lambda shape: shape.sharding, shapes)
        train = TrainConfig(steps=STEPS, dropout=0.0, z_loss=0.0, clip_norm=None)
        update = make_train_step(model.graphdef, optimizer, schedule, train, placed)
        predict = jax.jit(lambda params, batch: nnx.merge(model.graphdef, params)(batch))
        before = as_theirs(state.opt_state[0].mu)
        for batch in batches:
            logits = np.asarray(predict(state.params, batch))[batch["decoder_segment_ids"] > 0]
            state, metrics = update(state, {}, global_batch(mesh, batch, parts=1))
            moment = as_theirs(state.opt_state[0].mu)
            gradients = {name: (moment[name] - B1 * before[name]) / (1 - B1) for name in moment}
            before = moment
            yield Step(float(metrics["loss"]), logits, gradients, as_theirs(state.params))


if __name__ == "__main__":
    run_cli(main)
