"""Batches from prepared splits: packed rows, the same for any number of hosts, resumable from {"block", "row"}.

    batches = open_input(sources, row_lengths=(512, 128), batch_size=64, seed=0, pack=True)
    iterator = iter(batches)          # a grain.DatasetIterator: Orbax saves and restores it as it is
    batch = next(iterator)            # Batch(arrays={name: [rows, length] int32}, stats={...})

`stream.py` says which example comes when, `packing.py` which examples share a row, `layout.py` lays rows out; here blocks are
read ahead and cut into batches.
"""

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import grain
import numpy as np
from grain.experimental import ThreadPrefetchIterDataset

from t5x_tasks.common.errors import UserError
from train.data.description import Description, describe
from train.data.layout import Batch, LoadedBlock, load, make_batch
from train.data.order import Source, Stream
from train.data.packing import auto_lengths

__all__ = ["Batch", "Batches", "Source", "open_input"]


def open_input(
    sources: Sequence[Source],
    *,
    row_lengths: tuple[int, int] | Literal["auto"],
    batch_size: int,
    seed: int,
    pack: bool = True,
    epochs: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
    prefetch: int = 8,
) -> "Batches":
    """Opens the input of a training run.

    Args:
      sources: the data sets of the mixture with their templates.
      row_lengths: (inputs, targets) tokens of a row. "auto" chooses them from the mixture's lengths, the same for every
        seed; `Batches.row_lengths` tells.
      batch_size: rows of the global batch.
      seed: of order, templates and rows.
      pack: False gives each row one example.
      epochs: ends after so many, the last batch filled up with empty rows; None never ends.
      process_index: this host; it gets a contiguous slice of the rows of each global batch.
      process_count: hosts; must divide batch_size.
      prefetch: batches made ahead in a thread; 0 makes each when it is asked for.

    Raises:
      UserError: the data or the sizes do not fit together.
    """
    if batch_size % process_count:
        raise UserError(f"train.batch_size {batch_size}: must be a multiple of the {process_count} processes")
    if row_lengths == "auto":
        row_lengths = _auto(sources)
    stream = Stream(sources, row_lengths=row_lengths, seed=seed, pack=pack, epochs=epochs)
    rows = batch_size // process_count
    host_rows = slice(process_index * rows, (process_index + 1) * rows)
    description = describe(sources, row_lengths=row_lengths, batch_size=batch_size, seed=seed, pack=pack)
    return Batches(stream, batch_size, host_rows, prefetch, description)


def _auto(sources: Sequence[Source]) -> tuple[int, int]:
    # The first block under a fixed seed is a fair sample of the mixture at its rates and templates, whatever the run's
    # seed: two seeds of one experiment must not differ in their shapes.
    stream = Stream(sources, row_lengths=(1, 1), seed=0)
    return auto_lengths(stream.records.lengths(*stream.order(0)))


class Batches(grain.IterDataset[Batch]):
    """The batches of a run, see `open_input`. Every `iter()` starts at the beginning.

    Attributes:
      row_lengths: (inputs, targets) tokens of a row.
      batch_size: rows of the global batch.
      examples_per_epoch: of the mixture.
      description: of all that a position depends on; see description.py.
    """

    def __init__(self, stream: Stream, batch_size: int, host_rows: slice, prefetch: int, description: Description):
        super().__init__()
        self.description = description
        self.stream = stream
        self.batch_size = batch_size
        self.row_lengths = stream.row_lengths
        self.examples_per_epoch = stream.examples_per_epoch
        self._host_rows = host_rows
        self._prefetch = prefetch

    def __iter__(self) -> grain.DatasetIterator[Batch]:
        return ThreadPrefetchIterDataset(_Unprefetched(self), prefetch_buffer_size=self._prefetch).__iter__()

    def inspect(self, position: dict[str, Any]) -> tuple[Batch, list[tuple[str, str]]]:
        """Returns the whole global batch at a position, all hosts' rows, and (task, id) of each of its examples."""
        whole = slice(0, self.batch_size)
        with contextlib.closing(_BatchIterator(self.stream, self.batch_size, whole)) as iterator:
            iterator.set_state(position)
            pieces = iterator.take()
        batch = make_batch(pieces, self.row_lengths, whole)
        return batch, [name for loaded, rows in pieces for name in self.stream.names(loaded.block, rows)]

    def num_batches(self, epochs: int) -> int:
        """Returns the batches of `epochs` epochs, exactly; packing them all takes 0.05 s for every 12,000 examples."""
        blocks = range(epochs * self.stream.blocks_per_epoch)
        return -(-sum(self.stream.num_rows(b) for b in blocks) // self.batch_size)


class _Unprefetched(grain.IterDataset[Batch]):
    def __init__(self, batches: Batches):
        super().__init__()
        self._batches = batches

    def __iter__(self) -> grain.DatasetIterator[Batch]:
        b = self._batches
        return _BatchIterator(b.stream, b.batch_size, b._host_rows)


class _BatchIterator(grain.DatasetIterator[Batch]):
    """Makes batches one after the other. The state is the next row to serve: {"block": b, "row": r}."""

    def __init__(self, stream: Stream, batch_size: int, host_rows: slice):
        super().__init__()
        self._stream = stream
        self._batch_size = batch_size
        self._host_rows = host_rows
        self._block = 0
        self._row = 0
        self._at = 0  # which row of a batch the block's first is
        # Blocks in use or read ahead. One thread: the next block is planned and read while batches of this one are consumed.
        # With each, which row of a batch the first of the block after it is.
        self._blocks: dict[int, Future[tuple[LoadedBlock, int]]] = {}
        self._reader = ThreadPoolExecutor(1, "read-block")

    def get_state(self) -> dict[str, Any]:
        return {"block": self._block, "row": self._row}

    def set_state(self, state: dict[str, Any]) -> None:
        block, row = int(state["block"]), int(state["row"])
        if block < 0 or row < 0:
            raise UserError(f"data position {state}: not one of this input")
        self._block, self._row, self._at = block, row, -row % self._batch_size
        self._blocks.clear()  # of other rows, perhaps

    def __next__(self) -> Batch:
        self._assert_not_closed()
        batch = make_batch(self.take(), self._stream.row_lengths, self._host_rows)
        # Only now, so that the first batch after a resume does not share the processor with the next block.
        if not self._at_end():
            self._loaded(self._block)
        if self._stream.num_blocks is None or self._block + 1 < self._stream.num_blocks:
            self._loaded(self._block + 1)
        return batch

    def take(self) -> list[tuple[LoadedBlock, np.ndarray]]:
        """Returns what the next batch is made of, (block, rows of its plan) one or more, and goes on behind it."""
        pieces: list[tuple[LoadedBlock, np.ndarray]] = []
        missing = self._batch_size
        while missing and not self._at_end():
            loaded, next_at = self._loaded(self._block).result()
            rows = loaded.block.rows[self._row : self._row + missing]
            if self._row >= len(loaded.block.rows):
                raise UserError(f"data position {self.get_state()}: beyond the block; the data have changed since")
            pieces.append((loaded, rows))
            missing -= len(rows)
            self._row += len(rows)
            if self._row == len(loaded.block.rows):
                self._blocks.pop(self._block, None)
                self._block, self._row, self._at = self._block + 1, 0, next_at
        if not pieces:
            raise StopIteration
        return pieces

    def close(self) -> None:
        super().close()
        # `__del__` calls this too, also when the constructor failed.
        if hasattr(self, "_reader"):
            self._reader.shutdown(wait=False, cancel_futures=True)

    def _at_end(self) -> bool:
        return self._stream.num_blocks is not None and self._block >= self._stream.num_blocks

    def _loaded(self, number: int) -> "Future[tuple[LoadedBlock, int]]":
        if number not in self._blocks:
            before = self._blocks.get(number - 1)  # of the current block there is none: its rows start at the state
            self._blocks[number] = self._reader.submit(self._load, number, self._row, self._at, before)
        return self._blocks[number]

    def _load(
        self, number: int, row: int, at: int, before: "Future[tuple[LoadedBlock, int]] | None"
    ) -> tuple[LoadedBlock, int]:
        if before is not None:
            row, at = 0, before.result()[1]
        block = self._stream.block(number)
        served = np.arange(row, len(block.rows))
        in_batch = (at + served) % self._batch_size
        mine = (in_batch >= self._host_rows.start) & (in_batch < self._host_rows.stop)
        return load(self._stream, block, block.rows[served[mine]]), (at + len(block.rows)) % self._batch_size
