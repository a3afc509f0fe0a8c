"""Configuration: pydantic models over YAML files, `base:` files to build on, dotted overrides, errors that name the key.

    base: flan_t5_base.yaml      # relative to this file; may be a list, later ones win
    data: {mixture: dialogsum}

`load("configs/x.yaml", ["train.steps=200"], Schema)` merges the base files, the file and the overrides in this order and
validates the result. This module knows how to load; the schema says what a file may contain (train/config.py).
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticKnownError

from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.located_yaml import NotYaml, parse, read_yaml
from t5x_tasks.common.problems import in_words

Schema = TypeVar("Schema", bound=BaseModel)
LARGEST = 2**31 - 1
_PLAIN = ("int", "float", "str", "bool")  # members of unions, as pydantic names them


class Section(BaseModel):
    """A part of a configuration: unknown keys are errors, values do not change once loaded.

    No number is infinite or NaN, and no whole number larger than an int32, as which devices count steps and tokens. What
    memory is made for has a bound of its own, below which it may still be too much for a machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="after", check_fields=False)
    @classmethod
    def _no_absurd_number(cls, value: Any) -> Any:
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and number > LARGEST:
                raise PydanticKnownError("less_than_equal", {"le": LARGEST})
            if isinstance(number, int) and number < -LARGEST:
                raise PydanticKnownError("greater_than_equal", {"ge": -LARGEST})
        return value


def check_one_line(text: str) -> str:
    """Returns a path or a name as it is.

    Raises:
      ValueError: it holds a line break or another control character, or half a character. No path of a person's does, and
        in the scripts that launchers write what follows it would be a line of its own.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise ValueError(f"{text!r:.80} holds a line break or another control character; leave it out")
    return text


def check_folder(path: str) -> str:
    """Returns the path of a folder as it is.

    Raises:
      ValueError: it is a URL. Files would go into a new folder of that name on this machine's disk, which nobody wants. Or it
        is no line.
    """
    check_one_line(path)
    match = re.match(r"([a-z][a-z0-9+.-]*)://([^/]*)/*(.*)", path, re.IGNORECASE)
    if match is None:
        return path
    scheme, bucket, rest = match.groups()
    mounted = f"and write /data/{rest}".rstrip("/")
    ways = {
        "gs": f"launch with --bucket gs://{bucket} (tpu-vm, gke, sky), which mounts it at /data, or mount it with gcsfuse, "
        f"{mounted}",
        "s3": f"launch sky with --bucket s3://{bucket}, which mounts it at /data, or mount it yourself (mountpoint-s3 serves "
        f"data.root alone: it cannot rename), {mounted}",
    }
    way = ways.get(scheme.lower(), "mount what is there, or copy it, and write the folder's path")
    raise ValueError(f"{path} is a URL, and here a folder is needed: {way}")


OneLine = Annotated[str, AfterValidator(check_one_line)]
Folder = Annotated[str, AfterValidator(check_folder)]


def load(path: str | Path, overrides: list[str], schema: type[Schema]) -> Schema:
    """Loads and validates a configuration file.

    Raises:
      UserError: the file is missing or is no YAML mapping, or a key or value does not fit the schema; the message names
        the file (or `command line`) and the dotted key.
    """
    values = read_tree(Path(path))
    given: dict[str, Any] = {}
    for override in overrides:
        key, value = parse_override(override)
        _assign(given, key.split("."), value, key)
    values = merge(values, given)
    origin = {override.partition("=")[0]: "command line" for override in overrides}
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(_describe(error, str(path), origin, schema)) from None


def read_tree(
    path: Path, chain: tuple[Path, ...] = (), known: dict[Path, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Reads a YAML file and merges it over its base files; returns plain nested dicts.

    Args:
      chain: files that build on this one.
      known: trees that were read already, so that a file that several build on is read once.
    """
    resolved = path.resolve()
    if resolved in chain:
        raise UserError(f"{path}: base: builds on itself through {chain[-1].name}; remove one of the two")
    known = {} if known is None else known
    if resolved in known:
        return known[resolved]
    values = read_yaml_mapping(path)
    bases = values.pop("base", None) or []
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        if not isinstance(base, str):
            raise UserError(f"{path}: base: must be a file name or a list of them, not {base!r}")
        base_path = path.parent / base
        if not os.path.isfile(base_path):  # noqa: PTH113, false where a name is too long
            raise UserError(f"{path}: base: {base} does not exist beside it")
        merged = merge(merged, read_tree(base_path, (*chain, resolved), known))
    known[resolved] = merge(merged, values)
    return known[resolved]


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    values, _ = read_yaml(path)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold keys and values, not a {type(values).__name__}")
    return values


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merges two trees; the second wins. A section whose `type` changes starts anew: its other keys belong to the type."""
    result = dict(under)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("type", old.get("type")) == old.get("type"):
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result


def parse_override(text: str) -> tuple[str, Any]:
    """Parses `train.steps=200`; the value is YAML, so `null`, `true`, `[a, b]` and `1e-3` mean what they say."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"command line: {text!r} is no override; write key=value, as in train.steps=200")
    try:
        parsed, _ = parse(value)
    except NotYaml as error:
        raise UserError(
            f"command line: {key}: {value!r:.80} is not a valid YAML value ({error}); put quotes around it"
        ) from None
    return key, parsed


def _assign(tree: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    for depth, part in enumerate(path[:-1]):
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise UserError(
                f"command line: {key}: {'.'.join(path[: depth + 1])} was given a value before; give one of the two"
            )
    tree[path[-1]] = value


def _describe(error: ValidationError, file: str, origin: dict[str, str], schema: type[BaseModel]) -> str:
    """Turns the first problem that pydantic found into one line. Problems of unions name the member that came nearest."""
    problems = error.errors(include_url=False)
    problem = max(problems, key=lambda p: (p["type"] == "extra_forbidden", len(p["loc"])))
    keys, parent = _keys(problem["loc"], schema)
    key = ".".join(keys) or "(top)"
    where = next((o for k, o in origin.items() if key == k or key.startswith(k + ".") or k.startswith(key + ".")), file)
    if problem["type"] == "extra_forbidden":
        siblings = set(_fields(parent))
        prefix = "".join(f"{k}." for k in keys[:-1])
        hint = suggest(keys[-1], siblings).replace("did you mean ", f"did you mean {prefix}")
        known = "" if hint or not siblings else f"; known are {', '.join(sorted(siblings))}"
        return f"{where}: {key}: unknown key{hint}{known}"
    shown = f" (got {problem.get('input')!r:.80})" if problem["type"] not in ("missing", "value_error") else ""
    alike = [p for p in problems if _keys(p["loc"], schema)[0] == keys and p["type"] not in ("missing", "value_error")]
    return f"{where}: {key}: {in_words(alike if shown else [problem])}{shown}"


def _keys(place: Sequence[str | int], schema: type[BaseModel]) -> tuple[list[str], Any]:
    """The keys that the user wrote to a place of pydantic's, which also names members of unions; and what the last one is in."""
    model: Any = schema
    parent: Any = schema
    keys: list[str] = []
    for part in place:
        if isinstance(part, str) and (member := _member(model, part)) is not None:
            model = member
        elif isinstance(model, type) or not (part in _PLAIN or str(part).startswith("literal[")):
            keys.append(str(part))
            parent, model = model, _fields(model).get(part) if isinstance(part, str) else model
    return keys, parent


def _fields(annotation: Any) -> dict[str, Any]:
    """Fields of the pydantic models in an annotation (unions and Annotated are looked through; a base is all its kinds)."""
    fields: dict[str, Any] = {}
    for model in _models(annotation):
        fields.update({name: info.annotation for name, info in model.model_fields.items()})
    return fields


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation, *annotation.__subclasses__()]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models(arg)]


def _member(annotation: Any, part: str) -> type[BaseModel] | None:
    """The member of a union that pydantic names by its tag or its class in an error's place."""
    if isinstance(annotation, type):
        return None
    for model in _models(annotation):
        tag = model.model_fields["type"].default if "type" in model.model_fields else None
        if part in (tag, model.__name__):
            return model
    return None
