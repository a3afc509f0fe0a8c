"""Collections that others have templated: their layouts become rows with `inputs` and `targets`.

What they phrase is theirs: a card over them has one template, `{inputs}` -> `{targets}`, and takes no part in statistics of
paraphrases (`source.templated`). A mirror may hold rows in the collection's layout or with inputs and targets at once.
"""

from collections.abc import Iterator
from typing import Any

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.values import known_columns
from t5x_tasks.sources.files import Placed

_KEYS = {"flan": ("inputs", "targets"), "p3": ("inputs_pretokenized", "targets_pretokenized")}


def untemplate(rows: Placed, layout: str) -> Placed:
    """Yields (place, row) with `inputs` and `targets` as texts, and `references` where there are several right answers.

    The other columns stay, as `_task_name` of FLAN or `answer_choices` of P3. An instance of SuperNI has the place
    `file: instance N` and, as `task`, its file's name.

    Raises:
      UserError: a row does not have what its layout has.
    """
    for place, row in rows:
        if layout != "superni":
            yield place, _renamed(row, place, layout)
        elif "Instances" in row:
            yield from _instances(row, place)
        else:
            yield place, _defined(row, place)


def _renamed(row: dict[str, Any], place: str, layout: str) -> dict[str, Any]:
    inputs, targets = _KEYS[layout]
    if inputs not in row and isinstance(row.get("inputs"), str):  # a mirror's
        inputs, targets = "inputs", "targets"
    for key in (inputs, targets):
        if key not in row:
            raise UserError(f"{place}: no key {key!r}, which rows of layout {layout} have; it has {known_columns(row)}")
    return row | {"inputs": row[inputs], "targets": row[targets]}


def _defined(row: dict[str, Any], place: str) -> dict[str, Any]:
    """SuperNI as one instance a row; a mirror's rows need no definition, if the inputs hold it."""
    row = _renamed(row, place, "flan")
    return row | {"inputs": _with_definition(row["definition"], row["inputs"])} if row.get("definition") else row


def _instances(task: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    definition = task.get("Definition")
    if isinstance(definition, list):  # the first is the one that the instances were written for
        definition = definition[0] if definition else None
    if not isinstance(definition, str):
        raise UserError(f"{place}: no 'Definition', which tasks of layout superni have; it has {known_columns(task)}")
    instances = task["Instances"]
    if not isinstance(instances, list):
        raise UserError(f"{place}: 'Instances' must be a list, not {type(instances).__name__}")
    name = task.get("id") or place.replace("\\", "/").rpartition("/")[2].partition(".")[0]
    for number, instance in enumerate(instances):
        here = f"{place}: instance {number}"
        if not isinstance(instance, dict) or not {"input", "output"} <= instance.keys():
            raise UserError(f"{here}: must have 'input' and 'output', as instances of layout superni do")
        outputs = instance["output"] if isinstance(instance["output"], list) else [instance["output"]]
        if not outputs:
            raise UserError(f"{here}: 'output' is empty; it must be a list of one or more texts")
        row = {"task": name, "inputs": _with_definition(definition, instance["input"]), "targets": outputs[0]}
        row["references"] = outputs
        yield here, row | ({"id": instance["id"]} if "id" in instance else {})


def _with_definition(definition: Any, text: Any) -> Any:
    if not isinstance(text, str) or not isinstance(definition, str):
        return text  # refused by the check of the field, which knows its name
    return f"{definition.strip()}\n\nInput: {text}\nOutput:"
