"""The state of a run: made from random or given weights, or described for restoring, always in its place on the mesh."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from t5x_tasks.errors import UserError
from t5x_tasks.vocabulary import Vocabulary
from train import sharding
from train.attention.path import choose_path
from train.config import FLAN_VOCAB_SIZE, Config
from train.fingerprint import Prints, digest, fingerprint, note
from train.flops import Passes, count_flops
from train.guard import first_guard
from train.methods import Full, Method
from train.methods.base import flat, split
from train.model import ADDED, Params, T5Config, abstract_model, extend_params, init_params
from train.precision import widened
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


def resolve_method(config: Config, vocabulary: Vocabulary) -> Config:
    """The configuration with what the method takes from data and vocabulary said; where it stands already, nothing changes."""
    return config.model_copy(update={"method": config.method.resolve(config, vocabulary)})


@dataclasses.dataclass(frozen=True)
class Model:
    """A model on a mesh, as a method fine-tunes it, without its weights.

    Attributes:
      shapes: of all parameters, jax.ShapeDtypeStruct with shardings.
    """

    config: T5Config
    mesh: Mesh
    method: Method
    graphdef: nnx.GraphDef
    shapes: Params
    axes: Params
    shardings: Params

    @classmethod
    def on(cls, mesh: Mesh, config: T5Config, method: Method | None = None) -> "Model":
        """Without a method: full fine-tuning, the plain model.

        Raises:
          UserError: the method does not fit the model, or adds something large that no axis of the mesh cuts.
        """
        method = Full() if method is None else method
        graphdef, shapes, axes = abstract_model(config, method.extend)
        shardings = sharding.param_shardings(mesh, axes)
        placed = _placed(shapes, shardings)
        sharding.check_cut(mesh, placed)
        return cls(config, mesh, method, graphdef, placed, axes, shardings)

    def flops(self) -> Passes:
        """FLOPs of a forward pass and of an update, as the method needs them."""
        return count_flops(self.config, flat(self.shapes), self.method.trains)

    def split(self, tree: Params) -> tuple[Params, Params]:
        """A tree of parameters, shapes or axes -> what is trained and what is frozen."""
        return split(tree, self.method.trains)


def load_params(config: Config, model: Model, *, read: Prints | None = None) -> Params:
    """All parameters before training, the same on every mesh but for the last bits of what is computed from others.

    The base is `model.weights`, or random from `train.seed`; what the method adds starts from the base, the seed, and the
    texts and files that the method names.

    Args:
      read: see `load_base`.

    Raises:
      UserError: see `load_base`, or a text or file of the method's cannot be used.
    """
    vocabulary = functools.partial(Vocabulary.load, config.model.vocabulary)
    return model.method.start(load_base(config, model, read=read), seed=config.train.seed, vocabulary=vocabulary)


def find_base(config: Config) -> Path | None:
    """The folder of `model.weights`, fetched if need be; None of random ones. UserError: see `weights.resolve`."""
    return None if config.model.weights == "random" else _resolve(config.model.weights)


@functools.cache  # a run looks early whether they are there, and asks the hub once
def _resolve(name: str) -> Path:
    from train import weights

    return weights.resolve(name)


def load_base(config: Config, model: Model, *, read: Prints | None = None) -> Params:
    """All parameters, those that the method freezes as they always are; what it adds may still lack its start.

    Args:
      read: gets the fingerprints of what decides the frozen parameters: of the base as it is read, and of the method where that
        freezes something it adds.

    Raises:
      UserError: the weights are not there or do not fit the model; the message names the tensors.
    """
    base = Model.on(model.mesh, model.config)
    if (folder := find_base(config)) is None:
        init = functools.partial(init_params, model.config, config.train.seed)
        params = jax.jit(init, out_shardings=base.shardings)()
        if read is not None:
            note(read, fingerprint(params))
    else:
        from train import weights

        params = weights.load(folder, base.shapes, base.shardings, model.config, own=config.method.type, read=read)
    if any(ADDED.intersection(path.split("/")) for path in flat(model.split(model.shapes)[1])):
        note(read, {"method": digest(model.method.described().encode(), str(config.train.seed).encode())})
    return extended_params(model, params, seed=config.train.seed)


def extended_params(model: Model, base: Params, *, seed: int) -> Params:
    """Parameters of the plain model, whose memory is given up -> those of the model with what the method adds."""
    plain = Model.on(model.mesh, model.config)
    if model.graphdef == plain.graphdef:
        return base
    extend = functools.partial(extend_params, plain.graphdef, extend=model.method.extend, seed=seed)
    return rewrite(extend, base, model.shardings)


def rewrite(function: Callable[[Params], Params], params: Params, shardings: Params) -> Params:
    """Runs a function from parameters to parameters in the memory that the old ones give up."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Some donated buffers were not usable"
        )  # those that change their shape
        return jax.jit(function, donate_argnums=0, out_shardings=shardings)(params)


def state_shapes(model: Model, optimizer: optax.GradientTransformation) -> State:
    """The state as `jax.ShapeDtypeStruct` with shardings: what a checkpoint is restored into. Frozen parameters are not in it."""
    params = model.split(model.shapes)[0]
    opt_state = jax.eval_shape(optimizer.init, widened(params))
    opt_shardings = sharding.optimizer_shardings(model.mesh, opt_state, params, model.split(model.shardings)[0])
    scalar = sharding.replicated(model.mesh)
    opt_state = _placed(opt_state, opt_shardings)
    sharding.check_cut(model.mesh, opt_state)
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


def _placed(shapes: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes, shardings)
