"""Several processes as one run: who they are, and what they agree on.

Each process has some of the mesh's devices and runs the same program. `initialize()` joins them before any device is
touched. What they must not decide each for itself, where files or signals may look different to each, is decided by the
first and told to the others, or compared: all of it in small texts through JAX's coordination service, so that it costs no
compilation and no device. Without several processes everything here returns at once.

When one is lost, see train/parallel/watchdog.py.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from t5x_tasks.common.errors import Failure, UserError, explained

# All three say explicitly who this process is; JAX itself reads the first.
ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


# Longer than train/parallel/watchdog.py waits for a peer, which can say more; shorter than a minute.
_HEARTBEAT_TIMEOUT_S = 50


# A process that fails on its own waits so long for the others' ends, which its watchdog tells them to hasten.
_SHUTDOWN_TIMEOUT_S = 30


_WAIT_MS = 5_000  # one wait for a key; repeated until it is there, or the watchdog ends the process


_SHOWN = 3  # differences in a message


_SHARED_FOLDER_S = 15.0  # network file systems show a new file to other hosts after some seconds


# Where JAX's coordination service keeps that a process was told to end. It has no public name; without it all would still end
# after the same step, but a wait between steps would not be cut short.
_NOTICE = "RECEIVED_PREEMPTION_NOTICE"


_calls = 0  # every process makes the same calls in the same order, so the count names a call (else: OutOfStep)


class OutOfStep(BaseException):
    """Processes are at different places of the program, a mistake in it. No Exception: nobody who tries again shall catch it."""


def initialize() -> None:
    """Joins this process with the others of its run, if there are any. Call it before anything asks JAX for devices.

    They are told by JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID; or
    JAX finds it out: under SLURM, Open MPI and on Cloud TPUs.

    Raises:
      UserError: the variables are not all there, or are no numbers that fit together.
    """
    if jax.distributed.is_initialized():
        return
    settings: dict[str, Any] | None = _from_variables() or _from_cluster(os.environ)
    if settings is None:
        return
    jax.distributed.initialize(
        heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT_S, shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S, **settings
    )
    client().key_value_set(f"host/{jax.process_index()}", host())


def _from_variables() -> dict[str, Any] | None:
    given = {name: os.environ[name] for name in (ADDRESS, COUNT, INDEX) if os.environ.get(name)}
    if COUNT not in given and INDEX not in given:
        return None
    if missing := [name for name in (ADDRESS, COUNT, INDEX) if name not in given]:
        raise UserError(f"environment: {', '.join(given)} without {', '.join(missing)}; a process needs all three")
    count, index = given[COUNT], given[INDEX]
    if not (count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        raise UserError(f"environment: {INDEX}={index} of {COUNT}={count}: must be numbers, the first below the second")
    if not given[ADDRESS].rpartition(":")[2].isdecimal():
        raise UserError(f"environment: {ADDRESS}={given[ADDRESS]}: must be host:port of process 0")
    return {
        "coordinator_address": given[ADDRESS],
        "num_processes": int(count),
        "process_id": int(index),
        "cluster_detection_method": "deactivate",
    }


def _from_cluster(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Arguments of `jax.distributed.initialize` where it finds out the rest; None where there is one process."""
    if int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_STEP_NODELIST" in environment:
        # JAX gives the n-th task of a node its n-th GPU. A node's only task takes all, and one that SLURM shows but its own
        # GPU (--gpus-per-task) takes that.
        alone = environment.get("SLURM_STEP_TASKS_PER_NODE", environment.get("SLURM_TASKS_PER_NODE", ""))
        visible = environment.get("CUDA_VISIBLE_DEVICES", ",").split(",")
        return {"local_device_ids": []} if alone.partition("(")[0] == "1" or len(visible) == 1 else {}
    if int(environment.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
        return {}
    chips = [*Path("/dev").glob("accel*"), *Path("/dev").glob("vfio/[0-9]*")]
    on_tpu = chips and importlib.util.find_spec("libtpu")
    return {} if on_tpu and environment.get("JAX_PLATFORMS", "tpu") != "cpu" else None


def host() -> str:
    return socket.gethostname()


def several() -> bool:
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes for all."""
    return jax.process_index() == 0


def name(process: int | None = None) -> str:
    """`process 1 on node7`; of this process, or of a peer as it introduced itself."""
    if process is None or process == jax.process_index():
        return f"process {jax.process_index()} on {host()}"
    peer = client().key_value_try_get(f"host/{process}") if several() else ""
    return f"process {process} on {peer}"


def coordinator() -> str:
    """Process 0 and where it was looked for: its name cannot be asked for once it is out of reach."""
    return f"process 0, which coordinates{f' at {where}' if (where := os.environ.get(ADDRESS)) else ''},"


def client() -> Any:
    """JAX's connection to the coordination service. multihost_utils has no function for texts, so this reaches inside."""
    from jax._src import distributed

    return distributed.global_state.client


def from_first(what: str, function: Callable[[], Any]) -> Any:
    """The first process computes a value, JSON, and all return it.

    Raises:
      UserError, Failure: in all processes when the function raised it in the first.
    """
    if not several():
        return function()
    key = _next_key()
    if not is_first():
        answer = _read(key, 0, what)
        if "error" in answer:
            raise (UserError if answer["users"] else Failure)(answer["error"])
        return answer["value"]
    try:
        answer = {"value": function()}
    except (UserError, Failure) as error:
        _write(key, what, {"error": str(error), "users": isinstance(explained(error), UserError)})
        raise
    _write(key, what, answer)
    return answer["value"]


def gather(what: str, value: Any) -> list[Any]:
    """Each process gives a value, JSON; all return those of all, in the order of the processes."""
    if not several():
        return [value]
    key = _next_key()
    _write(key, what, value)
    return [_read(key, process, what) for process in range(jax.process_count())]


def check_equal(what: str, value: Any, *, explain: Callable[[Any, Any], list[str]] | None = None) -> None:
    """Raises UserError in all processes when `value`, JSON, is not the same in all, with those that differ from the first.

    Args:
      explain: (the first's value, another's) -> what differs, for the message; where it finds nothing they count as the same.
    """
    text = json.dumps(value, sort_keys=True)
    hashes = gather(what, hashlib.sha256(text.encode()).hexdigest())  # values may be long, and processes many
    different = [process for process, other in enumerate(hashes) if other != hashes[0]]
    if not different:
        return
    why = ""
    if explain is not None:
        first = json.loads(from_first(what, lambda: text))
        lines = gather(what, explain(first, json.loads(text))[:_SHOWN])
        if not (different := [process for process in different if lines[process]]):
            return
        why = f" ({'; '.join(lines[different[0]])})"
    raise UserError(
        f"{what}: not the same in {', '.join(map(name, different))} as in {name(0)}{why}; start all of them with the same code, "
        "configuration and data"
    )


@contextlib.contextmanager
def first_alone(what: str) -> Iterator[None]:
    """The first process goes through the block alone, then the others all at once.

    For work that leaves a file behind: where they share the file system the others find it done, and where one has its own
    it does it itself. A UserError or Failure of the first is one of all.
    """
    if several() and not is_first():
        from_first(what, lambda: None)
    failed: UserError | Failure | None = None
    try:
        yield
    except (UserError, Failure) as error:
        failed = error
        raise
    finally:
        if several() and is_first():
            with contextlib.suppress(UserError, Failure):
                from_first(what, lambda: _raise(failed))


def check_shared(folder: Path, key: str) -> None:
    """Checks that all processes see the same folder, by a file that the first puts there and takes away again.

    Args:
      folder: made by the first if it is not there.
      key: of the configuration, for the message.

    Raises:
      UserError: in all processes, names the hosts that have another folder under this name.
    """
    if not several():
        return
    marker = folder / from_first("marker", lambda: f".shared-{secrets.token_hex(8)}")
    new = [path for path in (folder, *folder.parents) if not path.exists()] if is_first() else []
    try:
        if is_first():
            folder.mkdir(parents=True, exist_ok=True)
            marker.touch()
        from_first("marker is there", lambda: None)
        deadline = time.monotonic() + _SHARED_FOLDER_S
        while not (seen := marker.exists()) and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                list(folder.iterdir())  # makes a network file system look again
            time.sleep(0.2)
        blind = [process for process, sees in enumerate(gather("sees marker", seen)) if not sees]
    finally:
        if is_first():
            marker.unlink(missing_ok=True)
            for path in new:
                with contextlib.suppress(OSError):
                    path.rmdir()
    from_first("marker is gone", lambda: None)
    if blind:
        raise UserError(
            f"{key}: {folder}: {', '.join(map(name, blind))} does not see what {name(0)} writes there; all hosts must share this "
            "folder (a network file system)"
        )


class Stop:
    """Tells when to save and end: on SIGTERM, Ctrl-C or SIGHUP (a closed terminal), in all processes after the same step.

    Alone, a process stops after the step under way, and a second signal ends it at once. SIGHUP does not count there: the kernel
    and the shell both send it, and a session manager SIGTERM after it. Of several, JAX passes the news on:
    all go on to the step after the furthest of them (multihost_utils.reached_preemption_sync_point).
    """

    def __init__(self) -> None:
        self.signal = signal.SIGTERM
        self._received = False

    def agreed(self, step: int) -> bool:
        """Whether to end after `step`. Several processes must all ask it once after each step."""
        return multihost_utils.reached_preemption_sync_point(step) if several() else self._received

    @property
    def asked(self) -> bool:
        """Whether this process, or any of several, was told to end: all do so after one of the next steps."""
        if not several():
            return self._received
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # there is no such key: nobody was
            return bool(client().key_value_try_get(_NOTICE))
        return False

    def _receive(self, number: int, _: Any) -> None:
        if several():  # Ctrl-C; SIGTERM is JAX's own
            os.kill(os.getpid(), signal.SIGTERM)
        elif self._received and number == signal.SIGHUP:
            return
        elif self._received and self.signal != signal.SIGHUP:
            os._exit(128 + number)
        self.signal, self._received = signal.Signals(number), True


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    stop = Stop()
    ours = [signal.SIGINT] if several() else [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        ours.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop._receive) for number in ours}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _next_key() -> str:
    global _calls
    _calls += 1
    return f"agreed/{_calls}"


def _write(key: str, what: str, value: Any) -> None:
    client().key_value_set(f"{key}/{jax.process_index()}", json.dumps([what, value]))


def _read(key: str, process: int, what: str) -> Any:
    """Reads what a process wrote. OutOfStep where it is at another call than this one, which is no answer."""
    while True:
        with contextlib.suppress(
            jax.errors.JaxRuntimeError
        ):  # not there yet; if it never comes, the watchdog knows why
            text = client().blocking_key_value_get(f"{key}/{process}", _WAIT_MS)
            break
    its, value = json.loads(text)
    if its != what:
        raise OutOfStep(f"out of step: {name()} is at `{what}`, {name(process)} at `{its}`")
    return value


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error
