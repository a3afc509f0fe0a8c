"""Runs of one or two processes of simulated devices, started and waited for."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MESH = ("mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2")


def launch(
    command: list[str], *, processes: int, devices: int = 8, folders: Sequence[Path] = ()
) -> list[subprocess.Popen[str]]:
    """Starts `command` in so many processes, which have the devices between them.

    Args:
      folders: that the processes start in, where not all in the repository.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices // processes),
        "PYTHONPATH": str(REPOSITORY),
    }
    if processes > 1:
        settings |= {
            "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(processes),
        }
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folders[index] if folders else REPOSITORY,
            env=os.environ | settings | ({"JAX_PROCESS_ID": str(index)} if processes > 1 else {}),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for index in range(processes)
    ]


def train(workplace: Path, run: str, *overrides: str, processes: int) -> list[subprocess.Popen[str]]:
    command = ["-m", "train", str(workplace / "config.yaml"), f"run_dir={workplace / run}", *MESH, *overrides]
    return launch(command, processes=processes)


def finish(processes: list[subprocess.Popen[str]], code: int = 0) -> list[str]:
    """The standard error of each; all must end with this code."""
    return [errors for _, errors in finish_both(processes, code)]


def finish_both(processes: list[subprocess.Popen[str]], code: int = 0) -> list[tuple[str, str]]:
    """Standard output and error of each; all must end with this code. Read at once: a full pipe would hold one up."""
    try:
        with ThreadPoolExecutor(len(processes)) as readers:
            ended = list(readers.map(lambda process: process.communicate(timeout=300), processes))
    finally:
        for process in processes:
            process.kill()  # where one is still there
    assert [process.returncode for process in processes] == [code] * len(processes), "\n".join(e for _, e in ended)
    return ended


def rows(workplace: Path, run: str) -> list[dict[str, float]]:
    """Rows that are there whole: of the last one, a run that writes may have written a part."""
    path = workplace / run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def wait_for_rows(workplace: Path, run: str, count: int, processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 240
    while len(rows(workplace, run)) < count:
        assert all(process.poll() is None for process in processes) and time.monotonic() < deadline
        time.sleep(0.02)
