"""Puts pydantic's errors into words for whoever wrote the file."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from t5x_tasks.common.errors import suggest

_LIST, _MAPPING = "be a list, as [a, b]", "hold keys and values, as {{key: value}}"
_WHOLE, _NUMBER, _TEXT, _SWITCH = "be a whole number", "be a number", "be a text", "be true or false"
_MUST = {  # pydantic's type of a problem -> what must be; {} are filled in from its context
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _SWITCH),
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), _LIST),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), _MAPPING),
    "string_type": _TEXT,
    "finite_number": "be a finite number",
    "greater_than": "be above {gt}",
    "greater_than_equal": "be {ge} or more",
    "less_than": "be below {lt}",
    "less_than_equal": "be {le} or less",
    "literal_error": "be {expected}",
    "union_tag_invalid": "be of the type {expected_tags}",
    "union_tag_not_found": "have a type",
    "string_too_short": "not be empty",
    "too_short": "hold {min_length} or more",
    "too_long": "hold {max_length} or fewer",
}


def in_words(problems: Sequence[Mapping[str, Any]]) -> str:
    """Returns what is wrong with one value, without the value; several problems are those of a union's members."""
    first = problems[0]
    if first["type"] == "missing":
        return "is missing"
    if not all(problem["type"] in _MUST for problem in problems):
        message = first["msg"].removeprefix("Value error, ")
        return message[0].lower() + message[1:]
    musts = " or ".join(dict.fromkeys(map(_must, problems)))
    return f"must {musts.replace(' or be ', ' or ')}{_hint(problems)}"


def _must(problem: Mapping[str, Any]) -> str:
    words, value = _MUST[problem["type"]], problem.get("input")
    if words == _LIST and isinstance(value, str) and value.isprintable():
        return f"be a list, as [{value:.40}]"
    return words.format(**problem.get("ctx", {}))


def _hint(problems: Sequence[Mapping[str, Any]]) -> str:
    """`, did you mean CHOICE?`, when the value looks like one that is known."""
    for problem in problems:
        context = problem.get("ctx", {})
        value = context.get("tag", problem.get("input"))
        choices = re.findall(r"'([^']*)'", context.get("expected_tags", context.get("expected", "")))
        if isinstance(value, str) and (hint := suggest(value, choices)):
            return hint
    return ""
