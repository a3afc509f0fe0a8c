"""Exemplars: the rows that they are drawn from, and the room that they leave for the rest of a row."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from t5x_tasks.commands.prepare_run import prepare_run
from t5x_tasks.prepare.data_config import DataConfig, Lengths
from t5x_tasks.prepare.ensure import ensure_prepared

ROWS = [
    {"id": f"r{n}", "dialogue": f"Ann: number {n} is mine, please.", "summary": f"Ann wants {n}."} for n in range(30)
]
ASKED = ROWS[::3]  # of the test split, too: ten of thirty


@pytest.fixture
def leaking(make_card):
    """A card in two-shot templates whose training rows hold all questions of its test split."""
    return lambda **changes: make_card(
        rows=ROWS, test_rows=[{**row, "id": f"test-{row['id']}"} for row in ASKED], shots=[0, 2], **changes
    )


def shown(prepared, vocabulary) -> list[str]:
    """The inputs of each example, as the model reads them."""
    split = prepared.open()
    return [vocabulary.decode(inputs[:-1]) for inputs, _ in split.tokens(range(len(split)))]


@pytest.mark.parametrize(
    ("split", "text"), [("train", False), ("train", True), ("test", True)], ids=["training", "train", "test"]
)
@pytest.mark.parametrize("by_card", [True, False], ids=["card", "run"])
def test_dedupe_keeps_test_questions_out_of_the_exemplars(leaking, vocabulary, tmp_path, split, text, by_card):
    card = leaking(dedupe=True) if by_card else leaking()
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"), dedupe=not by_card)
    (prepared,) = ensure_prepared("tiny.t01_2shot", split, data=data, vocabulary=vocabulary, text=text)
    leaks = 0
    for inputs in shown(prepared, vocabulary):
        before = inputs.split("In short:")[:2]
        leaks += any(row["dialogue"] in exemplar for row in ASKED for exemplar in before)
    assert leaks == 0


def test_without_dedupe_the_same_rows_are_exemplars_as_ever(leaking, vocabulary, tmp_path):
    data = DataConfig(cards=(str(leaking()),), cache=str(tmp_path / "cache"))
    (prepared,) = ensure_prepared("tiny.t01_2shot", "test", data=data, vocabulary=vocabulary, text=True)
    drawn = [
        [row["id"] for row in ROWS for part in inputs.split("In short:")[:2] if row["dialogue"] in part]
        for inputs in shown(prepared, vocabulary)
    ]
    assert drawn == AS_EVER


AS_EVER = [
    ["r12", "r15"], ["r12", "r13"], ["r16", "r23"], ["r4", "r26"], ["r0", "r10"],
    ["r0", "r2"], ["r4", "r22"], ["r20", "r24"], ["r20", "r28"], ["r7", "r19"],
]  # fmt: skip


def test_what_dedupe_leaves_out_of_exemplars_counts_for_whether_they_are_prepared_anew(leaking, vocabulary, tmp_path):
    card = leaking(dedupe=True)
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))

    def folders(task: str) -> Path:
        return ensure_prepared(task, "test", data=data, vocabulary=vocabulary, text=True)[0].folder

    before = folders("tiny.t01"), folders("tiny.t01_2shot")
    leaking()
    assert folders("tiny.t01") == before[0]  # no exemplars: the rows of `test` are the same
    assert folders("tiny.t01_2shot") != before[1]


def test_seqio_draws_the_same_exemplars_under_dedupe(leaking, vocabulary, vocabulary_path, tmp_path):
    import seqio

    import t5x_tasks

    card = leaking(dedupe=True, name="leaking")
    t5x_tasks.install(cards=[card], vocabulary=vocabulary_path)
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))
    (prepared,) = ensure_prepared("leaking.t01_2shot", "test", data=data, vocabulary=vocabulary, text=True)
    dataset = seqio.get_mixture_or_task("leaking.t01_2shot").get_dataset(None, split="test", shuffle=False)
    theirs = [example["inputs"] for example in dataset.as_numpy_iterator()]
    ours = [inputs for inputs, _ in prepared.open().tokens(range(len(theirs)))]
    assert all(map(np.array_equal, theirs, ours))


def test_exemplars_leave_room_for_a_soft_prompt(leaking, vocabulary, tmp_path):
    data = DataConfig(cards=(str(leaking()),), cache=str(tmp_path / "cache"), lengths=Lengths(inputs=100, targets=16))
    prompt = range(20)
    (prepared,) = ensure_prepared(
        "tiny.t01_2shot", "train", data=data, vocabulary=vocabulary, prompt=lambda dataset: prompt
    )
    assert len(prompt) + prepared.open().lengths[:, 0].max() <= 100
    (without,) = ensure_prepared("tiny.t01_2shot", "train", data=data, vocabulary=vocabulary)
    assert without.folder != prepared.folder


@pytest.mark.parametrize(
    ("section", "later"),
    [({}, False), ({"data": {"lengths": "auto"}}, True), ({"method": {"type": "prompt_tuning", "length": 5}}, True)],
)
def test_prepare_says_which_exemplars_only_training_can_fit(leaking, tmp_path, vocabulary_path, capsys, section, later):
    data = {"mixture": "tiny", "cards": [str(leaking())], "cache": str(tmp_path / "cache"), **section.get("data", {})}
    config = {"model": {"vocabulary": str(vocabulary_path)}, "eval": {"split": "test"}, **section, "data": data}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    prepare_run(str(tmp_path / "run.yaml"), [])
    assert ("prepare these anew when they start" in capsys.readouterr().err) == later
