"""Files that a run names are sent with the code, in a checkout of its own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.preflight import Sent
from t5x_tasks.common.errors import UserError
from train import config as configuration

CONFIG = """
base: base.yaml
run_dir: runs/x
model: {vocabulary: words.model}
data: {mixture: tiny, cards: [cards/tiny]}
"""
CARD = "cards/tiny/card.yaml"


@pytest.fixture
def code(tmp_path, make_card, monkeypatch):
    """A checkout with a configuration, a card with its data, and all that they name."""
    folder = tmp_path / "code"
    source = {"type": "jsonl", "train": "train.jsonl", "test": "test.jsonl"}
    card = make_card(templates="mine", metrics=["own_metrics:exact"], source=source)
    folder.mkdir()
    shutil.move(card.parent.parent, folder / "cards")
    texts = {
        "x.yaml": CONFIG, "base.yaml": "train: {steps: 1}", "words.model": "", "own_metrics.py": "", "tasks.py": "",
        "cards/tiny/mine.yaml": "- {id: t00, inputs: 'Say: {dialogue}', targets: '{summary}'}", ".gitignore": "/runs/",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "cards/tiny/notes.txt").write_text("named by nothing")
    git(folder, "init", "-q")
    commit(folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True)


def commit(folder: Path, *without: str) -> None:
    git(folder, "add", ".")
    git(folder, "rm", "-q", "--cached", "--force", "cards/tiny/notes.txt", *without)
    git(folder, "commit", "-qm", "a")


def uncommit(folder: Path, file: str) -> None:
    git(folder, "rm", "-q", "--cached", file)
    git(folder, "commit", "-qm", "b")


def check(code: Path, *overrides: str, **sent) -> None:
    config = configuration.load("x.yaml", list(overrides))
    Sent(code.resolve(), **sent).check(Path("x.yaml"), config)


def test_what_is_committed_is_sent(code):
    check(code, "data.modules=[tasks.py]", committed=True)
    check(code, "data.modules=[tasks,seqio]", "method.type=lora", "eval.metrics=[rouge]", committed=True)


@pytest.mark.parametrize(
    ("file", "where"),
    [
        ("x.yaml", "x.yaml"), ("base.yaml", "base.yaml"), ("words.model", "model.vocabulary"), ("tasks.py", "data.modules"),
        (CARD, "data.cards"), ("cards/tiny/mine.yaml", f"{CARD}: templates"), ("cards/tiny/train.jsonl", f"{CARD}: source"),
        ("own_metrics.py", f"{CARD}: own_metrics:exact"),
    ],
)  # fmt: skip
def test_what_is_in_no_commit_is_named_before_it_is_sent(code, file, where):
    uncommit(code, file)
    with pytest.raises(
        UserError, match=rf"^{where}: {file} is not in the commit that is sent; commit it .*, or keep it in"
    ):
        check(code, "data.modules=[tasks.py]", committed=True)
    check(code, "data.modules=[tasks.py]")  # an image and SkyPilot take what git does not ignore


def test_data_that_come_from_elsewhere_need_no_commit(code):
    uncommit(code, "cards/tiny/train.jsonl")
    for way in ("data.root=/data/mirror", "data.cache=/data/cache"):
        check(code, way, committed=True, mounted=["/data"])


def test_a_function_beside_the_card_goes_with_it(code):
    card = (code / CARD).read_text()
    source = "source: {type: python, function: 'reader.py:read', splits: [train]}\n"
    (code / CARD).write_text(source + card[: card.index("source:")] + card[card.index("fields:") :])
    (code / "cards/tiny/reader.py").write_text("")
    commit(code, "cards/tiny/reader.py")
    with pytest.raises(
        UserError, match=r"^cards/tiny/card\.yaml: source\.function: reader\.py:read: .*reader\.py is not in the commit"
    ):
        check(code, committed=True)


def test_what_git_ignores_is_in_no_image(code):
    (code / "runs/base").mkdir(parents=True)
    (code / "runs/base/config.yaml").write_text("")
    with pytest.raises(
        UserError, match=r"^model\.weights: runs/base/config\.yaml is not in the code \(git ignores it\)"
    ):
        check(code, "model.weights=runs/base")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.cards=[cards/none.yaml]", r"data\.cards: .*cards/none\.yaml is not there"),
        (
            "data.cards=[../mine.yaml]",
            r"data\.cards: .*mine\.yaml is not part of the code that is sent; put it into code/",
        ),
        ("data.cards=[/etc]", r"data\.cards: /etc is a path of this machine; put it into code/"),
        ("data.cards=[~/x.yaml]", r"data\.cards: ~/x\.yaml is a path of this machine"),
        ("data.modules=[no.py]", r"data\.modules: .*no\.py is not there"),
        ("data.root=mirror", r"data\.root: .*mirror is not there"),
        ("model.weights=runs/base", r"model\.weights: .*runs/base is not there"),
        ("method={type: prompt_tuning, init: {type: file, path: p.npy}}", r"method\.init\.path: .*p\.npy is not there"),
    ],
)
def test_what_the_machines_would_not_have_is_refused(code, override, message):
    with pytest.raises(UserError, match=message):
        check(code, override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.root=/none", r"data\.root: /none is a path of this machine"),
        (
            "data.modules=[no_such_module]",
            r"data\.modules: no_such_module: there is no module no_such_module; put it into code/",
        ),
        ("eval.metrics=['no_such.module:f']", r"eval\.metrics: no_such\.module:f: there is no module"),
    ],
)
def test_what_an_image_may_have_is_refused_where_a_commit_is_sent(code, override, message):
    check(code, override)
    with pytest.raises(UserError, match=message):
        check(code, override, committed=True)


def test_a_base_by_an_absolute_path_and_a_link_that_is_in_no_commit_are_refused(code):
    (code / "x.yaml").write_text(CONFIG.replace("base.yaml", str(code / "base.yaml")))
    with pytest.raises(
        UserError, match=r"^x\.yaml: base: /.* is a path of this machine; name it as seen from this file"
    ):
        check(code)
    (code / "x.yaml").write_text(CONFIG)
    (code / "link.yaml").symlink_to(CARD)
    with pytest.raises(UserError, match=r"^data\.cards: link\.yaml is not in the commit"):
        check(code, "data.cards=[link.yaml]", committed=True)


def test_a_card_outside_is_named_whichever_way_leads_to_it(code, make_card):
    outside = make_card(templates=[{"id": "t00", "inputs": "{dialogue}", "targets": "{summary}"}])
    (code / "mine").mkdir()
    (code / "mine/card.yaml").symlink_to(outside)
    for way in (f"../{outside.relative_to(code.parent)}", "mine/card.yaml", "mine"):
        with pytest.raises(UserError, match=r"^data\.cards: .*card\.yaml is not part of the code that is sent"):
            check(code, f"data.cards=[{way}]", committed=True)


def test_cards_and_splits_that_training_does_not_read_may_stay(code):
    other = (code / CARD).read_text().replace("name: tiny", "name: other")
    (code / "cards/tiny/other.yaml").write_text(other)
    uncommit(code, "cards/tiny/test.jsonl")
    check(code, committed=True)
    with pytest.raises(UserError, match=r"other\.yaml is not in the commit"):
        check(code, "data.mixture=other", committed=True)
    with pytest.raises(UserError, match=r"test\.jsonl is not in the commit"):
        check(code, "data.dedupe=true", committed=True)


def test_what_tools_hide_in_a_folder_is_not_asked_for(code):
    """Files that `hf download --local-dir` leaves beside the weights, and Python beside a reader."""
    for file in ("weights/model.safetensors", "weights/.cache/huggingface/.gitignore", "weights/__pycache__/x.pyc"):
        (code / file).parent.mkdir(parents=True, exist_ok=True)
        (code / file).write_text("*")
    git(code, "add", "--force", "weights/model.safetensors")
    git(code, "commit", "-qm", "c")
    for committed in (True, False):
        check(code, "model.weights=weights", committed=committed)
    (code / "weights/config.json").write_text("{}")
    with pytest.raises(UserError, match=r"^model\.weights: weights/config\.json is not in the commit"):
        check(code, "model.weights=weights", committed=True)


def test_a_submodule_is_not_in_the_commit_that_is_sent(code, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.jsonl").write_text("")
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "a")
    git(code, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    git(code, "commit", "-qm", "c")
    with pytest.raises(UserError, match=r"^data\.root: sub/train\.jsonl is not in the commit"):
        check(code, "data.root=sub", committed=True)


def test_what_lies_in_mounted_storage_or_at_the_hub_is_not_looked_for(code):
    check(
        code, "data.cards=[/data/cards]", "data.root=/data/mirror", "model.weights=/data/runs/base", mounted=["/data"]
    )
    check(code, "model.weights=hf://google/flan-t5-base", "model.vocabulary=hf://google/flan-t5-base")


@pytest.mark.parametrize("launcher", [
    ["tpu-vm", "--accelerator", "v5litepod-16", "--zone", "z", "--bucket", "gs://my-bucket"],
    ["gke", "--image", "i", "--gpu", "h100", "--claim", "runs"],
    ["sky", "--accelerators", "H100:8", "--bucket", "s3://bucket"],
])  # fmt: skip
def test_launchers_say_so_before_anything_is_started(fakes, tmp_path, launcher):
    (tmp_path / "mine.yaml").write_text("run_dir: /data/x\n")
    with pytest.raises(UserError, match=r"mine\.yaml is not part of the code that is sent; put it into"):
        main([*launcher, str(tmp_path / "mine.yaml")])
    with pytest.raises(UserError, match=r"^data\.cards: .*mine\.yaml is a path of this machine"):
        main([*launcher, "configs/quickstart.yaml", "run_dir=/data/x", f"data.cards=[{tmp_path / 'mine.yaml'}]"])
    assert fakes.transcript == ""
