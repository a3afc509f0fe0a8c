"""A user without a home folder, as in a container with a user id of its own."""

import pwd
from pathlib import Path

import pytest

from t5x_tasks.common.errors import UserError, run_cli
from t5x_tasks.prepare.data_config import DataConfig


@pytest.fixture
def homeless(monkeypatch):
    def nobody(_: int):
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("FLAN_T5X_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_the_cache_must_be_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"data\.cache: there is no home folder .*\$FLAN_T5X_CACHE"):
        DataConfig().cache_folder()
    monkeypatch.setenv("FLAN_T5X_CACHE", str(tmp_path))
    assert DataConfig().cache_folder() == tmp_path


@pytest.mark.usefixtures("homeless")
def test_a_path_from_the_home_folder_that_is_not_there_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda _: Path("~/weights").expanduser() and None)
    assert ended.value.code == 2
    assert "error: a path begins with ~, and there is no home folder; set HOME" in capsys.readouterr().err
