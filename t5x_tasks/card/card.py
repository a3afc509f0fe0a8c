"""Cards: one YAML file says everything about a data set. See docs in `Card`; load.py loads them."""

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from t5x_tasks.card.codec import check_codec_name
from t5x_tasks.card.fields import FieldSpec
from t5x_tasks.card.source import SPLITS, Source
from t5x_tasks.card.split import Split
from t5x_tasks.card.template import OPTIONS, expand_pseudo_tokens, placeholders
from t5x_tasks.common.config_files import Section
from t5x_tasks.metrics import check_metric_name

RESERVED = ("heldout", "inverted")  # dialogsum.heldout is a mixture


def check_data_set_name(name: str) -> str:
    """Returns the name. Raises ValueError if it has other characters than a task's name may have."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise ValueError(f"{name!r:.80} may hold letters, digits and _, and nothing else")
    return name


Name = Annotated[str, AfterValidator(check_data_set_name)]
Columns = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1)], ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "minItems": 1}),
]
Text = Annotated[str, StringConstraints(min_length=1)]
Style = Literal["dashed", "lettered", "none"]


class Template(Section):
    """One paraphrase of the instruction: text with placeholders."""

    id: Name = Field(description="name of the template; `NAME.ID` is its SeqIO task")
    inputs: Annotated[Text, AfterValidator(expand_pseudo_tokens)] = Field(
        description="what the model reads: `{field}` is filled in, `{{` and `}}` are braces, `[p0..p9]` pseudo tokens"
    )
    targets: Text = Field(description="what the model is to write, with placeholders as in `inputs`")
    split: Literal["train", "heldout"] = Field(
        default="train", description="`heldout`: the template is evaluated and never trained on"
    )
    inverted: bool = Field(
        default=False,
        description="whether it asks for the input from the answer; a task of its own, in `NAME.inverted` only",
    )


class Variant(Section):
    """A template as the model meets it: with one rendering of the answer options and a number of exemplars.

    Attributes:
      id: of the task DATASET.ID: t00, t00_lettered, t00_2shot.
      template: the id of the template.
      style: how `{options}` is filled in; "" where the template has none.
      shots: exemplars before the question.
    """

    id: str
    template: str
    inputs: str
    targets: str
    split: Literal["train", "heldout"]
    inverted: bool
    style: Style | Literal[""]
    shots: int


class Options(Section):
    """The closed set of answers: the same for all rows (`choices`), or a list in each row (`column`)."""

    choices: (
        Annotated[
            tuple[str, ...],
            Field(min_length=2),
            WithJsonSchema({"type": "array", "items": {"type": ["string", "number"]}, "minItems": 2}),
        ]
        | None
    ) = Field(default=None, description="the answers, if they are the same for all rows")
    column: str = Field(default="", description="column with a list of the answers of each row, in place of `choices`")
    styles: Annotated[tuple[Style, ...], Field(min_length=1)] = Field(
        default=("dashed", "lettered", "none"),
        description="how `{options}` shows them, one variant of each template for each: `- yes`, `(A) yes`, not at all",
    )

    @model_validator(mode="before")
    @classmethod
    def _choices_are_texts(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("choices"), list):
            for choice in values["choices"]:
                if isinstance(choice, bool):  # YAML reads `no`, `yes`, `on` and `off` so
                    raise ValueError(f"choices: {choice} is no text; write it in quotation marks, as in 'yes' or 'no'")
            return values | {"choices": tuple(map(str, values["choices"]))}
        return values

    @model_validator(mode="after")
    def _one_of_both(self) -> "Options":
        if (self.choices is None) == (not self.column):
            raise ValueError("options: give either choices: [...] or the column that holds each row's list")
        return self


class Card(Section):
    """A data set as a task."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    name: Name = Field(description="name of the data set, of its SeqIO mixture, and of its folder in a mirror")
    description: str = Field(default="", description="what the data set is, for `list` and `show`")
    licence: str = Field(default="", description="who may use the data; one that forbids commercial use is warned of")
    category: str = Field(
        default="",
        description="`summarization`, `classification`, `rating`, `entities`, `code`, `translation`, `qa`, `nli`, `reasoning`, "
        "or a word of your own",
    )
    mirror: str = Field(default="", description="folder under `data.root`, where it is not the name: `flan_cot/gsm8k`")
    source: Annotated[Source, Field(discriminator="type")] = Field(
        description="where the rows are, unless a mirror has them; see [Sources](#sources)"
    )
    split: Split | None = Field(
        default=None, description="fractions of the source's `train` that become its other splits; see [Split](#split)"
    )
    fields: Annotated[dict[Name, FieldSpec], Field(min_length=1)] = Field(  # pyright: ignore[reportIncompatibleMethodOverride]
        description="name in templates -> column, or how to make a text of columns; see [Fields](#fields)"
    )
    id: Text | None = Field(
        default=None,
        description="column that names a row in predictions, unique in its split; else `id`, or the row's number",
    )
    options: Options | None = Field(
        default=None, description="the closed set of answers, for `{options}` in templates; see [Options](#options)"
    )
    templates: tuple[Template, ...] = Field(
        description="list of [templates](#templates), the name of a file of them (one that ships, or one beside the card), or "
        "`heuristic`: built from the names of the fields and the category"
    )
    references: FieldSpec | None = Field(
        default=None,
        description="column with a list of right answers, beside the answer's own; a column of lists needs no such key",
    )
    group_by: dict[str, str] = Field(
        default={},
        description="split -> column: rows of the split that are equal in it become one row with several references",
    )
    groups: dict[Name, Columns] = Field(
        default={},
        description="name -> column (or columns of which a row has either) by whose values reports part the rows",
    )
    shots: Annotated[tuple[Annotated[int, Field(ge=0, le=32)], ...], Field(min_length=1)] = Field(
        default=(0,),
        description="numbers of exemplars before the question; each makes one variant of every forward template",
    )
    inverted: tuple[str, ...] = Field(
        default=(),
        description="ids of templates that ask for the input from the answer, where these do not say so themselves",
    )
    metrics: tuple[str, ...] = Field(default=(), description="names of metrics, or `package.module:function`")
    inverted_metrics: tuple[str, ...] = Field(default=("rouge",), description="metrics of the inverted templates")
    max_examples: int | None = Field(
        default=None,
        ge=1,
        description="examples that one epoch of a mixture takes from this data set, at most; null: all",
    )
    dedupe: bool = Field(
        default=False,
        description="leave rows out of training, and of the exemplars, whose inputs are in another split too",
    )
    heldout: bool = Field(default=False, description="the data set may be evaluated and is never trained on")
    path: Path = Field(default=Path(), exclude=True)  # of the card's own file; set by load.py

    @model_validator(mode="after")
    def _is_coherent(self) -> "Card":
        if unknown := set(self.inverted) - {t.id for t in self.templates}:
            raise ValueError(f"inverted: no template has the id {sorted(unknown)[0]}")
        for key in ("metrics", "inverted_metrics"):
            for metric in getattr(self, key):
                _checked(check_metric_name, metric, key)
        for field, spec in self.fields.items():
            if spec.codec:
                _checked(check_codec_name, spec.codec, f"fields.{field}.codec")
        for split in self.group_by:
            if split not in SPLITS:
                raise ValueError(f"group_by: unknown split {split}; the splits are {', '.join(SPLITS)}")
        if self.group_by and not self.references:
            raise ValueError("group_by: needs references, the name of the column that takes the grouped answers")
        if self.references and len(self._answer_fields) != 1:
            raise ValueError("references: the targets of the templates must have one and the same placeholder")
        if len(set(self.shots)) < len(self.shots):
            raise ValueError("shots: a number is given twice")
        if self.source.templated and len(self.templates) > 1:
            raise ValueError("templates: the rows are templated already; give one template, {inputs} and {targets}")
        twice = sorted({p.id for p in self.variants if sum(q.id == p.id for q in self.variants) > 1})
        if twice:
            raise ValueError(f"templates: two templates would be called {twice[0]}; rename a template")
        return self

    @model_validator(mode="after")
    def _cuts_what_is_there(self) -> "Card":
        if self.split and "train" not in self.source.split_names:
            raise ValueError("split: cuts the source's train, and the source names none; add train to source")
        if self.split and (both := [s for s in self.split.fractions if s in self.source.split_names]):
            raise ValueError(f"split: the source has a split {both[0]} already; leave it out here or under source")
        return self

    @property
    def _answer_fields(self) -> set[str]:
        return {f for p in self.variants if not p.inverted for f in placeholders(p.targets)}

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Every template in every rendering of the options and with every number of exemplars."""
        return tuple(
            Variant(
                id=template.id + (f"_{style}" if number else "") + (f"_{shots}shot" if shots else ""),
                template=template.id,
                inputs=template.inputs,
                targets=template.targets,
                split=template.split,
                inverted=inverted,
                style=style,
                shots=shots,
            )
            for template in self.templates
            for inverted in [template.inverted or template.id in self.inverted]
            for number, style in enumerate(self._styles(template))
            for shots in ((0,) if inverted else self.shots)
        )

    def _styles(self, template: Template) -> tuple[Style | Literal[""], ...]:
        return self.options.styles if self.options and OPTIONS in placeholders(template.inputs) else ("",)

    @cached_property
    def answer_field(self) -> str:
        """The field that may have several right answers, of `references` or its own column; "" if targets have not just one."""
        return min(self._answer_fields) if len(self._answer_fields) == 1 else ""

    @cached_property
    def used_fields(self) -> dict[str, FieldSpec]:
        """Fields that some template uses. A row without one of them is an error."""
        used = {f for t in self.templates for f in (*placeholders(t.inputs), *placeholders(t.targets))}
        return {field: spec for field, spec in self.fields.items() if field in used}

    @cached_property
    def codecs(self) -> dict[str, str]:
        """The codec of each field that is used and has one."""
        return {field: spec.codec for field, spec in self.used_fields.items() if spec.codec}

    @cached_property
    def input_fields(self) -> tuple[str, ...]:
        """Fields that are asked about: two rows equal in all of them are the same question."""
        asked = {f for p in self.variants if not p.inverted for f in placeholders(p.inputs)}
        return tuple(field for field, spec in self.fields.items() if field in asked and spec.text is None)

    @property
    def splits(self) -> tuple[str, ...]:
        cut = self.split.fractions if self.split else ()
        return tuple(split for split in SPLITS if split in self.source.split_names or split in cut)

    @property
    def folder(self) -> str:
        """Of the data set in a mirror."""
        return self.mirror or self.name

    def task_name(self, variant: Variant) -> str:
        return f"{self.name}.{variant.id}"

    def metrics_of(self, variant: Variant) -> tuple[str, ...]:
        return self.inverted_metrics if variant.inverted else self.metrics

    def pool(self, kind: str = "") -> list[Variant]:
        """Returns the templates of mixture NAME (`kind` ""), NAME.heldout or NAME.inverted.

        Inverted ones are never pooled with the others. Of a held-out data set all forward templates are in NAME.heldout.
        """
        if kind == "inverted":
            return [p for p in self.variants if p.inverted and p.split == "train" and not self.heldout]
        forward = [p for p in self.variants if not p.inverted]
        if self.heldout:
            return forward if kind == "heldout" else []
        return [p for p in forward if (p.split == "heldout") == (kind == "heldout")]


def _checked(check: Callable[[str], None], name: str, key: str) -> None:
    try:
        check(name)
    except ValueError as error:
        raise ValueError(f"{key}: {str(error).partition(': ')[2]}") from None
