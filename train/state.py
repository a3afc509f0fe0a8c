"""The state of a run: made from random or given weights, or described for restoring, always in its place on the mesh."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from t5x_tasks.errors import UserError
from train import sharding
from train.config import FLAN_VOCAB_SIZE, Config
from train.model import Params, T5Config, abstract_model, init_params
from train.step import State


def model_config(config: Config, vocabulary_size: int) -> T5Config:
    """Resolves the model's shape and numerics; `vocabulary_size` is that of the vocabulary, extra ids included.

    Raises:
      UserError: the embedding has fewer rows than the vocabulary has pieces.
    """
    model = config.model
    flan = model.preset.startswith("flan-")
    vocab_size = model.vocab_size or (FLAN_VOCAB_SIZE if flan else -(-vocabulary_size // 128) * 128)
    if vocab_size < vocabulary_size:
        raise UserError(
            f"model.vocab_size: {vocab_size} rows are too few for the {vocabulary_size} pieces of {model.vocabulary}; "
            "choose the vocabulary that the weights were trained with"
        )
    dtype = model.compute_dtype
    if dtype == "auto":
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return T5Config(
        vocab_size=vocab_size,
        dropout=config.train.dropout,
        compute_dtype=jnp.dtype(dtype),
        remat=model.remat,
        **model.sizes(),
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """A model on a mesh, without its weights."""

    config: T5Config
    mesh: Mesh
    graphdef: nnx.GraphDef
    shapes: Params  # of jax.ShapeDtypeStruct with shardings
    axes: Params
    shardings: Params

    @classmethod
    def on(cls, mesh: Mesh, config: T5Config) -> "Model":
        graphdef, shapes, axes = abstract_model(config)
        shardings = sharding.param_shardings(mesh, axes)
        return cls(config, mesh, graphdef, _placed(shapes, shardings), axes, shardings)


def load_params(config: Config, model: Model) -> Params:
    """Parameters before training: from `model.weights`, or random from `train.seed`, the same on every mesh.

    Raises:
      UserError: the weights are not there or do not fit the model; the message names the tensors.
    """
    if config.model.weights == "random":
        init = functools.partial(init_params, model.config, config.train.seed)
        return jax.jit(init, out_shardings=model.shardings)()
    from train import weights

    return weights.load(weights.resolve(config.model.weights), model.shapes, model.shardings, model.config)


def state_shapes(model: Model, optimizer: optax.GradientTransformation) -> State:
    """The state as `jax.ShapeDtypeStruct` with shardings: what a checkpoint is restored into."""
    opt_state = jax.eval_shape(optimizer.init, model.shapes)
    opt_shardings = sharding.optimizer_shardings(model.mesh, opt_state, model.shapes, model.shardings)
    scalar = sharding.replicated(model.mesh)
    return {
        "step": jax.ShapeDtypeStruct((), jnp.int32, sharding=scalar),
        "params": model.shapes,
        "opt_state": _placed(opt_state, opt_shardings),
        "rng": jax.ShapeDtypeStruct((2,), jnp.uint32, sharding=scalar),
    }


def first_state(params: Params, optimizer: optax.GradientTransformation, seed: int, shapes: State) -> State:
    """The state before the first step."""
    shardings = jax.tree.map(lambda s: s.sharding, shapes)
    rest = jax.jit(
        lambda params: {
            "step": jnp.int32(0),
            "opt_state": optimizer.init(params),
            "rng": jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
        },
        out_shardings={name: shardings[name] for name in ("step", "opt_state", "rng")},
    )(params)
    return {**rest, "params": params}


def _placed(shapes: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes, shardings)
