"""Stand-ins for other people's launchers: on PATH, they write down how they are called and answer as they are told."""

import json
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
REPOSITORY = Path(__file__).parent.parent.parent

# Answers: [pattern in the command, exit code, stdout, stderr]. The first that matches is used up, unless no other is left for it.
FAKE = """#!{python} -SE
import json, re, shlex, sys
from pathlib import Path
folder = Path({folder!r})
command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
given = sys.stdin.read() if not sys.stdin.isatty() and sys.argv[0].endswith(("sbatch", "kubectl")) else ""
if sys.argv[0].endswith("sky") and sys.argv[-1].endswith(".yaml"):
    given = Path(sys.argv[-1]).read_text()
with (folder / "transcript").open("a") as file:
    file.write(command + "\\n" + given)
answers = json.loads((folder / "answers").read_text())
matching = [answer for answer in answers if re.search(answer[0], command)]
if matching:
    if len(matching) > 1:
        answers.remove(matching[0])
        (folder / "answers").write_text(json.dumps(answers))
    _, code, out, err = matching[0]
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.exit(code)
"""


class Fakes:
    """The tools, what they answer, and what they were told."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.answer()

    def answer(self, *answers: tuple[str, int, str, str]) -> None:
        (self._folder / "answers").write_text(json.dumps(answers))
        (self._folder / "transcript").unlink(missing_ok=True)

    @property
    def transcript(self) -> str:
        path = self._folder / "transcript"
        text = path.read_text() if path.exists() else ""
        text = re.sub(r"/tmp/tmp\w+/", "TEMPORARY/", text.replace(str(self._folder.parent), "HERE"))
        return text.replace(str(REPOSITORY), "CODE")


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("gcloud", "sbatch", "srun", "squeue", "scontrol", "kubectl", "xpk", "sky"):
        path = folder / tool
        path.write_text(FAKE.format(python=sys.executable, folder=str(folder)))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", "/tmp")
    for name in ("HF_TOKEN", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Fakes(folder)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Compares with golden/<test>.txt; UPDATE_GOLDEN=1 writes it anew, for review in the diff."""
    path = GOLDEN / f"{request.node.name.removeprefix('test_')}.txt"

    def compare(text: str) -> None:
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"UPDATE_GOLDEN=1 writes {path.name} anew"

    return compare
