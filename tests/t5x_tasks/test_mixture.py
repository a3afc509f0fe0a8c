"""Mixtures of data sets: their rates, what may not enter them, and that they are drawn as their rates say."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import UserError

SIZES = {"small": 100, "middle": 1_000, "large": 50_000, "small.inverted": 100}


@pytest.fixture
def catalog_of(make_card, tmp_path):
    """Returns a function that makes a catalog of three cards and the given mixtures."""
    inverted = {
        "id": "i00",
        "inputs": "Write a chat that comes to this: {summary}",
        "targets": "{dialogue}",
        "inverted": True,
    }
    templates = [{"id": "t00", "inputs": "Sum up: {dialogue}", "targets": "{summary}"}, inverted]

    def make(*mixtures: dict, **changes):
        cards = [
            make_card(name=name, templates=templates, **changes.get(name, {})) for name in ("small", "middle", "large")
        ]
        files = []
        for mixture in mixtures:
            files.append(tmp_path / f"{mixture['name']}.yaml")
            files[-1].write_text(yaml.safe_dump(mixture, sort_keys=False))
        return load_catalog([*cards, *files])

    return make


def epoch(catalog, name: str, **options) -> dict[str, int]:
    return catalog.examples_per_epoch(name, SIZES.__getitem__, **options)


def test_by_examples_each_data_set_brings_what_it_has_up_to_the_cap(catalog_of):
    catalog = catalog_of({"name": "mix", "rate": "examples", "cap": 3000, "members": ["small", "middle", "large"]})
    assert epoch(catalog, "mix") == {"small": 100, "middle": 1000, "large": 3000}
    assert epoch(catalog, "mix", rate_cap=500) == {"small": 100, "middle": 500, "large": 500}


def test_equal_rates_and_weights_divide_the_epoch_as_they_say(catalog_of):
    members = ["small", "middle"]
    weighted = [{"name": "small", "weight": 3}, {"name": "middle", "weight": 1}]
    catalog = catalog_of(
        {"name": "same", "rate": "equal", "members": members}, {"name": "given", "rate": "weights", "members": weighted}
    )
    assert epoch(catalog, "same") == {"small": 550, "middle": 550}
    assert epoch(catalog, "given") == {"small": 825, "middle": 275}


def test_a_temperature_lies_between_examples_and_equal_rates(catalog_of):
    catalog = catalog_of({"name": "mix", "rate": "temperature", "temperature": 2, "members": ["small", "middle"]})
    shares = epoch(catalog, "mix")
    assert shares["middle"] / shares["small"] == pytest.approx(10**0.5, rel=0.01)
    assert sum(shares.values()) == pytest.approx(1100, abs=1)


def test_a_mixture_in_a_mixture_divides_what_it_gets_by_its_own_rule(catalog_of):
    catalog = catalog_of(
        {"name": "inner", "rate": "equal", "members": ["small", "middle"]},
        {
            "name": "outer",
            "rate": "weights",
            "members": [{"name": "inner", "weight": 0.5}, {"name": "large", "weight": 0.5}],
        },
    )
    shares = epoch(catalog, "outer")
    assert shares["small"] == shares["middle"]
    assert shares["small"] + shares["middle"] == pytest.approx(shares["large"], abs=2)


def test_inverted_templates_come_only_where_they_are_named_and_at_their_own_rate(catalog_of):
    catalog = catalog_of({"name": "mix", "members": ["small", {"name": "small.inverted", "weight": 0.1}]})
    assert [p.id for _, p in catalog.resolve("small")] == ["t00"]
    assert epoch(catalog, "mix") == {"small": 100, "small.inverted": 10}


def test_what_is_held_out_cannot_be_trained_on_and_the_message_names_the_way_to_it(catalog_of):
    catalog = catalog_of(
        {"name": "inner", "members": ["middle", "large"]},
        {"name": "outer", "members": ["small", "inner"]},
        large={"heldout": True},
    )
    with pytest.raises(UserError, match=r"outer -> inner -> large: .*holds large out of training"):
        catalog.refuse_heldout("outer")
    catalog.refuse_heldout("small")


def test_a_mixture_that_contains_itself_is_refused(catalog_of):
    catalog = catalog_of({"name": "a", "members": ["small", "b"]}, {"name": "b", "members": ["a"]})
    with pytest.raises(UserError, match="a -> b -> a: a mixture that contains itself"):
        catalog.resolve("a")


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({"rate": "by size", "members": ["small"]}, "rate: "),
        ({"rate": "weights", "members": ["small"]}, "members.0: small needs a weight"),
        ({"members": []}, "members: "),
        ({"members": [{"name": "small", "wieght": 2}]}, "unknown key, did you mean weight"),
        ({"members": ["small"], "temperature": 3}, "temperature: says nothing with rate: examples"),
        ({"members": ["small"], "caps": 3}, "unknown key, did you mean cap"),
    ],
)
def test_a_wrong_mixture_is_named_with_file_and_line(catalog_of, mixture, message):
    with pytest.raises(UserError, match=r"mix\.yaml:\d+: ") as caught:
        catalog_of({"name": "mix", **mixture})
    assert message in str(caught.value)


def test_an_unknown_member_is_named_with_the_way_to_it(catalog_of):
    with pytest.raises(UserError, match="mix -> smal: unknown task or mixture, did you mean small"):
        catalog_of({"name": "mix", "members": ["smal"]}).resolve("mix")


def test_training_draws_the_data_sets_at_the_rates_of_their_mixture(catalog_of, tmp_path, vocabulary_path, make_card):
    from t5x_tasks.common.vocabulary import Vocabulary
    from t5x_tasks.prepare.data_config import DataConfig
    from t5x_tasks.prepare.ensure import ensure_prepared
    from train.data.batches import open_input
    from train.data.open import sources

    catalog = catalog_of(
        {"name": "mix", "rate": "weights", "members": [{"name": "small", "weight": 5}, {"name": "middle", "weight": 1}]}
    )
    data = DataConfig(cache=str(tmp_path / "cache"))
    vocabulary = Vocabulary.load(vocabulary_path)
    prepared = ensure_prepared("mix", "train", data=data, vocabulary=vocabulary, catalog=catalog, progress=False)
    mixed = sources(prepared, catalog, "mix")
    assert [source.examples for source in mixed] == [5, 1]  # of three rows each: the first repeats its own in an epoch
    batches = open_input(mixed, row_lengths=(64, 32), batch_size=4, seed=0, epochs=3, prefetch=0)
    drawn = Counter()
    for block in range(3):
        splits, _ = batches.stream.order(block)
        drawn.update(splits.tolist())
    assert drawn == {0: 15, 1: 3}


def test_every_shipped_mixture_resolves_and_may_be_trained_on():
    catalog = load_catalog()
    assert {"dialogue_summarization", "multitask", "flan_mini", "flan_2022"} <= set(catalog.mixtures)
    for name in catalog.mixtures:
        catalog.refuse_heldout(name)
        amounts = catalog.examples_per_epoch(name, lambda dataset: 1000)
        assert all(amount > 0 for amount in amounts.values())


def test_flan_mini_holds_every_data_set_that_is_not_held_out():
    catalog = load_catalog()
    within = {card.name for card, _ in catalog.resolve("flan_mini")}
    assert within == {card.name for card in catalog.cards.values() if not card.heldout}


def test_a_card_and_a_mixture_cannot_have_one_name(catalog_of):
    with pytest.raises(UserError, match="name: small is taken by"):
        catalog_of({"name": "small", "members": ["middle"]})


def test_a_folder_may_hold_cards_mixtures_and_files_of_templates(make_card, tmp_path: Path):
    folder = make_card(name="small").parent
    (folder / "templates.yaml").write_text("- {id: w0, inputs: '{dialogue}', targets: '{summary}'}\n")
    (folder / "mix.yaml").write_text("name: mix\nmembers: [small]\n")
    catalog = load_catalog([folder])
    assert "small" in catalog.cards and "mix" in catalog.mixtures
