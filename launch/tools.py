"""Other people's launchers, called as processes: shown before they run, their refusals said in one line."""

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from t5x_tasks.common.errors import UserError

# What a person can put right, as the tools word it.
_REFUSALS = (
    (r"permission.?denied|does not have .*permission|forbidden|not authorized|access denied", "no permission"),
    (r"quota|resource_exhausted|limit .*exceeded|maxsubmitjob|qosmax", "over the quota"),
    (r"unauthenticated|could not .*credentials|login|reauthentication|no active account", "not logged in"),
)

SAID = (
    "flan-t5x: "  # begins a line by which a command of ours, run by a tool elsewhere, says what a person can put right
)


class ToolError(RuntimeError):
    """A tool failed in a way that is not the user's."""


@dataclass(frozen=True)
class Tools:
    """Runs commands, or with `dry_run` prints them. Nothing secret may be in an argument: they are printed."""

    dry_run: bool

    def run(self, command: Sequence[str], *, given: str | None = None, follow: bool = False) -> int:
        """Runs what changes something; `given` is its standard input.

        Returns:
          The exit code: 0, or any when `follow`, which lets the command write to the terminal.

        Raises:
          UserError: the tool is not installed, or refuses: permission, quota, login; or a command of ours says so.
          ToolError: it failed for another reason.
        """
        self.show(command)
        if self.dry_run:
            if given is not None:
                print(given.rstrip())
            return 0
        if follow:
            return self._start(command, capture=False).returncode
        done = self._start(command, given=given)
        sys.stderr.write(done.stdout)
        if done.returncode:
            raise _refusal(command[0], done.stderr or done.stdout)
        return 0

    def ask(self, command: Sequence[str], *, assumed: str | None = None, absent: str = "(?!)") -> str | None:
        """Runs what only reads, and returns its output; None when it says that the thing is not there (pattern `absent`).

        A dry run assumes the answer.
        """
        if self.dry_run:
            self.show(command)
            return assumed
        done = self._start(command)
        if done.returncode == 0:
            return done.stdout.rstrip()
        if re.search(absent, done.stderr, re.IGNORECASE):
            return None
        raise _refusal(command[0], done.stderr or done.stdout)

    def say(self, text: str) -> None:
        print(f"# {text}" if self.dry_run else text, file=sys.stdout if self.dry_run else sys.stderr, flush=True)

    def show(self, command: Sequence[str]) -> None:
        line = shlex.join(command)
        print(line if self.dry_run else f"$ {line}", file=sys.stdout if self.dry_run else sys.stderr, flush=True)

    def _start(
        self, command: Sequence[str], *, given: str | None = None, capture: bool = True
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(command, input=given, capture_output=capture, text=True)
        except FileNotFoundError:
            raise UserError(f"{command[0]}: is not installed, or not on PATH") from None


def _refusal(tool: str, said: str) -> Exception:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(SAID):
            return UserError(line.removeprefix(SAID))
    for pattern, meaning in _REFUSALS:
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE):
                return UserError(f"{tool}: {meaning}: {line}")
    return ToolError(f"{tool}: {lines[-1] if lines else 'failed and said nothing'}")


def check_checkout(folder: Path) -> None:
    """Says, before anything is started, why code must not leave this machine.

    Raises:
      UserError: it is no checkout but an installed package, whose folder holds all others, too; or a file of tokens is tracked.
    """
    try:
        top = Path(_git(folder, "rev-parse", "--show-toplevel"))
        tracked = _git(folder, "ls-files", "-z").split("\0")
    except (OSError, subprocess.CalledProcessError):
        top, tracked = None, []
    if (
        top is None or top.resolve() != folder.resolve()
    ):  # the folder of an installed package may be in a user's own checkout
        raise UserError(f"{folder}: is no git checkout of this code; clone the repository and start this there")
    for name in tracked:
        if name.rpartition("/")[2].startswith(".env"):
            raise UserError(f"{name} is tracked by git, so it would be sent; `git rm --cached {name}`, and commit")


def revision(folder: Path | None = None) -> str:
    """The git revision of this code that would be sent.

    Raises:
      UserError: it is no checkout, or files differ from the commit: what runs elsewhere must be what was committed.
    """
    folder = folder or Path(__file__).parent.parent
    check_checkout(folder)
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        raise UserError(f"{folder}: has no commit; code is sent at its git revision") from None
    if changed:
        raise UserError(
            f"{folder}: {changed.splitlines()[0][3:]} differs from the last commit; commit, so that a revision is sent"
        )
    return head


def archive(revision: str, path: Path, folder: Path | None = None) -> None:
    """Writes the code at a revision as a gzipped tar file."""
    _git(folder or Path(__file__).parent.parent, "archive", "--format=tar.gz", f"--output={path}", revision)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.rstrip()
