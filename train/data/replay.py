"""Replay: rows of the tasks to keep in every batch, beside those of the task that is learned.

A batch's arrays then hold a second batch, `arrays["replay"]`, of other rows with the same fields. The two have streams of their
own, so how much of the one is replayed changes nothing in the order of the other.
"""

from collections.abc import Mapping
from typing import Any

import grain

from train.data.batches import Batches
from train.data.layout import Batch


class WithReplay(grain.IterDataset[Batch]):
    """Batches of `main` with rows of `replay`, which must not end before it; see `train.data.batches.Batches`."""

    def __init__(self, main: Batches, replay: Batches):
        super().__init__()
        self._main, self._replay = main, replay
        self.row_lengths = main.row_lengths

    def __iter__(self) -> grain.DatasetIterator[Batch]:
        return _Iterator(iter(self._main), iter(self._replay))

    def inspect(self, position: dict[str, Any]) -> tuple[Batch, list[tuple[str, str]]]:
        """As `Batches.inspect`; the replayed rows' arrays are under `replay/...`."""
        (main, names), (replay, others) = (
            batches.inspect(position[name]) for name, batches in (("main", self._main), ("replay", self._replay))
        )
        arrays = {**main.arrays, **{f"replay/{name}": rows for name, rows in replay.arrays.items()}}
        return Batch(arrays, _added(main.stats, replay.stats)), names + others

    def num_batches(self, epochs: int) -> int:
        return self._main.num_batches(epochs)


class _Iterator(grain.DatasetIterator[Batch]):
    def __init__(self, main: grain.DatasetIterator[Batch], replay: grain.DatasetIterator[Batch]):
        super().__init__()
        self._main, self._replay = main, replay

    def __next__(self) -> Batch:
        main, replay = next(self._main), next(self._replay)
        arrays: dict[str, Any] = {**main.arrays, "replay": replay.arrays}
        return Batch(arrays, _added(main.stats, replay.stats))

    def get_state(self) -> dict[str, Any]:
        return {"main": self._main.get_state(), "replay": self._replay.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._main.set_state(state["main"])
        self._replay.set_state(state["replay"])

    def close(self) -> None:
        super().close()
        for iterator in ("_main", "_replay"):
            if hasattr(self, iterator):
                getattr(self, iterator).close()


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: count + other[name] for name, count in one.items()}
