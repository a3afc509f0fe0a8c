"""`python -m launch slurm CONFIG --nodes 2 --gpus 8`: a process a node under srun, which finds the others by SLURM's variables.

The job is found again by its name and not submitted a second time. Stopped by SLURM (preemption, the end of its time), training
saves and exits with 143, and the job goes back into the queue. Variables of this shell, tokens among them, reach the job through
sbatch's environment and are in no file.
"""

import argparse
import re
import shlex
from pathlib import Path

from launch import job as jobs
from launch.job import MISTAKE, RESUME, Job
from launch.tools import Tools
from t5x_tasks.common.config_files import check_one_line
from t5x_tasks.common.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs.add_arguments(parser)
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--gpus", type=int, default=8, metavar="G", help="of each node (default: %(default)s)")
    parser.add_argument("--cpus", type=int, default=16, metavar="C", help="of each node (default: %(default)s)")
    parser.add_argument("--time", default="24:00:00", help="limit, as sbatch takes it (default: %(default)s)")
    parser.add_argument("--partition")
    parser.add_argument("--account")
    parser.add_argument("--apptainer", metavar="IMAGE", help="run in this image; otherwise in this folder's .venv")
    parser.add_argument(
        "--bind", action="append", default=[], metavar="FOLDER", help="shown to the image; may be repeated"
    )
    parser.add_argument("--max-restarts", type=int, default=20, metavar="N", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    job, tools = jobs.load(options), Tools(options.dry_run)
    if options.nodes < 1 or options.gpus < 1:
        raise UserError("--nodes and --gpus: must be 1 or more")
    folder = Path(job.run_dir).absolute()
    script = render(job, options, folder=Path.cwd(), logs=folder / "logs")
    listed = tools.ask(["squeue", "--me", "--noheader", f"--name={job.name}", "--format=%i %T"], assumed="")
    if listed:
        number, _, state = listed.splitlines()[0].partition(" ")
        tools.say(f"{job.name}: is job {number} already, {state}; its log is {folder / 'logs'}/slurm-{number}.log")
        return 0
    if not options.dry_run:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
    tools.run(["sbatch", "--parsable"], given=script)
    tools.say(f"{job.name}: submitted; its log goes to {folder / 'logs'}, `scancel --name={job.name}` ends it")
    return 0


def render(job: Job, options: argparse.Namespace, *, folder: Path, logs: Path) -> str:
    """The batch script."""
    settings = {
        "job-name": job.name,
        "nodes": options.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": options.gpus,
        "cpus-per-task": options.cpus,
        "time": options.time,
        "output": f"{str(logs).replace('%', '%%')}/slurm-%j.log",
        "open-mode": "append",
        "signal": "TERM@300",
    }
    settings |= {name: getattr(options, name) for name in ("partition", "account") if getattr(options, name)}
    directives = "\n".join(f"#SBATCH --{name}={_quoted(str(value))}" for name, value in settings.items())
    if options.apptainer:
        binds = [f"--bind={bind}" for bind in [str(folder), *options.bind]]
        inside = ["apptainer", "exec", "--nv", *binds, options.apptainer, *job.command("python")]
    else:
        inside = job.command(".venv/bin/python")
    return f"""#!/usr/bin/env bash
{directives}
#SBATCH --requeue
set -uo pipefail
cd {shlex.quote(str(folder))} || exit 1
export XLA_PYTHON_CLIENT_MEM_FRACTION=0.9

# SLURM's SIGTERM goes on to every process; each saves and exits with {RESUME}. The wait ends at the signal, the step does not.
step=
trap 'kill -TERM "$step" 2>/dev/null' TERM
srun --kill-on-bad-exit=0 --wait=120 {shlex.join(inside)} &
step=$!
wait "$step"
while kill -0 "$step" 2>/dev/null; do wait "$step"; done
wait "$step"
code=$?

# Not after what starting again would not put right (exit code {MISTAKE}), nor when somebody cancelled it, nor for ever.
state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)
if [ "$code" -ne 0 ] && [ "$code" -ne {MISTAKE} ] && [ "$state" = RUNNING ] &&
  [ "${{SLURM_RESTART_COUNT:-0}}" -lt {options.max_restarts} ]; then
  echo "exit code $code: back into the queue, restart $((${{SLURM_RESTART_COUNT:-0}} + 1)) of {options.max_restarts}"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def _quoted(value: str) -> str:
    """A value as sbatch reads it in a directive, which no shell does: a backslash takes a character as it is, also in quotes.

    Raises:
      UserError: it is no line.
    """
    try:
        return re.sub(r"[^\w%+,./:=@-]", r"\\\g<0>", check_one_line(value))
    except ValueError as error:
        raise UserError(f"sbatch: {error}") from None
