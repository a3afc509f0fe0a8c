"""`python -m launch local CONFIG --processes 2`: several processes of one run on this machine.

Each gets its share of the GPUs (or simulated CPU devices), its place among the others in JAX_COORDINATOR_ADDRESS,
JAX_NUM_PROCESSES and JAX_PROCESS_ID, and a log RUN_DIR/logs/process-N.log; the first is shown as well. One Ctrl-C asks all to
save and end; when one fails, the others are ended too.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from launch import job as jobs
from launch.tools import Tools
from t5x_tasks.common.errors import UserError

_GRACE_S = 120.0  # to save and end in, once asked
_POLL_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs.add_arguments(parser)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--cpu-devices", type=int, metavar="N", help="simulated CPU devices of each process, in place of GPUs"
    )


def run(options: argparse.Namespace) -> int:
    job, tools = jobs.load(options), Tools(options.dry_run)
    command = job.command(sys.executable)
    environments = plan(options.processes, options.cpu_devices, os.environ)
    for environment in environments:
        tools.show(["env", *(f"{name}={value}" for name, value in environment.items()), *command])
    if options.dry_run:
        return 0
    return start(command, environments, logs=Path(job.run_dir) / "logs")


def plan(processes: int, cpu_devices: int | None, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """The variables that each process gets besides those of this one.

    Raises:
      UserError: the GPUs cannot be divided among so many.
    """
    if processes < 1 or (cpu_devices is not None and cpu_devices < 1):
        raise UserError("--processes and --cpu-devices: must be 1 or more")
    shares: list[dict[str, str]] = [{} for _ in range(processes)]
    if cpu_devices:
        cpu = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(cpu_devices)}
        cpu |= {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"} if processes > 1 else {}
        shares = [dict(cpu) for _ in range(processes)]
    elif processes > 1:
        gpus = _gpus(environment)
        if not gpus or len(gpus) % processes:
            raise UserError(
                f"--processes: {processes} cannot share the {len(gpus)} GPU(s) here evenly; choose a divisor, or --cpu-devices"
            )
        each = len(gpus) // processes
        shares = [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[i * each : (i + 1) * each])} for i in range(processes)]
    if processes == 1:
        return shares
    address = f"127.0.0.1:{_free_port()}"
    return [
        share | {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes), "JAX_PROCESS_ID": str(i)}
        for i, share in enumerate(shares)
    ]


def _gpus(environment: Mapping[str, str]) -> list[str]:
    if visible := environment.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True).stdout
        return [str(i) for i, _ in enumerate(listed.splitlines())]
    return []


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    command: Sequence[str], environments: Sequence[Mapping[str, str]], *, logs: Path, grace_s: float = _GRACE_S
) -> int:
    """Runs a command once for each environment until all have ended, and returns the worst exit code.

    Worst is a failure of its own, then 143 ("saved, start again"), then 0. The first SIGINT, SIGTERM or SIGHUP (a closed
    terminal) is passed on as one SIGTERM each, so is a failure; who has not ended `grace_s` seconds later, or at a second SIGINT
    or SIGTERM, is killed.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(_signals())
        processes: list[subprocess.Popen[bytes]] = []
        for i, environment in enumerate(environments):
            log = stack.enter_context((logs / f"process-{i}.log").open("ab", buffering=0))
            # A group of its own: the terminal's Ctrl-C reaches this process alone, which then tells each once.
            process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if i == 0 else log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            stack.callback(_end, process)
            processes.append(process)
            if i == 0 and process.stdout:
                shown = threading.Thread(target=_tee, args=(process.stdout, log), daemon=True)
                shown.start()
                stack.callback(shown.join, 5)
        deadline: float | None = None
        while None in (codes := [process.poll() for process in processes]):
            failed = any(codes)
            if deadline is None and (asked or failed):
                deadline = time.monotonic() + grace_s
                for process in processes:
                    if process.poll() is None:
                        process.terminate()
            if deadline is not None and (len(asked) > 1 or time.monotonic() > deadline):
                for process in processes:
                    _end(process)
            time.sleep(_POLL_S)
    codes = [128 - process.returncode if process.returncode < 0 else process.returncode for process in processes]
    if any(codes):
        print(f"exit codes {codes}; logs in {logs}", file=sys.stderr)
    own = [code for code in codes if code not in (0, jobs.RESUME)]
    return max(own or codes)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    received: list[int] = []

    def receive(number: int, _: FrameType | None) -> None:
        # The kernel and the shell both send SIGHUP, and a session manager SIGTERM after it: that is asking once.
        if received == [signal.SIGHUP]:
            received.clear()
        if number != signal.SIGHUP or not received:
            received.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, receive) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _tee(output: IO[bytes], log: IO[bytes]) -> None:
    """Reads to the end, whatever becomes of what it writes: a process whose output nobody reads would wait for ever."""
    for line in output:
        with contextlib.suppress(OSError):
            log.write(line)
        with contextlib.suppress(OSError):
            sys.stderr.buffer.write(line)
            sys.stderr.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
