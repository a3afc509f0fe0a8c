"""The command `new`, and rows that it understands."""

import random

import pytest

from t5x_tasks.__main__ import main
from t5x_tasks.common.errors import UserError

NAMES = ("Ana", "Ben", "Chloe", "Dev")
THINGS = ("a refund", "the invoice", "two tickets")


def note_rows(count: int = 20) -> list[dict]:
    draw = random.Random(0)
    rows = []
    for number in range(count):
        (one, other), thing = draw.sample(NAMES, 2), draw.choice(THINGS)
        chat = f"{one}: I need {thing} by {number + 1} May.\n{other}: I will see what I can do today."
        rows.append({"case": number, "chat": chat, "summary": f"{one} asks {other} for {thing} by {number + 1} May."})
    return rows


def new(*arguments) -> None:
    main(["new", *map(str, arguments)])


def refused(*arguments) -> str:
    with pytest.raises(UserError) as error:
        new(*arguments)
    return str(error.value)
