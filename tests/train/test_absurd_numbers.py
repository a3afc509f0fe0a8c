"""Numbers that no run can mean are refused by name, before memory is asked for; those that can be meant stay as they are."""

import pytest
import yaml
from helpers.command import command

from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError
from train.config import load

HUGE = 10**12


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("run_dir: run\ntrain: {steps: 10}\n")
    return path


@pytest.mark.parametrize(
    "override",
    [
        "train.steps=1.0e+21",
        f"train.steps={10**21}",
        f"train.batch_size={HUGE}",
        "train.batch_size=1.0e+12",
        f"train.validation_examples={10**21}",
        f"train.skip.max_in_all={10**22}",
        "train.stuck_after_s=1.0e+300",
        "train.clip_norm=.inf",
        f"data.rate_cap={10**24}",
        f"model.vocab_size={HUGE}",
        f"model.emb_dim={HUGE}",
        f"model.mlp_dim={HUGE}",
        f"model.num_heads={HUGE}",
        f"model.head_dim={HUGE}",
        f"model.num_encoder_layers={10**6}",
        f"model.num_decoder_layers={10**6}",
        f"mesh.data={HUGE}",
        f"mesh.fsdp={HUGE}",
        f"mesh.tensor={10**20}",
        f"mesh.slices={10**17}",
        f"eval.batch_size={HUGE}",
        f"eval.limit={10**20}",
        f"eval.steps=[{10**27}]",
        f"eval.bootstrap_samples={HUGE}",
        f"eval.probe.limit={10**20}",
        f"eval.decode.max_tokens={HUGE}",
        f"eval.decode.no_repeat_ngram={10**14}",
        f"eval.decode.forbidden=[{10**26}]",
        "eval.decode.repetition_penalty=.inf",
        "eval.decode.length_penalty=.nan",
        f"checkpoint.keep_latest={10**20}",
        f"checkpoint.every_steps={10**23}",
        "optimizer.learning_rate=.inf",
        f"optimizer.schedule.warmup_steps={10**22}",
        f"method={{type: lora, rank: {HUGE}}}",
        f"method={{type: prompt_tuning, length: {HUGE}}}",
        f"method={{type: prefix_tuning, length: {HUGE}}}",
        f"method={{type: p_tuning, hidden: {HUGE}}}",
        f"method={{type: bottleneck, size: {HUGE}}}",
        f"profile={{steps: {10**20}}}",
        f"logging.every_steps={10**24}",
    ],
)
def test_an_absurd_number_is_refused_by_its_key(file, override):
    with pytest.raises(UserError) as caught:
        load(file, [override])
    said = str(caught.value)
    key = override.partition("=")[0]
    assert said.startswith(f"command line: {key}") and "\n" not in said and len(said) < 250
    assert "must be" in said or "must hold" in said


def test_epochs_are_bounded_too(file):
    with pytest.raises(UserError, match=r"train\.epochs: must be 1000000 or less \(got 1000000000000000\)"):
        load(file, ["train.steps=null", f"train.epochs={10**15}"])


@pytest.mark.parametrize(
    ("override", "value"),
    [("train.steps=1.0e+3", 1000), ("train.steps=1_000", 1000), ("train.steps=2147483647", 2**31 - 1)],
)
def test_a_number_that_can_be_meant_stays(file, override, value):
    assert load(file, [override]).train.steps == value


def test_a_large_run_is_not_refused(file):
    """The largest that anybody would start: XXL on a pod."""
    load(file, ["model.preset=flan-t5-xxl", "train.batch_size=65536", "mesh.fsdp=4096", "train.steps=10000000"])


def test_a_card_is_bounded_too(make_card):
    with pytest.raises(UserError, match=r"max_examples: .*must be 2147483647 or less"):
        load_card(make_card(max_examples=10**30))


def test_the_trainer_refuses_a_batch_of_a_trillion_rows_in_one_line(make_card, tmp_path, vocabulary_path):
    config = {
        "run_dir": str(tmp_path / "run"),
        "model": {"preset": "t5-tiny", "vocabulary": str(vocabulary_path)},
        "data": {"mixture": "tiny", "cards": [str(make_card())], "lengths": {"inputs": 32, "targets": 16}},
        "train": {"steps": 1, "batch_size": HUGE},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    ended = command("train", str(tmp_path / "config.yaml"))
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert not (tmp_path / "run").exists()
