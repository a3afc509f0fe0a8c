"""Prompt tuning (Lester et al. 2021, arXiv 2104.08691): trained embeddings in front of the inputs, and nothing else.

The tokens of a prompt are virtual: ids below 0 in the stream of examples, `T5.prompt` puts the trained embeddings in their
places. So an example with its prompt is packed, masked and decoded like any other, and each example of a row may have the
prompt of its own data set.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import BeforeValidator, Field, PositiveInt

from t5x_tasks.common.config_files import Section
from t5x_tasks.common.errors import UserError, one_line, suggest
from t5x_tasks.common.vocabulary import Vocabulary
from train.methods.base import Method
from train.model.soft_prompts import Prompt
from train.model.t5 import T5, Params
from train.weights import peft

if TYPE_CHECKING:
    from jax.sharding import Sharding

FIRST_PIECE = 3  # behind padding, end of sequence and unknown; pieces are sorted, the most common first


class Uniform(Section):
    """Uniform in +-`bound`."""

    type: Literal["uniform"] = "uniform"
    bound: float = Field(default=0.5, gt=0, description="numbers are drawn from [-bound, bound]")


class Pieces(Section):
    """The embeddings of pieces drawn, without repetition as far as they last, from the most common ones."""

    type: Literal["vocabulary"] = "vocabulary"
    pieces: PositiveInt = Field(default=5000, le=2**22, description="most common pieces that are drawn from")


class Labels(Section):
    """One token for each label, the mean of its pieces' embeddings; the rest as `vocabulary`."""

    type: Literal["labels"] = "labels"
    labels: tuple[str, ...] = Field(min_length=1, description="texts of the labels")


class Text(Section):
    """The embeddings of a text's pieces, said again until the prompt is full."""

    type: Literal["text"] = "text"
    text: str = Field(min_length=1, description="text whose pieces are taken")


class File(Section):
    """A prompt that was trained before."""

    type: Literal["file"] = "file"
    path: str = Field(description="a .npy of `[length, embed]`, or a PEFT directory of prompt tuning")


Init = Annotated[
    Uniform | Pieces | Labels | Text | File,
    Field(discriminator="type"),
    BeforeValidator(lambda value: {"type": "vocabulary", **value} if isinstance(value, dict) else value),
]


class PromptTuning(Method):
    """Puts `length` trained embeddings in front of each example's inputs, where they take room in `data.lengths.inputs`.

    Trains length x d parameters (d = emb_dim), with `tasks` as many for each of them.
    """

    type: Literal["prompt_tuning"] = "prompt_tuning"
    length: PositiveInt = Field(default=100, le=4096, description="virtual tokens of a prompt")
    tasks: tuple[str, ...] = Field(
        default=(), description="data sets that have a prompt each; empty: one prompt for all examples"
    )
    init: Init = Field(default=Pieces(), description="what the prompts start from")

    def extend(self, model: T5, rngs: nnx.Rngs) -> None:
        shape = (max(1, len(self.tasks)) * self.length, model.config.emb_dim)
        model.prompt = Embeddings(jnp.zeros(shape, jnp.float32))

    def trains(self, path: str) -> bool:
        return path.startswith("prompt/")

    def prompt(self, dataset: str) -> tuple[int, ...]:
        first = task_index(self.tasks, dataset) * self.length
        return tuple(-1 - i for i in range(first, first + self.length))

    def start(self, params: Params, *, seed: int, vocabulary: Callable[[], Vocabulary]) -> Params:
        rows = params["prompt"]["rows"]
        size = params["embedding"].shape[0]
        draw = np.random.default_rng(seed)
        prompts = [self._start(draw, rows.shape[1], size, vocabulary) for _ in self.tasks or (None,)]
        first = _place(prompts, params["embedding"], rows.sharding)
        return params | {"prompt": params["prompt"] | {"rows": first}}

    def files(self) -> tuple[Path, ...]:
        return (_file(self.init.path),) if isinstance(self.init, File) else ()

    def merge(self, model: T5) -> None:
        raise UserError(
            f"method {self.type}: a soft prompt is no part of any weight, so it cannot be merged; "
            "evaluate the run itself"
        )

    def to_peft(self, added: Params) -> peft.PeftAdapter:
        if len(self.tasks) > 1:
            raise UserError(
                "method.tasks: PEFT's prompt tuning has one prompt for all; several cannot be exported together"
            )
        return prompt_adapter(np.asarray(added["prompt"]["rows"]))

    def _start(
        self, draw: np.random.Generator, emb_dim: int, size: int, vocabulary: Callable[[], Vocabulary]
    ) -> np.ndarray | list[np.ndarray]:
        """Float32 `[length, embed]`, or for each virtual token the pieces whose embeddings' mean it starts from."""
        init = self.init
        if isinstance(init, Uniform):
            return draw.uniform(-init.bound, init.bound, (self.length, emb_dim)).astype(np.float32)
        if isinstance(init, File):
            return _read(init.path, (self.length, emb_dim))
        if isinstance(init, Text):
            ids = vocabulary().encode_batch([init.text])[0]
            if len(ids) == 0:
                raise UserError(f"method.init.text: {init.text!r} has no piece in the vocabulary")
            return list(np.resize(ids, self.length)[:, None])
        last = min(size, FIRST_PIECE + (init.pieces if isinstance(init, Pieces) else Pieces().pieces))
        drawn = draw.choice(np.arange(FIRST_PIECE, last), self.length, replace=last - FIRST_PIECE < self.length)
        if isinstance(init, Pieces):
            return list(drawn[:, None])
        labels = [ids for ids in vocabulary().encode_batch(init.labels) if len(ids)]
        if len(labels) > self.length:
            raise UserError(f"method.init.labels: {len(labels)} labels for method.length={self.length} virtual tokens")
        return [*labels, *drawn[len(labels) :, None]]


def task_index(tasks: tuple[str, ...], dataset: str) -> int:
    """Which of the prompts of `method.tasks` a data set has; 0 if there is one for all. UserError: it has none."""
    name = dataset.removesuffix(".inverted")
    if tasks and name not in tasks:
        hint = suggest(name, tasks) or f"; there are {', '.join(tasks)}"
        raise UserError(f"method.tasks: there is no prompt for {name}{hint}")
    return tasks.index(name) if tasks else 0


def prompt_adapter(rows: np.ndarray) -> peft.PeftAdapter:
    """Embeddings in front of the inputs, `[length, embed]`, as PEFT's prompt tuning."""
    config = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": rows.shape[0],
        "token_dim": rows.shape[1],
        "num_transformer_submodules": 1,  # the encoder's side only, as in the paper
        "prompt_tuning_init": "RANDOM",
    }
    return peft.PeftAdapter(config, {"prompt_embeddings": rows})


class Embeddings(Prompt):
    """The embeddings of the virtual tokens themselves."""

    def __init__(self, rows: jax.Array):
        self.rows = nnx.Param(rows, logical_axes=("virtual", "embed"))

    def table(self) -> jax.Array:
        return self.rows[...]


def _place(prompts: list[Any], embedding: jax.Array, sharding: "Sharding") -> jax.Array:
    """Values or pieces of each prompt -> float32 `[prompts x length, embed]` in its place."""
    if isinstance(prompts[0], np.ndarray):
        values = np.concatenate(prompts)
        return jax.make_array_from_callback(values.shape, sharding, values.__getitem__)
    bags = [bag for prompt in prompts for bag in prompt]
    ids, share = np.zeros((2, len(bags), max(map(len, bags))))
    for row, bag in enumerate(bags):
        ids[row, : len(bag)], share[row, : len(bag)] = bag, 1 / len(bag)

    def mean(table: jax.Array) -> jax.Array:
        pieces = jnp.take(table, ids.astype(np.int32), axis=0)
        return jnp.einsum("nke,nk->ne", pieces, share.astype(np.float32), precision=jax.lax.Precision.HIGHEST)

    return jax.jit(mean, out_shardings=sharding)(embedding)


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    return path / peft.WEIGHTS if path.is_dir() else path


def _read(name: str, shape: tuple[int, int]) -> np.ndarray:
    path = _file(name)
    try:
        if path.name == peft.WEIGHTS:
            from train.weights.hf import open_safetensors

            values = open_safetensors(path)["prompt_embeddings"].read()
        else:
            # Mapped: a header that promises more numbers than the file holds asks for no memory.
            values = np.array(np.load(path, allow_pickle=False, mmap_mode="r"), np.float32)
    except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
        reason = one_line(error, most=120)
        raise UserError(
            f"method.init.path: {name}: neither a .npy nor a PEFT directory with a prompt ({reason})"
        ) from None
    if values.shape != shape:
        raise UserError(
            f"method.init.path: {name} holds {list(values.shape)}, the prompt is {list(shape)} (method.length x emb_dim)"
        )
    return values.astype(np.float32)
