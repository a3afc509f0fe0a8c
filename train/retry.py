"""Tries again what a full disk or a network file system refused for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

from t5x_tasks.common.errors import Failure, one_line
from train.log import say

T = TypeVar("T")
PAUSES_S = (1, 2, 4, 8, 16)


def retrying(what: str, function: Callable[[], T], *, on: type[Exception] = OSError) -> T:
    """Returns what the function returns; after errors of class `on`, waits longer and longer and calls it again.

    Args:
      what: names the file and what is done to it, for messages.

    Raises:
      Failure: the last of the tries failed, too.
    """
    for pause_s in PAUSES_S:
        try:
            return function()
        except on as error:
            say(f"{what}: {one_line(error)}; tries again in {pause_s} s")
            time.sleep(pause_s)
    try:
        return function()
    except on as error:
        raise Failure(
            f"{what}: {one_line(error)}; tried {len(PAUSES_S) + 1} times over {sum(PAUSES_S)} s. Make room, or mend the file "
            "system, and start the run again: it resumes after its last checkpoint"
        ) from error
