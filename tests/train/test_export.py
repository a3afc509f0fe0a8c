import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_tasks.errors import UserError
from t5x_tasks.vocabulary import Vocabulary
from train import export, weights
from train.checkpoints import Checkpoints
from train.config import Config, dump
from train.export_hf import save_hf
from train.model import T5Config, abstract_model

REPOSITORY = Path(__file__).parents[2]
VOCABULARY = next((REPOSITORY / "t5x_tasks" / "vocabularies").glob("*.model"))
ROWS = -(-Vocabulary.load(VOCABULARY).size // 128) * 128
SIZES: dict[str, Any] = {
    "emb_dim": 16, "mlp_dim": 24, "num_heads": 4, "head_dim": 6, "num_encoder_layers": 2, "num_decoder_layers": 3,
}  # fmt: skip
CONFIG = T5Config(vocab_size=ROWS, **SIZES)


def random_params(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape, np.float32)), abstract_model(CONFIG)[1])


def test_what_lies_at_the_destination_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        save_hf(random_params(), CONFIG, tmp_path / "out", VOCABULARY)
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_failed_export_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_hf(random_params(), CONFIG, tmp_path / "out", tmp_path / "no.model")
    assert list(tmp_path.iterdir()) == []


def test_transformers_opens_tokenizer_and_settings(tmp_path):
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    (tmp_path / "hf").mkdir()  # an empty folder may be there
    generation = {"max_new_tokens": 77, "num_beams": 4, "length_penalty": 1.0, "early_stopping": False}
    save_hf(random_params(), CONFIG, tmp_path / "hf", VOCABULARY, generation)
    vocabulary, tokenizer = Vocabulary.load(VOCABULARY), AutoTokenizer.from_pretrained(tmp_path / "hf")
    texts = ["Anna: Hi,  where is my order #4711?\nSupport: It left\ttoday. ", "naïve café: 10 € <extra_id_0>", "", " "]
    assert tokenizer(texts).input_ids == [[*ids, 1] for ids in vocabulary.encode_batch(texts)]
    assert len(tokenizer) == vocabulary.size
    assert tokenizer.decode(tokenizer(texts[0]).input_ids, skip_special_tokens=True) == vocabulary.decode(
        tokenizer(texts[0]).input_ids
    )
    config = AutoConfig.from_pretrained(tmp_path / "hf")
    assert (config.architectures, config.scale_decoder_outputs) == (["T5ForConditionalGeneration"], False)
    assert (config.d_model, config.num_layers, config.num_decoder_layers, config.is_gated_act) == (16, 2, 3, True)
    loaded = GenerationConfig.from_pretrained(tmp_path / "hf")
    assert {key: getattr(loaded, key) for key in generation} == generation
    assert (loaded.decoder_start_token_id, loaded.eos_token_id, loaded.pad_token_id) == (0, 1, 0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of t5-tiny's kind with checkpoints of steps 10 (the better) and 20; its parameters are those of seed = step."""
    config = Config.model_validate(
        {
            "run_dir": str(tmp_path / "run"),
            "model": {"preset": "t5-tiny", "vocabulary": str(VOCABULARY), **SIZES},
            "eval": {"decode": {"type": "beam", "beams": 2, "max_tokens": 64}},
        }
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(dump(config))
    with Checkpoints(tmp_path / "run" / "checkpoints", keep_latest=2) as checkpoints:
        for step, loss in ((10, 1.0), (20, 2.0)):
            state = {"step": jnp.int32(step), "params": random_params(step)}
            checkpoints.save(step, state, position={}, metadata={}, metrics={"validation_loss": loss})
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("options", "step"), [([], 20), (["--step", "10"], 10), (["--step", "best"], 10), (["--step", "latest"], 20)]
)
def test_run_is_exported_at_the_step_asked_for(run, tmp_path, options, step, capsys):
    export.main([str(run), "--to", "hf", str(tmp_path / "out"), *options])
    assert capsys.readouterr().out == f"step {step} of {run} -> {tmp_path / 'out'}\n"
    params = weights.load_hf(tmp_path / "out", abstract_model(CONFIG)[1], None, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, params, random_params(step))
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (generation["num_beams"], generation["max_new_tokens"]) == (2, 64)


@pytest.mark.parametrize("options", [["--step", "15"], ["--step", "last"]])
def test_step_that_is_not_there_is_refused(run, tmp_path, options):
    with pytest.raises(UserError):
        export.main([str(run), "--to", "hf", str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()


def test_run_without_checkpoint_is_refused(run, tmp_path):
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="no checkpoint yet"):
        export.main([str(run), "--to", "hf", str(tmp_path / "out")])


def test_mistake_ends_the_command_with_code_2_and_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "train.export", str(tmp_path), "--to", "hf", "out"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path}: is no run directory: it has no config.yaml\n"


def test_help_imports_nothing_heavy():
    code = (
        "import sys, train.export\n"
        "try: train.export.main(['--help'])\n"
        "except SystemExit: print(sorted({'jax', 'transformers', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
