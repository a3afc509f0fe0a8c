"""Which examples share a row: a two-dimensional best-fit over known lengths, in numpy and Python integers.

A row holds `row_lengths` = (inputs, targets) tokens; an example needs some of both. Lengths are known before any token
is read (`CachedSplit.lengths`), so a whole block is planned at once, which fills rows better than packing a stream
does. Imports neither JAX nor TensorFlow.
"""

from dataclasses import dataclass

import numpy as np

from t5x_tasks.prepare.data_config import MAX_LENGTH

# Classes of remaining target room, see `plan`. Fewer classes mean more rows looked at in vain, more classes mean more
# bit sets to join: 32 is the fastest from 512/96 to 1536/288 on DialogSum and SAMSum.
_CLASSES = 32


_SAMPLE = 4096  # examples that `auto_lengths` plans with; its fill differs from that of all by about 0.3%


_MAX_CUT = 0.005


_INPUTS_MULTIPLE = 128


_TARGETS_MULTIPLE = 16


@dataclass(frozen=True)
class Plan:
    """Rows of examples.

    Attributes:
      examples: [n] int64, indices into the planned lengths: the examples of row 0, then of row 1, and so on; within a
        row in ascending order.
      row_starts: [rows + 1] int64; row r holds `examples[row_starts[r]:row_starts[r + 1]]`.
    """

    examples: np.ndarray
    row_starts: np.ndarray

    @property
    def num_rows(self) -> int:
        return len(self.row_starts) - 1


def plan(lengths: np.ndarray, row_lengths: tuple[int, int], *, pack: bool = True) -> Plan:
    """Puts every example into exactly one row, in as few rows as a sorted best-fit needs.

    Examples go from the one that takes the greatest share of a row (both sides added) to the smallest, each into the
    open row with the least input room left that takes both its sides. 12,460 examples of DialogSum take 0.05 s.

    Args:
      lengths: [n, 2] tokens of inputs and targets. What exceeds `row_lengths` counts as cut to them.
      row_lengths: (inputs, targets) tokens of a row.
      pack: False gives every example its own row.
    """
    lengths = np.minimum(lengths, row_lengths).astype(np.int64)
    if not pack:
        return Plan(np.arange(len(lengths)), np.arange(len(lengths) + 1))
    row_inputs, row_targets = row_lengths
    order = np.argsort(-(lengths[:, 0] * row_targets + lengths[:, 1] * row_inputs), kind="stable")
    rows = np.empty(len(lengths), np.int64)
    # The least that any later example needs on either side.
    least = np.minimum.accumulate(lengths[order][::-1])[::-1]
    rows[order] = _best_fit(lengths[order].T.tolist(), least.T.tolist(), row_inputs, row_targets)
    counts = np.bincount(rows)
    return Plan(np.argsort(rows, kind="stable"), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _best_fit(lengths: list[list[int]], least: list[list[int]], row_inputs: int, row_targets: int) -> list[int]:
    """Returns the row of each example.

    Args:
      lengths: inputs and targets of each, [2, n].
      least: the smallest of those from each example on, [2, n].

    Open rows are in stacks by (class of target room, input room), and an integer for each class has bit s set where its
    stack at input room s has rows. So "least input room >= x" is a shift and a lowest bit; rows of a higher class than
    the example's surely take its target, only those of its own class need a look at their exact room.

    A row that is too full for whatever is left to place is closed, that is in no stack: in a mixture, many are full on one side
    only, and looking at them for each short answer took two thirds of the time.

    The stacks are linked through two flat lists: thousands of small lists would set off the garbage collector, which in
    a process with JAX in it takes longer than the plan.
    """
    width = row_targets // _CLASSES + 1
    num_classes = row_targets // width + 1
    stride = row_inputs + 1
    occupied = [0] * num_classes
    top = [-1] * (num_classes * stride)  # a row, or -1
    below: list[int] = []  # of each row, the next in its stack
    target_room: list[int] = []
    placed: list[int] = []
    for x, y, least_x, least_y in zip(*lengths, *least, strict=True):
        own = y // width
        sure = 0
        for bits in occupied[own + 1 :]:
            sure |= bits
        sure >>= x
        lowest = sure & -sure
        perhaps = occupied[own] >> x
        if lowest:
            perhaps &= lowest - 1  # only what is tighter than the sure one
        row = room = -1
        while perhaps and row < 0:
            bit = perhaps & -perhaps
            perhaps ^= bit
            room = bit.bit_length() - 1 + x
            above, row = -1, top[own * stride + room]
            while row >= 0 and target_room[row] < y:
                above, row = row, below[row]
            if row >= 0:
                if above >= 0:
                    below[above] = below[row]
                else:
                    top[own * stride + room] = below[row]
                    if below[row] < 0:
                        occupied[own] ^= 1 << room
        if row < 0 and lowest:
            room = lowest.bit_length() - 1 + x
            other = own + 1
            while not occupied[other] >> room & 1:
                other += 1
            row = top[other * stride + room]
            top[other * stride + room] = below[row]
            if below[row] < 0:
                occupied[other] ^= 1 << room
        if row < 0:
            row, room = len(below), row_inputs
            below.append(-1)
            target_room.append(row_targets)
        room -= x
        left = target_room[row] = target_room[row] - y
        placed.append(row)
        if room < least_x or left < least_y:
            continue
        home = left // width
        if top[home * stride + room] < 0:
            occupied[home] |= 1 << room
        below[row] = top[home * stride + room]
        top[home * stride + room] = row
    return placed


def fill(lengths: np.ndarray, row_lengths: tuple[int, int], num_rows: int) -> tuple[float, float, float]:
    """Returns the shares of positions that hold real tokens in `num_rows` rows: inputs, targets, both together."""
    inputs, targets = np.minimum(lengths, row_lengths).sum(0).tolist()
    row_inputs, row_targets = row_lengths
    return (
        inputs / (num_rows * row_inputs),
        targets / (num_rows * row_targets),
        (inputs + targets) / (num_rows * (row_inputs + row_targets)),
    )


def auto_lengths(lengths: np.ndarray) -> tuple[int, int]:
    """Chooses row lengths from the lengths of the data: the same for the same lengths.

    Rows are long enough that at most 0.5% of inputs and of targets are cut, but never longer than a configuration may say
    (`MAX_LENGTH`). Beyond that, the target length is the one
    with the greatest share of real tokens over both sides, found by planning; its best value lies a little above the
    ratio of the two sides' tokens. The input length stays the shortest possible (attention costs its square) unless
    a longer one, at which the longest targets fit that ratio, fills rows at least 2% better.

    Inputs are multiples of 128, which is what attention kernels of TPUs and GPUs cut sequences into. Targets are
    multiples of 16 only: that is enough for the tiles of bfloat16 (16 sublanes of a TPU, a tensor core's 16), decoder
    attention is a small part of the cost, and multiples of 32 or 64 would leave 1% or 4% more of DialogSum's positions empty.

    Args:
      lengths: [n, 2] tokens of inputs and targets, n > 0.
    """
    lengths = np.minimum(lengths, MAX_LENGTH)  # a multiple of both multiples
    # method="higher" keeps to lengths that occur, so that a share of at most 0.5% is longer.
    shortest = np.quantile(lengths, 1 - _MAX_CUT, axis=0, method="higher")
    min_inputs = _round_up(shortest[0], _INPUTS_MULTIPLE)
    min_targets = _round_up(shortest[1], _TARGETS_MULTIPLE)
    # Evenly over the whole, so that the choice does not depend on the order of the data beyond this.
    sample = lengths[np.linspace(0, len(lengths) - 1, min(_SAMPLE, len(lengths))).astype(np.int64)]
    inputs, targets = np.minimum(sample, (min_inputs, min_targets)).sum(0)
    ratio = float(targets / inputs)

    best: tuple[float, tuple[int, int]] | None = None
    longer = min(_round_up(min_targets / ratio, _INPUTS_MULTIPLE), 4 * min_inputs, MAX_LENGTH)
    for row_inputs in sorted({min_inputs, max(min_inputs, longer)}):
        first, last = (
            min(MAX_LENGTH, max(min_targets, _round_up(factor * ratio * row_inputs, _TARGETS_MULTIPLE)))
            for factor in (0.9, 1.4)
        )
        # At most about ten, whatever the lengths: long targets are tried in coarser steps.
        step = _round_up((last - first) / 10, _TARGETS_MULTIPLE) or _TARGETS_MULTIPLE
        candidates = [(row_inputs, row_targets) for row_targets in range(first, last + 1, step)]
        found = max((fill(sample, c, plan(sample, c).num_rows)[2], (-c[0], -c[1])) for c in candidates)
        if best is None or found[0] > best[0] + 0.02:
            best = (found[0], (-found[1][0], -found[1][1]))
    assert best is not None
    return best[1]


def _round_up(value: float, multiple: int) -> int:
    return int(-(-value // multiple)) * multiple
