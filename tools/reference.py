"""`python -m tools.reference` (`make docs`) writes docs/reference, docs/schema and tests/golden from the code.

A test holds what is committed equal to what `pages()` and `golden()` give.
"""

import argparse
import importlib
import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

from t5x_tasks.card.card import Card
from t5x_tasks.card.mixture import Mixture
from t5x_tasks.common.functions import load_function
from train.config import Config, dump, load
from train.methods import METHODS

REPOSITORY = Path(__file__).parents[1]
_WRITTEN = "Written by `make docs` from {}: edit it there.\n"
# Programs, each with those of its commands that have a parser of their own.
_PROGRAMS = {
    "t5x_tasks": (),
    "train": (),
    "train.export": (),
    "eval": ("score", "compare", "rate", "predict", "suggest"),
    "launch": (),
}
_NEEDED = "needed"  # in place of a default
Schema = dict[str, Any]


def pages() -> dict[str, str]:
    """Path within the repository -> text of the file."""
    card, config = card_schema(), config_schema()
    return {
        "docs/reference/cards.md": _cards_page(card),
        "docs/reference/commands.md": _commands_page(),
        "docs/reference/configuration.md": _configuration_page(config),
        "docs/schema/card.json": json.dumps(card, indent=1, ensure_ascii=False) + "\n",
        "docs/schema/config.json": json.dumps(config, indent=1, ensure_ascii=False) + "\n",
    }


def golden() -> dict[str, str]:
    """Path -> a shipped configuration with every default written out, so that a change of a default shows in review."""
    files = [path for path in sorted(REPOSITORY.glob("configs/**/*.yaml")) if path.parent.name != "cards"]
    return {
        f"tests/golden/{path.relative_to(REPOSITORY / 'configs').as_posix()}": dump(load(path, []))
        for path in files
        if not path.name.startswith("_")  # what others build on
    }


# --- Schemas: pydantic's, less what it does not know ---


def card_schema() -> Schema:
    """The JSON Schema of a card's file, whose templates may also be the name of a file of them."""
    schema = _plain(Card.model_json_schema())
    del schema["properties"]["path"]  # of the card's own file, no key
    templates = schema["properties"]["templates"]
    kinds = [{"type": "string"}, {key: templates.pop(key) for key in ("type", "items")}]
    schema["properties"]["templates"] = {"anyOf": kinds, **templates}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Card"}


def config_schema() -> Schema:
    """The JSON Schema of a configuration's file: with `base`, every method's keys, and no key needed, for a base may say it."""
    schema = Config.model_json_schema()
    names = []
    for path in METHODS.values():
        method = load_function(path, folder=REPOSITORY, where="method.type")
        own = method.model_json_schema()
        schema["$defs"] |= own.pop("$defs", {}) | {method.__name__: own}
        names.append({"$ref": f"#/$defs/{method.__name__}"})
    users = {"type": "object", "properties": {"type": {"type": "string", "pattern": ":"}}, "required": ["type"]}
    del schema["$defs"]["Method"]
    schema["properties"]["method"] = {"anyOf": [*names, users], "default": schema["properties"]["method"]["default"]}
    schema["properties"]["base"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}],
        "default": None,
        "description": "files that this one builds on, relative to it; later ones win",
    }
    schema = _plain(schema)
    schema.pop("required")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Configuration"}


def _plain(schema: Any) -> Any:
    """Drops titles that repeat the key; lets a section fit several types, as one without `type` does."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    plain.pop("discriminator", None)
    if "oneOf" in plain:
        plain["anyOf"] = plain.pop("oneOf")
    return plain


# --- Pages ---


def _configuration_page(schema: Schema) -> str:
    lines = ["# Keys of a configuration", "", _WRITTEN.format("`train/config.py`")]
    lines += [
        "A key is given in the file (`train: {steps: 200}`) or on the command line (`train.steps=200`). Editors with the YAML",
        "language server complete and check a file that begins with this line; the path is relative to the file:",
        "",
        "    # yaml-language-server: $schema=../docs/schema/config.json",
        "",
    ]
    top = []
    for key, prop in schema["properties"].items():
        rows = _rows(key, prop, schema, prop.get("default", _NEEDED))
        if len(rows) == 1:
            top += rows
            continue
        text = _resolved(prop, schema).get("description", "").split("\n\n")[0].replace("\n", " ")
        lines += [f"## {key}", "", *([text, ""] if text else []), *_table(rows), ""]
    first = lines.index(next(line for line in lines if line.startswith("## ")))
    lines[first:first] = [*_table(top), ""]
    return "\n".join(lines)


def _cards_page(schema: Schema) -> str:
    lines = ["# Keys of a card", "", _WRITTEN.format("`t5x_tasks/card.py` and the models that it names")]
    lines += [
        "Editors with the YAML language server complete and check a card that begins with this line; the path is relative to",
        "the card:",
        "",
        "    # yaml-language-server: $schema=../docs/schema/card.json",
        "",
        *_model_table(schema, schema),
    ]
    defs = schema["$defs"]
    for name, title in (("Template", "Templates"), ("FieldSpec", "Fields"), ("Options", "Options"), ("Split", "Split")):
        lines += ["", f"## {title}", "", *_model(defs[name], schema)]
    lines += ["", "## Sources"]
    for name, model in defs.items():
        if name.endswith("Source"):
            types = model["properties"]["type"]
            names = types.get("enum") or [types["const"]]
            lines += ["", f"### {', '.join(f'`{one}`' for one in names)}", "", *_model(model, schema)]
    mixture = _plain(Mixture.model_json_schema())
    del mixture["properties"]["path"]
    lines += ["", "## Mixtures", "", *_model(mixture, mixture), "", "A member:", ""]
    return "\n".join([*lines, *_model_table(mixture["$defs"]["Member"], mixture), ""])


def _model(model: Schema, schema: Schema) -> list[str]:
    model = next((kind for kind in model.get("anyOf", []) if "properties" in kind), model)
    return [model.get("description", ""), "", *_model_table(model, schema)]


def _model_table(model: Schema, schema: Schema) -> list[str]:
    rows = [
        (key, _type(prop, schema), _default(prop.get("default", _NEEDED)), prop.get("description", ""))
        for key, prop in model["properties"].items()
        if key != "type"
    ]
    return _table(rows)


Row = tuple[str, str, str, str]  # key, type, default, what it means


def _rows(key: str, prop: Schema, schema: Schema, default: Any) -> list[Row]:
    """The rows of a key: of a section, those of the keys in it."""
    section = _resolved(prop, schema)
    if "properties" in section:
        return [
            row for name, one in section["properties"].items() for row in _of_section(key, name, one, schema, default)
        ]
    row = (key, _type(prop, schema), _default(default), prop.get("description", ""))
    kinds = [kind for one in section.get("anyOf", []) if "properties" in (kind := _resolved(one, schema))]
    typed = [kind for kind in kinds if "const" in kind["properties"].get("type", {})]
    if not typed:
        return [row, *(row for kind in kinds for row in _rows(key, kind, schema, default))]
    names = [kind["properties"]["type"]["const"] for kind in typed]
    chosen = default.get("type") if isinstance(default, dict) else None
    what = prop.get("description") or "; ".join(
        f"{name}: {_first_line(kind)}" for name, kind in zip(names, typed, strict=True)
    )
    types: dict[Row, list[str]] = {}
    for name, kind in zip(names, typed, strict=True):
        for one in _rows(key, kind, schema, default if name == chosen else None):
            if one[0] != f"{key}.type":
                types.setdefault(one, []).append(name)
    rows = [(f"{key}.type", " or ".join(f"`{name}`" for name in names), _default(chosen), what)]
    for (name, type_, value, text), of in types.items():
        rows.append((name, type_, value, text if len(of) == len(names) else f"({', '.join(of)}) {text}"))
    return rows


def _of_section(key: str, name: str, prop: Schema, schema: Schema, default: Any) -> list[Row]:
    own = prop.get("default", _NEEDED)
    return _rows(f"{key}.{name}", prop, schema, default.get(name, own) if isinstance(default, dict) else own)


def _first_line(model: Schema) -> str:
    return model.get("description", "").split("\n\n")[0].replace("\n", " ").rstrip(".")


def _resolved(prop: Schema, schema: Schema) -> Schema:
    return schema["$defs"][prop["$ref"].rpartition("/")[2]] if "$ref" in prop else prop


def _type(prop: Schema, schema: Schema) -> str:
    """Says what values a key takes: `integer, 1 or more`."""
    prop = _resolved(prop, schema)
    if "anyOf" in prop:
        return " or ".join(dict.fromkeys(_type(kind, schema) for kind in prop["anyOf"]))
    if "enum" in prop or "const" in prop:
        return " or ".join(f"`{_shown(value)}`" for value in prop.get("enum") or [prop["const"]])
    kinds = prop.get("type", "any value")
    if isinstance(kinds, list):
        return " or ".join(_type({**prop, "type": kind}, schema) for kind in kinds)
    if kinds == "array":
        items = prop.get("items") or {}
        return f"list of {_type(items, schema)}" if items else "list"
    names = {"object": "mapping", "string": "text", "boolean": "`true` or `false`"}
    words = names.get(kinds, str(kinds))
    bounds = [
        f"{before}{prop[bound]:,}{after}"
        for bound, before, after in (
            ("exclusiveMinimum", "above ", ""),
            ("minimum", "", " or more"),
            ("exclusiveMaximum", "below ", ""),
            ("maximum", "at most ", ""),
        )
        if bound in prop and abs(prop[bound]) < 1e30
    ]
    return words + f" ({', '.join(bounds)})" * bool(bounds)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _default(value: Any) -> str:
    return value if value is _NEEDED else f"`{_shown(value)}`"


def _table(rows: list[Row]) -> list[str]:
    lines = ["| key | value | default | what |", "| --- | --- | --- | --- |"]
    for key, *cells in rows:
        lines.append("| " + " | ".join(map(_cell, (f"`{key}`", *cells))) + " |")
    return lines


def _cell(text: str) -> str:
    return re.sub(r"/<(?=\w)", r"/\\<", text).replace("|", "\\|").replace("\n", " ")


# --- Commands ---


class _Found(Exception):
    """A command's parser."""


def _parser_of(program: str, command: str = "") -> argparse.ArgumentParser:
    """Returns the parser that a program's `main` makes."""

    def stop(self: argparse.ArgumentParser, *_: Any) -> None:
        raise _Found(self)

    try:
        with patch.object(argparse.ArgumentParser, "parse_known_args", stop):
            importlib.import_module(f"{program}.__main__").main([command] if command else [])
    except _Found as found:
        return found.args[0]
    raise AssertionError(f"{program} {command} parses no arguments")


def _commands_page() -> str:
    lines = ["# Commands", "", _WRITTEN.format("their parsers")]
    for program, commands in _PROGRAMS.items():
        for command in ("", *commands):
            lines += _command(_parser_of(program, command), level=2 if not command else 3)
    return "\n".join(lines)


def _command(parser: argparse.ArgumentParser, level: int, text: str = "") -> list[str]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    words = (parser.description or text[:1].upper() + text[1:]).rstrip(".")
    lines = [f"{'#' * level} {parser.prog}", "", f"{words}.", ""]
    actions = [a for a in parser._actions if a not in inner and not isinstance(a, argparse._HelpAction)]
    if actions:
        lines += ["| argument | what |", "| --- | --- |"]
        lines += [f"| {_cell(_argument(action))} | {_cell(_help(action))} |" for action in actions]
        lines.append("")
    for action in inner:
        help_of = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, command in action.choices.items():
            lines += _command(command, level + 1, help_of.get(name, ""))
    return lines


def _argument(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else (action.dest.upper() if action.nargs != 0 else "")
    if action.choices and action.metavar is None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    value += " ..." * (action.nargs in ("*", "+"))
    text = f"{', '.join(action.option_strings)} {value}".strip()
    return f"`{text}`" + " (needed)" * (action.required and bool(action.option_strings))


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {"default": action.default, "dest": action.dest}


def main() -> None:
    for path, text in (pages() | golden()).items():
        (REPOSITORY / path).parent.mkdir(parents=True, exist_ok=True)
        (REPOSITORY / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
