"""`python -m t5x_tasks new NAME --from FILE`: looks at a file and writes a card for it that a person reads and corrects.

The card is written as text rather than dumped: its comments say what each key means, what was guessed and from what.
"""

import contextlib
import re
import shlex
from pathlib import Path

from t5x_tasks.card.card import check_data_set_name
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.source import CsvSource
from t5x_tasks.commands.card_text import GIVEN, Guess, card_text
from t5x_tasks.commands.column import columns_within, first_row_name, look_at, look_inside
from t5x_tasks.commands.columns import Roles, assign
from t5x_tasks.commands.describe import check
from t5x_tasks.commands.message_table import looks_like_messages
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.output import check_writable
from t5x_tasks.sources.files import read_file
from t5x_tasks.sources.named import source_of

_SHORT_WORDS = 5  # of an answer that is compared as a whole
_METRICS = {
    "classification": ("accuracy",),
    "rating": ("rating",),
    "nli": ("accuracy",),
    "entities": ("exact_match",),
    "translation": ("bleu",),
    "code": ("bleu",),
    "reasoning": ("final_answer",),
    "summarization": ("rouge",),
}


def new_card(
    name: str,
    files: dict[str, Path],
    *,
    output: Path | None = None,
    category: str = "",
    fields: dict[str, str] | None = None,
) -> Path:
    """Writes a card, checks it, and prints what was found and what to do next. Returns the card's path.

    A card that fails its check does not stay.

    Args:
      name: of the data set.
      files: split -> file; `train` is the one that is looked at.
      output: NAME.yaml beside the training file if not given.
      category: guessed if not given.
      fields: field -> column, a key inside one or two of messages (see `look_inside`); guessed if not given.

    Raises:
      UserError: the name is taken, the card is there already, or the file cannot be read or understood, or looks as if it held
        a message in each row and not a dialogue.
    """
    train = files["train"]
    output = output or train.parent / f"{name}.yaml"
    _check_name(name, output)
    check_writable(output.parent, "--output")
    source = source_of(files, output.parent)
    columns, rows = look_at(read_file(train, source))
    if not rows:
        raise UserError(f"{train}: no rows")
    if any("\ud800" <= char <= "\udfff" for name in columns for char in name):
        raise UserError(f"{train}: the name of a column holds half a character (cut inside an emoji?); mend it")
    if not fields and (why := looks_like_messages(columns)):
        raise UserError(
            f"{train}: looks like one message a row ({why}); python -m t5x_tasks dialogues {shlex.quote(str(train))} makes "
            "conversations of it; where the task is about single messages, name its columns: --fields text=COLUMN,answer=COLUMN"
        )
    within = {
        field: name
        for field, name in (fields or {}).items()
        if name not in columns and set(columns_within(name)) <= columns.keys()
    }
    columns |= look_inside(read_file(train, source), within) if within else {}
    roles = assign(columns, rows, fields or {}, str(train))
    guess = _guess(roles, category)
    text = card_text(name, files, output, source, roles, guess, rows)
    print(f"{train}: {rows:,} rows")
    if isinstance(source, CsvSource) and (value := first_row_name(columns)) is not None:
        print(f"  warning     the first line names the columns, and {value[:60]!r} looks like no name: where that line")
        print("              is a row already, put a line of names above it and start again")
    for field, column in roles.asked.items():
        by = ", made text by the transform turns" if column.is_messages or column.pair else ""
        print(f"  asked       {field} <- {column.name} ({column.describe()}){by}")
        if column.unread_json:
            print(
                f"  warning     {column.name} is left as JSON: {column.unread_json}; where it is a dialogue, rename its keys"
            )
            print("              (speaker and text), or write it into JSON Lines, for --fields to name them")
    field, column = roles.answer
    print(f"  answer      {field} <- {column.name} ({column.describe()}): {roles.why}")
    print(f"  category    {guess.category}: {guess.why}; metrics: {', '.join(guess.metrics)}")
    if roles.foreign:
        print(
            f"  wordings    English, and these names are not: {', '.join(roles.foreign)}; write those of your language under"
        )
        print("              templates: in the card")
    for unused, why in roles.unused.items():
        print(f"  not used    {unused}: {why}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if not isinstance(error, FileExistsError):
            with contextlib.suppress(OSError):
                output.unlink()
        raise UserError(f"{output}: cannot be written ({error})") from None
    try:
        check(str(output), None, None, (512, 128))
    except BaseException:  # nothing is in the way of the next try
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
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", field) or field in fields:
            raise UserError(f"--fields: {part!r} is not FIELD=COLUMN; write --fields dialogue=chat,summary=recap")
        fields[field] = column
    if len(fields) < 2:
        raise UserError("--fields: name two or more, the answer last: --fields dialogue=chat,summary=recap")
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


def _guess(roles: Roles, category: str) -> Guess:
    field, answer = roles.answer
    texts = sorted((text for text in answer.values if text.strip()), key=lambda text: (len(text), text))
    if category:
        kind, why = category, GIVEN
    elif answer.is_rating:
        kind, why = "rating", f"the answers are numbers from 1 to 5 ({', '.join(texts[:5])})"
    elif {"premise", "hypothesis"} <= roles.asked.keys():
        kind, why = "nli", "there are a premise and a hypothesis"
    elif answer.is_closed:
        kind, why = "classification", f"{len(texts)} different short answers"
    elif "question" in roles.asked:
        kind, why = "qa", "a question is among the fields"
    elif field in ("translation", "target_language"):
        kind, why = "translation", "the name of the answer"
    elif field == "entities":
        kind, why = "entities", "the name of the answer; see docs/tasks.md for a form of it that span F1 can read"
    elif field in ("summary", "abstract"):
        kind, why = "summarization", "the name of the answer"
    elif "dialogue" in roles.asked and _SHORT_WORDS < answer.mean_words < roles.asked["dialogue"].mean_words:
        kind, why = "summarization", "the answer is shorter than the dialogue"
    else:
        kind, why = "generation", "nothing more special fits"
    short = answer.mean_words <= _SHORT_WORDS
    metrics = _METRICS.get(kind, ("squad",) if kind == "qa" and short else ("rouge",))
    if kind == "generation" and short:
        metrics = ("exact_match",)
    choices: tuple[str, ...] = ()
    if kind == "rating" and answer.is_closed and all(text.strip().isdigit() for text in texts):
        choices = ("1", "2", "3", "4", "5")
    elif answer.is_closed and kind in ("classification", "nli"):
        choices = tuple(sorted(texts))
    return Guess(kind, why, metrics, choices)


def _print_next(name: str, files: dict[str, Path], output: Path) -> None:
    card = shlex.quote(str(output))
    missing = [split for split in ("validation", "test") if split not in files]
    if missing:
        print(f"\nThe card has no {' or '.join(missing)} split, so scores will say what was learned by heart. To cut")
        print(f"rows of {files['train'].name} off, remove the # before `split:` in the card.")
    tasks = f"eval.tasks=[{name},{name}.heldout]"
    split = next(split for split in ("test", "validation", "train") if split in files)
    print("\nNext, the rows as the model sees them; training; scores:\n")
    print(f"  python -m t5x_tasks preview {name} --cards {card}")
    config = "configs/dialogsum_flan_t5_base.yaml"
    overrides = [f"data.cards=[{output}]", f"data.mixture={name}", f"run_dir=runs/{name}", tasks, f"eval.split={split}"]
    print(f"  python -m train {config} {' '.join(shlex.quote(o) for o in overrides)}")
    print(f"  python -m eval runs/{name}")
    print("\n(configs/quickstart.yaml in its place trains a very small model on a CPU, to see it work.)")
