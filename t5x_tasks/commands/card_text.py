"""The text of a new card: every key with a comment that says what it means, what was guessed, and from what."""

import re
from dataclasses import dataclass
from pathlib import Path

from t5x_tasks.card.heuristic_templates import heuristic_templates
from t5x_tasks.card.source import CsvSource, FileSource
from t5x_tasks.commands.column import Column
from t5x_tasks.commands.columns import Roles
from t5x_tasks.common.located_yaml import NotYaml, parse, quoted
from t5x_tasks.metrics import METRICS

GIVEN = "as you say"
_SHIPPED_TEMPLATES = {
    ("summarization", ("dialogue",), "summary"): "dialogue_summarization",
    ("rating", ("review",), "rating"): "review_rating",
    ("qa", ("context", "question"), "answer"): "question_answering",
}


@dataclass(frozen=True)
class Guess:
    """What the card says that the user did not.

    Attributes:
      category, metrics: of the card.
      why: the category was chosen.
      choices: the closed set of answers, in order; () if it is open.
    """

    category: str
    why: str
    metrics: tuple[str, ...]
    choices: tuple[str, ...]


def card_text(
    name: str, files: dict[str, Path], output: Path, source: FileSource, roles: Roles, guess: Guess, rows: int
) -> str:
    """Returns the card, YAML.

    Args:
      files: split -> file, as the user named it.
      output: the card's own file.
      rows: that were looked at.
    """
    field, answer = roles.answer
    missing = [split for split in ("validation", "test") if split not in files]
    file = " ".join(files["train"].name.split())  # on the line of a comment
    description = f"{rows:,} rows of {file}."
    lines = [
        f"# A card for {file}: one data set as a task. Comments that begin with GUESSED are for you to check.",
        f"#   python -m t5x_tasks check {output.name}      reads all rows under this card",
        f"name: {_scalar(name)}",
        "# What it is, for `list` and `show`.",
        f"description: {_scalar(description)}",
        "# Who may use the data and for what; `show MIXTURE` warns where a licence does not allow commercial use.",
        'licence: ""',
        f"# {'As you say' if guess.why == GIVEN else f'GUESSED: {guess.why}'}. Wordings, metrics and baselines go by it.",
        f"category: {_scalar(guess.category)}",
        "# Files, relative to this card; plain or compressed (.gz, .bz2, .xz, .zst). A split may be a list or a glob.",
        "source:",
        f"  type: {source.model_dump()['type']}",
    ]
    if isinstance(source, CsvSource) and source.delimiter:
        lines.append(f"  delimiter: {quoted(source.delimiter)}   # GUESSED from the header")
    lines += [f"  {split}: {_scalar(names[0])}" for split, names in source.files_of_splits.items()]
    lines += [f"  # {split}: FILE" for split in missing]
    if missing:
        lines.append(
            f"  # There is no {' or '.join(missing)} split yet, and scores on train rows say only what was learned by"
        )
        lines.append("  # heart. Name files above, or let the card cut this one:")
        lines.append(
            f"# split: {{{', '.join(f'{split}: 0.1' for split in missing)}}}   # by a hash of what each row asks"
        )
    lines += ["# Name in the templates: column of the file.", "fields:"]
    lines += [f"  {_scalar(f)}: {_column(column)}   # {column.describe()}" for f, column in roles.asked.items()]
    lines.append(
        f"  {_scalar(field)}: {_column(answer)}   # GUESSED to be the answer: {roles.why}; {answer.describe()}"
    )
    lines += [f"  # not used: {_scalar(column)}, {why}" for column, why in roles.unused.items()]
    if answer.list_of_texts and not answer.is_messages:
        lines += [
            "# Each row has several right answers; the first is trained on.",
            f"references: {_scalar(answer.name)}",
        ]
    lines += _options(guess)
    lines += _templates(roles, guess)
    lines += [
        "# 0: the question alone; 2: after two solved rows of the train split, too. [0, 2] makes both of each template.",
        "shots: [0]",
        f"# GUESSED from the category. Known are: {', '.join(METRICS)}, or package.module:function.",
        f"metrics: [{', '.join(guess.metrics)}]",
        "# At most so many examples of this data set in an epoch of a mixture.",
        "max_examples: 30000",
        "# dedupe: true     leaves training rows out whose inputs occur in another split, too",
        "# heldout: true    lets the data set be evaluated and never trained on",
    ]
    if roles.key is not None:
        lines.append(
            f"# id: {_scalar(roles.key)}    names the rows in predictions by this column, different in every row"
        )
    return "\n".join(lines) + "\n"


def _column(column: Column) -> str:
    """Returns what makes a field of a column; messages become text by a transform."""
    if column.pair:
        return f"{{columns: [{', '.join(map(_scalar, column.pair))}], transform: turns}}"
    name = _scalar(column.name)
    return f"{{column: {name}, transform: turns}}" if column.is_messages else name


def _options(guess: Guess) -> list[str]:
    if not guess.choices:
        return []
    # Letters before numbers, as in `(A) 1`, would be a riddle.
    styles = "[dashed, none]" if guess.category == "rating" else "[dashed, lettered, none]"
    choices = ", ".join(quoted(choice) for choice in guess.choices)
    return [
        "# GUESSED: the closed set of answers, which `{options}` shows in each of the styles.",
        f"options: {{choices: [{choices}], styles: {styles}}}",
    ]


def _templates(roles: Roles, guess: Guess) -> list[str]:
    field, _ = roles.answer
    shipped = _SHIPPED_TEMPLATES.get((guess.category, tuple(sorted(roles.asked)), field))
    lines = [
        "# Wordings of the task, built from the names above: rewrite them until you would say it like that; add more (ten or",
        "# so make a model robust). {field} is filled in from each row, {{ and }} are braces. `split: heldout`: only evaluated,",
        "# for how well does the model take an instruction that it never saw? `python -m t5x_tasks suggest CARD` proposes more.",
    ]
    if shipped:
        lines.append(f"# Or, in place of this list, those that ship: `templates: {shipped}`.")
    lines.append("templates:")
    names = [*roles.asked, field]
    for number, template in enumerate(
        heuristic_templates(names, guess.category, options=bool(guess.choices), answer=field)
    ):
        lines.append(f"  - id: t{number:02}")
        if template["split"] == "heldout":
            lines.append("    split: heldout")
        lines += [f"    {side}: {quoted(template[side])}" for side in ("inputs", "targets")]
    return lines


def _scalar(text: str) -> str:
    """Returns a text as it is in YAML: plain where that reads back as the same text."""
    plain = re.fullmatch(r"[\w./-]+( [\w./-]+)*", text) is not None
    try:
        plain = plain and parse(f"x: {text}")[0] == {"x": text}
    except NotYaml:
        plain = False
    return text if plain else quoted(text)
