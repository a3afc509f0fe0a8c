import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from t5x_tasks.cache import CachedSplit, Example, write_split
from t5x_tasks.common.errors import UserError
from train.data import order as stream_module
from train.data.batches import Batch, Batches, Source, open_input
from train.data.order import Stream, permute

ROOT = Path(__file__).parents[2]
ROW = (64, 24)


def split_of(folder: Path, dataset: int, template: int, count: int, text: bool = False) -> CachedSplit:
    """A split whose tokens tell what they are: inputs begin with data set, template and index, all + 100."""
    rng = np.random.default_rng(dataset)
    shapes = np.stack([rng.integers(3, 40, count), rng.integers(1, 12, count)], 1)
    shapes[::17] = (90, 30)  # longer than a row, both of them

    def generate():
        for i, (inputs, targets) in enumerate(shapes.tolist()):
            head = [dataset + 100, template + 100, i + 100]
            ids = np.concatenate([head, np.arange(200, 200 + inputs - 3 + template)])
            yield Example(f"{dataset}/{i}", ids, np.arange(500, 500 + targets), {"row": i})

    return write_split(folder / f"{dataset}.{template}" / "train-0", generate(), {}, vocabulary_size=32_100, text=text)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("cache")
    return [
        Source(f"set{d}", [(f"t{t:02d}", split_of(folder, d, t, count)) for t in range(templates)])
        for d, (count, templates) in enumerate([(230, 4), (70, 3), (11, 1)])
    ]


def opened(sources: list[Source], **changes) -> Batches:
    return open_input(sources, **({"row_lengths": ROW, "batch_size": 8, "seed": 3} | changes))


def segments(batch: Batch):
    """Yields (input tokens, target tokens, decoder input tokens) of every segment, row by row."""
    a = batch.arrays
    for row in range(len(a["encoder_segment_ids"])):
        for segment in range(1, a["encoder_segment_ids"][row].max() + 1):
            inputs = a["encoder_segment_ids"][row] == segment
            targets = a["decoder_segment_ids"][row] == segment
            yield tuple(
                a[name][row, mask].tolist()
                for name, mask in [
                    ("encoder_input_tokens", inputs),
                    ("decoder_target_tokens", targets),
                    ("decoder_input_tokens", targets),
                ]
            )


def served(batches) -> list[tuple[int, int, int]]:
    """Returns (data set, template, index) of every example, in order."""
    return [tuple(t - 100 for t in inputs[:3]) for batch in batches for inputs, _, _ in segments(batch)]


def same(one: Batch, other: Batch) -> bool:
    return one.stats == other.stats and all(np.array_equal(one.arrays[k], other.arrays[k]) for k in one.arrays)


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_an_epoch_serves_every_example_exactly_once(sources, pack: bool, hosts: int):
    seen = Counter()
    for host in range(hosts):
        batches = opened(sources, epochs=1, pack=pack, process_index=host, process_count=hosts)
        seen.update((d, i) for d, _, i in served(batches))
    assert seen == {(d, i): 1 for d, source in enumerate(sources) for i in range(len(source))}


def test_the_slices_of_the_hosts_make_up_the_global_batch(sources):
    whole = opened(sources, epochs=2)
    hosts = [opened(sources, epochs=2, process_index=p, process_count=2) for p in range(2)]
    for batch, *slices in itertools.zip_longest(whole, *hosts):
        for name, array in batch.arrays.items():
            assert np.array_equal(array, np.concatenate([s.arrays[name] for s in slices]))
        assert all(s.stats == batch.stats for s in slices)


def test_a_host_reads_its_own_rows_and_no_others(sources, monkeypatch):
    monkeypatch.setattr(stream_module, "MAX_BLOCK", 100)
    batches = opened(sources, epochs=1, process_index=1, process_count=2)
    records, first = batches.stream.records, [0, 4, 7]  # of each data set's templates, among all splits
    read = []

    def tokens(splits, indices, lengths):
        read.extend(zip(splits.tolist(), indices.tolist(), strict=True))
        return type(records).tokens(records, splits, indices, lengths)

    monkeypatch.setattr(records, "tokens", tokens)
    assert Counter((first[d] + t, i) for d, t, i in served(batches)) == Counter(read)


def test_epochs_end_exactly_and_the_last_batch_is_filled_up_with_empty_rows(sources):
    batches = opened(sources, epochs=3)
    served_batches = list(batches)
    assert len(served_batches) == batches.num_batches(3)
    assert sum(b.stats["examples"] for b in served_batches) == 3 * 311 == 3 * batches.examples_per_epoch
    used = [b.arrays["encoder_segment_ids"].any(1).sum() for b in served_batches]
    assert set(used[:-1]) == {8} and 0 < used[-1] < 8  # only the last one has empty rows, and with this seed it has
    last = served_batches[-1].arrays
    assert all(not array[used[-1] :].any() for array in last.values())
    assert opened(sources, pack=False, batch_size=50).num_batches(3) == -(-3 * 311 // 50)


def test_without_epochs_the_stream_goes_on(sources):
    taken = list(itertools.islice(opened(sources, batch_size=64), 30))
    assert all(batch.arrays["encoder_segment_ids"].any(1).all() for batch in taken)


def test_epochs_differ_in_order_and_seeds_do_too(sources):
    two = served(opened(sources, epochs=2, pack=False))
    first, second = ([(d, i) for d, _, i in half] for half in (two[:311], two[311:]))
    assert sorted(first) == sorted(second) and first != second
    assert served(opened(sources, epochs=1, pack=False, seed=4)) != two[:311]
    assert served(opened(sources, epochs=1, pack=False)) == two[:311]


@pytest.mark.parametrize("changes", [{"prefetch": 0}, {"prefetch": 3}, {"process_index": 1, "process_count": 4}])
def test_resuming_from_any_state_gives_the_same_batches(sources, monkeypatch, changes: dict[str, int]):
    monkeypatch.setattr(stream_module, "MAX_BLOCK", 100)  # several blocks an epoch, so that batches cross their borders
    batches = opened(sources, epochs=2, **changes)
    iterator = iter(batches)
    states, expected = [iterator.get_state()], []
    for batch in iterator:
        expected.append(batch)
        states.append(json.loads(json.dumps(iterator.get_state())))
    assert len({state["block"] for state in states}) > 4
    used = iter(batches)
    for start, state in list(enumerate(states))[::3]:
        assert state.keys() == {"block", "row"}
        fresh = iter(opened(sources, epochs=2, **changes))
        for resumed in (fresh, used):  # `used` stands elsewhere, with batches of there prefetched
            resumed.set_state(state)
            assert resumed.get_state() == state
            following = list(itertools.islice(resumed, 3))
            assert len(following) == len(expected[start : start + 3])
            assert all(same(a, b) for a, b in zip(following, expected[start:], strict=False))
        fresh.close()


def test_a_state_from_one_host_resumes_on_two(sources):
    iterator = iter(opened(sources))
    for _ in range(5):
        next(iterator)
    host = iter(opened(sources, process_index=1, process_count=2))
    host.set_state(iterator.get_state())
    assert np.array_equal(next(host).arrays["encoder_positions"], next(iterator).arrays["encoder_positions"][4:])


def test_a_state_that_cannot_be_is_refused(sources):
    for state in ({"block": -1, "row": 0}, {"block": 0, "row": 10_000}):
        with pytest.raises(UserError, match="data position"):
            iterator = iter(opened(sources, prefetch=0))
            iterator.set_state(state)
            next(iterator)


def test_segments_hold_their_examples_whole_in_place_and_shifted(sources):
    batches = list(opened(sources, epochs=1))
    for batch in batches:
        a = batch.arrays
        for side, row_length in zip(("encoder", "decoder"), ROW, strict=True):
            ids, positions = a[f"{side}_segment_ids"], a[f"{side}_positions"]
            assert ids.shape == (8, row_length)
            for row_ids, row_positions in zip(ids, positions, strict=True):
                used = np.count_nonzero(row_ids)
                assert (row_ids[:used] > 0).all()  # padding only behind
                assert (np.isin(np.diff(row_ids[:used]), [0, 1])).all() and row_ids[:1] <= 1
                for segment in range(1, row_ids.max(initial=0) + 1):
                    count = np.count_nonzero(row_ids == segment)
                    assert row_positions[row_ids == segment].tolist() == list(range(count))
            assert (positions[ids == 0] == 0).all()
        assert all((array.dtype == np.int32) for array in a.values())
        assert (a["encoder_segment_ids"].max(1) == a["decoder_segment_ids"].max(1)).all()
        for inputs, targets, shifted in segments(batch):
            dataset, template, index = (t - 100 for t in inputs[:3])
            ((whole_inputs, whole_targets),) = sources[dataset].templates[template][1].tokens([index])
            assert inputs == whole_inputs.tolist() or inputs == [*whole_inputs.tolist()[: ROW[0] - 1], 1]
            assert targets == whole_targets.tolist() or targets == [*whole_targets.tolist()[: ROW[1] - 1], 1]
            assert shifted == [0, *targets[:-1]]


def test_what_is_cut_ends_with_end_of_sequence_and_is_counted(sources):
    batches = list(opened(sources, epochs=1))
    cut = {"inputs": 0, "targets": 0}
    for batch in batches:
        for inputs, targets, _ in segments(batch):
            assert inputs[-1] == 1 and targets[-1] == 1
            cut["inputs"] += len(inputs) == ROW[0]
            cut["targets"] += len(targets) == ROW[1]
    expected = sum(-(-len(source) // 17) for source in sources)
    assert cut == {"inputs": expected, "targets": expected}
    assert sum(b.stats["truncated_inputs"] for b in batches) == expected
    assert sum(b.stats["truncated_targets"] for b in batches) == expected


def test_stats_are_those_of_the_segments(sources):
    for batch in opened(sources, epochs=1):
        pairs = [(len(inputs), len(targets)) for inputs, targets, _ in segments(batch)]
        assert batch.stats | {"truncated_inputs": 0, "truncated_targets": 0} == {
            "examples": len(pairs),
            "input_tokens": sum(x for x, _ in pairs),
            "target_tokens": sum(y for _, y in pairs),
            "encoder_pairs": sum(x * x for x, _ in pairs),
            "decoder_pairs": sum(y * y for _, y in pairs),
            "cross_pairs": sum(x * y for x, y in pairs),
            "truncated_inputs": 0,
            "truncated_targets": 0,
        }
        assert {type(value) for value in batch.stats.values()} == {int}


def template_of(batches) -> dict[tuple[int, int], int]:
    return {(d, i): t for d, t, i in served(batches)}


def test_the_template_of_an_example_changes_over_the_epochs(sources):
    everything = served(opened(sources, epochs=2, pack=False))
    first, second = ({(d, i): t for d, t, i in half} for half in (everything[:311], everything[311:]))
    of_first_set = [key for key in first if key[0] == 0]
    changed = sum(first[key] != second[key] for key in of_first_set) / len(of_first_set)
    assert 0.6 < changed < 0.9  # 3/4 of them with four templates
    shares = Counter(first[key] for key in of_first_set)
    assert set(shares) == {0, 1, 2, 3} and min(shares.values()) > 0.15 * len(of_first_set)


def test_the_template_of_an_example_hangs_on_nothing_else_in_the_mixture(sources, monkeypatch):
    mixed = template_of(opened(sources, epochs=1))
    monkeypatch.setattr(stream_module, "MAX_BLOCK", 50)  # nor on where blocks end
    alone = template_of(opened(sources[:1], epochs=1, batch_size=3, row_lengths=(128, 32), pack=False))
    assert all(mixed[key] == template for key, template in alone.items())


def test_the_template_of_an_example_goes_with_its_id_and_not_with_its_row(tmp_path: Path):
    def source(name: str, ids: list[int]) -> Source:
        given = [Example(f"id-{i}", np.array([100, 100, i + 100]), np.array([7])) for i in ids]
        split = write_split(tmp_path / name / "train-0", given, {}, vocabulary_size=32_100)
        return Source("set", [(f"t{t}", split) for t in range(5)])

    def chosen(of: Source) -> dict[int, int]:
        stream = Stream([of], row_lengths=ROW, seed=0)
        splits, indices = stream.order(0)
        ids = [int(tokens[0][2]) - 100 for tokens in of.templates[0][1].tokens(indices)]
        return dict(zip(ids, splits.tolist(), strict=True))

    complete = chosen(source("complete", list(range(100))))
    reduced = chosen(source("reduced", list(range(90, 10, -1))))
    assert len(reduced) == 80 and all(complete[i] == template for i, template in reduced.items())


def test_an_epoch_may_take_a_part_of_a_data_set_and_serves_all_of_it_over_the_epochs(sources):
    parts = [Source("set0", sources[0].templates, 60), Source("set1", sources[1].templates, 35), sources[2]]
    batches = opened(parts, epochs=23, pack=False, batch_size=106, prefetch=0)
    assert batches.examples_per_epoch == 60 + 35 + 11
    everything = served(batches)
    for epoch in range(23):
        assert Counter(d for d, _, _ in everything[106 * epoch : 106 * (epoch + 1)]) == {0: 60, 1: 35, 2: 11}
    counts = Counter((d, i) for d, _, i in everything)
    assert {counts[0, i] for i in range(230)} == {6}  # 23 epochs of 60 are six times all 230
    assert {counts[1, i] for i in range(70)} <= {11, 12}


def test_auto_lengths_are_of_the_mixture_and_not_of_the_seed(sources):
    chosen = {opened(sources, row_lengths="auto", seed=seed).row_lengths for seed in range(3)}
    assert len(chosen) == 1
    assert chosen.pop()[0] == 128


@pytest.mark.parametrize(("size", "span"), [(1, 1), (2, 2), (3, 3), (5, 5), (1000, 1000), (1025, 1025), (10**9, 5000)])
def test_a_permutation_hits_everything_once(size: int, span: int):
    found = permute(np.arange(span), size, (7, 1))
    assert len(set(found.tolist())) == span and found.min() >= 0 and found.max() < size
    part = permute(np.arange(span)[span // 2 :], size, (7, 1))
    assert part.tolist() == found[span // 2 :].tolist()  # position by position, whatever is asked for beside it


def test_a_permutation_mixes_well():
    found = permute(np.arange(10_000), 10_000, (1, 2))
    other = permute(np.arange(10_000), 10_000, (1, 3))
    assert abs(np.corrcoef(np.arange(10_000), found)[0, 1]) < 0.04  # four standard deviations
    assert abs(np.corrcoef(found, other)[0, 1]) < 0.04
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.04
    assert np.bincount(found[:1000] // 1000).max() < 150


def test_the_order_never_changes_between_versions():
    # A run that is resumed on another machine, or with another numpy, must go on with the same examples.
    assert permute(np.arange(6), 1000, (1, 2, 3)).tolist() == [333, 68, 995, 845, 718, 526]


def test_blocks_do_not_depend_on_what_was_asked_before(sources):
    def make() -> Stream:
        return Stream(sources, row_lengths=ROW, seed=1)

    walked = make()
    for number in range(3):
        walked.block(number)
    assert walked.block(7).rows.tolist() == make().block(7).rows.tolist()
    assert walked.block(7).indices.tolist() == make().block(7).indices.tolist()


def test_text_splits_can_be_fed_too(tmp_path: Path, sources):
    with_text = Source("set2", [("t00", split_of(tmp_path, 2, 0, 11, text=True))])
    without = opened(sources[2:], epochs=1)
    assert all(same(a, b) for a, b in zip(opened([with_text], epochs=1), without, strict=True))


def test_templates_of_other_rows_are_refused(tmp_path: Path, sources):
    mixed_up = Source("set0", [*sources[0].templates, ("t09", split_of(tmp_path, 0, 9, 229))])
    with pytest.raises(UserError, match=r"set0\.t09 does not hold the rows"):
        opened([mixed_up])


def test_another_vocabulary_is_refused(tmp_path: Path, sources):
    other = write_split(
        tmp_path / "x" / "train-0", [Example("a", np.array([5]), np.array([6]))], {}, vocabulary_size=99
    )
    with pytest.raises(UserError, match="another vocabulary"):
        opened([*sources, Source("x", [("t00", other)])])


def test_sizes_that_do_not_fit_are_refused(sources):
    with pytest.raises(UserError, match=r"train\.batch_size 8: must be a multiple of the 3 processes"):
        opened(sources, process_count=3)
    with pytest.raises(UserError, match="must be 1 or more"):
        opened([Source("set0", sources[0].templates, 0)])
    with pytest.raises(UserError, match="holds no data set"):
        opened([])


def test_damage_found_by_the_prefetching_thread_reaches_the_caller(tmp_path: Path):
    split = split_of(tmp_path, 0, 0, 50)
    shard = next(split.folder.glob("*.array_record"))
    content = bytearray(shard.read_bytes())
    content[500:600] = bytes(100)
    shard.write_bytes(content)
    with pytest.raises(UserError, match="damaged cache"):
        list(opened([Source("set0", [("t00", split)])], epochs=1))


def test_feeding_does_not_import_tensorflow(sources):
    folder = sources[2].templates[0][1].folder
    code = f"""
import sys
from t5x_tasks.cache import CachedSplit
from train.data.batches import Source, open_input
source = Source("s", [("t00", CachedSplit.open({str(folder)!r}))])
print(sum(b.stats["examples"] for b in open_input([source], row_lengths=(64, 24), batch_size=2, seed=0, epochs=1)))
print([name for name in ("tensorflow", "seqio", "tensorflow_text") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["11", "[]"]
