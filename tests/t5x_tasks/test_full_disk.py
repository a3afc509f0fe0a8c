"""A disk that is full or a mount that fails ends a command with 1, after which launchers start it again; never with 2."""

import errno
import os
from pathlib import Path

import pytest
from helpers.command import command
from helpers.disks import little_room

from t5x_tasks.common.errors import Failure, UserError, run_cli
from t5x_tasks.common.output import check_writable
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.sources import files

ROWS = [{"id": f"r{i}", "dialogue": f"Ann: {'word ' * 150}{i}?", "summary": f"It is {i}."} for i in range(3000)]


@pytest.mark.parametrize("apart", [False, True], ids=["in one process", "in processes of their own"])
def test_a_full_disk_while_preparing_is_a_failure(make_card, tmp_path, vocabulary, monkeypatch, apart):
    if apart:
        monkeypatch.setattr("t5x_tasks.prepare.ensure._INLINE_BYTES", 0)
        monkeypatch.setattr("t5x_tasks.prepare.ensure.num_cores", lambda: 2)
    card = str(make_card(rows=ROWS))
    with little_room(tmp_path / "disk") as make_room:
        data = DataConfig(cards=(card,), cache=str(tmp_path / "disk" / "cache"))
        with pytest.raises(Failure, match=r"^[^\n]*cannot write the cache \([^\n]*\); make room there[^\n]*$"):
            ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary, progress=False)
        assert not list((tmp_path / "disk").rglob("manifest.json"))
        make_room()
        assert len(ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary, progress=False)) == 2


def test_the_command_prepare_exits_with_1(make_card, tmp_path, vocabulary_path):
    config = tmp_path / "config.yaml"
    with little_room(tmp_path / "disk"):
        cache = tmp_path / "disk" / "cache"
        config.write_text(
            f"data: {{mixture: tiny, cards: ['{make_card(rows=ROWS)}'], cache: '{cache}'}}\n"
            f"model: {{vocabulary: '{vocabulary_path}'}}\n"
        )
        ended = command("t5x_tasks", "prepare", str(config))
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr


def code(function, monkeypatch) -> int:
    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda _: function())
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, 1), (errno.EIO, 1), (errno.ESTALE, 1), (errno.EACCES, 2)]
)
def test_whoever_says_it_in_a_line_of_its_own(tmp_path, monkeypatch, number, expected):
    """Many places have words of their own for a file that cannot be read or written: the exit code is not theirs to choose."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"a": 1}\n')
    card = tmp_path / "card.yaml"
    card.write_text("name: x\n")
    for patched, act in (
        ("tempfile.TemporaryFile", lambda: check_writable(tmp_path, "--output")),
        ("pathlib.Path.open", lambda: list(files._read_jsonl(rows))),
        ("pathlib.Path.read_text", lambda: command_of_a_card(card)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(patched, fail)
            assert code(act, monkeypatch) == expected, patched


def command_of_a_card(card: Path) -> None:
    from t5x_tasks.common.located_yaml import read_yaml

    read_yaml(card)


def test_a_disk_that_fills_while_the_hubs_library_writes_is_a_failure(make_card, tmp_path, monkeypatch):
    """The library wraps the system's error into its own, and we wrap that."""

    def fail(*_, **__):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RuntimeError("An error occurred while generating the dataset") from error

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.load_dataset_builder", fail)
    card = make_card(source={"type": "hub", "path": "nobody/nothing", "splits": ["train"]})
    assert code(lambda: print(read(card)), monkeypatch) == 1


def read(card: Path) -> list:
    from t5x_tasks.card.load import load_card
    from t5x_tasks.sources import read_rows

    return read_rows(load_card(card), "train")


def test_a_data_set_whose_disk_fails_is_not_left_out_of_a_mixture(make_card, tmp_path, vocabulary, monkeypatch):
    """data.skip_missing is for data that are not there; a mount that fails for a while would change what is learned."""
    card, other = make_card(), make_card(name="other")
    mixture = tmp_path / "mix.yaml"
    mixture.write_text("name: mix\nmembers: [tiny, other]\n")
    broken = other.parent / "train.jsonl"
    open_file = Path.open

    def fail(path, *arguments, **options):
        if path == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)
    data = DataConfig(cards=(str(card), str(other), str(mixture)), cache=str(tmp_path / "cache"), skip_missing=True)
    with pytest.raises((UserError, Failure), match="Input/output error"):
        ensure_prepared("mix", "train", data=data, vocabulary=vocabulary, progress=False)
