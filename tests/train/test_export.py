import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import msgpack_restore

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from train.checkpoints.checkpointer import Checkpoints
from train.config import BeamConfig, Config, GreedyConfig, SampleConfig, dump
from train.export import __main__ as export_cli
from train.export.folder import appearing
from train.export.hf import generation_config, save_hf
from train.model.t5 import T5Config, abstract_model
from train.params import load_weights
from train.weights.locate import resolve_weights

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


def test_full_disk_is_named_whoever_noticed_it(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/out'"), appearing(tmp_path / "out"):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing local file: No space left on device")  # TensorStore's
    assert list(tmp_path.iterdir()) == []


def test_transformers_opens_tokenizer_and_settings(tmp_path):
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    (tmp_path / "hf").mkdir()  # an empty folder may be there
    vocabulary = Vocabulary.load(VOCABULARY)
    generation = generation_config(BeamConfig(max_tokens=77), vocabulary)
    save_hf(random_params(), CONFIG, tmp_path / "hf", VOCABULARY, generation)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
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
    assert (loaded.max_new_tokens, loaded.num_beams, loaded.length_penalty, loaded.do_sample) == (77, 4, 1.0, False)
    assert (loaded.decoder_start_token_id, loaded.eos_token_id, loaded.pad_token_id) == (0, 1, 0)


def test_every_way_of_decoding_has_the_names_that_transformers_reads():
    from transformers import GenerationConfig

    vocabulary = Vocabulary.load(VOCABULARY)
    restricted: dict[str, Any] = {
        "max_tokens": 9, "min_tokens": 2, "repetition_penalty": 1.3, "no_repeat_ngram": 3, "forbidden": ("Monday", 17),
    }  # fmt: skip
    renamed: dict[str, Any] = {
        "max_new_tokens": 9,
        "min_new_tokens": 2,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 3,
    }
    renamed["bad_words_ids"] = [vocabulary.encode_batch(["Monday"])[0].tolist(), [17]]
    sampled: dict[str, Any] = {"temperature": 0.7, "top_k": 5, "top_p": 0.9}
    beam = {"num_beams": 3, "length_penalty": 0.6, "early_stopping": True}
    expected = [
        (GreedyConfig(**restricted), renamed | {"num_beams": 1, "do_sample": False}),
        (
            BeamConfig(**restricted, beams=3, length_penalty=0.6, early_stopping=True),
            renamed | beam | {"do_sample": False},
        ),
        (
            SampleConfig(**restricted, **sampled, samples=4, seed=1),
            renamed | sampled | {"num_beams": 1, "do_sample": True},
        ),
        (GreedyConfig(max_tokens=9), {"max_new_tokens": 9, "num_beams": 1, "do_sample": False}),
    ]
    for decode, generation in expected:
        assert generation_config(decode, vocabulary) == generation
        settings = GenerationConfig(**generation)
        settings.validate(strict=True)
        assert generation.items() <= settings.to_dict().items()
        assert (
            generation.keys() <= GenerationConfig().to_dict().keys()
        )  # keys of one's own are kept, and read by nothing


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
    export_cli.main([str(run), "--to", "hf", str(tmp_path / "out"), *options])
    assert capsys.readouterr().out == f"step {step} of {run} -> {tmp_path / 'out'}\n"
    params = load_weights(tmp_path / "out", abstract_model(CONFIG)[1], None, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, params, random_params(step))
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (generation["num_beams"], generation["max_new_tokens"]) == (2, 64)


@pytest.mark.parametrize("to", ["hf", "t5x"])
def test_folder_that_cannot_be_made_is_refused_before_the_weights_are_read(run, tmp_path, to, monkeypatch):
    monkeypatch.setattr(Checkpoints, "restore_params", lambda *_: pytest.fail("weights were read"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"OUT: .*/file: cannot be written"):
        export_cli.main([str(run), "--to", to, str(tmp_path / "file" / "out")])


@pytest.mark.parametrize(("step", "other"), [(20, []), (10, ["--step", "10"])])
def test_run_goes_out_as_a_t5x_checkpoint_of_its_step(run, tmp_path, step, other):
    export_cli.main([str(run), "--to", "t5x", str(tmp_path / "out"), *other])
    params = load_weights(tmp_path / "out", abstract_model(CONFIG)[1], None, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, params, random_params(step))
    tree = msgpack_restore((tmp_path / "out" / "checkpoint").read_bytes())
    assert tree["optimizer"]["state"]["step"] == step


def test_a_link_to_where_the_weights_go_stays_one(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for there in ("empty", "new"):
        (tmp_path / f"link_{there}").symlink_to(tmp_path / there)
        export_cli.main([str(run), "--to", "t5x", str(tmp_path / f"link_{there}")])
        assert (tmp_path / f"link_{there}").is_symlink() and (tmp_path / there / "checkpoint").is_file()


def test_weights_of_other_formats_are_converted(run, tmp_path, capsys):
    """Run -> T5X -> Hugging Face -> T5X: every step by the command, no number changed."""
    export_cli.main([str(run), "--to", "t5x", str(tmp_path / "a")])
    capsys.readouterr()
    with pytest.raises(UserError, match=r"no spiece\.model there; say --vocabulary"):
        export_cli.main([str(tmp_path / "a"), "--to", "hf", str(tmp_path / "b")])
    export_cli.main([str(tmp_path / "a"), "--to", "hf", str(tmp_path / "b"), "--vocabulary", str(VOCABULARY)])
    assert capsys.readouterr().out == f"{tmp_path / 'a'} -> {tmp_path / 'b'}\n"
    export_cli.main([str(tmp_path / "b"), "--to", "t5x", str(tmp_path / "c")])
    for folder in ("b", "c"):
        params = load_weights(tmp_path / folder, abstract_model(CONFIG)[1], None, CONFIG)
        jax.tree.map(np.testing.assert_array_equal, params, random_params(20))
    generation = json.loads((tmp_path / "b" / "generation_config.json").read_text())
    assert (generation["num_beams"], generation["max_new_tokens"]) == (4, 128)
    assert f"`{tmp_path / 'a'}`, converted without change" in (tmp_path / "b" / "README.md").read_text()
    with pytest.raises(UserError, match="leave --step away"):
        export_cli.main([str(tmp_path / "b"), "--to", "t5x", str(tmp_path / "d"), "--step", "3"])


def test_run_is_the_weights_of_another(run):
    shapes = abstract_model(CONFIG)[1]
    for source, step in ((run, 20), (run / "checkpoints" / "10", 10)):
        params = load_weights(resolve_weights(str(source)), shapes, None, CONFIG)
        jax.tree.map(np.testing.assert_array_equal, params, random_params(step))
    deeper = dataclasses.replace(CONFIG, num_decoder_layers=4)
    with pytest.raises(UserError, match="num_decoder_layers is 3, the configured model has 4"):
        load_weights(run, abstract_model(deeper)[1], None, deeper)


def write_scores(run: Path, step: int, value: float, **head: Any) -> None:
    score = {"value": value, "ci_low": value - 1, "ci_high": value + 1, "settings": "rouge_score, stemmer"}
    tasks = {"support_chats": {"n": 50, "metrics": {"rougeL": score}}}
    folder = run / "eval" / str(step)
    folder.mkdir(parents=True)
    head = {"step": step, "split": "test", "limit": None, "decode": {"type": "beam", "beams": 2}} | head
    (folder / "metrics.json").write_text(json.dumps({**head, "tasks": tasks}))


def test_card_names_data_method_and_scores(run, tmp_path):
    write_scores(run, 20, 38.7)
    write_scores(run, 0, 12.3)
    export_cli.main([str(run), "--to", "hf", str(tmp_path / "out")])
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "trained from random weights for 20 steps" in card
    assert "| support_chats | Customer-support chats" in card
    assert "CC0-1.0" in card
    assert "| method | full |" in card
    assert "| support_chats | rougeL | 12.30 [11.30, 13.30] | 38.70 [37.70, 39.70] | 50 |" in card
    assert "test split, decoded with type beam, beams 2" in card
    assert "- rougeL: rouge_score, stemmer" in card


def test_card_leaves_out_scores_of_other_steps_and_other_rows(run, tmp_path):
    write_scores(run, 20, 38.7)
    write_scores(run, 0, 12.3, limit=10)
    export_cli.main([str(run), "--to", "hf", str(tmp_path / "ten"), "--step", "10"])
    assert "## Scores" not in (tmp_path / "ten" / "README.md").read_text()
    export_cli.main([str(run), "--to", "hf", str(tmp_path / "twenty")])
    assert "| rougeL | - | 38.70 [37.70, 39.70] |" in (tmp_path / "twenty" / "README.md").read_text()


def test_model_is_exported_when_its_cards_are_gone(run, tmp_path):
    text = (run / "config.yaml").read_text().replace("cards: []", "cards: [gone.yaml]")
    (run / "config.yaml").write_text(text)
    export_cli.main([str(run), "--to", "hf", str(tmp_path / "out")])
    assert "Nothing more is known of it: " in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.needs_torch
def test_transformers_opens_the_model_with_the_lengths_and_beams_of_the_run(run, tmp_path):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    export_cli.main([str(run), "--to", "hf", str(tmp_path / "out")])
    model, info = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert (model.generation_config.num_beams, model.generation_config.max_new_tokens) == (2, 64)
    head = model.lm_head.weight.detach().numpy()
    np.testing.assert_array_equal(head, np.asarray(random_params(20)["head"]).T)
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")("Anna: Hi!", return_tensors="pt")
    # One step by hand: transformers 5.23 sizes the cache of `generate` by the encoder's layers, of which CONFIG has fewer.
    logits = model(**tokens, decoder_input_ids=tokens["input_ids"][:, :1], use_cache=False).logits
    assert logits.shape == (1, 1, CONFIG.vocab_size)


@pytest.mark.parametrize("options", [["--step", "15"], ["--step", "last"]])
def test_step_that_is_not_there_is_refused(run, tmp_path, options):
    with pytest.raises(UserError):
        export_cli.main([str(run), "--to", "hf", str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()


def test_run_without_checkpoint_is_refused(run, tmp_path):
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="no checkpoint yet"):
        export_cli.main([str(run), "--to", "hf", str(tmp_path / "out")])


def test_run_whose_configuration_is_empty_is_refused(run, tmp_path):
    (run / "config.yaml").write_text("")
    with pytest.raises(UserError, match=r"config\.yaml: is empty"):
        export_cli.main([str(run), "--to", "hf", str(tmp_path / "out")])


def test_mistake_ends_the_command_with_code_2_and_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "train.export", str(tmp_path), "--to", "hf", "out"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {tmp_path}/config.json: no such file; give a Hugging Face directory, a T5X checkpoint (the folder with the "
        "file `checkpoint`) or one of our runs\n"
    )


def test_help_imports_nothing_heavy():
    code = (
        "import sys, train.export.__main__\n"
        "try: train.export.__main__.main(['--help'])\n"
        "except SystemExit: print(sorted({'jax', 'transformers', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
