"""Weights of single templates in a mixture: training, SeqIO and `show` draw them alike."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.notes import write_notes
from t5x_tasks.card.catalog import Catalog, load_catalog
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from train.data.open import sources
from train.data.order import Source, Stream

SIZE = 48  # training rows of `notes`


@pytest.fixture
def catalog_of(tmp_path: Path):
    """Returns a function that makes a catalog of the card `notes` and the given mixtures."""

    def make(*mixtures: dict) -> Catalog:
        paths = [write_notes(tmp_path)]
        for mixture in mixtures:
            paths.append(tmp_path / f"{mixture['name']}.yaml")
            paths[-1].write_text(yaml.safe_dump(mixture, sort_keys=False))
        return load_catalog(paths)

    return make


def weighted(name: str, **weights: float) -> dict:
    members = [{"name": f"notes.{template}", "weight": weight} for template, weight in weights.items()]
    return {"name": name, "rate": "weights", "members": members}


def mixed(catalog: Catalog, mixture: str, vocabulary, cache: Path) -> list[Source]:
    prepared = ensure_prepared(
        mixture, "train", data=DataConfig(cache=str(cache)), vocabulary=vocabulary, catalog=catalog, progress=False
    )
    return sources(prepared, catalog, mixture)


def drawn(opened: list[Source], epochs: int = 40) -> Counter:
    """How often each template is drawn in so many epochs."""
    stream = Stream(opened, row_lengths=(96, 32), seed=0)
    names = [template for source in opened for template, _ in source.templates]
    found: Counter = Counter()
    for number in range(epochs * stream.blocks_per_epoch):
        splits, _ = stream.order(number)
        found.update(names[split] for split in splits.tolist())
    return found


def test_training_draws_single_templates_at_their_weights(catalog_of, vocabulary, tmp_path):
    opened = mixed(catalog_of(weighted("mix", t00=1, t01=9)), "mix", vocabulary, tmp_path)
    found = drawn(opened)
    assert sum(found.values()) == 40 * 2 * SIZE  # an epoch is as long as its members together, as before
    assert found["t00"] / sum(found.values()) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("mixture", "share"),
    [
        ({"rate": "examples", "members": [{"name": "notes.t00", "weight": 3}, "notes.t01"]}, 3 / 4),
        ({"rate": "temperature", "members": [{"name": "notes.t00", "weight": 3}, "notes.t01"]}, 3 / 4),
        ({"rate": "equal", "members": ["notes", "notes.t00"]}, 3 / 4),  # half of the whole data set is t00, too
        ({"rate": "equal", "members": ["inner", "notes.t00"]}, (1 + 0.1) / 2),
    ],
)
def test_the_rules_on_the_way_to_a_template_multiply(catalog_of, vocabulary, tmp_path, mixture, share):
    catalog = catalog_of(weighted("inner", t00=1, t01=9), {"name": "mix", **mixture})
    found = drawn(mixed(catalog, "mix", vocabulary, tmp_path))
    assert found["t00"] / sum(found.values()) == pytest.approx(share, abs=0.03)


def test_an_example_has_the_same_template_whatever_else_is_mixed_in(catalog_of, vocabulary, tmp_path):
    (alone,) = mixed(catalog_of(weighted("mix", t00=1, t01=3)), "mix", vocabulary, tmp_path)
    other = Source("other", alone.templates[:1])
    one, two = (Stream(list(s), row_lengths=(96, 32), seed=5) for s in ([alone], [other, alone]))
    first = set(zip(*(part.tolist() for part in one.order(0)), strict=True))
    both = zip(*(part.tolist() for part in two.order(0)), strict=True)
    assert {(split - 1, index) for split, index in both if split} == first


@pytest.mark.parametrize("mixture", ["notes", "alike", "thrice"])
def test_templates_without_unequal_weights_are_chosen_as_ever(catalog_of, vocabulary, tmp_path, mixture):
    alike = weighted("alike", t00=0.3, t01=0.3)
    thrice = {"name": "thrice", "rate": "equal", "members": ["notes", "alike", "notes"]}
    (source,) = mixed(catalog_of(alike, thrice), mixture, vocabulary, tmp_path)
    splits, indices = Stream([Source("notes", source.templates)], row_lengths=(96, 32), seed=3).order(0)
    assert splits.tolist()[:24] == CHOSEN[0]
    assert indices.tolist()[:12] == CHOSEN[1]
    ours, theirs = (
        Stream([s], row_lengths=(96, 32), seed=3) for s in (source, Source("notes", source.templates, source.examples))
    )
    assert [part.tolist() for part in ours.order(1)] == [part.tolist() for part in theirs.order(1)]


CHOSEN = (
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0],
    [16, 13, 33, 9, 7, 36, 25, 44, 37, 28, 14, 43],
)


def test_seqio_mixes_single_templates_at_the_same_weights(catalog_of, vocabulary_path, tmp_path):
    import seqio

    import t5x_tasks

    catalog_of(weighted("weighted_notes", t00=1, t01=9))
    t5x_tasks.install(cards=[tmp_path / "notes.yaml", tmp_path / "weighted_notes.yaml"], vocabulary=vocabulary_path)
    mixture: Any = seqio.get_mixture_or_task("weighted_notes")
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert rates == pytest.approx({"notes.t00": 0.1 * 2 * SIZE, "notes.t01": 0.9 * 2 * SIZE})
