import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from t5x_tasks.cache import CachedSplit, Example, is_prepared, task_lock, write_split
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.hashing import example_key

ROOT = Path(__file__).parents[2]


def examples(count: int, seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [
        Example(f"row-{i}", rng.integers(3, 32_000, rng.integers(1, 60)), rng.integers(3, 32_000, rng.integers(1, 12)))
        for i in range(count)
    ]


def run_writer(folder: Path, body: str) -> subprocess.Popen:
    """Starts a process that writes `folder`; `body` may define `examples`, a generator function."""
    prelude = """
        import sys, time, os
        import numpy as np
        from t5x_tasks.cache import Example, write_split
        folder = sys.argv[1]
    """
    code = textwrap.dedent(prelude) + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "chats.t00" / "train-0123456789abcdef"


@pytest.mark.parametrize(("vocabulary_size", "dtype"), [(32_100, "<u2"), (65_536, "<u2"), (65_537, "<u4")])
def test_what_is_written_is_read_back(folder: Path, vocabulary_size: int, dtype: str):
    given = examples(200)
    split = write_split(folder, given, {"task": "chats.t00"}, vocabulary_size=vocabulary_size)
    order = np.random.default_rng(1).permutation(200)
    assert split.dtype == np.dtype(dtype)
    assert split.manifest["task"] == "chats.t00"
    for i, (inputs, targets) in zip(order, split.tokens(order), strict=True):
        assert inputs.tolist() == [*given[i].inputs_ids.tolist(), 1]
        assert targets.tolist() == [*given[i].targets_ids.tolist(), 1]
        assert split.lengths[i].tolist() == [len(inputs), len(targets)]
        assert split.keys[i] == example_key(f"row-{i}")


def test_more_examples_than_are_encoded_at_once(folder: Path):
    given = examples(1100)
    split = write_split(folder, given, {}, vocabulary_size=32_100)
    assert [t[0][:-1].tolist() for t in split.tokens(range(1100))] == [e.inputs_ids.tolist() for e in given]


def test_shards_are_invisible_to_the_reader(folder: Path):
    given = examples(100)
    split = write_split(folder, given, {}, vocabulary_size=32_100, shard_bytes=1000)
    assert len(split.manifest["shards"]) > 3
    assert sorted(p.name for p in folder.glob("*.array_record")) == [s["name"] for s in split.manifest["shards"]]
    order = np.random.default_rng(1).integers(0, 100, 300)
    read = pickle.loads(pickle.dumps(split)).tokens(order)
    assert all(t[0][:-1].tolist() == given[i].inputs_ids.tolist() for i, t in zip(order, read, strict=True))


def test_text_is_stored_when_asked_for(folder: Path):
    row = {"inputs": "Wie geht's? 🙂", "references": ["gut", "schlecht"], "template": "t00"}
    given = [Example("a", np.array([5, 6]), np.array([7]), row), Example("b", np.array([5]), np.array([9, 9]), row)]
    split = write_split(folder, given, {}, vocabulary_size=32_100, text=True)
    assert split.example(1) == {"id": "b", **row}
    assert split.tokens([1])[0][1].tolist() == [9, 9, 1]


def test_the_manifest_counts(folder: Path):
    manifest = {"counts": {"skipped": []}}

    def generate():
        yield Example("a", np.array([5, 2, 2]), np.array([], int))
        manifest["counts"]["skipped"].append({"id": "b", "reason": "empty input"})  # known only on the way
        yield Example("c", np.array([], int), np.array([2]))

    split = write_split(folder, generate(), manifest, vocabulary_size=32_100)
    assert split.manifest["counts"] == {
        "examples": 2,
        "empty_inputs": 1,
        "empty_targets": 1,
        "unknown_tokens": {"inputs": 2, "targets": 1},
        "skipped": [{"id": "b", "reason": "empty input"}],
    }


@pytest.mark.parametrize("ids", [[5, 1], [5, 1, 6], [32_100], [-1], [0.5]])
def test_ids_that_cannot_be_are_refused(folder: Path, ids: list):
    given = [*examples(3), Example("wrong", np.array([5]), np.array(ids)), *examples(2)]
    with pytest.raises(ValueError, match="example wrong" if ids != [0.5] else "no integers"):
        write_split(folder, given, {}, vocabulary_size=32_100)
    assert list(folder.parent.glob("*train*")) == []


def test_an_existing_split_is_kept_unless_it_is_to_be_overwritten(folder: Path):
    write_split(folder, examples(5), {}, vocabulary_size=32_100)

    def never():
        raise AssertionError("consumed")
        yield

    assert len(write_split(folder, never(), {}, vocabulary_size=32_100)) == 5
    assert len(write_split(folder, examples(7), {}, vocabulary_size=32_100, overwrite=True)) == 7
    assert [p.name for p in folder.parent.iterdir() if p.name != ".lock"] == [folder.name]


def test_a_failed_writer_leaves_nothing(folder: Path):
    def breaks():
        yield examples(1)[0]
        raise UserError("chats: train.jsonl:2: not JSON")

    with pytest.raises(UserError, match="not JSON"):
        write_split(folder, breaks(), {}, vocabulary_size=32_100)
    with pytest.raises(UserError, match="no example is left"):
        write_split(folder, [], {}, vocabulary_size=32_100)
    assert [p.name for p in folder.parent.iterdir()] == [".lock"]


def test_a_cache_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write the cache.*data\.cache"):
        write_split(tmp_path / "cache" / "t" / "train-0", examples(1), {}, vocabulary_size=32_100)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "lengths.npy").unlink(),
        lambda f: (f / "shard-00000-of-00001.array_record").unlink(),
        lambda f: truncate(f / "lengths.npy"),
        lambda f: truncate(f / "shard-00000-of-00001.array_record"),
        lambda f: (f / "manifest.json").write_text('{"format": 1'),
        lambda f: (f / "manifest.json").write_text("[]"),
        lambda f: (f / "manifest.json").write_text((f / "manifest.json").read_text().replace(": 50,", ": 51,")),
        lambda f: np.save(f / "keys.npy", np.zeros(3, np.uint64)),
    ],
)
def test_a_damaged_split_is_refused_in_one_line(folder: Path, damage):
    write_split(folder, examples(50), {}, vocabulary_size=32_100)
    damage(folder)
    with pytest.raises(UserError, match=rf"{folder.name}: damaged cache .* delete this folder"):
        CachedSplit.open(folder)


def test_flipped_bits_are_noticed_when_read(folder: Path):
    write_split(folder, examples(50), {}, vocabulary_size=32_100)
    shard = folder / "shard-00000-of-00001.array_record"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(UserError, match="damaged cache"):
        CachedSplit.open(folder).tokens(range(50))


def test_a_missing_split_says_how_to_get_it(folder: Path):
    assert not is_prepared(folder)
    with pytest.raises(UserError, match="no prepared split here; run `python -m t5x_tasks prepare`"):
        CachedSplit.open(folder)


def test_two_processes_writing_at_once_end_with_one_good_split(folder: Path):
    body = """
        def examples():
            print("writing", flush=True)
            for i in range(50):
                time.sleep(0.01)
                yield Example(f"row-{i}", np.full(i + 1, 7), np.array([8]))
        print(len(write_split(folder, examples(), {"pid": os.getpid()}, vocabulary_size=32100)), flush=True)
    """
    processes = [run_writer(folder, body) for _ in range(2)]
    said = [process.communicate()[0].split() for process in processes]
    assert sorted(said) == [["50"], ["writing", "50"]]  # the second waited, and found it done
    assert CachedSplit.open(folder).tokens([49])[0][0].tolist() == [7] * 50 + [1]


def test_two_threads_writing_at_once_end_with_one_good_split(folder: Path):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(write_split(folder, examples(300), {}, vocabulary_size=32_100)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(split) for split in results] == [300] * 3


def test_a_killed_writer_leaves_nothing_that_breaks_the_next_one(folder: Path):
    body = """
        def examples():
            for i in range(10**9):
                yield Example(str(i), np.array([7]), np.array([8]))
                if i == 1000:
                    print("under way", flush=True)
                    time.sleep(600)
        write_split(folder, examples(), {}, vocabulary_size=32100)
    """
    process = run_writer(folder, body)
    assert process.stdout is not None and process.stdout.readline() == "under way\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(list(folder.parent.glob(".*.partial-*"))) == 1  # else this test shows nothing
    assert not is_prepared(folder)
    assert len(write_split(folder, examples(20), {}, vocabulary_size=32_100)) == 20
    assert sorted(p.name for p in folder.parent.iterdir()) == [".lock", folder.name]


def test_the_holder_of_a_tasks_lock_may_write(folder: Path):
    with task_lock(folder.parent):
        assert len(write_split(folder, examples(3), {}, vocabulary_size=32_100)) == 3


def test_a_moved_cache_still_opens(folder: Path, tmp_path: Path):
    write_split(folder, examples(3), {}, vocabulary_size=32_100)
    shutil.move(folder, tmp_path / "elsewhere")
    assert len(CachedSplit.open(tmp_path / "elsewhere").tokens([0, 2])) == 2
    assert json.loads((tmp_path / "elsewhere" / "manifest.json").read_text())["counts"]["examples"] == 3


def test_an_example_key_never_changes():
    # Template choices depend on it: another value here would change every run that is resumed.
    assert example_key("train_0") == 1862171255863466608
