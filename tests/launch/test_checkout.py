"""Only a checkout of the code leaves this machine, without the files that hold tokens."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch.tools import check_checkout, revision
from t5x_tasks.common.errors import UserError

REPOSITORY = Path(__file__).parents[2]
LAUNCHERS = [
    ["tpu-vm", "--accelerator", "v5litepod-16", "--zone", "z"],
    ["gke", "--image", "i", "--gpu", "h100"],
    ["gke", "--image", "i", "--tpu", "v5e", "--topology", "4x4", "--xpk", "cluster"],
    ["sky", "--accelerators", "H100:8"],
]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path) -> Path:
    """A user's own project, under git, as they have it around an installed package."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mine.yaml").write_text("run_dir: /data/x\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a")
    return folder


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone of this repository as it is in this folder."""
    folder = tmp_path / "clone"
    for name in git(REPOSITORY, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
        if (
            name.startswith(("launch", "train/", "eval/", "t5x_tasks/", "configs", ".git", "Makefile"))
            and (REPOSITORY / name).is_file()
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a")
    return folder


def launch(packages: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch", *arguments, "--dry-run"]
    return subprocess.run(
        command, cwd=cwd, env=os.environ | {"PYTHONPATH": str(packages)}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["tpu-vm", "gke", "xpk", "sky"])
def test_an_installed_wheel_sends_no_site_packages(project, launcher):
    packages = project / ".venv" / "lib" / "site-packages"
    for name in ("launch", "train", "eval", "t5x_tasks"):
        shutil.copytree(REPOSITORY / name, packages / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    config = packages / "quickstart.yaml"
    shutil.copy(REPOSITORY / "configs" / "quickstart.yaml", config)
    bucket = ["--bucket", "gs://my-bucket"] * ("--xpk" not in launcher)
    done = launch(packages, launcher[0], str(config), "run_dir=/data/x", *launcher[1:], *bucket, cwd=project)
    assert done.returncode == 2 and done.stdout == "", done.stdout + done.stderr
    assert done.stderr.startswith(
        f"error: {packages}: is no git checkout of this code; clone the repository and start this there"
    )


def test_the_commit_around_an_installed_package_is_not_its_code(project):
    inside = project / "site-packages"
    inside.mkdir()
    for check in (revision, check_checkout):
        with pytest.raises(UserError, match="is no git checkout of this code"):
            check(inside)


@pytest.mark.parametrize("name", [".env", "configs/.env", ".env.local"])
def test_a_file_of_tokens_is_ignored_by_git_and_refused_where_it_is_tracked(clone, name):
    (clone / name).write_text("HF_TOKEN=hf_never_sent\n")
    assert git(clone, "status", "--porcelain") == "" and git(clone, "check-ignore", name).strip() == name
    arguments = ("sky", "configs/quickstart.yaml", "run_dir=/data/x", "--accelerators", "H100:8", "--bucket", "s3://b")
    assert launch(clone, *arguments, cwd=clone).returncode == 0
    git(clone, "add", "--force", name)
    git(clone, "commit", "-qm", "b")
    for launcher in (arguments, ("tpu-vm", *arguments[1:3], *LAUNCHERS[0][1:], "--bucket", "gs://my-bucket")):
        done = launch(clone, *launcher, cwd=clone)
        assert done.returncode == 2 and done.stdout == ""
        assert f"{name} is tracked by git, so it would be sent" in done.stderr and "hf_never_sent" not in done.stderr


def test_what_skypilot_reads_in_place_of_gitignore_leaves_tokens_out(clone):
    arguments = ("sky", "configs/quickstart.yaml", "run_dir=/data/x", "--accelerators", "H100:8", "--bucket", "s3://b")
    (clone / ".skyignore").write_text("runs\n")
    done = launch(clone, *arguments, cwd=clone)
    assert done.returncode == 2 and ".skyignore: SkyPilot reads it in place of .gitignore" in done.stderr
    (clone / ".skyignore").write_text("runs\n.env*\n")
    assert launch(clone, *arguments, cwd=clone).returncode == 0


def test_an_image_holds_no_file_of_tokens():
    assert "**/.env*" in (REPOSITORY / ".dockerignore").read_text().splitlines()
