"""The train step and the validation step: pure functions of (state, batch), compiled once for a mesh."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from train.config import TrainConfig
from train.model.loss import Sums, head_loss_sums
from train.objective import Batch, make_objective, means, target_tokens
from train.optimizer import narrowed, widened
from train.regularizer import Anchor, NoRegularizer, Regularizer, ReplayConfig
from train.skip_rule import judge
from train.state import TrainState
from train.trees import join


def make_train_step(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    config: TrainConfig,
    state_shardings: TrainState,
    *,
    regularizer: Regularizer | None = None,
    replay: ReplayConfig | None = None,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """Compiles `state, metrics = step(state, frozen, batch, anchor)`; the old state's memory is given to the new one.

    `frozen` are the parameters that the method does not train: no gradient, no optimizer state, not in the state. `anchor`
    is the model before training as far as the regulariser or replay asks for it (train/anchor.py), otherwise None.

    A batch's arrays are `[parts, rows, length]`. Each part's gradients are of the *sum* of its tokens' losses over the
    tokens of the whole batch, so their sum is the gradient of the mean over all tokens, however unevenly the parts are filled.

    A step that train/skip_rule.py rejects changes nothing but `step` and `guard`: as if its batch had not been there.
    """
    regularizer, replay = regularizer or NoRegularizer(), replay or ReplayConfig()
    value_and_grad = jax.value_and_grad(make_objective(graphdef, config, replay), has_aux=True)

    def step(
        state: TrainState, frozen: Any, batch: Batch, anchor: Anchor | None = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        params = state.params
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng, impl="threefry2x32"), state.step)
        tokens = jnp.maximum(target_tokens(batch), 1).astype(jnp.float32)

        def part(index: Any, rows: Batch) -> tuple[Any, Any]:
            part_key = jax.random.fold_in(key, index)
            (_, sums), grads = value_and_grad(params, frozen, rows, part_key, tokens, anchor)
            return widened(grads), sums

        def add_part(total: Any, xs: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, part(*xs)), None

        parts, first = config.grad_accumulation, jax.tree.map(lambda x: x[0], batch)
        if parts == 1:
            grads, sums = part(0, first)
        else:
            zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(part, 0, first))
            (grads, sums), _ = jax.lax.scan(add_part, zeros, (jnp.arange(parts), batch))
        metrics = means(sums)
        if regularizer.type != "none":
            metrics["penalty"], pull = jax.value_and_grad(regularizer.penalty)(params, anchor)
            grads = jax.tree.map(jnp.add, grads, pull)

        grad_norm = optax.global_norm(grads)
        if config.clip_norm is not None:
            scale = jnp.minimum(1.0, config.clip_norm / jnp.maximum(grad_norm, 1e-12))
            grads = jax.tree.map(lambda g: g * scale, grads)
        wide = widened(params)
        updates, opt_state = optimizer.update(grads, state.opt_state, wide)
        good, guard = judge(state.guard, metrics["loss"], grad_norm, config.skip)
        # The parts' keys are the first ones.
        updated = narrowed(optax.apply_updates(wide, updates), params, jax.random.fold_in(key, parts))
        new, old = (updated, opt_state), (params, state.opt_state)
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), new, old)
        new_state = TrainState(state.step + 1, *kept, rng=state.rng, guard=guard)
        metrics |= {
            # The optimizer counts the updates that it made.
            "learning_rate": jnp.asarray(schedule(state.step - state.guard.skipped), jnp.float32),
            "grad_norm": grad_norm,
            "skipped_steps": guard.skipped,
            "skipped_in_a_row": guard.in_a_row,
        }
        return new_state, metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(state_shardings, None))


def make_validation_step(graphdef: nnx.GraphDef) -> Callable[[Any, Any, Batch], Sums]:
    """Compiles `sums = step(params, frozen, batch)`: cross-entropy, correct tokens and tokens of a batch, without dropout.

    A batch's arrays are `[parts, rows, length]`, and its parts go through the model one after the other, as in training.
    """

    def step(params: Any, frozen: Any, batch: Batch) -> Sums:
        model = nnx.merge(graphdef, join(params, frozen))

        def part(rows: Batch) -> Sums:
            weights = rows["decoder_segment_ids"] > 0
            hidden, targets = model.hidden(rows), rows["decoder_target_tokens"]
            return head_loss_sums(hidden, model.head[...], targets, weights, z_loss=0.0, label_smoothing=0.0)[1]

        return jax.tree.map(jnp.sum, jax.lax.map(part, batch))

    return jax.jit(step)
