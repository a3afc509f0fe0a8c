import subprocess
import tarfile

import pytest

from launch.tools import ToolError, Tools, archive, revision
from t5x_tasks.common.errors import UserError


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "a.py").write_text("a = 1\n")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_what_is_sent_is_the_commit(checkout, tmp_path):
    head = revision(checkout)
    (checkout / "a.py").write_text("a = 2\n")
    archive(head, tmp_path / "code.tar.gz", checkout)
    with tarfile.open(tmp_path / "code.tar.gz") as code:
        (member,) = (code.extractfile(name) for name in code.getnames() if name == "a.py")
        assert member is not None and member.read() == b"a = 1\n"


def test_changes_that_would_not_be_sent_are_an_error(checkout):
    (checkout / "a.py").write_text("a = 2\n")
    with pytest.raises(UserError, match=r"a\.py differs from the last commit"):
        revision(checkout)


def test_a_tool_that_is_not_there_is_the_users_to_install():
    with pytest.raises(UserError, match="no-such-tool: is not installed"):
        Tools(dry_run=False).run(["no-such-tool"])


def test_a_failure_that_is_not_the_users_keeps_its_words(fakes):
    fakes.answer(("", 1, "", "internal error, try again\n"))
    with pytest.raises(ToolError, match="gcloud: internal error, try again"):
        Tools(dry_run=False).run(["gcloud", "x"])
