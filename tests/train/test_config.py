"""Configuration errors name the file and the key and say what to do; every shipped configuration is valid."""

from pathlib import Path

import pytest
import yaml

from t5x_tasks.common.errors import UserError
from train import config as configuration
from train.__main__ import main

REPOSITORY = Path(__file__).parent.parent.parent
MINIMAL = "run_dir: runs/x\ntrain: {steps: 10}\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "c.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def error_of(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        configuration.load(path, list(overrides))
    message = str(caught.value)
    assert "\n" not in message
    return message


CONFIGS = sorted(p for p in (REPOSITORY / "configs").rglob("*.yaml") if p.parent.name != "cards")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_shipped_configuration_is_valid_and_says_what_to_expect(path):
    configuration.load(path, [])
    assert path.read_text().startswith("#"), "the command, the hardware and what to expect stand at the top"


def test_overrides_win_over_the_file_and_the_file_over_its_base(write):
    write("train: {steps: 10, seed: 3, batch_size: 8}\ndata: {mixture: samsum}\n", "base.yaml")
    path = write("base: base.yaml\nrun_dir: runs/x\ntrain: {seed: 4, batch_size: 16}\n")
    config = configuration.load(path, ["train.batch_size=32", "optimizer.learning_rate=1e-3"])
    assert (config.train.steps, config.train.seed, config.train.batch_size) == (10, 4, 32)
    assert (config.data.mixture, config.optimizer.learning_rate) == ("samsum", 1e-3)


def test_the_written_configuration_loads_as_the_same(write):
    config = configuration.load(write(MINIMAL), ["data.lengths=auto", "eval.steps=[0, best]"])
    assert configuration.load(write(configuration.dump(config), "again.yaml"), []) == config


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.stpes=3", "command line: train.stpes: unknown key, did you mean train.steps?"),
        ("trian.steps=3", "command line: trian: unknown key, did you mean train?"),
        ("train.steps=many", "command line: train.steps: must be a whole number"),
        ("eval.decode.beems=3", "command line: eval.decode.beems: unknown key, did you mean eval.decode.beams?"),
        ("data.lengths.inputs=9000", "command line: data.lengths.inputs: must be 4096 or less (got 9000)"),
        ("model.preset=flan-t5-hug", "command line: model.preset: must be 't5-tiny', 'flan-t5-small'"),
        (
            "data.lengths=aut",
            "data.lengths: must hold keys and values, as {key: value} or 'auto', did you mean auto? (got 'aut')",
        ),
        ("eval.tasks=samsum", "command line: eval.tasks: must be a list, as [samsum] (got 'samsum')"),
        (
            "eval.steps=[bst]",
            "command line: eval.steps.0: must be a whole number or 'latest' or 'best', did you mean best?",
        ),
        (
            "eval.decode.type=bean",
            "command line: eval.decode: must be of the type 'greedy', 'beam', 'sample', did you mean beam?",
        ),
        ("optimizer=3", "command line: optimizer: must hold keys and values, as {key: value} (got 3)"),
        ("data.pack=maybe", "command line: data.pack: must be true or false (got 'maybe')"),
        ("run_dir=[a]", "command line: run_dir: must be a text (got ['a'])"),
        (
            "checkpoint.best=rougeL",
            "command line: checkpoint.best: must be TASK/SCORE, as support_chats/rougeL, not 'rougeL'",
        ),
        ("int=5", "command line: int: unknown key; known are checkpoint, data"),
        ("data.literal[x]=5", "command line: data.literal[x]: unknown key; known are cache"),
        ("train.epochs=2", "give exactly one of steps and epochs"),
        ("mesh.tensor=0", "each axis is a number of devices"),
        ("train.grad_accumulation=7", "train.batch_size=64 is no multiple of train.grad_accumulation=7"),
        ("train.steps", "write key=value"),
        ("train.steps.more=1", "command line: train.steps: must be a whole number"),
        (
            "run_dir=gs://b/r/x",
            "command line: run_dir: gs://b/r/x is a URL, and here a folder is needed: launch with --bucket "
            "gs://b (tpu-vm, gke, sky), which mounts it at /data, or mount it with gcsfuse, and write /data/r/x",
        ),
        (
            "data.cache=s3://b/c",
            "command line: data.cache: s3://b/c is a URL, and here a folder is needed: launch sky with",
        ),
        (
            "data.root=hdfs://n/d",
            "command line: data.root: hdfs://n/d is a URL, and here a folder is needed: mount what is",
        ),
        ("eval.output=gs://b", "mount it with gcsfuse, and write /data"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_in_one_line(write, override, expected):
    assert expected in error_of(write(MINIMAL), override)


def test_a_bucket_as_the_cache_of_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("FLAN_T5X_CACHE", "gs://b/cache")
    with pytest.raises(UserError, match=r"FLAN_T5X_CACHE: gs://b/cache is a URL.* write /data/cache"):
        configuration.DataConfig().cache_folder()


def test_what_is_wrong_in_the_file_names_the_file(write):
    path = write(MINIMAL + "optimizer: {type: adamw, learning_rat: 1e-3}\n")
    assert error_of(path) == f"{path}: optimizer.learning_rat: unknown key, did you mean optimizer.learning_rate?"
    broken = write("train: {steps: 3\nmodel: x\n", "broken.yaml")
    assert error_of(broken).startswith(f"{broken}:2: not valid YAML")
    assert "no such file" in error_of(broken.with_name("absent.yaml"))
    assert "must hold keys and values" in error_of(write("- a\n- b\n", "list.yaml"))


def test_bases_that_build_on_each_other_are_an_error(write):
    write("base: b.yaml\n", "a.yaml")
    assert "builds on itself" in error_of(write("base: a.yaml\n", "b.yaml"))


def test_only_what_a_run_computes_must_stay_the_same(write):
    first = configuration.load(write(MINIMAL), [])
    longer = configuration.load(
        write(MINIMAL), ["train.steps=99", "mesh.fsdp=2", "eval.limit=3", "data.root=/elsewhere"]
    )
    other = configuration.load(write(MINIMAL), ["train.seed=1"])
    assert configuration.differences(longer, first) == []
    assert configuration.differences(other, first) == ["train.seed: 0 -> 1"]


def test_a_method_of_the_users_own_is_named_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "my_methods.py").write_text(
        "from train.methods import Method\n"
        "class Norms(Method):\n"
        "    strength: float = 1.0\n"
        "    def trains(self, path):\n"
        "        return path.endswith('norm/scale')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = configuration.Config.model_validate(
        {"run_dir": "r", "method": {"type": "my_methods:Norms", "strength": 2}}
    )
    assert config.method.trains("encoder_norm/scale") and not config.method.trains("embedding")
    assert config.model_dump()["method"] == {"type": "my_methods:Norms", "strength": 2.0}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"type": "lra"}, "method: type: unknown method lra, did you mean lora"),
        ({"type": "lora", "ranc": 4}, r"method\.ranc: unknown key, did you mean method\.rank"),
        ({"type": "lora", "rank": 0}, r"method\.rank: must be above 0 \(got 0\)"),
        ({"type": "train.config:Config"}, "is no train.methods.Method"),
        ({"type": "no_such_module:X"}, "cannot be imported"),
    ],
)
def test_a_mistake_in_the_method_is_named(method, message, write):
    path = write(yaml.safe_dump({"run_dir": "r", "method": method}))
    with pytest.raises(UserError, match=message):
        configuration.load(path, [])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "data.mixture=suport_chats",
            "data.mixture: suport_chats: unknown task or mixture, did you mean support_chats",
        ),
        ("eval.tasks=[support_chats.helout]", "has no template helout, did you mean support_chats.heldout"),
        (
            "eval.tasks=[support_chats, suport_chats.*]",
            r"eval.tasks: suport_chats.\*: no data set suport_chats, did you mean",
        ),
        ("replay.mixture=multitaks", "replay.mixture: multitaks: unknown task or mixture, did you mean multitask"),
    ],
)
def test_names_of_tasks_that_nobody_knows_are_refused_before_anything_is_done(override, said):
    with pytest.raises(UserError, match=said):
        main([str(REPOSITORY / "configs" / "quickstart.yaml"), "--dry-run", override])


def test_names_of_tasks_may_stand_for_variants_or_be_those_of_modules(tmp_path, capsys):
    quickstart = str(REPOSITORY / "configs" / "quickstart.yaml")
    assert main([quickstart, "--dry-run", "eval.tasks=[support_chats.*, support_chats.heldout, multitask]"]) == 0
    (tmp_path / "mine.py").touch()
    assert main([quickstart, "--dry-run", "data.mixture=mine", f"data.modules=[{tmp_path / 'mine.py'}]"]) == 0
    assert "mixture: mine" in capsys.readouterr().out


def test_overrides_may_stand_behind_options_and_have_no_dashes(write, capsys):
    path = str(write(MINIMAL))
    assert main([path, "--dry-run", "train.seed=3"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["train"]["seed"] == 3
    for wrong in (["--train.seed=3"], ["--train.seed", "3"]):
        with pytest.raises(SystemExit, match="2"):
            main([path, *wrong])
        assert "values of the configuration have no dashes: train.seed=..." in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([path, "--dryrun"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: --dryrun\n")
