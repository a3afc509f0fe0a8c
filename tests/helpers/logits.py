"""Logits of a model that is given as graph definition and parameters."""

import functools
from typing import Any

import jax
from flax import nnx

from train.model.t5 import Params


@functools.partial(jax.jit, static_argnums=0)
def logits_of(graphdef: nnx.GraphDef, params: Params, batch: dict[str, Any]) -> jax.Array:
    """Float32 `[batch, target_length, vocab]` of a packed batch."""
    return nnx.merge(graphdef, params)(batch)
