"""Cards: one YAML file says everything about a data set. See docs in `Card`; errors name the file and the line."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from t5x_tasks.configuration import Section
from t5x_tasks.errors import UserError, suggest
from t5x_tasks.located_yaml import Lines, located_error, read_yaml
from t5x_tasks.metrics import check_metric_name
from t5x_tasks.rendering import placeholders

_HERE = Path(__file__).parent
SPLITS = ("train", "validation", "test")
Split = Literal["train", "validation", "test"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
Text = Annotated[str, StringConstraints(min_length=1)]


class Template(Section):
    """One phrasing of the task. Held-out phrasings are evaluated and never trained on."""

    id: Name
    inputs: Text
    targets: Text
    split: Literal["train", "heldout"] = "train"


class JsonlSource(Section):
    """JSON Lines files, plain or gzip, beside the card: one object a line, UTF-8."""

    type: Literal["jsonl"]
    train: str | None = None
    validation: str | None = None
    test: str | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if getattr(self, split))


class HubSource(Section):
    """A data set of the Hugging Face hub, or a local folder laid out like one. Pin `revision` to fix what is read."""

    type: Literal["hub"]
    path: str
    name: str | None = None
    revision: str | None = None
    splits: tuple[Split, ...] = SPLITS


class Card(Section):
    """A data set as a task.

    Attributes:
      name: of the data set, of its folder in a mirror, and of the SeqIO mixture.
      source: where the rows are if no mirror has them.
      fields: name used in templates -> column of the source.
      templates: phrasings, or the name of a file of them: t5x_tasks/templates/NAME.yaml, or one beside the card.
      references: column with a list of right answers, where a split has several; it then takes the place of the column
        behind the placeholder of `targets`.
      group_by: split -> column. Rows of that split that are equal in this column become one row whose answers are its
        `references`: the hub's DialogSum has three rows for each test dialogue. Left alone where the rows already
        have the `references` column, as a mirror's may.
      shots: 0 = zero-shot.
      inverted: ids of templates that ask for the input from the answer; tasks of their own, in no mixture.
      metrics: names from `t5x_tasks.metrics.METRICS`, or `package.module:function`.
      max_examples: at most so many examples of this data set in an epoch of a mixture; all are used over the epochs.
      heldout: the data set may be evaluated and never enters training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    name: Name
    description: str = ""
    licence: str = ""
    category: str = ""
    source: Annotated[JsonlSource | HubSource, Field(discriminator="type")]
    fields: Annotated[dict[Name, str], Field(min_length=1)]  # pyright: ignore[reportIncompatibleMethodOverride]
    templates: tuple[Template, ...]
    references: str = ""
    group_by: dict[str, str] = Field({})
    shots: tuple[Literal[0], ...] = (0,)
    inverted: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    max_examples: int | None = Field(None, ge=1)
    heldout: bool = False
    path: Path = Field(Path(), exclude=True)  # of the card's own file; set by load_card

    @model_validator(mode="after")
    def _is_coherent(self) -> "Card":
        if unknown := set(self.inverted) - {t.id for t in self.templates}:
            raise ValueError(f"inverted: no template has the id {sorted(unknown)[0]}")
        for metric in self.metrics:
            check_metric_name(metric)
        for split in self.group_by:
            if split not in SPLITS:
                raise ValueError(f"group_by: unknown split {split}; the splits are {', '.join(SPLITS)}")
        if self.group_by and not self.references:
            raise ValueError("group_by: needs references, the name of the column that takes the grouped answers")
        if self.references and len(self._answer_fields) != 1:
            raise ValueError("references: the targets of the templates must have one and the same placeholder")
        return self

    @property
    def _answer_fields(self) -> set[str]:
        return {f for t in self.templates if t.id not in self.inverted for f in placeholders(t.targets)}

    @cached_property
    def answer_field(self) -> str:
        """The field that `references` stands in for; "" if the card has none."""
        return min(self._answer_fields) if self.references else ""

    @cached_property
    def used_fields(self) -> dict[str, str]:
        """Fields that some template uses -> columns. A row without one of them is an error."""
        used = {f for t in self.templates for f in (*placeholders(t.inputs), *placeholders(t.targets))}
        return {field: column for field, column in self.fields.items() if field in used}

    @property
    def splits(self) -> tuple[str, ...]:
        return self.source.splits

    def task_name(self, template: Template) -> str:
        return f"{self.name}.{template.id}"

    def mixture(self, *, heldout: bool) -> list[Template]:
        """Returns the templates of mixture NAME or, with `heldout`, NAME.heldout (all, if the data set is held out)."""
        pooled = [t for t in self.templates if t.id not in self.inverted]
        if self.heldout:
            return pooled if heldout else []
        return [t for t in pooled if (t.split == "heldout") == heldout]


def load_card(path: str | PathLike[str]) -> Card:
    """Loads a card.

    Raises:
      UserError: the file is missing, is no YAML, or says something that no card may say; with file and line.
    """
    path = Path(path)
    values, lines = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold the keys and values of a card, not a {type(values).__name__}")
    templates, templates_path, template_lines, prefix = values.get("templates"), path, lines, ("templates",)
    if isinstance(templates, str):
        templates_path = _shared_templates(templates, path, lines)
        templates, template_lines = read_yaml(templates_path)
        prefix = ()
    _check_fields(values, path, lines)
    checked = _validate(TypeAdapter(list[Template]), templates, templates_path, template_lines, prefix)
    if not checked:
        raise located_error(templates_path, template_lines, prefix, "no templates; a card needs at least one")
    seen: set[str] = set()
    for number, template in enumerate(checked):
        here = (*prefix, number)
        if template.id in seen or template.id == "heldout":
            why = "names the mixture of held-out templates" if template.id == "heldout" else "stands here twice"
            raise located_error(
                templates_path, template_lines, (*here, "id"), f"template id {template.id} {why}; rename it"
            )
        seen.add(template.id)
        for side in ("inputs", "targets"):
            _check_placeholders(template, side, values["fields"], templates_path, template_lines, (*here, side))
    return _validate(TypeAdapter(Card), {**values, "templates": checked, "path": path}, path, lines)


def shipped_cards() -> dict[str, Card]:
    """Returns the cards that come with the package, by name."""
    return _by_name(load_card(path) for path in sorted((_HERE / "cards").glob("*.yaml")))


def all_cards(paths: Sequence[str | PathLike[str]] = ()) -> dict[str, Card]:
    """Returns the shipped cards and those in the given files and folders, by name.

    Raises:
      UserError: a path is not there, a folder holds no card, a card is wrong, or two have one name.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
        if not found:
            raise UserError(f"{path}: no card (*.yaml) in this folder")
        files += found
    shipped = shipped_cards()
    known = {card.path.resolve() for card in shipped.values()}
    new = [file for file in dict.fromkeys(file.resolve() for file in files) if file not in known]
    return _by_name([*shipped.values(), *map(load_card, new)])


def resolve(names: str | Sequence[str], cards: dict[str, Card]) -> list[tuple[Card, Template]]:
    """Returns the (card, template) pairs behind names of tasks and mixtures, each once, in order.

    `dialogsum.t00` is a task; `dialogsum` the mixture of its training templates; `dialogsum.heldout` that of its
    held-out ones.

    Raises:
      UserError: no such name, with a suggestion; or a mixture that has no templates.
    """
    pairs: dict[tuple[str, str], tuple[Card, Template]] = {}
    for name in [names] if isinstance(names, str) else names:
        for card, template in _resolve_one(name, cards):
            pairs[card.name, template.id] = (card, template)
    return list(pairs.values())


def task_names(cards: dict[str, Card]) -> list[str]:
    """Returns every name that `resolve` knows: mixtures first."""
    mixtures = [c.name + ".heldout" * h for c in cards.values() for h in (False, True) if c.mixture(heldout=h)]
    return mixtures + [card.task_name(template) for card in cards.values() for template in card.templates]


def _resolve_one(name: str, cards: dict[str, Card]) -> list[tuple[Card, Template]]:
    dataset, _, template_id = name.partition(".")
    card = cards.get(dataset)
    if card is None:
        known = task_names(cards)
        hint = suggest(name, known) or f"; known are {', '.join(sorted(cards))}"
        raise UserError(f"{name}: unknown task or mixture{hint}")
    if template_id in ("", "heldout"):
        templates = card.mixture(heldout=bool(template_id))
        if not templates:
            other = f"use {dataset}.heldout, to evaluate" if card.heldout else f"all its templates are in {dataset}"
            other = other if card.heldout or template_id else f"use {dataset}.heldout"
            why = "the whole data set is held out" if card.heldout else "no template is in this mixture"
            raise UserError(f"{name}: {why}; {other}")
        return [(card, template) for template in templates]
    for template in card.templates:
        if template.id == template_id:
            return [(card, template)]
    known = [card.task_name(template) for template in card.templates]
    raise UserError(f"{name}: {card.path} has no template {template_id}{suggest(name, known)}")


def _by_name(cards: Iterable[Card]) -> dict[str, Card]:
    named: dict[str, Card] = {}
    for card in cards:
        if card.name in named:
            raise UserError(f"{card.path}: name: {card.name} is taken by {named[card.name].path}; choose another")
        named[card.name] = card
    return named


def _shared_templates(name: str, card_path: Path, lines: Lines) -> Path:
    candidates = [_HERE / "templates" / f"{name}.yaml", card_path.parent / name, card_path.parent / f"{name}.yaml"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted(path.stem for path in (_HERE / "templates").glob("*.yaml"))
    hint = suggest(name, known) or f"; shipped are {', '.join(known)}"
    raise located_error(card_path, lines, ("templates",), f"no template file {name}{hint}")


def _check_fields(values: dict[str, Any], path: Path, lines: Lines) -> None:
    fields = _validate(TypeAdapter(dict[Name, str]), values.get("fields"), path, lines, ("fields",))
    if not fields:
        raise located_error(path, lines, ("fields",), "no fields; write name: column for each placeholder")


def _check_placeholders(
    template: Template, side: str, fields: dict[str, str], path: Path, lines: Lines, loc: tuple[Any, ...]
) -> None:
    try:
        names = placeholders(getattr(template, side))
    except ValueError as error:
        raise located_error(path, lines, loc, f"template {template.id}: {side}: {error}") from None
    for name in names:
        if name not in fields:
            hint = suggest(name, fields) or f"; the fields are {', '.join(fields)}"
            raise located_error(path, lines, loc, f"template {template.id}: {side}: unknown field {{{name}}}{hint}")
    if not names:
        raise located_error(
            path, lines, loc, f"template {template.id}: {side}: no placeholder, so all rows would be the same"
        )


def _validate(adapter: TypeAdapter[Any], values: Any, path: Path, lines: Lines, prefix: tuple[Any, ...] = ()) -> Any:
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        loc = (*prefix, *problem["loc"])
        key = ".".join(str(part) for part in loc) or "card"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{suggest(str(loc[-1]), _known_keys(loc))}"
        elif problem["type"] == "missing":
            message = "is missing"
        if problem["type"] == "value_error" and not loc:
            loc = (message.partition(":")[0],)  # _is_coherent begins with the key
        text = message if problem["type"] == "value_error" else f"{key}: {message[0].lower()}{message[1:]}"
        raise located_error(path, lines, loc, text) from None


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Card
    if loc[0] == "source":
        model = HubSource if "hub" in loc else JsonlSource
    elif isinstance(loc[0], int) or (loc[0] == "templates" and len(loc) > 1):
        model = Template
    return list(model.model_fields)
