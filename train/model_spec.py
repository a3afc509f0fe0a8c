"""A model on a mesh without its weights: shape, fine-tuning method, logical axes, shardings.

    model = open_model(config, vocabulary.size)     # for training, the plan, evaluation and export alike

And its parameters from base to method and back.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from train.config import Config
from train.log import say
from train.methods import Full, Method
from train.model.attention.choose import choose_path
from train.model.flops import Passes, count_flops
from train.model.presets import FLAN_VOCAB_SIZE
from train.model.t5 import Params, T5Config, abstract_model, extend_params, merge_params
from train.parallel.mesh import check_cut, check_model_fits, make_mesh, param_shardings
from train.trees import flat, split


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


def open_model(config: Config, vocabulary_size: int, mesh: Mesh | None = None) -> "ModelSpec":
    """The model that a configuration names, with its method, on the mesh that it names.

    Args:
      vocabulary_size: of the vocabulary, extra ids included.
      mesh: another one than the configuration's.

    Raises:
      UserError: vocabulary, mesh, model and method do not fit together.
    """
    mesh = make_mesh(config.mesh) if mesh is None else mesh
    model_config = t5_config(config, vocabulary_size)
    check_model_fits(mesh, model_config)
    return ModelSpec.on(mesh, model_config, config.method)


def resolve_method(config: Config, vocabulary: Vocabulary) -> Config:
    """The configuration with what the method takes from data and vocabulary said; where it stands already, nothing changes."""
    return config.model_copy(update={"method": config.method.resolve(config.data, vocabulary)})


@dataclasses.dataclass(frozen=True)
class ModelSpec:
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
    def on(cls, mesh: Mesh, config: T5Config, method: Method | None = None) -> "ModelSpec":
        """Without a method: full fine-tuning, the plain model.

        Raises:
          UserError: the method does not fit the model, or adds something large that no axis of the mesh cuts.
        """
        method = Full() if method is None else method
        graphdef, shapes, axes = abstract_model(config, method.extend)
        shardings = param_shardings(mesh, axes)
        placed = with_shardings(shapes, shardings)
        check_cut(mesh, placed)
        return cls(config, mesh, method, graphdef, placed, axes, shardings)

    def flops(self) -> Passes:
        """FLOPs of a forward pass and of an update, as the method needs them."""
        return count_flops(self.config, flat(self.shapes), self.method.trains)

    def split(self, tree: Params) -> tuple[Params, Params]:
        """A tree of parameters, shapes or axes -> what is trained and what is frozen."""
        return split(tree, self.method.trains)


def extended_params(model: ModelSpec, base: Params, *, seed: int) -> Params:
    """Parameters of the plain model, whose memory is given up -> those of the model with what the method adds."""
    plain = ModelSpec.on(model.mesh, model.config)
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


def with_shardings(shapes: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes, shardings)


def merged_params(model: ModelSpec, params: Params) -> Params:
    """Folds what the method added into the weights; `params` are given up.

    What is changed by that is float32, whatever `param_dtype` is: see `Method.merge`.

    Raises:
      UserError: the plain model cannot compute the same.
    """
    plain = ModelSpec.on(model.mesh, model.config)
    if model.graphdef == plain.graphdef:
        return params
    merge = functools.partial(merge_params, model.graphdef, merge=model.method.merge)
    return rewrite(merge, params, plain.shardings)


def as_configured(model: ModelSpec, params: Params, *, where: str) -> Params:
    """Merged parameters of `model` in the types of its configuration; `params` are given up."""
    plain = ModelSpec.on(model.mesh, model.config)
    if all(x.dtype == shape.dtype for x, shape in zip(*map(jax.tree.leaves, (params, plain.shapes)), strict=True)):
        return params
    if model.graphdef != plain.graphdef and model.config.param_dtype == jnp.bfloat16:
        say(
            f"{where}: what {model.method.type} trained is rounded to model.param_dtype=bfloat16 with the weights it is merged "
            "into; a small change can be lost (float32 keeps it)"
        )

    def cast(params: Params) -> Params:
        return jax.tree.map(lambda x, shape: x.astype(shape.dtype), params, plain.shapes)

    return rewrite(cast, params, plain.shardings)
