"""`show MIXTURE` promises what training feeds: exemplars, weights of templates and rows that are left out included."""

import itertools
import re

import pytest
import yaml

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.commands.describe import check
from t5x_tasks.commands.describe_mixture import show_mixture
from t5x_tasks.common.errors import UserError
from t5x_tasks.prepare.data_config import DataConfig, Lengths
from t5x_tasks.prepare.ensure import ensure_prepared
from train.data.batches import open_input
from train.data.open import sources

FITS, BATCH, STEPS = (160, 64), 8, 100


@pytest.fixture
def mixture_of(make_card, tmp_path):
    """Returns a function: members -> catalog with their mixture `mix` of a card that has two-shot templates."""
    rows = [
        {"id": f"r{n}", "dialogue": f"Ann: {'Number, please. ' * (n % 4)}{n}", "summary": f"Ann wants {n}."}
        for n in range(400)
    ]
    rows[7]["summary"] = ""  # left out of training

    def make(*members):
        card = make_card(name="asked", rows=rows, test_rows=rows[:40], shots=[0, 2], dedupe=True)
        path = tmp_path / "mix.yaml"
        rule = "weights" if all(isinstance(member, dict) for member in members) else "examples"
        path.write_text(yaml.safe_dump({"name": "mix", "rate": rule, "members": list(members)}))
        return load_catalog([card, path])

    return make


def promised(text: str) -> tuple[float, float]:
    """Examples and epochs that `show` says so many steps hold."""
    found = re.search(r"hold about ([\d,]+) examples, ([\d.]+) epochs", text)
    assert found
    return float(found[1].replace(",", "")), float(found[2])


@pytest.mark.parametrize(
    "members",
    [
        ("asked",),
        ({"name": "asked.t00", "weight": 1}, {"name": "asked.t01_2shot", "weight": 9}),
        ({"name": "asked.t00", "weight": 9}, {"name": "asked.t01_2shot", "weight": 1}),
    ],
    ids=["all", "few-shot", "zero-shot"],
)
def test_a_mixture_is_promised_as_many_examples_as_training_feeds(mixture_of, vocabulary, tmp_path, capsys, members):
    catalog = mixture_of(*members)
    show_mixture("mix", catalog, None, vocabulary, FITS, steps=STEPS, batch_size=BATCH)
    examples, epochs = promised(capsys.readouterr().out)
    data = DataConfig(cache=str(tmp_path / "cache"), lengths=Lengths(inputs=FITS[0], targets=FITS[1]))
    prepared = ensure_prepared("mix", "train", data=data, vocabulary=vocabulary, catalog=catalog, progress=False)
    batches = open_input(sources(prepared, catalog, "mix"), row_lengths=FITS, batch_size=BATCH, seed=0, prefetch=0)
    fed = sum(batch.stats["examples"] for batch in itertools.islice(batches, STEPS))
    assert examples == pytest.approx(fed, rel=0.04)
    assert epochs == pytest.approx(fed / batches.examples_per_epoch, rel=0.04)


def test_a_data_set_without_a_whole_row_is_missing_and_no_traceback(make_card, vocabulary, tmp_path, capsys):
    card = make_card(name="blank", rows=[{"id": "a", "dialogue": "", "summary": "Nothing."}])
    (tmp_path / "mix.yaml").write_text("name: mix\nmembers: [blank]\n")
    catalog = load_catalog([card, tmp_path / "mix.yaml"])
    with pytest.raises(UserError, match="no row without an empty field"):
        show_mixture("mix", catalog, None, vocabulary, FITS, steps=STEPS, batch_size=BATCH)


def test_lengths_of_a_data_set_say_that_they_leave_exemplars_out(make_card, vocabulary, capsys):
    for shots, said in (([0, 2], "inputs (zero-shot): "), ([0], "inputs: ")):
        check(str(make_card(name="asked", shots=shots)), None, vocabulary, FITS)
        assert said in capsys.readouterr().out
