"""`python -m launch tpu-vm CONFIG --accelerator v5litepod-16 --zone Z`: a run on a TPU slice, from nothing to its results.

A queued resource is created (or found by its name), waited for, given the bucket as a folder, the code at its git revision and
the locked packages; the run starts on all workers, detached, and its log is followed. Started again, this command finds what is
there and goes on. After a preemption it asks for the slice again, up to a limit; when the run has ended it fetches the run
directory, unless that is in the bucket or another folder that outlives the slice, and deletes the slice. A run directory that
would be neither fetched nor outlive it is refused before anything is created.
"""

import argparse
import os
import re
import shlex
import tempfile
import time
from pathlib import Path

from launch import bucket
from launch import job as jobs
from launch.job import MISTAKE, RESUME, Job
from launch.tools import ToolError, Tools, archive, revision
from t5x_tasks.common.errors import UserError

# cloud.google.com/tpu/docs/runtimes: the image of each kind of slice.
_RUNTIMES = {
    "v4": "tpu-ubuntu2204-base",
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
_WAITING = ("ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING", "CREATING")
_GONE = ("SUSPENDING", "SUSPENDED", "FAILED")
_ABSENT = r"not.?found"
_SECRETS = ("HF_TOKEN", "WANDB_API_KEY")  # passed on when they are set, in a file that only the user reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs.add_arguments(parser)
    parser.add_argument(
        "--accelerator", required=True, metavar="TYPE", help="as gcloud names it: v5litepod-16, v6e-64, v5p-16"
    )
    parser.add_argument("--zone", required=True)
    parser.add_argument("--project", help="default: gcloud's")
    parser.add_argument("--slices", type=int, default=1, metavar="N", help="multislice (default: %(default)s)")
    parser.add_argument("--spot", action="store_true", help="may be preempted, and costs less")
    parser.add_argument(
        "--bucket", metavar="URL", help=f"gs://..., mounted at {bucket.FOLDER} on all workers; keep run_dir there"
    )
    parser.add_argument(
        "--mounted",
        action="append",
        default=[],
        metavar="FOLDER",
        help="on all workers already, of storage that outlives the slice (NFS, say): run_dir may be there, and is not fetched. "
        "May be repeated",
    )
    parser.add_argument("--runtime-version", metavar="V", help="default: that of the accelerator")
    parser.add_argument(
        "--max-restarts", type=int, default=10, metavar="N", help="after preemptions (default: %(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="do not delete the slice at the end")
    parser.add_argument(
        "--poll", type=float, default=30, metavar="S", help="seconds between two looks (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    job, tools = jobs.load(options), Tools(options.dry_run)
    generation = options.accelerator.partition("-")[0]
    if generation not in _RUNTIMES and not options.runtime_version:
        raise UserError(
            f"--accelerator: {options.accelerator}: say its --runtime-version; known are {', '.join(_RUNTIMES)}"
        )
    name = bucket.parse(options.bucket) if options.bucket else None
    for folder in map(Path, options.mounted):
        if not folder.is_absolute() or folder == Path("/"):
            raise UserError(f"--mounted: {folder}: write the folder where storage is mounted, as in /mnt/runs")
        if name and folder.is_relative_to(bucket.FOLDER):
            raise UserError(f"--mounted: {folder}: the --bucket is mounted there; leave one of the two away")
    mounted = [*([bucket.FOLDER] if name else []), *options.mounted]
    if Path(job.run_dir).is_absolute():
        keep = f"use --bucket gs://NAME with run_dir={bucket.FOLDER}/{Path(job.run_dir).name}, a relative one, which is fetched,"
        jobs.check_kept(job, mounted, todo=f"{keep} or --mounted FOLDER, if all workers mount shared storage there")
    else:
        if not re.fullmatch(r"(?!-)[\w+,./=-]+", job.run_dir):
            raise UserError(
                f"run_dir: {job.run_dir!r} is fetched by scp, which hands names to a shell on the slice; name it with letters, "
                "digits and any of + , - . / = _, a '-' not first"
            )
        tools.say(
            f"run_dir {job.run_dir} is on the slice's own disks: a preemption loses it, and several hosts must share one; keep "
            f"it in a --bucket, under {bucket.FOLDER}"
        )
    job = jobs.relative_to_code(job, mounted=mounted, committed=True)
    slice_ = _Slice(job, options, tools, options.runtime_version or _RUNTIMES[generation], revision(), name)
    return slice_.run_to_the_end()


class _Slice:
    def __init__(self, job: Job, options: argparse.Namespace, tools: Tools, runtime: str, head: str, name: str | None):
        self._job, self._options, self._tools, self._runtime, self._head = job, options, tools, runtime, head
        self._bucket = name
        self._where = [f"--zone={options.zone}", *([f"--project={options.project}"] if options.project else [])]
        self._home = f"flan-t5x/{head[:12]}"  # below the home folder of each worker
        self._files = f"flan-t5x/{job.name}"  # .log, .pid, .exit: of the run

    def run_to_the_end(self) -> int:
        restarts = 0
        while True:
            self._obtain()
            code, why = None, "the slice is gone"
            try:
                self._mount()
                self._install()
                self._start()
            except ToolError:
                if self._state() not in _GONE:
                    raise
            else:
                try:
                    code = self._follow()
                    why = "it saved and stopped"
                except ToolError as error:
                    why = str(error)  # preempted, rebooted, or merely the connection: what still runs is found again
            if code is not None and code != RESUME:
                return self._finish(code)
            if restarts == self._options.max_restarts:
                self._tools.say(
                    f"{why}, and it was restarted {restarts} time(s): no more. Start this command again to resume"
                )
                return RESUME
            restarts += 1
            self._tools.say(f"{why}: restart {restarts} of {self._options.max_restarts}")

    def _obtain(self) -> None:
        state = self._state()
        if state in _GONE:
            self._tools.say(f"{self._job.name}: {state}; asks again")
            self._delete()
            state = None
        if state is None:
            several = self._options.slices > 1
            nodes = [f"--node-prefix={self._job.name}", f"--node-count={self._options.slices}"]
            self._tools.run(
                self._resource("create")
                + (nodes if several else [f"--node-id={self._job.name}"])
                + [f"--accelerator-type={self._options.accelerator}", f"--runtime-version={self._runtime}"]
                + (["--spot"] if self._options.spot else [])
            )
            state = self._state(assumed="ACTIVE")
        shown = None
        while state != "ACTIVE":
            if state is None or state not in _WAITING:
                raise ToolError(f"gcloud: {self._job.name} is {state or 'gone'} and will not start; see `gcloud compute tpus "
                                f"queued-resources describe {self._job.name}`")  # fmt: skip
            if state != shown:
                self._tools.say(f"{self._job.name}: {state}")
                shown = state
            time.sleep(self._options.poll)
            state = self._state()

    def _mount(self) -> None:
        """The bucket, on all workers, before minutes go into installing; again after a preemption or a reboot.

        Raises:
          UserError: it cannot be mounted or written, or nothing is mounted at --mounted; the message names a host and says
            what to do.
        """
        for folder in self._options.mounted:
            self._on_all(bucket.mounted_script(folder))
        if self._bucket:
            self._tools.say(f"gs://{self._bucket}: mounted at {bucket.FOLDER} on all workers")
            self._on_all(bucket.mount_script(self._bucket))

    def _install(self) -> None:
        """The code at its revision, and its locked packages; quick where they are there already."""
        with tempfile.TemporaryDirectory() as folder:
            code = Path(folder) / f"{self._head[:12]}.tar.gz"
            if not self._options.dry_run:
                archive(self._head, code)
            self._tools.run(self._copy(str(code), f"{code.name}"))
            given = {name: os.environ[name] for name in _SECRETS if os.environ.get(name)}
            if given:
                secrets = Path(folder) / f".{self._job.name}.env"
                if not self._options.dry_run:
                    secrets.touch(mode=0o600)
                    secrets.write_text(
                        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in given.items())
                    )
                self._tools.say(f"{', '.join(given)}: passed on in a file that only you can read")
                self._tools.run(self._copy(str(secrets), secrets.name))
        self._on_all(
            f"mkdir -p {self._home} && tar --extract --gzip --file={code.name} --directory={self._home} && "
            f"cd {self._home} && make install EXTRA=tpu"
        )

    def _start(self) -> None:
        """Detached, so that it outlives the connection; not twice."""
        log, pid, code = (f"$HOME/{self._files}.{end}" for end in ("log", "pid", "exit"))
        training = f"cd $HOME/{self._home} && {self._job.shell('.venv/bin/python')}; echo $? > {code}"
        secrets = f"$HOME/.{self._job.name}.env"
        self._on_all(
            f'kill -0 "$(cat {pid} 2>/dev/null)" 2>/dev/null && exit 0; rm -f {code}; [ ! -f {secrets} ] || . {secrets}; '
            f"nohup bash -c {shlex.quote(training)} >> {log} 2>&1 < /dev/null & echo $! > {pid}"
        )

    def _follow(self) -> int:
        """Shows the log of the first worker until its run has ended, and returns the worst exit code of all workers."""
        log, pid = f"$HOME/{self._files}.log", f"$HOME/{self._files}.pid"
        command = f'tail --lines=+1 --follow=name --retry --pid="$(cat {pid})" {log}'
        code = self._tools.run(self._ssh(command, worker="0", node="0"), follow=True)
        if code:
            raise ToolError(f"gcloud: the connection broke (exit code {code})")
        wait = f'while kill -0 "$(cat {pid})" 2>/dev/null; do sleep 1; done; cat $HOME/{self._files}.exit'
        said = self._tools.ask(self._ssh(wait), assumed="0")
        codes = [int(word) for word in (said or "").split() if word.isdecimal()]
        if not codes:
            raise ToolError("gcloud: no worker says how its run ended")
        return max([c for c in codes if c not in (0, RESUME)] or codes)

    def _finish(self, code: int) -> int:
        if not Path(self._job.run_dir).is_absolute():
            try:
                self._fetch(failed=code != 0)
            except (ToolError, UserError, OSError) as error:
                self._tools.say(
                    f"run_dir {self._job.run_dir} could not be fetched, so the slice is kept: {error}. Start this again, or get "
                    f"{self._home}/{self._job.run_dir} yourself and run: {shlex.join(self._deletion())}"
                )
                return code or 1
        if not self._options.keep:
            self._delete()
        if code:
            hint = ": what is wrong is in its last line" if code == MISTAKE else ""
            self._tools.say(f"{self._job.name}: ended with exit code {code}{hint}")
        return code

    def _fetch(self, *, failed: bool) -> None:
        """Copies the run directory to the same place here.

        Raises:
          ToolError, UserError, OSError: it could not be; that a failed run has none is no error.
        """
        run_dir = Path(self._job.run_dir)
        if not self._options.dry_run:
            run_dir.parent.mkdir(parents=True, exist_ok=True)
        source = f"{self._home}/{self._job.run_dir}"
        command = ["gcloud", "compute", "tpus", "queued-resources", "scp", "--recurse", f"{self._job.name}:{source}"]
        command += [str(run_dir.parent), *self._where, "--worker=0", "--node=0"]
        try:
            self._tools.run(command)
        except ToolError:
            looked = f"[ -e {shlex.quote(source)} ] && echo there || echo absent"
            if not failed or self._tools.ask(self._ssh(looked, worker="0", node="0")) != "absent":
                raise
            self._tools.say(f"run_dir {run_dir}: the run has written nothing")

    def _state(self, assumed: str | None = None) -> str | None:
        return self._tools.ask(
            [*self._resource("describe"), "--format=value(state.state)"], assumed=assumed, absent=_ABSENT
        )

    def _delete(self) -> None:
        self._tools.run(self._deletion())

    def _deletion(self) -> list[str]:
        return [*self._resource("delete"), "--force", "--quiet"]

    def _resource(self, verb: str) -> list[str]:
        return ["gcloud", "compute", "tpus", "queued-resources", verb, self._job.name, *self._where]

    def _ssh(self, command: str, *, worker: str = "all", node: str = "all") -> list[str]:
        return [*self._resource("ssh"), f"--worker={worker}", f"--node={node}", f"--command={command}"]

    def _on_all(self, command: str) -> None:
        self._tools.run(self._ssh(command))

    def _copy(self, source: str, target: str) -> list[str]:
        copied = ["gcloud", "compute", "tpus", "queued-resources", "scp", source, f"{self._job.name}:{target}"]
        return [*copied, *self._where, "--worker=all", "--node=all"]
