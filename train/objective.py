"""The objective of training: cross-entropy, z-loss and label smoothing of the batch, and loss and KL of replayed rows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from train.config import TrainConfig
from train.model.loss import Sums, head_kl_sum, head_loss_sums
from train.regularizer import Anchor, ReplayConfig
from train.trees import join

Batch = dict[str, Any]  # arrays of rows; under "replay" a batch of other rows, if there are some
Objective = Callable[..., tuple[jax.Array, Sums]]

_OF_REPLAY = ("replay_loss", "replay_kl")


def make_objective(graphdef: nnx.GraphDef, config: TrainConfig, replay: ReplayConfig) -> Objective:
    """Returns `objective(params, frozen, rows, key, tokens, anchor) -> (value, sums)`.

    The value is a sum over the rows' target tokens, divided by `tokens`, those of the whole batch: values of parts add up. The
    sums are those of the rows that are not replayed, and `replay_loss`, `replay_kl` and `replay_tokens` of the others.
    """

    def loss(model: Any, hidden: jax.Array, rows: Batch) -> tuple[jax.Array, Sums]:
        return head_loss_sums(
            hidden,
            model.head[...],
            rows["decoder_target_tokens"],
            rows["decoder_segment_ids"] > 0,
            z_loss=config.z_loss,
            label_smoothing=config.label_smoothing,
        )

    def objective(
        params: Any, frozen: Any, rows: Batch, key: jax.Array, tokens: jax.Array, anchor: Anchor | None
    ) -> tuple[jax.Array, Sums]:
        model = nnx.merge(graphdef, join(params, frozen))
        rows = dict(rows)
        old = rows.pop("replay", None)
        if old is None:
            total, sums = loss(model, model.hidden(rows, key), rows)
            return total / tokens, sums
        together = jax.tree.map(lambda *arrays: jnp.concatenate(arrays), rows, old)  # one pass through the model
        hidden, hidden_old = jnp.split(model.hidden(together, key), [len(rows["decoder_target_tokens"])])
        total, sums = loss(model, hidden, rows)
        total_old, sums_old = loss(model, hidden_old, old)
        total += replay.loss_weight * total_old
        sums = sums | {"replay_loss": sums_old["loss"], "replay_tokens": sums_old["tokens"]}
        if replay.kl_weight:
            assert anchor is not None
            base = nnx.merge(graphdef, join(anchor["params"], frozen))
            inside = old["decoder_segment_ids"] > 0
            kl = head_kl_sum(base.hidden(old), base.head[...], hidden_old, model.head[...], inside)
            total, sums = total + replay.kl_weight * kl, sums | {"replay_kl": kl}
        return total / tokens, sums

    return objective


def target_tokens(batch: Batch) -> jax.Array:
    """How many target tokens a batch has, replayed ones too."""
    count = jnp.sum(batch["decoder_segment_ids"] > 0)
    return count + target_tokens(batch["replay"]) if "replay" in batch else count


def means(sums: Sums) -> dict[str, jax.Array]:
    """The sums of a whole batch -> what metrics.jsonl says of it, each over its own target tokens."""
    tokens = jnp.maximum(sums["tokens"], 1)
    found = {"loss": sums["loss"] / tokens, "accuracy": sums["correct"] / tokens}
    of_old = {name: sums[name] / jnp.maximum(sums["replay_tokens"], 1) for name in _OF_REPLAY if name in sums}
    return found | of_old
