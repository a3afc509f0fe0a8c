"""The train state: its shapes and shardings, and the first one."""

import jax
import jax.numpy as jnp
import optax

from t5x_tasks.errors import UserError
from train.config import Config
from train.model.attention.choose import choose_path
from train.model.presets import FLAN_VOCAB_SIZE
from train.model.t5 import Params, T5Config
from train.model_spec import ModelSpec, with_shardings
from train.optimizer import widened
from train.parallel.mesh import check_cut, optimizer_shardings, replicated
from train.skip_rule import first_guard
from train.step import State


def t5_config(config: Config, vocabulary_size: int) -> T5Config:
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
    sizes = model.sizes()
    return T5Config(
        vocab_size=vocab_size,
        dropout=config.train.dropout,
        compute_dtype=jnp.dtype(dtype),
        param_dtype=jnp.dtype(model.param_dtype),
        remat=model.remat,
        scan_layers=model.scan_layers,
        attention=choose_path(model.attention, dtype=dtype, num_heads=sizes["num_heads"], head_dim=sizes["head_dim"]),
        **sizes,
    )


def state_shapes(model: ModelSpec, optimizer: optax.GradientTransformation) -> State:
    """The state as `jax.ShapeDtypeStruct` with shardings: what a checkpoint is restored into. Frozen parameters are not in it."""
    params = model.split(model.shapes)[0]
    opt_state = jax.eval_shape(optimizer.init, widened(params))
    opt_shardings = optimizer_shardings(model.mesh, opt_state, params, model.split(model.shardings)[0])
    scalar = replicated(model.mesh)
    opt_state = with_shardings(opt_state, opt_shardings)
    check_cut(model.mesh, opt_state)
    return {
        "step": jax.ShapeDtypeStruct((), jnp.int32, sharding=scalar),
        "params": params,
        "opt_state": opt_state,
        "rng": jax.ShapeDtypeStruct((2,), jnp.uint32, sharding=scalar),
        "guard": jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=scalar), jax.eval_shape(first_guard)
        ),
    }


def first_state(params: Params, optimizer: optax.GradientTransformation, seed: int, shapes: State) -> State:
    """The state before the first step; `params` are those that are trained."""
    shardings = jax.tree.map(lambda s: s.sharding, shapes)
    rest = jax.jit(
        lambda params: {
            "step": jnp.int32(0),
            "opt_state": optimizer.init(widened(params)),
            "rng": jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
            "guard": first_guard(),
        },
        out_shardings={name: shardings[name] for name in ("step", "opt_state", "rng", "guard")},
    )(params)
    return {**rest, "params": params}
