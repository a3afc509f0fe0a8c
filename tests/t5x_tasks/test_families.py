"""The shipped families of templates: enough of them, some held out, all worded differently."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from t5x_tasks.card.template import placeholders
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "t5x_tasks" / "library"
FAMILIES = sorted((PACKAGE / "templates").glob("*.yaml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def bare_words(text: str) -> str:
    """A template without placeholders, case, punctuation and white space."""
    return " ".join(re.findall(r"\w+", re.sub(r"\{\w+\}", "", text).lower()))


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_family_has_ten_templates_and_two_held_out(path: Path) -> None:
    forward = [template for template in read(path) if not template.get("inverted")]
    assert len(forward) >= 10
    assert sum(template.get("split") == "heldout" for template in forward) >= 2


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_family_has_no_id_twice(path: Path) -> None:
    ids = [template["id"] for template in read(path)]
    assert len(set(ids)) == len(ids)


def test_no_two_templates_say_the_same() -> None:
    seen: dict[str, str] = {}
    for path in FAMILIES:
        for template in read(path):
            name, words = f"{path.stem}.{template['id']}", bare_words(template["inputs"])
            # a template of placeholders alone (text, then question) has no words that could be another's
            assert not words or words not in seen, f"{name} says what {seen[words]} says"
            seen[words] = name


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_the_words_of_templates_are_in_the_vocabulary_of_t5(path: Path) -> None:
    for template in read(path):
        for side in ("inputs", "targets"):
            literal = re.sub(r"\{\w+\}", "", template[side])
            assert not set(literal) & set("{}<~^\\`\t"), f"{template['id']}: {literal!r}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "cards").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_card_has_the_fields_of_its_family_and_no_others(path: Path) -> None:
    card = read(path)
    templates = read(PACKAGE / "templates" / f"{card['templates']}.yaml")
    used = {name for t in templates for side in ("inputs", "targets") for name in placeholders(t[side])}
    assert used == set(card["fields"]) | ({"options"} if "options" in card else set())


@pytest.mark.parametrize("path", sorted((PACKAGE / "cards").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_card_has_its_own_name_and_says_what_one_needs_to_know(path: Path) -> None:
    card = read(path)
    assert card["name"] == path.stem
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert all(card[key] for key in ("description", "licence", "category", "metrics"))


@pytest.mark.parametrize("path", sorted((PACKAGE / "mixtures").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_mixture_names_cards_and_mixtures_that_may_be_trained_on(path: Path) -> None:
    cards = {card["name"]: card for card in map(read, (PACKAGE / "cards").glob("*.yaml"))}
    mixtures = {mixture["name"] for mixture in map(read, (PACKAGE / "mixtures").glob("*.yaml"))}
    mixture = read(path)
    assert mixture["name"] == path.stem
    assert not mixtures & set(cards)
    for member in mixture["members"]:
        name = member if isinstance(member, str) else member["name"]
        dataset = name.removesuffix(".inverted")
        assert name in mixtures or not cards[dataset].get("heldout")


def test_flan_mini_holds_every_card_that_is_not_held_out() -> None:
    members = read(PACKAGE / "mixtures" / "flan_mini.yaml")["members"]
    names = {member if isinstance(member, str) else member["name"] for member in members}
    cards = [read(path) for path in (PACKAGE / "cards").glob("*.yaml")]
    assert {name for name in names if "." not in name} == {card["name"] for card in cards if not card.get("heldout")}
