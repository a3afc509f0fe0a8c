"""Functions that cards name: the user's own, none of the standard library, and none is imported before it is needed."""

import os
import sys
from pathlib import Path

import pytest
from helpers.command import command

from t5x_tasks.card.codec import load_codec
from t5x_tasks.card.fields import load_transform
from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.functions import load_function
from t5x_tasks.metrics import load_metric
from t5x_tasks.sources import read_rows
from train import config as configuration

REPOSITORY = Path(__file__).parents[2]
QUICKSTART = REPOSITORY / "configs" / "quickstart.yaml"
STANDARD = ["subprocess:getoutput", "os:system", "builtins:exec", "posix:system", "runpy:run_path", "ctypes:CDLL",
            "os.path:expandvars", "importlib:import_module", "pickle:loads", "_io:open", "shutil:rmtree"]  # fmt: skip


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize(
    "change",
    [
        lambda name: {"fields": {"dialogue": {"column": "dialogue", "transform": name}, "summary": "summary"}},
        lambda name: {"fields": {"dialogue": {"column": "dialogue", "codec": name}, "summary": "summary"}},
        lambda name: {"references": {"column": "dialogue", "transform": name}},
        lambda name: {"metrics": [name]},
        lambda name: {"inverted_metrics": [name]},
        lambda name: {"source": {"type": "python", "function": name, "splits": ["train"]}},
    ],
    ids=["transform", "codec", "references", "metrics", "inverted_metrics", "source"],
)
def test_a_card_names_no_function_of_the_standard_library(make_card, name, change):
    with pytest.raises(UserError, match=rf"card\.yaml:\d+: .*{name}.* is in Python's standard library; "):
        load_card(make_card(**change(name)))


@pytest.mark.parametrize("override", ["eval.metrics=['os:system']", "method.type='subprocess:Popen'"])
def test_nor_does_a_configuration(override):
    with pytest.raises(UserError, match=r"is in Python's standard library; "):
        configuration.load(QUICKSTART, [override])


@pytest.fixture
def own_modules(tmp_path, monkeypatch):
    """A module of the user's that passes functions of the standard library on."""
    (tmp_path / "someones_aliases.py").write_text(
        "import functools, os, subprocess\n"
        "from subprocess import getoutput, Popen\nfrom os import system\nfrom builtins import exec\n"
        "def own(text): return text\n"
        "wrapped = functools.lru_cache(own)\nbound = functools.partial(own, 'x')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("someones_aliases", None)
    return tmp_path


@pytest.mark.parametrize("name", ["getoutput", "Popen", "system", "exec"])
def test_what_a_module_passes_on_from_the_standard_library_is_refused(own_modules, make_card, name):
    name = f"someones_aliases:{name}"
    for load in (load_transform, load_metric, lambda n: load_function(n, folder=Path(), where="x")):
        with pytest.raises(UserError, match=rf"{name}: is .* of Python's standard library; "):
            load(name)
    card = load_card(make_card(source={"type": "python", "function": name, "splits": ["train"]}))
    with pytest.raises(UserError, match="of Python's standard library; "):
        read_rows(card, "train")


def test_a_file_of_the_standard_library_is_no_file_of_the_users(make_card):
    file = Path(os.__file__).parent / "glob.py"
    source = {"type": "python", "function": f"{file}:glob", "splits": ["train"]}
    with pytest.raises(UserError, match=r"glob\.py:glob: .* of Python's standard library; "):
        read_rows(load_card(make_card(source=source)), "train")


@pytest.mark.parametrize("name", ["own", "wrapped", "bound"])
def test_functions_of_the_users_own_stay(own_modules, name):
    assert callable(load_transform(f"someones_aliases:{name}"))


@pytest.mark.parametrize("load", [load_codec, load_metric, load_transform])
def test_a_module_that_fails_when_it_is_imported_is_one_line(own_modules, load):
    (own_modules / "someones_mistake.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=r"someones_mistake:x: cannot be imported \(ZeroDivisionError"):
        load("someones_mistake:x")


def test_check_says_that_it_runs_the_functions_of_a_card():
    assert "runs the functions that the card names" in " ".join(command("t5x_tasks", "check", "--help").stdout.split())
