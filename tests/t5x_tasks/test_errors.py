"""What a command that fails says, and the code it ends with."""

from pathlib import Path

import pytest

from t5x_tasks.errors import UserError, run_cli
from t5x_tasks.output import check_writable, naming


def end(main, capsys, monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        run_cli(main)
    return int(ended.value.code or 0), capsys.readouterr().err


def fill_a_disk(path: Path) -> None:
    with naming(path), Path("/dev/full").open("w") as file:
        file.write("x")


@pytest.mark.parametrize(
    ("act", "code", "said"),
    [
        (lambda folder: (folder / "file" / "new").mkdir(), 2, "error: {}/file/new: Not a directory; choose another"),
        (lambda folder: (folder / "folder").write_text(""), 2, "error: {}/folder: Is a directory; choose another"),
        (lambda folder: (folder / ("x" * 300)).touch(), 2, "File name too long; choose another"),
        (lambda folder: fill_a_disk(folder / "out"), 1, "error: {}/out: No space left on device; make room"),
    ],
    ids=["below a file", "a folder", "long name", "full disk"],
)
def test_what_stands_in_the_way_of_a_path_is_one_line(act, code, said, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    ended, line = end(lambda _: act(tmp_path), capsys, monkeypatch)
    assert ended == code
    assert said.format(tmp_path) in line and line.count("\n") == 1


def test_a_file_that_nobody_looked_for_first_is_our_error_and_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(FileNotFoundError):
        run_cli(lambda _: (tmp_path / "none").read_text() and None)


def test_whether_a_folder_can_be_written_is_found_out_without_a_trace(tmp_path):
    check_writable(tmp_path / "a" / "b", "--output")
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "a", tmp_path / "c" / ("x" * 300), Path("/proc/nope/a")):
        with pytest.raises(UserError, match=f"--output: {folder}: cannot be written"):
            check_writable(folder, "--output")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
