"""Keeping what was known: penalties that pull what is trained back to where it started, with any method, and replay.

    regularizer: {type: ewc, weight: 100.0, examples: 512}     # or l2_sp, or none
    replay: {mixture: gsm8k, rate: 0.25, kl_weight: 1.0}       # the tasks to keep

"Where it started" is the model before its first step. LoRA, (IA)^3 and adapters start as the base, so for them too it is the base
that is pulled to. Plain sections of the configuration; JAX is imported by whoever calls `penalty`.

References: Li et al. 2018, "Explicit Inductive Bias for Transfer Learning" (arXiv 1802.01483), L2-SP. Kirkpatrick et al. 2017,
"Overcoming catastrophic forgetting in neural networks" (arXiv 1612.00796), EWC. Li & Hoiem 2016, "Learning without Forgetting"
(arXiv 1606.09282), for keeping a model's outputs.
"""

from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from t5x_tasks.common.config_files import Section

Params = Any  # nested dict of arrays
# params: what is trained, before the first step; importance: the Fisher's diagonal, with EWC
Anchor = dict[str, Params]


class NoRegularizer(Section):
    """Nothing pulls."""

    type: Literal["none"] = "none"

    def penalty(self, params: Params, anchor: Anchor) -> Any:
        return 0.0


class L2SP(Section):
    """`weight / 2 * sum((params - start)^2)`: L2 toward the starting point (Li et al. 2018, equation 2)."""

    type: Literal["l2_sp"] = "l2_sp"
    weight: float = Field(default=1e-2, ge=0, description="alpha; the loss it is added to is a mean over target tokens")

    def penalty(self, params: Params, anchor: Anchor) -> Any:
        import jax

        return self.weight / 2 * jax.tree.reduce(_plus, jax.tree.map(_square, params, anchor["params"]))


class EWC(Section):
    """`weight / 2 * sum(F * (params - start)^2)`: elastic weight consolidation (Kirkpatrick et al. 2017, equation 3).

    F is the diagonal of the empirical Fisher information of the model before training, estimated on `replay.mixture`: see
    train/anchor.py.
    """

    type: Literal["ewc"] = "ewc"
    weight: float = Field(default=1.0, ge=0, description="lambda; the start of the run says how large F is")
    examples: PositiveInt = Field(default=512, description="of replay.mixture that F is estimated on")

    def penalty(self, params: Params, anchor: Anchor) -> Any:
        import jax

        weighted = jax.tree.map(_square, params, anchor["params"], anchor["importance"])
        return self.weight / 2 * jax.tree.reduce(_plus, weighted)


Regularizer = NoRegularizer | L2SP | EWC


class ReplayConfig(Section):
    """Examples of the tasks to keep, in every batch."""

    mixture: str | None = Field(default=None, description="tasks to keep: any task or mixture that is registered")
    rate: float = Field(default=0.0, ge=0, lt=1, description="share of a batch's rows that is theirs")
    loss_weight: float = Field(default=1.0, ge=0, description="of their own loss, beside that of the run's task")
    kl_weight: float = Field(
        default=0.0, ge=0, description="of KL(model before training || model) at their target tokens"
    )

    @model_validator(mode="after")
    def _coherent(self) -> "ReplayConfig":
        if self.rate and self.mixture is None:
            raise ValueError(f"rate={self.rate} needs mixture, the tasks to replay")
        if self.rate and not (self.loss_weight or self.kl_weight):
            raise ValueError("loss_weight and kl_weight are both 0, so the replayed rows would do nothing; set rate=0")
        return self

    def rows(self, batch_size: int) -> int:
        """Rows of a batch that are replayed.

        Raises:
          ValueError: so few rows that the rate comes to none, or to all of them.
        """
        rows = round(self.rate * batch_size)
        if self.rate and not 0 < rows < batch_size:
            raise ValueError(f"replay.rate={self.rate} of train.batch_size={batch_size} rows are {rows}; take another")
        return rows


def needs_anchor(regularizer: Regularizer, replay: ReplayConfig) -> bool:
    """Whether the parameters before training are wanted at each step."""
    return regularizer.type != "none" or bool(replay.rate and replay.kl_weight)


def _square(param: Any, start: Any, importance: Any = 1.0) -> Any:
    """The sum in float32, whatever the parameters are stored in."""
    difference = param.astype("float32") - start.astype("float32")
    return (importance * difference * difference).sum()


def _plus(one: Any, other: Any) -> Any:
    return one + other
