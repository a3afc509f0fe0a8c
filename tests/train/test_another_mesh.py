"""A run resumes on another mesh, where sums that its base or its start are computed from have other last bits."""

from pathlib import Path

import yaml
from helpers.processes import MESH, finish, launch, rows

DORA = "method={type: lora, rank: 4, dora: true, targets: ['.*']}"
ONE = ("mesh.data=8", "mesh.fsdp=1", "mesh.tensor=1")


def train(workplace: Path, run: str, *overrides: str) -> str:
    command = ["-m", "train", str(workplace / "config.yaml"), f"run_dir={workplace / run}", *overrides]
    return finish(launch(command, processes=1))[0]


def test_dora_that_is_pulled_to_its_start_and_what_is_trained_on_it_resume_on_another_mesh(workplace):
    dora = (DORA, "regularizer={type: l2_sp, weight: 0.1}", "checkpoint.every_steps=2", "train.validation_examples=0")
    train(workplace, "dora", *dora, *ONE, "train.steps=2")
    assert "resumes after step 2" in train(workplace, "dora", *dora, *MESH, "train.steps=4")
    on_it = ("method={type: lora, rank: 2}", f"model.weights={workplace / 'dora' / 'checkpoints' / '4'}", *dora[2:])
    train(workplace, "on_it", *on_it, *ONE, "train.steps=2")
    assert "resumes after step 2" in train(workplace, "on_it", *on_it, *MESH, "train.steps=4")
    assert [row["step"] for row in rows(workplace, "on_it")] == [1, 2, 3, 4]
    config = yaml.safe_load((workplace / "on_it" / "config.yaml").read_text())
    assert config["mesh"]["tensor"] == 2
