"""Revisions: how data sets of the hub are pinned, and the warning where one is not."""

import datasets
import pytest
from helpers.command import command

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.source import HubSource
from t5x_tasks.sources import locate

COMMIT = "8e4813d81f46d313dac7892e1c28076917cfcdf9"
NOT_PINNED = {"codexglue_cs_java", "codexglue_java_cs", "dialogsum", "samsum", "wnut17"}  # docs/tasks.md says why


def test_shipped_cards_of_the_hub_are_pinned_but_for_those_that_the_docs_name():
    cards = {name: card for name, card in load_catalog().cards.items() if isinstance(card.source, HubSource)}
    moving = {name for name, card in cards.items() if locate(card, card.splits[0]).can_move}
    assert moving == NOT_PINNED and len(cards) == 12


@pytest.mark.parametrize(
    ("revision", "said"),
    [(COMMIT, f"hf://someone/rows@{COMMIT}"), ("v2", "hf://someone/rows@v2 (revision not pinned)"),
     (None, "hf://someone/rows (revision not pinned)")],
)  # fmt: skip
def test_list_show_and_check_say_what_is_read(revision, said, make_card, monkeypatch):
    asked = []

    class Builder:
        config = datasets.BuilderConfig()

        def as_streaming_dataset(self, split):
            return datasets.Dataset.from_list([{"dialogue": "Ann: Hi.", "summary": "Ann says hi."}])

        as_dataset = as_streaming_dataset

        def download_and_prepare(self):
            pass

    def load_dataset_builder(path, name, *, revision):
        asked.append(revision)
        return Builder()

    monkeypatch.setattr(datasets, "load_dataset_builder", load_dataset_builder)
    path = make_card(source={"type": "hub", "path": "someone/rows", "revision": revision, "splits": ["train"]})
    for arguments in (("list",), ("show", "tiny"), ("check", str(path))):
        where = [] if arguments[0] == "check" else ["--cards", str(path)]
        done = command("t5x_tasks", *arguments, *where)
        line = next(line for line in done.stdout.splitlines() if "hf://someone/rows" in line)
        assert line.endswith(said), done.stdout
    assert set(asked) == {revision}
