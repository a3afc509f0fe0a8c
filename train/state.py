"""The train state, which an update changes and a checkpoint holds; its shapes and shardings, and the first one."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from train.model.t5 import Params
from train.model_spec import ModelSpec, with_shardings
from train.optimizer import widened
from train.parallel.mesh import check_cut, optimizer_shardings, replicated
from train.skip_rule import SkipStatistics, first_statistics

# The order of the leaves, by which XLA lays out an update's memory: with the optimizer's state before the parameters, the update
# of flan-t5-small in float32 needs 985 MB beside them on a CPU; the other way round, 1,253 MB.
_LEAVES = ("guard", "opt_state", "params", "rng", "step")


@functools.partial(jax.tree_util.register_dataclass, data_fields=_LEAVES, meta_fields=())
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that an update changes. As `jax.ShapeDtypeStruct` with shardings: what a checkpoint is restored into.

    Attributes:
      step: int32 `[]`, updates so far, those skipped among them.
      params: the trained parameters; what the method freezes is not in the state.
      opt_state: optax's.
      rng: uint32 `[2]`, key data of a threefry key from the run's seed; each step folds its number in.
      guard: statistics that decide which updates are skipped.
    """

    step: jax.Array
    params: Params
    opt_state: Any  # optax.OptState, a tree of arrays
    rng: jax.Array
    guard: SkipStatistics


def state_shapes(model: ModelSpec, optimizer: optax.GradientTransformation) -> TrainState:
    """The shapes of a model's train state, with shardings.

    Raises:
      UserError: something large of the optimizer's would lie whole on each device of `fsdp`.
    """
    params = model.split(model.shapes)[0]
    opt_state = jax.eval_shape(optimizer.init, widened(params))
    opt_shardings = optimizer_shardings(model.mesh, opt_state, params, model.split(model.shardings)[0])
    opt_state = with_shardings(opt_state, opt_shardings)
    check_cut(model.mesh, opt_state)

    def scalar(x: jax.ShapeDtypeStruct) -> Any:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(model.mesh))

    return TrainState(
        step=scalar(jax.ShapeDtypeStruct((), jnp.int32)),
        params=params,
        opt_state=opt_state,
        rng=scalar(jax.ShapeDtypeStruct((2,), jnp.uint32)),
        guard=jax.tree.map(scalar, jax.eval_shape(first_statistics)),
    )


def first_state(params: Params, optimizer: optax.GradientTransformation, seed: int, shapes: TrainState) -> TrainState:
    """The state before the first step; `params` are those that are trained."""

    def others(params: Params) -> dict[str, object]:
        return {
            "step": jnp.int32(0),
            "opt_state": optimizer.init(widened(params)),
            "rng": jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
            "guard": first_statistics(),
        }

    shardings = vars(jax.tree.map(lambda s: s.sharding, shapes))
    made = jax.jit(others, out_shardings={name: shardings[name] for name in shardings if name != "params"})(params)
    return TrainState(params=params, **made)
