"""Real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from launch.local import plan, start
from t5x_tasks.common.errors import UserError

JOINED = """
import os, jax, jax.numpy as jnp
address, count, index = (os.environ[f"JAX_{name}"] for name in ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID"))
jax.distributed.initialize(address, int(count), int(index))
mesh = jax.make_mesh((4,), ("d",))
x = jax.device_put(jnp.arange(4.0), jax.NamedSharding(mesh, jax.P("d")))
print(jax.process_index(), jax.process_count(), jax.local_device_count(), float(jnp.sum(x)), flush=True)
"""


def test_processes_make_one_mesh_of_their_simulated_devices(tmp_path):
    environments = plan(2, 2, {})
    assert start([sys.executable, "-c", JOINED], environments, logs=tmp_path) == 0
    logs = [(tmp_path / f"process-{i}.log").read_text() for i in range(2)]
    assert [log.splitlines()[-1] for log in logs] == ["0 2 2 6.0", "1 2 2 6.0"]


# None ends before all are deaf to being asked to, so that each has its own exit code.
TOGETHER = """
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(os.environ["ME"]).touch()
while not all(Path(name).exists() for name in os.environ["ALL"].split(":")):
    time.sleep(0.02)
time.sleep(float(os.environ.get("LINGER_S", 0)))
sys.exit(int(os.environ["CODE"]))
"""


def together(folder: Path, **lists: Sequence[object]) -> list[dict[str, str]]:
    """The environments of processes that run TOGETHER, from one list of values for each variable."""
    ready = [str(folder / f"ready-{i}") for i in range(len(lists["CODE"]))]
    rows = zip(*lists.values(), strict=True)
    return [
        {"ME": me, "ALL": ":".join(ready)} | {name: str(value) for name, value in zip(lists, row, strict=True)}
        for me, row in zip(ready, rows, strict=True)
    ]


@pytest.mark.parametrize(("codes", "worst"), [((0, 0), 0), ((143, 0), 143), ((143, 1), 1), ((0, 2), 2)])
def test_the_exit_code_is_the_worst(tmp_path, codes, worst):
    environments = together(tmp_path, CODE=codes)
    assert start([sys.executable, "-c", TOGETHER], environments, logs=tmp_path / "logs") == worst


def test_when_one_fails_the_others_are_ended(tmp_path):
    script = "import os, sys, time; time.sleep(60) if os.environ['I'] == '0' else sys.exit(7)"
    before = time.monotonic()
    assert start([sys.executable, "-c", script], [{"I": "0"}, {"I": "1"}], logs=tmp_path) == 7
    assert time.monotonic() - before < 30


def test_who_does_not_end_when_asked_is_killed(tmp_path):
    environments = together(tmp_path, CODE=(1, 1), LINGER_S=(60, 0))
    code = start([sys.executable, "-c", TOGETHER], environments, logs=tmp_path / "logs", grace_s=1)
    assert code == 128 + signal.SIGKILL


CTRL_C = """
import sys
from pathlib import Path
from launch.local import start
child = '''
import signal, sys, time
def end(*_):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
'''
sys.exit(start([sys.executable, "-c", child], [{}, {}], logs=Path(sys.argv[1])))
"""


def test_one_ctrl_c_lets_all_save_and_says_start_again(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C, str(tmp_path)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    logs = [tmp_path / f"process-{i}.log" for i in range(2)]
    while not all(log.exists() and "ready" in log.read_text() for log in logs):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=30) == 143
    assert all(log.read_text() == "ready\nsaved\n" for log in logs)


def test_gpus_are_divided():
    shares = plan(2, None, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["0,1", "2,3"]
    assert [share["JAX_PROCESS_ID"] for share in shares] == ["0", "1"]


def test_gpus_that_cannot_be_divided_are_an_error():
    with pytest.raises(UserError, match=r"--processes: 3 cannot share the 4 GPU\(s\)"):
        plan(3, None, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})


UNREAD = """
import sys
from pathlib import Path
from launch.local import start
from t5x_tasks.common.errors import run_cli
child = "for i in range(4000): print('line', i, 'x' * 90, flush=True)"
run_cli(lambda _: start([sys.executable, "-c", child], [{}, {}], logs=Path(sys.argv[1])))
"""


@pytest.mark.parametrize("full", [False, True], ids=["broken stderr", "full log disk"])
def test_processes_end_though_nobody_reads_what_they_say(tmp_path, full):
    if full:
        (tmp_path / "process-0.log").symlink_to("/dev/full")
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", UNREAD, str(tmp_path)], stderr=write, start_new_session=True)
    os.close(write)
    if full:
        drained = threading.Thread(target=lambda: os.fdopen(read, "rb").read())
        drained.start()
    else:
        os.read(read, 1)
        os.close(read)
    try:
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    if not full:
        assert (tmp_path / "process-0.log").read_text().count("\n") == 4000


def test_a_closed_terminal_lets_all_save(tmp_path):
    heeded = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # also where the tests run under nohup
    process = subprocess.Popen(
        [sys.executable, "-c", heeded + CTRL_C, str(tmp_path)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    logs = [tmp_path / f"process-{i}.log" for i in range(2)]
    while not all(log.exists() and "ready" in log.read_text() for log in logs):
        time.sleep(0.05)
    for _ in range(2):  # the kernel's, and that of a shell that hands it on
        process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 143
    assert all(log.read_text() == "ready\nsaved\n" for log in logs)
