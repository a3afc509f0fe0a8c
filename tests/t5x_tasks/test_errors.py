"""A command that fails: its message and its exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t5x_tasks.common.errors import UserError, run_cli
from t5x_tasks.common.output import check_writable, naming

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def ctrl_c():
    """Commands get SIGINT, even if the tests were started in the background, where a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


def test_a_device_whose_memory_is_full_is_one_line_that_says_what_takes_less(monkeypatch, capsys):
    import jax.numpy as jnp

    ended, said = end(lambda _: int(jnp.ones((1 << 45,), jnp.float32).sum()), capsys, monkeypatch)
    assert ended == 2 and said.count("\n") == 1
    assert said.startswith("error: the device's memory is full (RESOURCE_EXHAUSTED")
    assert "train.grad_accumulation" in said


def test_whether_a_folder_can_be_written_is_found_out_without_a_trace(tmp_path):
    check_writable(tmp_path / "a" / "b", "--output")
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "a", tmp_path / "c" / ("x" * 300), Path("/proc/nope/a")):
        with pytest.raises(UserError, match=f"--output: {folder}: cannot be written"):
            check_writable(folder, "--output")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=f"cannot be written \\({tmp_path / 'link'} is a link to nothing\\)"):
        check_writable(tmp_path / "link" / "a", "--output")


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize(
    "command",
    [
        ("train", "configs/quickstart.yaml"),
        ("eval", "configs/quickstart.yaml", "eval.steps=[0]"),
        ("launch", "plan", "configs/quickstart.yaml", "--devices=1xh100"),
    ],
    ids=lambda command: command[0],
)
def test_a_signal_while_jax_is_imported_ends_a_command_though_a_library_swallows_it(tmp_path, command, number, code):
    (tmp_path / "jax.py").write_text(
        "import pathlib, time\n"
        f"pathlib.Path({str(tmp_path)!r}, 'importing').touch()\n"
        "try:\n    time.sleep(60)\nexcept BaseException:\n    pass\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and not (tmp_path / "importing").exists():
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, errors) == (code, "interrupted\n" if code == 130 else "")


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_outside_an_import_clears_away_and_is_one_line(tmp_path):
    program = (
        "import signal, sys, pathlib\nfrom t5x_tasks.common.errors import run_cli\n"
        "def main(_):\n    try:\n        print('begun')\n        signal.raise_signal(signal.SIGINT)\n"
        "    finally:\n        print('cleared away')\n"
        "run_cli(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "begun\ncleared away\n", "interrupted\n")


def test_ctrl_c_stays_ignored_where_a_shell_started_the_command_in_the_background():
    program = (
        "import signal\nfrom t5x_tasks.common.errors import run_cli\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "run_cli(lambda _: signal.raise_signal(signal.SIGINT))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0


OUTPUT = """
import os, sys
from t5x_tasks.common.errors import run_cli
from t5x_tasks.common.streams import require_output
def main(_):
    if sys.argv[1] == "text":
        require_output()
    if sys.argv[1] == "socket":
        raise BrokenPipeError(32, "Broken pipe")
    for _ in range(1000):
        print("x" * 99)
    with open("file", "w") as file:
        file.write(str(file.fileno()))
run_cli(main)
"""


@pytest.mark.parametrize(
    ("product", "broken", "code", "said", "finished"),
    [
        ("text", "pipe", 0, "", False),
        ("text", "/dev/full", 1, "error: No space left on device; make room", False),
        ("files", "pipe", 0, "", True),
        ("files", "/dev/full", 0, "", True),
        ("socket", "pipe", 1, "BrokenPipeError", False),
    ],
)
def test_only_a_command_whose_product_is_its_text_ends_when_that_cannot_be_written(
    tmp_path, product, broken, code, said, finished
):
    output = os.open(broken, os.O_WRONLY) if broken != "pipe" else _pipe_without_reader()
    done = subprocess.run(
        [sys.executable, "-c", OUTPUT, product], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=output, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(output)
    assert (done.returncode, (tmp_path / "file").exists()) == (code, finished), done.stderr
    assert said in done.stderr if said else done.stderr == ""


def test_a_file_is_never_opened_in_place_of_a_closed_standard_stream(tmp_path):
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", OUTPUT, "files"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=False)
    assert done.returncode == 0 and int((tmp_path / "file").read_text()) > 2


def _pipe_without_reader() -> int:
    read, write = os.pipe()
    os.close(read)
    return write
