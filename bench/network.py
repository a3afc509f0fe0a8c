"""Two hosts, made of two network namespaces with a cable between them: they train, the cable is cut, both must end and say why.

    sudo -E python -m bench.network      # Linux, with the programs ip and unshare; namespaces take root

Each host is a process of two simulated devices. Once they train, the cable is cut; each must end with exit code 1 within a
minute and name the other. Then the run resumes from its last checkpoint, on one process of four devices, beside a run that
nobody disturbed: their losses must agree to 1e-5. Exits with 1 if anything is otherwise.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from bench.notes import SIZES, write_notes
from t5x_tasks.common.errors import UserError, run_cli
from train.rundir.metrics import METRICS, read_rows

HOSTS = ("flan-t5x-a", "flan-t5x-b")  # namespaces, and ends of the cable
ADDRESSES = ("10.77.0.1", "10.77.0.2")
BEFORE, AFTER, BOUND_S = 9, 5, 60  # steps before the cut and after resuming
VOCABULARY = Path(__file__).parents[1] / "t5x_tasks" / "vocabularies" / "support_chats.model"


def main(arguments: list[str]) -> int:
    del arguments
    if sys.platform != "linux" or os.geteuid() != 0:
        raise UserError("bench.network: makes network namespaces, for which it must be root, on Linux")
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # by way of `finally`: hosts and namespaces go
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configure(folder)
        ends = cut_while_training(folder, config)
        texts = [(folder / f"log{i}").read_text() for i in range(2)]
        good = True
        for i, (code, seconds) in enumerate(ends):
            named = f"process {1 - i}" in texts[i] and ADDRESSES[1 - i] in texts[i]
            good &= code == 1 and seconds <= BOUND_S and named
            print(
                f"host {i}: exit code {code} after {seconds:.1f} s, {'names' if named else 'DOES NOT NAME'} the other"
            )
            if code != 1 or not named:
                print(texts[i][-4000:])
        difference, saved = resume(folder, config)
        print(f"resumed on one process after step {saved}: largest relative difference of losses {difference:.1e}")
        return int(not (good and difference <= 1e-5))


def configure(folder: Path) -> Path:
    card, path = write_notes(folder), folder / "config.yaml"
    values = {
        "run_dir": str(folder / "run"),
        "model": {"preset": "t5-tiny", "vocabulary": str(VOCABULARY), **SIZES},
        "data": {
            "mixture": "notes",
            "cards": [str(card)],
            "lengths": {"inputs": 96, "targets": 32},
            "cache": str(folder / "cache"),
        },
        "optimizer": {"type": "adafactor", "learning_rate": 0.05},
        "train": {"steps": 10**6, "batch_size": 4, "dropout": 0.1, "validation_examples": 4},
        "checkpoint": {"every_steps": 2, "keep_latest": 2},
        "logging": {"every_steps": 1, "tensorboard": False},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(values))
    return path


def cut_while_training(folder: Path, config: Path) -> list[tuple[int | None, float]]:
    """(exit code, seconds after the cut) of each host."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        lay_cable()
        for i, host in enumerate(HOSTS):
            environment = simulated(2) | {
                "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
                "JAX_COORDINATOR_ADDRESS": f"{ADDRESSES[0]}:7171",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": str(i),
            }
            # Gloo connects to the address of a host's name, so that is its name.
            train = f"hostname {ADDRESSES[i]}; exec {sys.executable} -m train {config}"
            with (folder / f"log{i}").open("w") as log:
                command = ["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", train]
                processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        while len(losses(folder / "run")) < BEFORE:
            if any(process.poll() is not None for process in processes):
                raise RuntimeError("a host ended too early:\n" + (folder / "log0").read_text()[-3000:])
            time.sleep(0.1)
        subprocess.run(["ip", "netns", "exec", HOSTS[0], "ip", "link", "set", HOSTS[0], "down"], check=True)
        cut = time.monotonic()
        ends: dict[int, tuple[int | None, float]] = {}
        while len(ends) < 2 and time.monotonic() - cut < 2 * BOUND_S:
            for i, process in enumerate(processes):
                if i not in ends and process.poll() is not None:
                    ends[i] = process.returncode, time.monotonic() - cut
            time.sleep(0.1)
        return [ends.get(i, (None, time.monotonic() - cut)) for i in range(2)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], stderr=subprocess.DEVNULL)


def lay_cable() -> None:
    commands = [f"netns add {host}" for host in HOSTS]
    commands.append(f"link add {HOSTS[0]} netns {HOSTS[0]} type veth peer name {HOSTS[1]} netns {HOSTS[1]}")
    for host, address in zip(HOSTS, ADDRESSES, strict=True):
        commands.append(f"netns exec {host} ip addr add {address}/24 dev {host}")
        commands += [f"netns exec {host} ip link set {device} up" for device in (host, "lo")]
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def resume(folder: Path, config: Path) -> tuple[float, int]:
    """The largest relative difference from an undisturbed run's losses, and the step that was gone on after."""
    saved = max(int(step.name) for step in (folder / "run" / "checkpoints").iterdir() if step.name.isdecimal())
    for run in ("run", "undisturbed"):
        overrides = [f"train.steps={saved + AFTER}", f"run_dir={folder / run}"]
        subprocess.run(
            [sys.executable, "-m", "train", str(config), *overrides],
            env=simulated(4),
            check=True,
            stderr=subprocess.DEVNULL,
        )
    pairs = zip(losses(folder / "run"), losses(folder / "undisturbed"), strict=True)
    return max(abs(one - other) / other for one, other in pairs), saved


def simulated(devices: int) -> dict[str, str]:
    return os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_rows(run / METRICS)]


if __name__ == "__main__":
    run_cli(main)
