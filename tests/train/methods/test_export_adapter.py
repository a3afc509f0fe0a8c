"""`train.export --to peft` gives an adapter only where peft can load what it belongs to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.bare_run import save_base, save_run, shifted, some_tokens
from helpers.logits import logits_of

from t5x_tasks.common.errors import UserError
from train.checkpoints.checkpointer import Checkpoints
from train.export.export import export
from train.params import checkpoint_params

LORA = {"type": "lora", "rank": 4}


@pytest.fixture(scope="module")
def base(vocabulary_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "hf", vocabulary_path)


@pytest.fixture
def make_base(base: Path, vocabulary_path: Path, tmp_path: Path) -> Any:
    """Returns a function: kind -> weights of that kind, which no adapter of peft's can belong to (`hf` aside)."""

    def make(kind: str) -> str:
        if kind in ("random", "hf"):
            return kind if kind == "random" else str(base)
        save_run(tmp_path / "first", {"weights": str(base), "vocabulary": str(vocabulary_path)}, LORA, shifted)
        if kind == "run":
            return str(tmp_path / "first")
        if kind == "step":
            return str(tmp_path / "first" / "checkpoints" / "5")
        export(str(tmp_path / "first"), tmp_path / kind, to=kind)
        return str(tmp_path / kind)

    return make


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("run", "first, a run,"),
        ("step", "checkpoints/5, a run,"),
        ("peft", "peft, an adapter,"),
        ("t5x", "t5x, a T5X checkpoint,"),
        ("random", "random weights,"),
    ],
)
def test_an_adapter_of_what_peft_cannot_load_is_refused(kind, named, make_base, vocabulary_path, tmp_path):
    model = {"weights": make_base(kind), "vocabulary": str(vocabulary_path)}
    save_run(tmp_path / "run", model, LORA, shifted)
    with pytest.raises(UserError, match=rf"--to peft: .*/run began from .*{named} which peft cannot load; use --to hf"):
        export(str(tmp_path / "run"), tmp_path / "out", to="peft")
    assert not (tmp_path / "out").exists()
    export(str(tmp_path / "run"), tmp_path / "out", to="hf")  # as the message says


@pytest.mark.needs_peft
def test_an_adapter_of_a_run_on_what_was_exported_for_it_computes_what_the_run_does(
    make_base, vocabulary_path, tmp_path
):
    import torch  # pyright: ignore[reportMissingImports]
    from peft import AutoPeftModelForSeq2SeqLM  # pyright: ignore[reportMissingImports]

    export(make_base("run"), tmp_path / "merged", to="hf")  # the way that the message names for other methods
    model = {"weights": str(tmp_path / "merged"), "vocabulary": str(vocabulary_path)}
    config, built = save_run(tmp_path / "run", model, LORA, shifted)
    export(str(tmp_path / "run"), tmp_path / "out", to="peft")
    opened = AutoPeftModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    tokens = some_tokens(built.config.vocab_size)
    encoder, decoder = (torch.tensor(tokens[f"{side}_input_tokens"]).long() for side in ("encoder", "decoder"))
    with torch.no_grad():
        theirs = opened(input_ids=encoder, decoder_input_ids=decoder, use_cache=False).logits.numpy()
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        ours = np.asarray(logits_of(built.graphdef, checkpoint_params(config, built, checkpoints, 5), tokens))
    np.testing.assert_allclose(theirs, ours, atol=1e-3 * np.abs(ours).max())
