"""Ways to fine-tune. One file a method, each with the same parts: see train/methods/base.py. Imports no JAX."""

from pathlib import Path
from typing import Any

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.functions import check_name, load_function
from train.methods.base import Method
from train.methods.full import Full

__all__ = ["METHODS", "Adapter", "Full", "Method", "Prompt", "parse_method"]  # pyright: ignore[reportUnsupportedDunderAll]

# Imported when a configuration names them: they need JAX, and `--help` must not.
METHODS = {
    "full": "train.methods.full:Full",
    "lora": "train.methods.lora:Lora",
    "ia3": "train.methods.ia3:IA3",
    "bottleneck": "train.methods.bottleneck:Bottleneck",
    "word_embeddings": "train.methods.word_embeddings:WordEmbeddings",
    "prompt_tuning": "train.methods.prompt_tuning:PromptTuning",
    "p_tuning": "train.methods.p_tuning:PTuning",
    "prefix_tuning": "train.methods.prefix_tuning:PrefixTuning",
}


def __getattr__(name: str) -> Any:
    """`Adapter` and `Prompt`, base classes for methods of the user's own: they need JAX, so they are imported when asked for."""
    if name == "Adapter":
        from train.model.adapters import Adapter

        return Adapter
    if name == "Prompt":
        from train.model.soft_prompts import Prompt

        return Prompt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parse_method(value: Any) -> Any:
    """`{type: lora, rank: 8}` -> the method; its class is one of METHODS, or the user's `package.module:Class`.

    Raises:
      UserError: the user's module cannot be imported, or has no such method.
      ValueError: no such type; a ValidationError of pydantic's, when its keys do not fit.
    """
    if not isinstance(value, dict):
        return value
    value = {"type": "full"} | value
    name = str(value["type"])
    check_name(name, METHODS, kind="method", key="type")
    path = METHODS.get(name, name)
    method = load_function(path, folder=Path.cwd(), where="method.type")
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UserError(f"method.type: {name}: is no train.methods.Method")
    return method.model_validate(value)
