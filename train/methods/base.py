"""The base class of fine-tuning methods: a section of the configuration that says what it adds, what it trains, how it is merged.

    class Scaled(Method):                       # method: {type: "my_module:Scaled", targets: [".*/key"]}
        targets: tuple[str, ...] = (".*/value",)        # its keys

        def extend(self, model, rngs):                  # what it adds: adapters at kernels, see train.model.adapters
            hang(model, self.targets, lambda path, kernel: Scale(kernel), key="method.targets")

        def trains(self, path):                         # what is trained: unless said otherwise, what was added
            return "adapters" in path.split("/")

Everything else follows: shapes, sharding by the logical axes of the added parameters, gradients and optimizer state for what
is trained, checkpoints of it alone, and merging, as far as the adapters can be merged.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from t5x_tasks.common.config_files import Section
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.prepare.data_config import DataConfig

if TYPE_CHECKING:
    from pathlib import Path

    from flax import nnx

    from t5x_tasks.common.vocabulary import Vocabulary
    from train.model.adapters import Adapter, Projections
    from train.model.t5 import T5, Params
    from train.weights.peft import PeftAdapter


class Method(Section):
    """A way to fine-tune; the base of all. Its fields are the keys of the section `method`.

    Attributes:
      starts_as_base: before the first step the extended model computes the same as the base: evaluated there, they are one.
    """

    starts_as_base: ClassVar[bool] = False
    type: str

    def resolve(self, data: DataConfig, vocabulary: "Vocabulary") -> "Method":
        """The method with everything said that its keys leave to the data, as `data.lengths: auto`; the run's config has that."""
        return self

    def extend(self, model: "T5", rngs: "nnx.Rngs") -> None:
        """Hangs what the method adds into a plain model, initialised.

        Called where the model has no weights (for shapes and logical axes: every `nnx.Param` has `logical_axes`), and under
        jit with the base weights, so that what is added may start from them. Nothing may depend on the weights but values.

        Raises:
          UserError: the method does not fit the model.
        """

    def trains(self, path: str) -> bool:
        """Whether the parameter at a path, as `encoder/attention/query`, is trained: by default what was added."""
        return "adapters" in path.split("/")

    def start(self, params: "Params", *, seed: int, vocabulary: "Callable[[], Vocabulary]") -> "Params":
        """The extended model's parameters before the first step, where what was added starts from texts or files.

        Raises:
          UserError: they cannot be read, or do not fit.
        """
        return params

    def prompt(self, dataset: str) -> tuple[int, ...]:
        """Tokens in front of the inputs of a data set's examples; ids below 0 are virtual, see `train.model.soft_prompts.Prompt`.

        Raises:
          UserError: the method has none for this data set.
        """
        return ()

    def files(self) -> "tuple[Path, ...]":
        """Files that `start` reads: where a run is pulled to its start, a resumed run must find the same."""
        return ()

    def described(self) -> str:
        """JSON of the type and of every key that was given a value other than its default."""
        given = {"type": self.type, **self.model_dump(mode="json", exclude_defaults=True)}
        return json.dumps(given, sort_keys=True)

    def merge(self, model: "T5") -> None:
        """Undoes `extend`: folds what was added into the weights, so that the plain model computes the same.

        What it changes becomes float32, however the weights are held: in bfloat16 a small change would be rounded away. (That is
        why values are set with `set_value`; `kernel[...] = ` keeps the type.)

        Raises:
          UserError: the plain model cannot compute the same.
        """
        if "embedding" in model.adapters:
            model.embedding.set_value(model.adapters["embedding"].merged(model.embedding[...]))
            del model.adapters["embedding"]
        for _, module in projections(model):
            for name in list(module.adapters):
                kernel = getattr(module, name)
                kernel.set_value(module.adapters[name].merged(kernel[...]))
                del module.adapters[name]

    def to_peft(self, added: "Params") -> "PeftAdapter":
        """An adapter that the `peft` library opens (train/weights/peft.py), from the parameters that were trained.

        Raises:
          UserError: peft has no such method.
        """
        raise UserError(f"method {self.type}: peft has no such adapter; `--to hf` merges what can be merged")


def projections(model: "T5") -> "Iterator[tuple[str, Projections]]":
    """The modules that have kernels, with their paths: `encoder/attention`, `decoder/mlp`, ..."""
    from flax import nnx

    from train.model.adapters import Projections

    for path, module in nnx.iter_modules(model):
        if isinstance(module, Projections):
            yield "/".join(map(str, path)), module


def hang(model: "T5", targets: Iterable[str], make: "Callable[[str, nnx.Param], Adapter]", *, key: str) -> None:
    """Hangs `make(path, kernel)` at each kernel whose path a pattern of `targets` matches whole.

    Args:
      make: from the path of a kernel, as `decoder/cross_attention/value`, and its parameter `[layers, in, out]`.
      key: of the configuration that holds the targets, for errors.

    Raises:
      UserError: a pattern matches no kernel, or is none.
    """
    kernels = {}
    for path, module in projections(model):
        for name, value in vars(module).items():
            if getattr(value, "ndim", 0) == 3:
                kernels[f"{path}/{name}"] = (module, name)
    matched = {path for pattern in targets for path in matches(pattern, kernels, key=key)}
    for path in sorted(matched):
        module, name = kernels[path]
        module.adapters[name] = make(path, getattr(module, name))


def matches(pattern: str, paths: Iterable[str], *, key: str) -> list[str]:
    """The paths that a regular expression matches whole. UserError: it matches none, or is not a regular expression."""
    paths = list(paths)
    try:
        found = [path for path in paths if re.fullmatch(pattern, path)]
    except re.error as error:
        raise UserError(f"{key}: {pattern!r} is no regular expression ({error})") from None
    if not found:
        hint = suggest(pattern, paths) or f"; there are {', '.join(paths)}"
        raise UserError(f"{key}: {pattern!r} matches no parameter of the model{hint}")
    return found
