"""Card files: YAML -> `Card`. What no card may say is an error that names the file and the line."""

import os
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from t5x_tasks.card.card import RESERVED, Card, Name, Options, Template
from t5x_tasks.card.fields import FieldSpec
from t5x_tasks.card.heuristic_templates import heuristic_templates
from t5x_tasks.card.source import known_source_keys
from t5x_tasks.card.split import Split
from t5x_tasks.card.template import OPTIONS, placeholders
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.located_yaml import Lines, located_error, read_yaml, validate

_TEMPLATES = Path(__file__).parents[1] / "library" / "templates"


def load_card(path: str | PathLike[str]) -> Card:
    """Loads a card.

    Raises:
      UserError: the file is missing, is no YAML, or says something that no card may say; with file and line.
    """
    path = Path(path)
    return card_from(*read_yaml(path), path)


def card_from(values: Any, lines: Lines, path: Path) -> Card:
    """Makes a card of what `read_yaml` gave.

    Raises:
      UserError: as `load_card`.
    """
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold the keys and values of a card, not a {type(values).__name__}")
    _check_fields(values, path, lines)
    templates, templates_path, template_lines, prefix = values.get("templates"), path, lines, ("templates",)
    if templates == "heuristic":
        named = [f for f, spec in values["fields"].items() if not (isinstance(spec, dict) and "text" in spec)]
        options, category = bool(values.get("options")), str(values.get("category", ""))
        templates = [dict(t) for t in heuristic_templates(named or values["fields"], category, options=options)]
    elif isinstance(templates, str):
        templates_path = _shared_templates(templates, path, lines)
        templates, template_lines = read_yaml(templates_path)
        prefix = ()
    checked = validate(
        TypeAdapter(list[Template]), templates, templates_path, template_lines, prefix, known_keys=_known_keys
    )
    if not checked:
        raise located_error(templates_path, template_lines, prefix, "no templates; a card needs at least one")
    seen: set[str] = set()
    known = [*values["fields"], *([OPTIONS] if values.get("options") else [])]
    constant = {field for field, spec in values["fields"].items() if isinstance(spec, dict) and "text" in spec} | {
        OPTIONS
    }
    for number, template in enumerate(checked):
        here = (*prefix, number)
        if template.id in seen or template.id in RESERVED:
            why = "is given twice" if template.id in seen else "names a mixture"
            raise located_error(
                templates_path, template_lines, (*here, "id"), f"template id {template.id} {why}; rename it"
            )
        seen.add(template.id)
        for side in ("inputs", "targets"):
            _check_placeholders(template, side, known, constant, templates_path, template_lines, (*here, side))
    return validate(
        TypeAdapter(Card), {**values, "templates": checked, "path": path}, path, lines, known_keys=_known_keys
    )


def _shared_templates(name: str, card_path: Path, lines: Lines) -> Path:
    candidates = [_TEMPLATES / f"{name}.yaml", card_path.parent / name, card_path.parent / f"{name}.yaml"]
    for candidate in candidates:
        if os.path.isfile(candidate) and candidate.resolve() != card_path.resolve():  # noqa: PTH113, false where a name is too long
            return candidate
    known = [*sorted(path.stem for path in _TEMPLATES.glob("*.yaml")), "heuristic"]
    hint = suggest(name, known) or f"; shipped are {', '.join(known)}"
    raise located_error(card_path, lines, ("templates",), f"no template file {name:.80}{hint}")


def _check_fields(values: dict[str, Any], path: Path, lines: Lines) -> None:
    fields = validate(
        TypeAdapter(dict[Name, FieldSpec]), values.get("fields"), path, lines, ("fields",), known_keys=_known_keys
    )
    if not fields:
        raise located_error(path, lines, ("fields",), "no fields; write name: column for each placeholder")
    if OPTIONS in fields:
        raise located_error(path, lines, ("fields", OPTIONS), f"{{{OPTIONS}}} stands for the card's options; rename it")


def _check_placeholders(
    template: Template,
    side: str,
    fields: list[str],
    constant: set[str],
    path: Path,
    lines: Lines,
    loc: tuple[Any, ...],
) -> None:
    try:
        names = placeholders(getattr(template, side))
    except ValueError as error:
        raise located_error(path, lines, loc, f"template {template.id}: {side}: {error}") from None
    for name in names:
        if name == OPTIONS and name not in fields:
            raise located_error(
                path, lines, loc, f"template {template.id}: {side}: {{options}} needs options: in the card"
            )
        if name not in fields or (name == OPTIONS and side == "targets"):
            hint = suggest(name, fields) or f"; the fields are {', '.join(fields)}"
            raise located_error(path, lines, loc, f"template {template.id}: {side}: unknown field {{{name}}}{hint}")
    if set(names) <= constant:
        raise located_error(
            path, lines, loc, f"template {template.id}: {side}: no placeholder, so all rows would be the same"
        )


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    if loc[0] == "source":
        return known_source_keys(loc)
    model: type[BaseModel] = Card
    if loc[0] == "fields":
        model = FieldSpec
    elif loc[0] == "split" and loc[1:]:
        model = Split
    elif loc[0] == "options":
        model = Options
    elif isinstance(loc[0], int) or (loc[0] == "templates" and len(loc) > 1):
        model = Template
    return [name for name, field in model.model_fields.items() if not field.exclude]
