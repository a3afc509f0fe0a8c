"""Work of several processes that only counts where all of them succeed: saving, above all.

Each does its part, tells the others how it ended, and raises if one of them failed, so that all do the same next: try
again, or stop. The telling goes through JAX's coordination service (train/parallel/processes.py), from the main thread.

A part may wait for the others' at barriers of that service, as Orbax's do. Who fails does not come there any more, so it
breaks them (`break_barrier`): the others' waits end at once, with an error, rather than after minutes.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax

from t5x_tasks.common.errors import Failure, one_line
from train.log import say
from train.parallel import processes

T = TypeVar("T")


class PeerFailed(Exception):
    """This process's part ended because another's failed, which knows the reason."""


def together(what: str, function: Callable[[], T], *, at: Path) -> list[T]:
    """Calls a function in each process; all return what it returned in each, JSON, in the order of the processes.

    All processes must call it, from their main thread; one whose part has failed already gives a function that raises.

    Args:
      what: is done, the same words in all processes.
      at: the file or folder that it is done to, for messages.

    Raises:
      Failure: in all processes, with the same words, when the function raised an Exception in one of them: which and why.
        A process alone raises the exception itself.
    """
    if not processes.several():
        return [function()]
    answer: dict[str, object] = {}
    try:
        answer["value"] = function()
    except Exception as error:
        own = not isinstance(error, PeerFailed)
        answer = {"error": one_line(error), "own": own}
        if own and not processes.is_first():  # whose log shows what all agree on
            say(f"{processes.name()}: {at}: {what}: {answer['error']}", of_one=True)
    answers = processes.gather(what, answer)
    failed = [process for process, given in enumerate(answers) if "error" in given]
    if failed:
        # Where nobody's fault is its own, waiting took too long for all.
        first = next((process for process in failed if answers[process]["own"]), failed[0])
        others = sum(answers[process]["own"] for process in failed) - 1
        more = f" and {others} other{'s' if others > 1 else ''}" if others > 0 else ""
        raise Failure(f"{processes.name(first)}{more}: {answers[first]['error']}")
    return [given["value"] for given in answers]


def break_barrier(name: str) -> None:
    """Ends the others' waits at a barrier for all processes: with an error, at once, and for who comes later, too.

    One who passed it with all the others stays unharmed; none passes it afterwards. The service has no call for this: a
    process that comes to the barrier as to one of its own alone contradicts the others, and the service lets them all fail.
    """
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # told to the breaker, too; or it waits there itself
        processes.client().wait_at_barrier(name, 1000, process_ids=[jax.process_index()])
