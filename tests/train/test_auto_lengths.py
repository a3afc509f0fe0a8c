"""data.lengths=auto in whole runs: few-shot data that can be resumed and evaluated, and no row longer than the bound."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.notes import SIZES, write_notes
from eval.examples import prepare_questions
from t5x_tasks.prepare.data_config import MAX_LENGTH
from train import config as configuration
from train.config import Config
from train.data.open import fisher_examples, open_training, validation_batches
from train.data.packing import auto_lengths
from train.loop import train
from train.model_spec import resolve_method


@pytest.fixture
def make_config(tmp_path: Path, vocabulary_path: Path) -> Callable[..., Config]:
    """Returns a function: run, steps, changes of the card and other sections -> configuration of a small run of `notes`."""

    def make(run: str, steps: int = 1, *, card: dict[str, Any] | None = None, **sections: Any) -> Config:
        path = write_notes(tmp_path)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "shots": [0, 2], **(card or {})}))
        values = {
            "run_dir": str(tmp_path / run),
            "model": {"preset": "t5-tiny", "vocabulary": str(vocabulary_path), **SIZES},
            "data": {"mixture": "notes", "cards": [str(path)], "lengths": "auto", "cache": str(tmp_path / "cache")},
            "train": {"steps": steps, "batch_size": 2, "validation_examples": 12},
            "checkpoint": {"every_steps": 1},
            "logging": {"every_steps": 1, "tensorboard": False},
            "mesh": {"data": 1},
        }
        for name, section in sections.items():
            values[name] = {**values.get(name, {}), **section}
        return Config.model_validate(values)

    return make


def losses(config: Config) -> list[tuple[float, float]]:
    rows = (Path(config.run_dir) / "metrics.jsonl").read_text().splitlines()
    return [(row["loss"], row["validation_loss"]) for row in map(json.loads, rows)]


def test_few_shot_data_under_auto_lengths_are_resumed_to_the_bit(make_config):
    whole = make_config("whole", 4)
    train(whole)
    for steps in (2, 4):
        train(make_config("parts", steps))
    assert losses(make_config("parts")) == losses(whole)


def test_choosing_the_lengths_again_chooses_the_same(make_config, vocabulary):
    first, again = (open_training(make_config("unused"), vocabulary) for _ in range(2))
    assert (again.lengths, again.streams) == (first.lengths, first.streams)
    resumed = open_training(first.config, vocabulary)  # of config.yaml, where the lengths stand
    assert (resumed.lengths, resumed.streams) == (first.lengths, first.streams)


def test_an_evaluation_of_such_a_run_asks_what_its_exemplars_leave_room_for(make_config, vocabulary):
    train(make_config("run"))
    config = configuration.load(make_config("run").run_dir, [])
    assert config.data.lengths != "auto"
    questions = prepare_questions("notes.t01_2shot", "validation", data=config.data, vocabulary=vocabulary)
    given = make_config("unused", data={"lengths": config.data.lengths.model_dump()})
    same = prepare_questions("notes.t01_2shot", "validation", data=given.data, vocabulary=vocabulary)
    assert all(map(np.array_equal, questions.tokens, same.tokens))
    assert max(map(len, questions.tokens)) <= config.data.lengths.inputs


PROMPT = {"type": "prompt_tuning", "length": 100}
ENDS = {"templates": [{"id": "t00", "inputs": "{dialogue} Who wants what?", "targets": "{summary}"}], "shots": [2]}


@pytest.mark.parametrize("method", [PROMPT, {"type": "p_tuning", "length": 100, "hidden": 4}], ids=lambda m: m["type"])
def test_a_soft_prompt_cuts_no_question_behind_exemplars(make_config, vocabulary, method):
    lengths = {"lengths": {"inputs": 176, "targets": 32}}
    config = make_config("unused", card=ENDS, method=method, data=lengths, replay={"mixture": "notes"})
    config = resolve_method(config, vocabulary)
    end = vocabulary.encode_batch(["Who wants what?"])[0].tolist()
    batches = [next(iter(open_training(config, vocabulary).batches))]
    batches += validation_batches(config, vocabulary).batches
    batches.append(next(iter(fisher_examples(config, vocabulary, rows=2))))
    for batch in batches:
        tokens, segments = batch.arrays["encoder_input_tokens"], batch.arrays["encoder_segment_ids"]
        for row, of_row in zip(tokens, segments, strict=True):
            for segment in range(1, of_row.max() + 1):
                assert row[of_row == segment].tolist()[-len(end) - 1 :] == [*end, vocabulary.eos_id]
    questions = prepare_questions(
        "notes.t00_2shot", "validation", data=config.data, vocabulary=vocabulary, prompt=config.method.prompt
    ).prompted(config.method.prompt("notes"))
    assert max(map(len, questions.tokens)) <= 176


def test_auto_never_chooses_longer_rows_than_a_configuration_may_say(make_config, vocabulary, capsys):
    long = {"templates": [{"id": "t00", "inputs": "Read this. " * 2000 + "{dialogue}", "targets": "{summary}"}]}
    training = open_training(make_config("unused", card=long), vocabulary)
    assert training.lengths.inputs == MAX_LENGTH
    assert f"cuts 100.00% of the inputs and 0.00% of the targets (no row may be longer than {MAX_LENGTH} tokens)" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("shape", [(9000, 20), (20, 9000), (9000, 9000), (900, 4090), (4090, 900)])
def test_auto_lengths_stay_within_the_bound(shape):
    lengths = np.full((50, 2), shape)
    lengths[::7] = (30, 40)
    inputs, targets = auto_lengths(lengths)
    assert inputs <= MAX_LENGTH and targets <= MAX_LENGTH
    assert (np.array([inputs, targets]) >= np.minimum(shape, MAX_LENGTH)).all()
