"""The compiled program of a run: the model on its mesh, its optimizer, and the train and validation steps.

`python -m train` runs what is made here, and `python -m launch plan` compiles it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from train.anchor import anchor_shapes
from train.config import Config
from train.model.t5 import Params
from train.model_spec import ModelSpec
from train.optimizer import make_optimizer, make_schedule
from train.parallel.mesh import check_batch_fits
from train.regularizer import Anchor
from train.state import TrainState, state_shapes
from train.step import make_train_step, make_validation_step


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled functions of a run, and the shapes (`jax.ShapeDtypeStruct` with shardings) that it is called with.

    Attributes:
      state: of the train state; a checkpoint is restored into it.
      frozen: of the parameters that the method does not train.
      anchor: of what a regulariser or replay compares with, or None.
      update: `state, metrics = update(state, frozen, batch, anchor)`.
      validate: `sums = validate(params, frozen, batch)`.
    """

    model: ModelSpec
    optimizer: optax.GradientTransformation
    state: TrainState
    frozen: Params
    anchor: Anchor | None
    update: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    validate: Callable[..., Any]

    @classmethod
    def of(cls, config: Config, model: ModelSpec, *, total_steps: int) -> "Program":
        """Call it, and what it has, under `jax.set_mesh(model.mesh)`.

        Args:
          total_steps: the course of the learning rate.

        Raises:
          UserError: the mesh cannot divide the batch or the optimizer's state.
        """
        check_batch_fits(model.mesh, config.train, replayed=config.replay.rows(config.train.batch_size))
        schedule = make_schedule(config.optimizer, total_steps)
        optimizer = make_optimizer(config.optimizer, schedule, model.split(model.axes)[0])
        state = state_shapes(model, optimizer)
        shardings = jax.tree.map(lambda shape: shape.sharding, state)
        update = make_train_step(
            model.graphdef, optimizer, schedule, config.train, shardings,
            regularizer=config.regularizer, replay=config.replay,
        )  # fmt: skip
        frozen, anchor = model.split(model.shapes)[1], anchor_shapes(config, state.params)
        return cls(model, optimizer, state, frozen, anchor, update, make_validation_step(model.graphdef))

    @property
    def num_parameters(self) -> tuple[int, int]:
        """Of the whole model, and of what its method trains."""
        whole, trained = jax.tree.leaves(self.model.shapes), jax.tree.leaves(self.state.params)
        return sum(x.size for x in whole), sum(x.size for x in trained)
