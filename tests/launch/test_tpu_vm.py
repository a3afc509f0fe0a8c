import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import ClassVar

import pytest
from helpers import programs

from launch import bucket, preflight, tpu_vm
from launch.__main__ import main
from t5x_tasks.common.errors import UserError

REVISION = "0123456789abcdef0123456789abcdef01234567"
STATE = r"queued-resources describe"
ENDED = r"cat \$HOME/flan-t5x/quickstart\.exit"
NOT_FOUND = (
    STATE,
    1,
    "",
    "ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: Resource quickstart was not found\n",
)
ACTIVE = (STATE, 0, "ACTIVE\n", "")
FOLLOW = r"--follow=name"
RUN = [
    "tpu-vm",
    str(Path(__file__).parent.parent.parent / "configs" / "quickstart.yaml"),
    "run_dir=runs/quickstart",
    "--accelerator",
    "v5litepod-16",
    "--zone",
    "us-west4-a",
]
RUN += ["--poll", "0", "--spot"]
BUCKET = [*RUN, "run_dir=/data/quickstart", "--bucket", "gs://my-bucket"]
MOUNT = r"gcsfuse --implicit-dirs"
MOUNTED = [*RUN, "run_dir=/mnt/runs/quickstart", "--mounted", "/mnt/runs"]
DELETE = "queued-resources delete"


@pytest.fixture(autouse=True)
def committed(monkeypatch, tmp_path):
    """The working tree of who runs the tests may hold changes; what is sent is tested in test_tools.py and test_sent.py."""
    monkeypatch.chdir(tmp_path)  # runs are fetched to here
    monkeypatch.setattr(tpu_vm, "revision", lambda: REVISION)
    monkeypatch.setattr(preflight, "_committed", lambda code: lambda file: False)
    monkeypatch.setattr(tpu_vm, "archive", lambda revision, path: path.touch())


def test_tpu_success_creates_waits_installs_runs_and_deletes(fakes, golden):
    fakes.answer(NOT_FOUND, (STATE, 0, "WAITING_FOR_RESOURCES\n", ""), ACTIVE, (ENDED, 0, "0\n0\n", ""))
    assert main(RUN) == 0
    golden(fakes.transcript)


def test_tpu_preemption_asks_for_the_slice_again_and_goes_on(fakes, golden, capsys):
    broken = (FOLLOW, 255, "", "Connection reset\n")
    fakes.answer(ACTIVE, broken, (STATE, 0, "SUSPENDED\n", ""), ACTIVE,
                 (FOLLOW, 0, "", ""), (ENDED, 0, "0\n0\n", ""))  # fmt: skip
    assert main(RUN) == 0
    golden(fakes.transcript)
    assert "restart 1 of 10" in capsys.readouterr().err


def test_a_run_that_saved_and_stopped_is_started_again_up_to_the_limit(fakes, capsys):
    fakes.answer(ACTIVE, (ENDED, 0, "143\n143\n", ""))
    assert main([*RUN, "--max-restarts", "2"]) == 143
    assert fakes.transcript.count("nohup") == 3 and "queued-resources delete" not in fakes.transcript
    assert "restarted 2 time(s): no more" in capsys.readouterr().err


def test_the_worst_exit_code_of_all_workers_is_that_of_the_command(fakes):
    fakes.answer(ACTIVE, (ENDED, 0, "0\n143\n1\n", ""))
    assert main(RUN) == 1


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("ERROR: (gcloud) PERMISSION_DENIED: Permission 'tpu.nodes.create' denied on 'projects/p'", "no permission"),
        ("ERROR: (gcloud) RESOURCE_EXHAUSTED: Quota limit 'TPUV5sLitepodPerProjectPerZone' has been exceeded.", "over the quota"),
        ("ERROR: (gcloud.auth) You do not currently have an active account selected: gcloud auth login", "not logged in"),
    ],
)  # fmt: skip
def test_refusals_are_one_line_and_leave_nothing_behind(fakes, said, meaning):
    fakes.answer(NOT_FOUND, ("queued-resources create", 1, "", f"{said}\n"))
    with pytest.raises(UserError, match=f"gcloud: {meaning}: ERROR"):
        main(RUN)
    assert [line.split()[4] for line in fakes.transcript.splitlines()] == ["describe", "create"]


def test_a_connection_that_breaks_is_made_again_and_the_run_not_started_twice(fakes, capsys):
    fakes.answer(ACTIVE, (FOLLOW, 255, "", ""), (FOLLOW, 0, "", ""), (ENDED, 0, "0\n", ""))
    assert main(RUN) == 0
    assert "queued-resources create" not in fakes.transcript and "restart 1 of 10" in capsys.readouterr().err


def test_what_workers_are_told_starts_the_run_once_and_keeps_its_exit_code(fakes, tmp_path):
    fakes.answer(ACTIVE, (ENDED, 0, "0\n", ""))
    assert main(RUN) == 0
    told = [
        shlex.split(line)[-1].removeprefix("--command=") for line in fakes.transcript.splitlines() if " ssh " in line
    ]
    start, follow, ended = told[1:]
    python = tmp_path / "home" / "flan-t5x" / REVISION[:12] / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho started with "$TOKEN"\nsleep 1\nexit 143\n')
    python.chmod(0o755)
    (tmp_path / "home" / ".quickstart.env").write_text("export TOKEN='a b'\n")
    environment = os.environ | {"HOME": str(tmp_path / "home")}

    def worker(command):
        return subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60
        ).stdout

    worker(start)
    worker(start)
    assert worker(follow) == "started with a b\n"
    assert worker(ended) == "143\n"


def test_tokens_stand_on_no_command_line_and_in_no_output(fakes, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", "hf_never_shown")
    fakes.answer(ACTIVE, (ENDED, 0, "0\n", ""))
    assert main(RUN) == 0
    shown = capfd.readouterr()
    assert "hf_never_shown" not in fakes.transcript + shown.out + shown.err
    assert ".quickstart.env" in fakes.transcript


def test_tpu_dry_run_prints_what_a_run_from_nothing_does_and_does_none_of_it(fakes, golden, capsys):
    assert main([*RUN, "--dry-run", "--slices", "2"]) == 0
    assert fakes.transcript == ""
    out = capsys.readouterr().out
    golden("".join(f"{line}\n" for line in out.splitlines()).replace(_temporary(out), "TEMPORARY"))


def test_tpu_bucket_is_mounted_on_all_workers_before_anything_is_installed(fakes, golden):
    fakes.answer(ACTIVE, (ENDED, 0, "0\n0\n", ""))
    assert main(BUCKET) == 0
    golden(fakes.transcript)


def test_a_bucket_is_mounted_again_on_the_slice_that_comes_after_a_preemption(fakes):
    fakes.answer(ACTIVE, (FOLLOW, 255, "", ""), (STATE, 0, "SUSPENDED\n", ""), ACTIVE,
                 (FOLLOW, 0, "", ""), (ENDED, 0, "0\n", ""))  # fmt: skip
    assert main(BUCKET) == 0
    created = fakes.transcript.partition("queued-resources create")
    assert all("gcsfuse --implicit-dirs" in part for part in (created[0], created[2]))


def test_a_bucket_that_cannot_be_written_is_one_line_and_the_run_is_not_started(fakes):
    said = (
        "flan-t5x: bucket gs://my-bucket: worker-1: cannot be written (Permission denied); let its account write there"
    )
    lost = "ERROR: (gcloud.compute.tpus.queued-resources.ssh) Command execution failed\n"
    fakes.answer(ACTIVE, (MOUNT, 1, "", f"mkdir: Permission denied\n{said}\n{lost}"))
    with pytest.raises(UserError, match=f"^{re.escape(said.removeprefix('flan-t5x: '))}$"):
        main(BUCKET)
    assert "make install" not in fakes.transcript and "nohup" not in fakes.transcript


@pytest.mark.parametrize(
    "name", ["b", "ab", "My-bucket", "my bucket", "-bucket", "bucket_", "b" * 64, "b" * 64 + ".com"]
)
def test_a_name_that_no_bucket_can_have_is_said_with_the_rule_for_names(fakes, name):
    with pytest.raises(
        UserError, match=f"^--bucket: gs://{name}: no bucket is named {name}: a name has 3 to 63 characters"
    ):
        main([*RUN, "--bucket", f"gs://{name}"])
    assert fakes.transcript == ""


@pytest.mark.parametrize("name", ["abc", "b" * 63, "a_b-c.example.com"])
def test_names_that_buckets_have(name):
    assert bucket.parse(f"gs://{name}") == bucket.parse(f"gs://{name}/") == name


@pytest.mark.parametrize("url", ["s3://bucket", "gs://bucket/folder", "gs://", "bucket"])
def test_a_bucket_that_is_none_is_said_before_anything_is_started(fakes, url):
    with pytest.raises(UserError, match=f"^--bucket: {url}: write gs://NAME"):
        main([*RUN, "--bucket", url])
    assert fakes.transcript == ""


@pytest.mark.parametrize(
    "arguments", [["run_dir=/mnt/runs/q"], ["run_dir=/mnt/runs/q", "--bucket", "gs://my-bucket"], ["run_dir=/data/../q"],
                  ["run_dir=/mnt/other/q", "--mounted", "/mnt/runs"]],
)  # fmt: skip
def test_a_run_that_would_go_with_the_slice_is_refused_before_one_is_created(fakes, arguments):
    with pytest.raises(
        UserError, match=r"^run_dir: /\S+/q is on the machines' own disks.* --bucket gs://NAME with run_dir=/data/q"
    ):
        main([*RUN, *arguments])
    assert fakes.transcript == ""


@pytest.mark.parametrize("folder", ["/", "runs"])
def test_the_slices_own_disk_is_no_mounted_folder(fakes, folder):
    with pytest.raises(UserError, match=f"^--mounted: {folder}: write the folder where storage is mounted"):
        main([*RUN, "--mounted", folder])


def test_a_folder_is_not_mounted_where_the_bucket_is(fakes):
    with pytest.raises(
        UserError, match=r"^--mounted: /data/x: the --bucket is mounted there; leave one of the two away"
    ):
        main([*RUN, "--bucket", "gs://my-bucket", "--mounted", "/data/x"])
    assert fakes.transcript == ""
    assert fakes.transcript == ""


def test_a_run_on_mounted_storage_is_kept_there_and_not_fetched(fakes):
    fakes.answer(ACTIVE, (ENDED, 0, "0\n", ""))
    assert main(MOUNTED) == 0
    assert "mountpoint --quiet /mnt/runs" in fakes.transcript
    assert "scp --recurse" not in fakes.transcript and DELETE in fakes.transcript


def test_a_worker_without_the_mounted_storage_ends_the_command_before_the_run_starts(fakes):
    told = bucket.mounted_script("/proc/nowhere")
    done = subprocess.run(["bash", "-c", told], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert subprocess.run(["bash", "-c", bucket.mounted_script("/proc")]).returncode == 0
    fakes.answer(ACTIVE, ("mountpoint", 1, "", done.stderr))
    with pytest.raises(UserError, match="--mounted: nothing is mounted at /proc/nowhere"):
        main(MOUNTED)
    assert "nohup" not in fakes.transcript and DELETE not in fakes.transcript


@pytest.mark.parametrize(("ended", "code"), [(0, 1), (1, 1), (2, 2)])
def test_a_slice_whose_run_could_not_be_fetched_is_kept(fakes, capsys, ended, code):
    fakes.answer(
        ACTIVE,
        (ENDED, 0, f"{ended}\n", ""),
        ("scp --recurse", 1, "", "Connection reset\n"),
        ("echo absent", 0, "there\n", ""),
    )
    assert main(RUN) == code
    assert DELETE not in fakes.transcript
    said = capsys.readouterr().err
    assert "run_dir runs/quickstart could not be fetched, so the slice is kept: gcloud: Connection reset" in said
    assert f"run: gcloud compute tpus {DELETE} quickstart --zone=us-west4-a" in said


def test_a_slice_whose_run_failed_before_it_wrote_anything_is_deleted(fakes):
    fakes.answer(
        ACTIVE, (ENDED, 0, "2\n", ""), ("scp --recurse", 1, "", "No such file\n"), ("echo absent", 0, "absent\n", "")
    )
    assert main(RUN) == 2
    assert DELETE in fakes.transcript


class Worker:
    """A TPU VM whose tools are stand-ins: files in its folder say how they answer, and `log` what they were told."""

    STANDINS: ClassVar = {
        "sudo": 'echo "$*" >> log; case $1 in mkdir|chown) "$@";; tee) cat > /dev/null;; umount) rm mounted; mkdir -p data;; '
        "env) if [ -e offline ]; then echo E: no network >&2; exit 100; fi; touch installed;; esac",
        "gcsfuse": 'set -- "$@"; [ -e installed ] || exit 1; case $* in *--version) exit;; esac; echo "gcsfuse $*" >> log; '
        "if [ -e forbidden ]; then echo Error: permission denied; exit 1; fi; "
        "echo my-bucket > mounted; if [ -e unwritable ]; then rmdir data; fi",
        "findmnt": "cat mounted 2> /dev/null",
        "curl": "for url; do :; done; case $url in */scopes) cat scopes;; */email) echo sa@project;; esac",
        "hostname": "echo worker-0",
        "lsb_release": "echo jammy",
        "sleep": "",
    }

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        for name, text in self.STANDINS.items():
            path = folder / "bin" / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        self.put("scopes", "https://www.googleapis.com/auth/cloud-platform\n")

    def put(self, name, text=""):
        (self.folder / name).write_text(text)

    def mount(self):
        """Runs the script; returns its exit code, what it said and what its tools were told."""
        self.put("log")
        script = bucket.mount_script("my-bucket").replace("/data", f"{self.folder}/data")
        environment = os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stderr, (self.folder / "log").read_text()


@pytest.fixture
def worker(tmp_path):
    (tmp_path / "worker").mkdir()
    return Worker(tmp_path / "worker")


def test_a_worker_installs_gcsfuse_mounts_once_and_leaves_nothing_in_the_bucket(worker):
    code, said, log = worker.mount()
    assert (code, said) == (0, "")
    assert log.count("apt-get -qq -o DPkg::Lock::Timeout=300 install --yes gcsfuse") == 1
    assert f"--metadata-cache-negative-ttl-secs=0 my-bucket {worker.folder}/data\n" in log
    assert worker.mount() == (0, "", "")
    assert list((worker.folder / "data").iterdir()) == []


def test_a_worker_whose_mount_was_lost_mounts_again(worker):
    worker.put("installed")
    worker.put("mounted", "my-bucket\n")
    path = worker.folder / "bin" / "ls"
    path.write_text("#!/bin/sh\necho 'ls: Transport endpoint is not connected' >&2\nexit 2\n")
    path.chmod(0o755)
    code, said, log = worker.mount()
    assert (code, said) == (0, "")
    assert log.startswith("umount --lazy") and "gcsfuse --implicit-dirs" in log


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"installed": "", "forbidden": ""}, "cannot be mounted (Error: permission denied); let its account write there: "
         "gcloud storage buckets add-iam-policy-binding gs://my-bucket --member=serviceAccount:sa@project "
         "--role=roles/storage.objectUser; then start this again"),
        ({"installed": "", "unwritable": ""}, "cannot be written (mkdir: cannot create directory"),
        ({"installed": "", "unwritable": "", "scopes": "https://www.googleapis.com/auth/devstorage.read_only\n"},
         "the slice has no access scope for storage: delete it and start this again"),
        ({"offline": ""}, "gcsfuse could not be installed (E: no network); it needs the network"),
        ({"installed": "", "mounted": "other\n"}, "other is mounted at"),
    ],
)  # fmt: skip
def test_a_worker_says_in_one_line_why_a_bucket_cannot_be_used(worker, files, expected):
    for name, text in files.items():
        worker.put(name, text)
    code, said, _ = worker.mount()
    assert code == 1
    assert said.startswith("flan-t5x: bucket gs://my-bucket: worker-0: ") and said.count("\n") == 1
    assert expected in said


@pytest.mark.needs_shellcheck
def test_what_mounts_a_bucket_passes_shellcheck():
    script = f"#!/bin/sh\n{bucket.mount_script('my-bucket')}"
    done = subprocess.run([programs.find("shellcheck") or "", "-"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def _temporary(text: str) -> str:
    return next(
        word.rpartition("/")[0] for word in text.split() if word.endswith("0123456789ab.tar.gz") and "/" in word
    )
