"""Lays the examples of packed rows out as the arrays of a batch. Imports neither JAX nor TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from train.data.order import Block, Stream

_EOS = 1


class Batch(NamedTuple):
    """The rows that one step consumes.

    Attributes:
      arrays: this host's rows of the global batch, int32 [batch_size / process_count, length] each:
        encoder_input_tokens, encoder_segment_ids (1, 2, ... in a row; 0 = padding), encoder_positions (from 0 in each
        segment), decoder_target_tokens, decoder_input_tokens (targets shifted right within each segment, first 0),
        decoder_segment_ids, decoder_positions.
      stats: of the whole global batch, the same on every host: examples, input_tokens, target_tokens,
        encoder_pairs (sum of squared input lengths), decoder_pairs, cross_pairs (sum of input x target lengths),
        truncated_inputs, truncated_targets (examples whose side was cut to the row).
    """

    arrays: dict[str, np.ndarray]
    stats: dict[str, int]


class LoadedBlock(NamedTuple):
    """A block of the stream with the tokens of the examples that this host lays out.

    Attributes:
      block: the examples and their rows.
      tokens: [total] of the examples that were read, inputs and then targets of each.
      starts: [n] where in `tokens` each example of the block starts; -1 of one that was not read.
    """

    block: Block
    tokens: np.ndarray
    starts: np.ndarray


def load(stream: Stream, block: Block, rows: np.ndarray) -> LoadedBlock:
    """Reads the examples of the given rows of a block, all at once.

    A record is read in the order in which it lies on the disk, whatever row it is for. In a mixture of everything the next
    example is in one file of hundreds; batch by batch, each read would find the processor's caches without that file's
    reader, index and pages, which costs as much again as the read.

    Raises:
      UserError: a prepared split is damaged.
    """
    examples, _ = _members(block, rows)
    splits, indices, lengths = block.splits[examples], block.indices[examples], block.lengths[examples]
    tokens, found = stream.records.tokens(splits, indices, lengths)
    starts = np.full(len(block.lengths), -1)
    starts[examples] = found
    return LoadedBlock(block, tokens, starts)


def make_batch(
    pieces: Sequence[tuple[LoadedBlock, np.ndarray]], row_lengths: tuple[int, int], host_rows: slice
) -> Batch:
    """Lays out the rows of `pieces`, (block, rows of its plan) each, as a global batch; missing rows stay empty.

    Args:
      pieces: one, or two and more where the batch crosses the border of blocks. `stats` cover all of them.
      row_lengths: (inputs, targets) tokens of a row.
      host_rows: of the global batch, which are laid out; their examples must have been read.
    """
    blocks = [loaded.block for loaded, _ in pieces]
    parts = [_members(block, rows) for block, (_, rows) in zip(blocks, pieces, strict=True)]
    firsts = np.cumsum([0] + [len(rows) for _, rows in pieces])
    row_of = np.concatenate([rows + first for (_, rows), first in zip(parts, firsts, strict=False)])
    whole = np.concatenate([block.lengths[m] for block, (m, _) in zip(blocks, parts, strict=True)])
    kept = np.minimum(whole, row_lengths).astype(np.int64)
    offsets = np.cumsum([0] + [len(loaded.tokens) for loaded, _ in pieces]).tolist()
    starts = np.concatenate(
        [loaded.starts[m] + offset for (loaded, _), (m, _), offset in zip(pieces, parts, offsets, strict=False)]
    )
    tokens = pieces[0][0].tokens if len(pieces) == 1 else np.concatenate([loaded.tokens for loaded, _ in pieces])

    first, last = np.searchsorted(row_of, [host_rows.start, host_rows.stop])
    mine = slice(int(first), int(last))
    starts = starts[mine]
    num_rows, row_of = host_rows.stop - host_rows.start, row_of - host_rows.start
    encoder = _lay_out(tokens, starts, whole[mine, 0], kept[mine, 0], row_of[mine], (num_rows, row_lengths[0]))
    starts = starts + whole[mine, 0]
    decoder = _lay_out(tokens, starts, whole[mine, 1], kept[mine, 1], row_of[mine], (num_rows, row_lengths[1]))
    shifted = np.zeros_like(decoder.tokens)
    shifted[:, 1:] = decoder.tokens[:, :-1]
    shifted[decoder.positions == 0] = 0  # the first of each segment, and padding
    arrays = {
        "encoder_input_tokens": encoder.tokens,
        "encoder_segment_ids": encoder.segment_ids,
        "encoder_positions": encoder.positions,
        "decoder_target_tokens": decoder.tokens,
        "decoder_input_tokens": shifted,
        "decoder_segment_ids": decoder.segment_ids,
        "decoder_positions": decoder.positions,
    }
    inputs, targets = kept[:, 0], kept[:, 1]
    stats = {
        "examples": len(kept),
        "input_tokens": int(inputs.sum()),
        "target_tokens": int(targets.sum()),
        "encoder_pairs": int((inputs * inputs).sum()),
        "decoder_pairs": int((targets * targets).sum()),
        "cross_pairs": int((inputs * targets).sum()),
        "truncated_inputs": int((whole[:, 0] > inputs).sum()),
        "truncated_targets": int((whole[:, 1] > targets).sum()),
    }
    return Batch(arrays, stats)


def _members(block: Block, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (examples of the rows, in their order; for each the number of its row within `rows`)."""
    first, last = block.plan.row_starts[rows], block.plan.row_starts[rows + 1]
    where, row_of = _ranges(first, last - first)
    return block.plan.examples[where], row_of


class _Side(NamedTuple):
    tokens: np.ndarray
    segment_ids: np.ndarray
    positions: np.ndarray


def _lay_out(
    tokens: np.ndarray,
    starts: np.ndarray,
    whole: np.ndarray,
    kept: np.ndarray,
    row_of: np.ndarray,
    shape: tuple[int, int],
) -> _Side:
    """Puts `kept` tokens of each example into its row, one behind the other.

    Args:
      tokens: of all examples, behind each other.
      starts: [n] where each example starts in it.
      whole, kept: [n] tokens of each example before and after the cut to a row.
      row_of: [n] ascending.
      shape: (rows, length).
    """
    side = _Side(*(np.zeros(shape, np.int32) for _ in range(3)))
    if len(kept) == 0:
        return side
    ends = np.cumsum(kept)
    begins_row = np.flatnonzero(np.diff(row_of, prepend=-1))
    members = np.diff(begins_row, append=len(row_of))
    columns = ends - kept - np.repeat(ends[begins_row] - kept[begins_row], members)
    segment = np.arange(1, len(row_of) + 1) - np.repeat(begins_row, members)
    source, example = _ranges(starts, kept)
    within = source - starts[example]
    target = (row_of * shape[1] + columns)[example] + within
    side.tokens.reshape(-1)[target] = tokens[source]
    side.segment_ids.reshape(-1)[target] = segment[example]
    side.positions.reshape(-1)[target] = within
    # What is cut keeps its end-of-sequence, or the model would learn never to stop.
    cut = np.flatnonzero(whole > kept)
    side.tokens.reshape(-1)[row_of[cut] * shape[1] + columns[cut] + kept[cut] - 1] = _EOS
    return side


def _ranges(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (starts[0], starts[0] + 1, ... counts[0] of them, starts[1], ...; for each, which range it is of)."""
    which = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return np.arange(len(which)) + (starts - first)[which], which
