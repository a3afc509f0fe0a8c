"""One save by Orbax that fails in all of several processes, soon, when it fails in one.

Orbax's processes wait for each other at barriers of JAX's coordination service while they save. One whose disk is full does not
come there, and the others would wait for it for 5 to 20 minutes. So who fails breaks the barriers that it leaves out.
"""

import functools
import logging
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

from orbax.checkpoint import v1 as ocp
from orbax.checkpoint._src.futures.synchronization import OperationIdGenerator

from train.checkpoints.agreement import PeerFailed, break_barrier
from train.parallel import processes

# Orbax tells at INFO, through absl's logger, of every thread it starts and every barrier it passes.
logging.getLogger("absl").setLevel(logging.WARNING)
# And of a save that failed at ERROR, with the stack of each of its threads. Whoever waits for it gets the error.
logging.getLogger("absl").addFilter(lambda record: "_SignalingThread.run() raised" not in str(record.msg))


def make_context() -> ocp.Context:
    """The options of a save."""
    context = ocp.Context()
    # zstd takes 8% off float32 weights and Adam moments, and more than doubles the time of a save (measured).
    context.array.saving.use_compression = False
    # Two looks at the file system less, between barriers; what they look for, train/checkpoints does.
    context.file.skip_sync_file_validations = True
    # Else threads wait for five minutes for a folder that could not be made, and keep the process from ending.
    context.asynchronous.create_directories_asynchronously = False
    return context


def start(context: ocp.Context, path: Path, items: dict[str, Any], metadata: dict[str, Any]) -> Callable[[], None]:
    """Returns when the arrays have been copied to the host, with the function that waits for the commit, in any thread.

    Raises, as that function does:
      PeerFailed: the save of another process failed, and knows why.
      Exception: of many classes; OSError when a file or folder could not be written.
    """
    try:
        with context:
            response = ocp.save_checkpointables_async(str(path), items, custom_metadata=metadata)
    except Exception as error:
        _leave(_barriers(items))
        raise _reason(error) from error
    return functools.partial(_end, response, _barriers(items))


def _end(response: Any, barriers: list[str]) -> None:
    # `result` of a save that failed first waits for the rest of it, which may be at a barrier, and so may the others.
    ended = response._thread_runner._future
    futures.wait([ended])
    if ended.exception() is not None:
        _leave(barriers)
    try:
        response.result()
    except Exception as error:
        raise _reason(error) from error


def _barriers(items: dict[str, Any]) -> list[str]:
    """The barriers of the save that was started last. Orbax tells their names nowhere: these are 0.12.8's.

    With other names all would still fail when one does, but only after the minutes that Orbax waits there.
    """
    operation = OperationIdGenerator.get_current_operation_id()
    parts = [f"{operation}.{item}" for item in items]
    return [
        f"[op={operation}] create_directory:post",
        *(f"[op={p}] save_and_finalize_{p}_{end}_complete" for p in parts for end in ("commit", "finalize")),
        f"[op={operation}] save_checkpointables_async:finalize",
    ]


def _leave(barriers: list[str]) -> None:
    """This process's save failed: the others need not wait for it."""
    if processes.several():
        for name in barriers:
            break_barrier(name)


def _reason(error: Exception) -> Exception:
    """The error, or PeerFailed where it is that of a barrier: Orbax makes a TimeoutError of it, which no system call raised."""
    if processes.several() and isinstance(error, TimeoutError) and error.errno is None:
        return PeerFailed(str(error))
    return error
