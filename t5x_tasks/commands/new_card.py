"""`python -m t5x_tasks new NAME --from FILE`: writes a card for a file of rows, for a person to correct, and checks it."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from t5x_tasks.card.card import check_data_set_name
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.fields import FieldSpec
from t5x_tasks.card.heuristic_templates import heuristic_templates
from t5x_tasks.card.source import FileSource
from t5x_tasks.card.turns import NAME_BOTH, read_messages
from t5x_tasks.commands.describe import check
from t5x_tasks.common.errors import UserError, suggest
from t5x_tasks.common.output import check_writable, naming
from t5x_tasks.common.values import is_missing, known_columns, scalar_text
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import source_of

# What `new` knows without --fields, whatever the case; anything else the user has to name. Chats become the field dialogue.
_CHATS = ("dialogue", "dialog", "conversation", "chat", "transcript", "messages")
_INPUTS = (*_CHATS, "document", "article", "text", "review", "sentence", "question", "context", "premise", "hypothesis",
           "input")  # fmt: skip
_TOGETHER = (["context", "question"], ["hypothesis", "premise"])  # inputs of one example
_TARGETS = {"summary": "summarization", "label": "classification", "sentiment": "classification", "intent": "classification",
            "category": "classification", "rating": "rating", "stars": "rating", "answer": "qa", "answers": "qa",
            "translation": "translation", "target": "generation", "output": "generation"}  # fmt: skip
_METRICS = {"nli": "accuracy", "classification": "accuracy", "rating": "rating", "qa": "squad", "translation": "bleu",
            "code": "bleu", "entities": "exact_match", "reasoning": "final_answer"}  # fmt: skip
_MOST_CHOICES = 20  # more different targets than that are no closed set
_HEAD = """# Correct what is wrong: docs/tasks.md has all keys, `python -m t5x_tasks check CARD` reads all rows under them. The
# templates are built from the names of the fields: rewrite them until you would say it like that, and add more; those
# with `split: heldout` are only evaluated. `source` may also name files for validation and test.
"""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines in quotation marks, with \\n, as templates that ship."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None),
)


def new_card(
    name: str,
    files: dict[str, Path],
    *,
    output: Path | None = None,
    category: str = "",
    fields: dict[str, str] | None = None,
) -> Path:
    """Writes a card, checks it, and prints what it takes and what to do next. Returns the card's path.

    A card that fails its check does not stay.

    Args:
      name: of the data set.
      files: split -> file; the columns are those of `train`.
      output: NAME.yaml beside the training file if not given.
      category: by the names of the fields if not given.
      fields: field -> column, a key inside one or two of messages, the target last; by usual names if not given.

    Raises:
      UserError: the name is taken, the card exists, the file cannot be read, or which columns to take has to be said.
    """
    train = files["train"]
    output = output or train.parent / f"{name}.yaml"
    _check_name(name, output)
    check_writable(output.parent, "--output")
    source = source_of(files, output.parent)
    rows, firsts, texts = _look(train, source)
    fields = fields or _usual_fields(list(firsts), str(train))
    specs = {field: _spec(field, column, firsts, str(train)) for field, column in fields.items()}
    *inputs, target = fields
    answers = texts.get(fields[target], set())
    category = category or _category(inputs, target, answers)
    choices: list[str] = []
    if category == "rating" and answers and answers <= set("12345"):
        choices = list("12345")
    elif category in ("classification", "nli") and 2 <= len(answers) <= _MOST_CHOICES:
        choices = sorted(answers)
    metric = _METRICS.get(category, "rouge")
    files_of = source.model_dump(mode="json", exclude_defaults=True)
    made = {field: spec.model_dump(mode="json", exclude_defaults=True) for field, spec in specs.items()}
    card: dict[str, Any] = {
        "name": name,
        "description": f"{rows:,} rows of {train.name}.",
        "licence": "",
        "category": category,
        "source": {key: value[0] if isinstance(value, list) else value for key, value in files_of.items()},
        "fields": {field: spec if len(spec) > 1 else spec["column"] for field, spec in made.items()},
    }
    if choices:
        # Letters before numbers, as in `(A) 1`, would be a riddle.
        styles = ["dashed", "none"] if category == "rating" else ["dashed", "lettered", "none"]
        card["options"] = {"choices": choices, "styles": styles}
    templates = heuristic_templates(fields, category, options=bool(choices), answer=target)
    for number, template in enumerate(templates):
        template["id"] = f"t{number:02}"
        if template["split"] == "train":
            del template["split"]
    card["templates"] = templates
    card |= {"metrics": [metric], "max_examples": 30000}
    print(f"{train}: {rows:,} rows")
    print(f"  inputs      {', '.join(f'{field} <- {specs[field]}' for field in inputs)}")
    print(f"  target      {target} <- {specs[target]}")
    print(f"  category    {category}; metrics: {metric}")
    taken = {part for spec in specs.values() for column in spec.all_columns for part in (column, column.split(".")[0])}
    if unused := [column for column in firsts if column not in taken]:
        print(f"  not used    {known_columns(unused)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with naming(output), output.open("x", encoding="utf-8") as file:
        try:
            file.write(_HEAD + yaml.dump(card, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20))
            file.flush()
            check(str(output), None, None, (512, 128))
        except BaseException:  # the next try finds no card
            output.unlink(missing_ok=True)
            raise
    print(f"wrote {output}")
    _print_next(name, files, output)
    return output


def parse_fields(text: str) -> dict[str, str]:
    """Reads `a=col,b=col`. See `new_card`.

    Raises:
      UserError: it is not of this form.
    """
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name in fields:
            raise UserError(f"--fields: {part!r} is not FIELD=COLUMN; write --fields dialogue=chat,summary=recap")
        fields[name] = column
    if len(fields) < 2:
        raise UserError("--fields: name two or more, the target last: --fields dialogue=chat,summary=recap")
    return fields


def _check_name(name: str, output: Path) -> None:
    try:
        check_data_set_name(name)
    except ValueError as error:
        raise UserError(f"NAME: {error}") from None
    catalog = load_catalog()
    if other := catalog.cards.get(name) or catalog.mixtures.get(name):
        raise UserError(f"{name}: is the name of {other.path}; choose another")
    if output.exists():
        raise UserError(f"{output}: exists already and is never overwritten; edit it, or give another --output")


def _look(path: Path, source: FileSource) -> tuple[int, dict[str, Any], dict[str, set[str]]]:
    """Returns the number of rows, and of each column its first value that is not blank and its first 21 different texts."""
    rows, firsts, texts = 0, dict[str, Any](), dict[str, set[str]]()
    for _, row in read_file(path, source):
        rows += 1
        for column, value in row.items():
            firsts.setdefault(column, None)
            text = "" if is_missing(value) else scalar_text(value)
            if text is None or not text.strip():
                firsts[column] = firsts[column] or (value if text is None else None)
                continue
            firsts[column] = firsts[column] or text
            if len(found := texts.setdefault(column, set())) <= _MOST_CHOICES:
                found.add(text)
    if not rows:
        raise UserError(f"{path}: no rows")
    return rows, firsts, texts


def _usual_fields(columns: Sequence[str], where: str) -> dict[str, str]:
    """Returns field -> column, the target last. UserError: the names of the columns do not tell, or tell more than one."""
    inputs = [name for name in columns if name.lower() in _INPUTS]
    targets = [name for name in columns if name.lower() in _TARGETS]
    if messages := [name for name in columns if name.lower() in ("speaker", "sender")]:
        why = f"{messages[0]} looks like one message per row: see `python -m t5x_tasks dialogues --help`; else name"
    elif len(inputs) > 1 and sorted(map(str.lower, inputs)) not in _TOGETHER:
        why = f"{known_columns(inputs)} may each be the input; name"
    elif len(targets) > 1:
        why = f"{known_columns(targets)} may each be the target; name"
    elif not inputs or not targets:
        missing, names = ("target", _TARGETS) if inputs else ("input", _INPUTS)
        why = f"none is called like the {missing} ({', '.join(names)}); name"
    else:
        return {"dialogue" if name.lower() in _CHATS else name.lower(): name for name in (*inputs, *targets)}
    how = "name the inputs and, last, the target: --fields text=COLUMN,label=COLUMN"
    raise UserError(f"{where}: has the columns {known_columns(columns)}; {why.removesuffix('name')}{how}")


def _spec(field: str, column: str, firsts: dict[str, Any], where: str) -> FieldSpec:
    """Returns how a field is made of a column, whose first value tells whether it holds messages, for the transform `turns`."""
    if column not in firsts:
        parts = tuple(part.strip() for part in column.split("+"))
        if len(parts) > 2 or any(part.split(".")[0] not in firsts for part in parts):
            hint = suggest(column, firsts) or f"; it has {known_columns(firsts)}"
            raise UserError(f"{where}: --fields {field}={column}: no such column{hint}")
        return FieldSpec(columns=parts, transform="turns") if len(parts) == 2 else FieldSpec(column=column)
    value, plain = firsts[column], FieldSpec(column=column)
    is_text = isinstance(value, str)
    if not isinstance(value, list | dict) and not (is_text and value.lstrip().startswith(("[", "{"))):
        return plain
    try:
        messages = read_messages(value)
    except (ValueError, RecursionError) as error:
        if field != "dialogue":
            return plain
        how = f"--fields {field}={column}.SPEAKER+{column}.TEXT,..., or text={column} where it is no dialogue"
        raise UserError(f"{where}: {column}: {str(error).removesuffix(NAME_BOTH)}; name the keys: {how}") from None
    is_dialogue = any(message.speaker for message in messages) or (field == "dialogue" and not is_text)
    return FieldSpec(column=column, transform="turns") if is_dialogue else plain


def _category(inputs: Sequence[str], target: str, answers: set[str]) -> str:
    category = "nli" if sorted(inputs) in _TOGETHER[1:] else _TARGETS.get(target, "generation")
    is_rating = all(re.fullmatch(r"[1-4](\.\d+)?|5(\.0+)?", text.strip()) for text in answers)
    return "classification" if category == "rating" and not is_rating else category


def _print_next(name: str, files: dict[str, Path], output: Path) -> None:
    if missing := [split for split in ("validation", "test") if split not in files]:
        print(
            f"\nThe card has no {' or '.join(missing)} split, so scores are on rows that were trained on. To cut some rows"
        )
        print(f"of {files['train'].name} off, add to {output}:\n")
        print(f"  split: {{{', '.join(f'{split}: 0.1' for split in missing)}}}")
    tasks = f"eval.tasks=[{name},{name}.heldout]"
    split = next(split for split in ("test", "validation", "train") if split in files)
    overrides = [f"data.cards=[{output}]", f"data.mixture={name}", f"run_dir=runs/{name}", tasks, f"eval.split={split}"]
    print("\nNext, the rows as the model sees them; training; scores:\n")
    print(f"  python -m t5x_tasks preview {name} --cards {shlex.quote(str(output))}")
    print(f"  python -m train configs/dialogsum_flan_t5_base.yaml {' '.join(map(shlex.quote, overrides))}")
    print(f"  python -m eval runs/{name}")
    print("\n(configs/quickstart.yaml in its place trains a very small model on a CPU, to see it work.)")
