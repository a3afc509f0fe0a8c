"""Files that are generated from the code: tables of keys and commands, schemas for editors, resolved configurations."""

import json
import re

import jsonschema
import pytest

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.located_yaml import read_yaml
from tests.conftest import REPOSITORY
from tools.reference import card_schema, config_schema, golden, pages

CONFIGS = sorted(path for path in REPOSITORY.glob("configs/**/*.yaml") if path.parent.name != "cards")
CARDS = sorted(
    {card.path for card in load_catalog([str(path) for path in REPOSITORY.glob("configs/*/cards")]).cards.values()}
)


@pytest.fixture(scope="module")
def validators() -> dict[str, jsonschema.Draft202012Validator]:
    schemas = {"card": card_schema(), "config": config_schema()}
    return {name: jsonschema.Draft202012Validator(schema) for name, schema in schemas.items()}


@pytest.mark.parametrize("generate", [pages, golden])
def test_what_is_generated_is_what_is_committed(generate):
    generated = generate()
    stale = [
        path
        for path, text in generated.items()
        if not (REPOSITORY / path).is_file() or (REPOSITORY / path).read_text(encoding="utf-8") != text
    ]
    assert not stale, f"{', '.join(stale)}: run `make docs`, read what changed (git diff), and commit it"


def test_every_golden_file_is_of_a_configuration_that_ships():
    found = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "tests" / "golden").rglob("*.yaml")}
    assert found == golden().keys()


def test_every_key_says_what_it_is():
    for page in ("configuration", "cards"):
        lines = (REPOSITORY / f"docs/reference/{page}.md").read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith("| `") and line.endswith("|  |")]


def test_schemas_are_schemas(validators):
    for validator in validators.values():
        validator.check_schema(validator.schema)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(REPOSITORY / "configs").as_posix())
def test_every_shipped_configuration_fits_its_schema(validators, path):
    validators["config"].validate(_as_json(path))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.name)
def test_every_shipped_card_fits_its_schema(validators, path):
    validators["card"].validate(_as_json(path))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("config", {"train": {"stpes": 200}}),
        ("config", {"method": {"type": "lora", "rnak": 8}}),
        ("config", {"optimizer": {"type": "adagrad"}}),
        ("config", {"eval": {"decode": {"beams": 0}}}),
        ("card", {"name": "x", "source": {"type": "jsonl", "train": "a"}, "fields": {"a": "a"}}),
        ("card", {"name": "x", "source": {"type": "json"}, "fields": {"a": "a"}, "templates": "heuristic"}),
    ],
)
def test_what_no_file_may_say_does_not_fit(validators, kind, values):
    assert not validators[kind].is_valid(values)


def test_sections_without_a_type_fit_as_they_load(validators):
    validators["config"].validate({"eval": {"decode": {"max_tokens": 64}}, "optimizer": {"learning_rate": 1e-3}})
    validators["config"].validate({"method": {"type": "my_module:Scaled", "targets": [".*/key"]}})


def _as_json(path):
    """Reads a file as editors do, by YAML 1.2: 1e-3 is a number, and keys of a map are texts."""
    values, _ = read_yaml(path)
    return json.loads(re.sub(r'"(\d+(\.\d+)?e-?\d+)"', r"\1", json.dumps(values)))
