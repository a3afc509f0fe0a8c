"""Fields: how a card gets the text of a field out of the columns of a row.

    sentence: text                                                    # a column
    answer: answers.text                                              # a key inside a column
    language: {text: "C#"}                                            # the same text in every row
    rating: {column: rating, map: {1: terrible, 5: great}}            # values to texts
    entities: {columns: [tokens, ner_tags], transform: entity_spans}  # a function of several columns
    dialogue: {column: messages, transform: turns}                    # a line `Speaker: text` for each message of a list
    java: {column: java, codec: code}                                 # tokenised as the codec's text, compared as it is

Numbers, truth values and dates become text; lists and objects are refused, with the row, unless a transform takes them; but a
list of texts in the answer's column is several right answers. Null is an empty text, which is counted wherever blank fields are;
a row without the column is refused.
"""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeGuard

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from t5x_tasks.card.transforms import TRANSFORMS
from t5x_tasks.common.config_files import Section
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.functions import check_name, describe_exception, load_function
from t5x_tasks.common.values import known_columns, scalar_text, short_line, shown

Column = Annotated[str, StringConstraints(min_length=1)]


def _texts_of_map(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value  # for pydantic to refuse
    texts: dict[str, str] = {}
    for key, text in value.items():
        if isinstance(text, bool) or text is None:  # YAML reads `no`, `yes`, `off` and `null` so
            raise ValueError(f"map: {key}: {text} is no text; write it in quotation marks, as in 'yes' or 'no'")
        name, text = scalar_text(key), scalar_text(text)
        if name is None or text is None:
            raise ValueError("map: must say VALUE: TEXT for each value of the column")
        if name in texts:
            raise ValueError(f"map: {name} is given twice; remove one of the two")
        texts[name] = text
    return texts


class FieldSpec(Section):
    """How a field is made. A name of a column alone is short for `{column: NAME}`."""

    column: Column | None = Field(
        default=None,
        description="column of the source; `answers.text` is the key `text` inside `answers`, if no column has that name",
    )
    columns: tuple[Column, ...] = Field(
        default=(), description="several columns, in place of `column`, for a transform"
    )
    text: str | None = Field(default=None, description="the same text in every row, in place of a column")
    transform: str | None = Field(
        default=None,
        description="function of the values that gives the text: a name that ships, or `package.module:function`",
    )
    map: (
        Annotated[
            dict[str, str],
            BeforeValidator(_texts_of_map),
            Field(min_length=1),
            WithJsonSchema(
                {"type": "object", "additionalProperties": {"type": ["string", "number"]}, "minProperties": 1}
            ),
        ]
        | None
    ) = Field(
        default=None, description="value (after the transform) -> text; any other value is an error that names the row"
    )
    codec: str | None = Field(
        default=None, description="reversible text codec, for the tokens alone: what is compared stays as it is"
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler.resolve_ref_schema(handler(schema))]}

    @model_validator(mode="before")
    @classmethod
    def _long_form(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | FieldSpec):
            raise ValueError(
                f"must be the name of a column, or keys and values, as {{column: NAME}}, not {value!r:.60}"
            )
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_coherent(self) -> "FieldSpec":
        if (self.column is not None) + bool(self.columns) + (self.text is not None) != 1:
            raise ValueError("column: give one of column, a name; columns, a list of names; text, a text for all rows")
        if self.columns and self.transform is None:
            raise ValueError("columns: needs transform, the function that makes one text of their values")
        if self.text is not None and (self.transform or self.map):
            raise ValueError("text: is the same in every row; leave transform and map out")
        if self.transform is not None:
            check_transform_name(self.transform)
        return self

    @property
    def all_columns(self) -> tuple[str, ...]:
        return self.columns or ((self.column,) if self.column is not None else ())

    def __str__(self) -> str:
        """Says it in a few words: `entity_spans(tokens, ner_tags)`, `rating (mapped)`."""
        text = ", ".join(self.all_columns) if self.text is None else repr(self.text)
        text = f"{self.transform}({text})" if self.transform else text
        return text + " (mapped)" * bool(self.map) + f" (codec {self.codec})" * bool(self.codec)


def as_spec(field: "str | FieldSpec") -> FieldSpec:
    """Returns the long form of what a card says of a field."""
    return field if isinstance(field, FieldSpec) else _of_column(field)


@lru_cache(maxsize=1024)
def _of_column(column: str) -> FieldSpec:
    return FieldSpec(column=column)


def check_transform_name(name: str) -> None:
    """Raises ValueError if `name` is neither in `TRANSFORMS` nor of the form `package.module:function`."""
    check_name(name, TRANSFORMS, kind="transform", key="transform")


@cache
def load_transform(name: str) -> Callable[..., Any]:
    """Returns the function behind a transform's name.

    Raises:
      UserError: it cannot be imported.
    """
    return TRANSFORMS.get(name) or load_function(name, folder=Path(), where="transform")


def field_text(spec: FieldSpec, row: Mapping[str, Any], *, field: str, place: str) -> str:
    """Makes the text of a field of one row; of null in its column, "".

    Args:
      spec: how.
      row: raw, with the columns of the source.
      field: its name, for errors.
      place: of the row, for errors: `file:line`.

    Raises:
      UserError: a column is not there, its value is no text or number, is not in the map, or the transform failed.
    """
    if spec.text is not None:
        return spec.text
    value = field_value(spec, row, field=field, place=place)
    name = spec.column if spec.transform is None and spec.column else f"{spec.transform} of field {field}"
    text = "" if value is None and spec.transform is None else clean_text(value, place, name)
    return text if spec.map is None else _mapped(spec.map, text, value, place, field)


def several_answers(spec: FieldSpec, row: Mapping[str, Any], *, field: str, place: str) -> tuple[str, ...]:
    """Makes the right answers of one row whose column holds a list of texts; () where it holds something else.

    Raises:
      UserError: as `field_text`, of a value of the list; or the list is empty.
    """
    if spec.transform is not None or spec.column is None:
        return ()
    values = column_value(row, spec.column, place, f" (field {field})")
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        return ()  # numbers in a list are tags of tokens, say
    if not values:
        raise UserError(f"{place}: {spec.column!r} must be a text, or a list of one or more texts, not []")
    texts = tuple(clean_text(value, place, spec.column) for value in values)
    if spec.map is None:
        return texts
    return tuple(_mapped(spec.map, text, value, place, field) for text, value in zip(texts, values, strict=True))


def field_value(spec: FieldSpec, row: Mapping[str, Any], *, field: str, place: str) -> Any:
    """Returns the value of a field's column or what its transform gave, unchecked. See `field_text`."""
    if spec.transform is None:
        return column_value(row, spec.column or "", place, f" (field {field})")
    values = [column_value(row, column, place, f" (field {field})") for column in spec.all_columns]
    function = load_transform(spec.transform)
    try:
        return function(*values)
    except Exception as error:  # whatever the values do to it
        what = str(error) if type(error) is ValueError else describe_exception(error)
        raise UserError(f"{place}: field {field}: {spec.transform}: {short_line(what)}") from error


def column_value(row: Mapping[str, Any], column: str, place: str, use: str = "") -> Any:
    """Returns the value of a column, or of a key inside one; of a list of objects, the list of their values, None for one
    that lacks the key; of null, None.

    Raises:
      UserError: it is not there; `use` says what it is for.
    """
    if column in row:
        return row[column]
    value: Any = row
    for depth, part in enumerate(column.split(".")):
        if value is None:
            return None
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif _are_objects(value) and (not value or any(part in item for item in value)):
            value = [item.get(part) for item in value]
        else:
            within = "".join(f"{name}." for name in column.split(".")[:depth])
            raise UserError(f"{place}: no key {column!r}{use}{_nearby(column, within, value)}")
    return value


def _nearby(column: str, within: str, value: Any) -> str:
    """Says which keys there are in place of a column's, in the value of `within`, as `answers.`, or in the row."""
    items = value if _are_objects(value) else [value] if isinstance(value, Mapping) else []
    names = [f"{within}{key}" for key in dict.fromkeys(str(key) for item in items for key in item)]
    if not items:
        return f"; {within[:-1]} holds {shown(value)}"
    return suggest(column, names) or f"; it has {known_columns(names)}"


def _are_objects(value: Any) -> TypeGuard[list[Mapping[str, Any]]]:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def has_column(row: Mapping[str, Any], column: str) -> bool:
    """Tells whether a row has a column (or a key inside one) that is not null."""
    if column in row or "." not in column:
        return row.get(column) is not None
    try:
        return column_value(row, column, "") is not None
    except UserError:
        return False


def clean_text(value: Any, place: str, column: str) -> str:
    """Returns a value as text, with LF for CRLF.

    Raises:
      UserError: it is no text, number or truth value, or holds half a character.
    """
    if not isinstance(value, str):
        text = scalar_text(value)
        if text is None:
            hint = "; name a transform that makes text of it" if isinstance(value, list | dict | bytes) else ""
            what = f"{type(value).__name__} {shown(value)}" if value is not None else "null"
            raise UserError(f"{place}: {column!r} must be a text, not {what}{hint}")
        return text
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{place}: {column!r} holds half a character (a text cut inside an emoji?); mend or drop the row"
            ) from None
    return value.replace("\r\n", "\n") if "\r" in value else value


def _mapped(texts: Mapping[str, str], text: str, value: Any, place: str, field: str) -> str:
    if text in texts:
        return texts[text]
    if (
        isinstance(value, float) and value.is_integer() and str(int(value)) in texts
    ):  # ratings beside a null, of Parquet
        return texts[str(int(value))]
    hint = suggest(text[:60], texts) or f"; known are {known_columns(texts)}"
    raise UserError(f"{place}: field {field}: {short_line(repr(text[:60]))} is not in its map{hint}")
