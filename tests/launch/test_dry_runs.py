"""Whatever only looks at a run imports nothing that its cards name."""

import os
import sys
from pathlib import Path

import pytest

from eval.__main__ import main as evaluate
from launch.__main__ import main as launch
from launch.preflight import Sent
from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from train.__main__ import main as train

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


@pytest.fixture
def module(tmp_path, monkeypatch) -> Path:
    """A module in a package of the user's; both leave a file where they are imported, also in another process."""
    for name in ("__init__", "functions"):
        (tmp_path / "someones_package").mkdir(exist_ok=True)
        (tmp_path / "someones_package" / f"{name}.py").write_text(
            f"open({str(tmp_path / 'PWNED')!r}, 'w')\ndef own(*texts): return 'x'\nclass Codec:\n    encode = decode = own\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    return tmp_path / "someones_package" / "functions.py"


@pytest.fixture
def card(module, make_card) -> Path:
    named = "someones_package.functions:own"
    field = {"column": "dialogue", "transform": named, "codec": "someones_package.functions:Codec"}
    return make_card(
        fields={"dialogue": field, "summary": "summary"},
        metrics=["rouge", named],
        source={"type": "python", "function": named, "splits": ["train", "validation", "test"]},
    )


def test_dry_runs_and_plans_import_nothing_that_a_card_names(card, module, fakes, tmp_path):
    run = [str(QUICKSTART), f"run_dir={tmp_path}/q", f"data.cards=[{card}]", "data.mixture=tiny"]
    assert train([*run, "--dry-run"]) == 0
    assert evaluate([*run, "eval.tasks=[tiny]", "--dry-run"]) == 0
    for launcher in ("local", "slurm"):
        assert launch([launcher, *run, "--dry-run"]) == 0
    assert launch(["plan", *run, "--devices", "cpu-1"]) in (0, 1)
    with pytest.raises(UserError, match="is a path of this machine"):
        launch(["tpu-vm", *run, "run_dir=runs/q", "--accelerator", "v5litepod-16", "--zone", "z", "--dry-run"])
    assert not (tmp_path / "PWNED").exists() and "someones_package" not in sys.modules


def test_what_is_sent_is_found_without_importing_the_packages_around_it(card, module):
    named = dict(Sent(code=card.parent)._of_card(load_card(card), with_data=True, all_splits=True))
    assert module in named.values()
    assert not (module.parent.parent / "PWNED").exists() and "someones_package" not in sys.modules
