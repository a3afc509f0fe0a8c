"""`python -m launch sky CONFIG --accelerators H100:8`: whichever cloud has the GPUs, through SkyPilot's managed jobs.

SkyPilot finds the machines, sends this folder, starts again after preemptions, and gives HF_TOKEN from this shell to the job by
name. Its job is found again by its name.
"""

import argparse
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from launch import bucket
from launch import job as jobs
from launch.job import RESUME, Job
from launch.tools import Tools
from t5x_tasks.common.errors import UserError

_SECRETS = ("HF_TOKEN", "WANDB_API_KEY")
_PORT = 8476


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs.add_arguments(parser)
    parser.add_argument(
        "--accelerators", required=True, metavar="A", help="as SkyPilot names them: H100:8, A100-80GB:4"
    )
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--infra", metavar="I", help="where, as SkyPilot says it: gcp, aws/us-east-1, kubernetes")
    parser.add_argument("--spot", action="store_true")
    parser.add_argument(
        "--bucket", metavar="URL", help=f"s3://... or gs://..., mounted at {bucket.FOLDER}; keep run_dir there"
    )
    parser.add_argument(
        "--max-restarts", type=int, default=10, metavar="N", help="after failures (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    mounted = [bucket.FOLDER] if options.bucket else []
    job, tools = jobs.relative_to_code(jobs.load(options), mounted=mounted), Tools(options.dry_run)
    if not re.fullmatch(r"[A-Za-z0-9-]+(:\d+)?", options.accelerators):
        raise UserError(f"--accelerators: {options.accelerators!r}: write NAME:NUMBER, as in H100:8")
    jobs.check_kept(
        job,
        mounted,
        todo=f"use --bucket URL with run_dir={bucket.FOLDER}/{Path(job.run_dir).name}",
    )
    workdir = Path(__file__).parent.parent
    _check_ignored(workdir)
    text = yaml.dump(task(job, options, workdir=workdir), sort_keys=False, Dumper=_Readable)
    listed = tools.ask(["sky", "jobs", "queue", "--skip-finished", "--output=json"], assumed="[]")
    if any(row.get("job_name", row.get("name")) == job.name for row in json.loads(listed or "[]")):
        tools.say(f"{job.name}: runs already; `sky jobs logs --name {job.name}` follows it")
        return 0
    secrets = [word for name in _SECRETS if os.environ.get(name) for word in ("--secret", name)]
    if options.dry_run:
        tools.run(["sky", "jobs", "launch", "--yes", f"--name={job.name}", *secrets, "TASK.yaml"], given=text)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "TASK.yaml"
        path.write_text(text)
        return tools.run(["sky", "jobs", "launch", "--yes", f"--name={job.name}", *secrets, str(path)])


def _check_ignored(workdir: Path) -> None:
    """Raises UserError if a .skyignore, which SkyPilot reads in place of .gitignore, does not leave files of tokens out."""
    path = workdir / ".skyignore"
    if path.is_file() and not {".env*", "**/.env*"} & set(path.read_text(encoding="utf-8", errors="replace").split()):
        raise UserError(
            f"{path}: SkyPilot reads it in place of .gitignore; add the line .env*, so that no token is sent"
        )


class _Readable(yaml.SafeDumper):
    """Scripts line by line."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def task(job: Job, options: argparse.Namespace, *, workdir: Path) -> dict[str, Any]:
    """SkyPilot's description of the job."""
    resources: dict[str, Any] = {"accelerators": options.accelerators, "use_spot": options.spot}
    resources["job_recovery"] = {"max_restarts_on_errors": options.max_restarts, "recover_on_exit_codes": [RESUME]}
    if options.infra:
        resources["infra"] = options.infra
    several = (
        f'export JAX_COORDINATOR_ADDRESS="$(echo "$SKYPILOT_NODE_IPS" | head -n 1):{_PORT}"\n'
        'export JAX_NUM_PROCESSES="$SKYPILOT_NUM_NODES" JAX_PROCESS_ID="$SKYPILOT_NODE_RANK"\n'
    )
    described: dict[str, Any] = {
        "name": job.name,
        "num_nodes": options.nodes,
        "resources": resources,
        "workdir": str(workdir),
        "envs": {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"},
        "setup": "make install EXTRA=cuda\n",
        "run": (several if options.nodes > 1 else "") + f"exec {job.shell('.venv/bin/python')}\n",
    }
    if options.bucket:
        described["file_mounts"] = {bucket.FOLDER: {"source": options.bucket, "mode": "MOUNT"}}
    return described
