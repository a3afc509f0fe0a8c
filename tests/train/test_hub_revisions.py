"""`hf://ID@REVISION`: weights, vocabularies and the bases of adapters, pinned."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.bare_run import save_base, save_run, shifted

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.hub import HubId, parse_hub_id
from t5x_tasks.common.vocabulary import locate_vocabulary
from train.export.export import export
from train.weights.locate import resolve_weights
from train.weights.peft import base_of

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def hub(vocabulary_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The hub's cache, offline, with two commits of someone/t5, the newer on its main branch: commit -> snapshot."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / "models--someone--t5"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(NEW)
    return {
        revision: save_base(repository / "snapshots" / revision, vocabulary_path, seed)
        for seed, revision in enumerate((OLD, NEW))
    }


def test_an_id_is_taken_apart():
    assert parse_hub_id("hf://google/flan-t5-base") == HubId("google/flan-t5-base", None)
    assert parse_hub_id("hf://a/b@refs/pr/1") == HubId("a/b", "refs/pr/1")
    for wrong in ("hf://a/b@", "hf://@main", "hf://"):
        with pytest.raises(UserError, match=rf"{wrong}: must be hf://ID or hf://ID@REVISION"):
            parse_hub_id(wrong)


def test_weights_and_vocabulary_are_those_of_the_revision(hub):
    assert resolve_weights("hf://someone/t5") == hub[NEW]
    assert resolve_weights(f"hf://someone/t5@{OLD}") == hub[OLD]
    assert locate_vocabulary(f"hf://someone/t5@{OLD}") == hub[OLD] / "spiece.model"
    with pytest.raises(UserError, match=r"run `hf download someone/t5 --revision v2 --local-dir DIR`"):
        resolve_weights("hf://someone/t5@v2")
    with pytest.raises(UserError, match=r"hf://someone/t5@v2: spiece\.model cannot be fetched"):
        locate_vocabulary("hf://someone/t5@v2")


def test_an_exported_adapter_names_its_base_at_the_revision_and_is_read_on_it(hub, tmp_path):
    model: dict[str, Any] = dict.fromkeys(("weights", "vocabulary"), f"hf://someone/t5@{OLD}")
    save_run(tmp_path / "run", model, {"type": "lora", "rank": 2}, shifted)
    export(str(tmp_path / "run"), tmp_path / "out", to="peft")
    said = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (said["base_model_name_or_path"], said["revision"]) == ("someone/t5", OLD)
    assert base_of(tmp_path / "out") == f"hf://someone/t5@{OLD}"
    assert "base_model: someone/t5\n" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.needs_peft
def test_peft_loads_the_base_at_the_revision(hub, tmp_path, monkeypatch):
    from peft import AutoPeftModelForSeq2SeqLM  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForSeq2SeqLM

    model: dict[str, Any] = dict.fromkeys(("weights", "vocabulary"), f"hf://someone/t5@{OLD}")
    save_run(tmp_path / "run", model, {"type": "lora", "rank": 2}, shifted)
    export(str(tmp_path / "run"), tmp_path / "out", to="peft")
    opened = AutoPeftModelForSeq2SeqLM.from_pretrained(tmp_path / "out").unload()
    loaded = AutoModelForSeq2SeqLM.from_pretrained(hub[OLD])
    assert (opened.shared.weight == loaded.shared.weight).all()
