"""The train step and the validation step: pure functions of (state, batch), compiled once for a mesh."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from train.config import TrainConfig
from train.guard import judge
from train.loss import Sums, head_loss_sums
from train.methods.base import join

Batch = dict[str, jax.Array]
State = dict[
    str, Any
]  # step: int32 []; params, those that are trained; opt_state; rng: uint32 [2]; guard, see train/guard.py


def make_train_step(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    config: TrainConfig,
    state_shardings: State,
) -> Callable[[State, Any, Batch], tuple[State, dict[str, jax.Array]]]:
    """Compiles `state, metrics = step(state, frozen, batch)`; the old state's memory is given to the new one.

    `frozen` are the parameters that the method does not train: no gradient, no optimizer state, not in the state.

    A batch's arrays are `[parts, rows, length]`. Each part's gradients are of the *sum* of its tokens' losses over the
    tokens of the whole batch, so their sum is the gradient of the mean over all tokens, however unevenly the parts are filled.

    A step that train/guard.py rejects changes nothing but `step` and `guard`: as if its batch had not been there.
    """

    def objective(params: Any, frozen: Any, batch: Batch, key: jax.Array, tokens: jax.Array) -> tuple[jax.Array, Sums]:
        model = nnx.merge(graphdef, join(params, frozen))
        total, sums = head_loss_sums(
            model.hidden(batch, key),
            model.head[...],
            batch["decoder_target_tokens"],
            batch["decoder_segment_ids"] > 0,
            z_loss=config.z_loss,
            label_smoothing=config.label_smoothing,
        )
        return total / tokens, sums

    def step(state: State, frozen: Any, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
        params = state["params"]
        key = jax.random.fold_in(jax.random.wrap_key_data(state["rng"]), state["step"])
        tokens = jnp.maximum(jnp.sum(batch["decoder_segment_ids"] > 0), 1).astype(jnp.float32)
        value_and_grad = jax.value_and_grad(objective, has_aux=True)

        def part(carry: Any, xs: Any) -> tuple[Any, None]:
            index, rows = xs
            (_, sums), grads = value_and_grad(params, frozen, rows, jax.random.fold_in(key, index), tokens)
            return jax.tree.map(jnp.add, carry, (grads, sums)), None

        parts = config.grad_accumulation
        if parts == 1:
            rows = jax.tree.map(lambda x: x[0], batch)
            (_, sums), grads = value_and_grad(params, frozen, rows, jax.random.fold_in(key, 0), tokens)
        else:
            zeros = jax.tree.map(jnp.zeros_like, params), dict.fromkeys(("loss", "correct", "tokens"), jnp.float32(0))
            (grads, sums), _ = jax.lax.scan(part, zeros, (jnp.arange(parts), batch))

        grad_norm = optax.global_norm(grads)
        if config.clip_norm is not None:
            scale = jnp.minimum(1.0, config.clip_norm / jnp.maximum(grad_norm, 1e-12))
            grads = jax.tree.map(lambda g: g * scale, grads)
        updates, opt_state = optimizer.update(grads, state["opt_state"], params)
        loss = sums["loss"] / tokens
        good, guard = judge(state["guard"], loss, grad_norm, config.skip)
        new = {"params": optax.apply_updates(params, updates), "opt_state": opt_state}
        old = {name: state[name] for name in new}
        new_state = {
            "step": state["step"] + 1,
            **jax.tree.map(lambda new, old: jnp.where(good, new, old), new, old),
            "rng": state["rng"],
            "guard": guard,
        }
        metrics = {
            "loss": loss,
            "accuracy": sums["correct"] / tokens,
            # The optimizer counts the updates that it made.
            "learning_rate": jnp.asarray(schedule(state["step"] - state["guard"]["skipped"]), jnp.float32),
            "grad_norm": grad_norm,
            "skipped_steps": guard["skipped"],
            "skipped_in_a_row": guard["in_a_row"],
        }
        return new_state, metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(state_shardings, None))


def make_validation_step(graphdef: nnx.GraphDef) -> Callable[[Any, Any, Batch], Sums]:
    """Compiles `sums = step(params, frozen, batch)`: cross-entropy, correct tokens and tokens of a batch, without dropout."""

    def step(params: Any, frozen: Any, batch: Batch) -> Sums:
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
        model = nnx.merge(graphdef, join(params, frozen))
        weights = rows["decoder_segment_ids"] > 0
        hidden, targets = model.hidden(rows), rows["decoder_target_tokens"]
        return head_loss_sums(hidden, model.head[...], targets, weights, z_loss=0.0, label_smoothing=0.0)[1]

    return jax.jit(step)
