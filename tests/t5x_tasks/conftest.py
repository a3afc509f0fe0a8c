import csv
from pathlib import Path

import pytest
from helpers.new_card import note_rows


@pytest.fixture
def notes(tmp_path, write_jsonl) -> Path:
    return write_jsonl(tmp_path / "notes.jsonl", note_rows())


@pytest.fixture
def tickets(tmp_path) -> Path:
    """A CSV as a spreadsheet writes it: semicolons, capitals and spaces in the header, line breaks in texts."""
    path = tmp_path / "tickets.csv"
    teams = ("delivery", "billing", "access")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Ticket ID", "Customer Message", "Team"])
        for number in range(20):
            text = (
                f'About {("my parcel", "a bill", "my password")[number % 3]}; "case {number}".\nPlease help me with it.'
            )
            writer.writerow([f"T{number}", text, teams[number % 3]])
    return path
