"""Faults of disks: damage to a checkpoint is named and never restored, a full disk is waited for and then says so."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.disks import little_room

from t5x_tasks.common.errors import Failure
from train.checkpoints.checkpointer import MARKER, Checkpoints, Damaged
from train.checkpoints.seal import SEAL

POSITIONS = 20


def state(step: int, size: int = 3000) -> dict:
    params = {"w": jax.random.normal(jax.random.key(step), (size,)), "norm": jnp.full((16,), float(step))}
    return {"step": jnp.int32(step), "params": params, "opt_state": ({"mu": params["w"] * 2},)}


def like(tree: dict) -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def save(checkpoints: Checkpoints, step: int, size: int = 3000, *, now: bool = False) -> None:
    checkpoints.save(
        step, state(step, size), position={"row": step}, metadata={}, metrics={"loss": 1.0 / step}, wait=now
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    with Checkpoints(tmp_path / "whole", keep_latest=2) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
    return tmp_path / "whole"


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << at % 8
    path.write_bytes(content)


def truncate(path: Path, at: int) -> None:
    path.write_bytes(path.read_bytes()[:at])


@pytest.mark.parametrize("harm", [flip, truncate])
def test_damage_at_any_of_twenty_places_is_named_and_the_step_before_is_used(
    saved: Path,
    tmp_path: Path,
    harm: Callable[[Path, int], None],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = sorted(path.relative_to(saved / "2") for path in (saved / "2").rglob("*") if path.is_file())
    sizes = [(saved / "2" / file).stat().st_size for file in files]
    # Every file once (some hold a few bytes, an array thousands), and then places all over the checkpoint.
    places = [(file, size // 2) for file, size in zip(files, sizes, strict=True) if size]
    ends = np.cumsum(sizes)
    for position in np.linspace(0, ends[-1] - 1, POSITIONS).astype(int):
        which = int(np.searchsorted(ends, position, side="right"))
        places.append((files[which], int(position - (ends[which] - sizes[which]))))
    assert len(places) > POSITIONS
    for number, (file, at) in enumerate(places):
        folder = tmp_path / f"damaged{number}"
        shutil.copytree(saved, folder)
        harm(folder / "2" / file, at)
        with Checkpoints(folder, read_only=True) as reader, pytest.raises(Damaged) as error:
            reader.restore(2, like(state(2)))
        assert caplog.messages == [], "Orbax logs pages about damaged files that it is let see"
        assert f"{folder / '2'}: is damaged: {file}: " in str(error.value) and "\n" not in str(error.value)
        with Checkpoints(folder) as checkpoints:
            assert checkpoints.latest_whole() == 1
            assert f"{file}: " in (said := capsys.readouterr().err) and "Set aside as 2.damaged" in said
            assert checkpoints.steps() == [1]
            if number % 8 == 0:
                restored = checkpoints.restore(1, like(state(1)))
                jax.tree.map(np.testing.assert_array_equal, restored.state, state(1))
                save(checkpoints, 2)  # the run comes there again
                checkpoints.wait()
                assert checkpoints.steps() == [2]
        shutil.rmtree(folder)


def test_a_file_that_is_gone_is_named_and_where_no_step_is_whole_nothing_is_set_aside(saved: Path) -> None:
    for step in (1, 2):
        next((saved / str(step) / "params" / "d").iterdir()).unlink()
    with Checkpoints(saved) as checkpoints:
        with pytest.raises(
            Damaged, match=r"/2: is damaged: params/d/\w+: is missing; and no other checkpoint is whole"
        ):
            checkpoints.latest_whole()
        assert checkpoints.steps() == [1, 2]


def test_a_step_whose_saving_was_killed_before_its_checksums_gets_them_at_the_next_start(saved: Path) -> None:
    (saved / "2" / SEAL).unlink()
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.latest_whole() == 2
    flip(saved / "2" / MARKER, 3)
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.latest_whole() == 1


def test_a_read_error_is_tried_again_and_then_names_the_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[int] = []
    bad_tries = 2
    opens = Path.open

    def opened(path: Path, *arguments, **options):
        if "ocdbt.process_0" in str(path) and path.is_relative_to(saved / "2") and len(pauses) < bad_tries:
            raise OSError(5, "Input/output error", str(path))
        return opens(path, *arguments, **options)

    monkeypatch.setattr("train.retry.time.sleep", pauses.append)
    monkeypatch.setattr(Path, "open", opened)
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.latest_whole() == 2
    assert pauses == [1, 2]
    bad_tries = 100
    with (
        Checkpoints(saved) as checkpoints,
        pytest.raises(Failure, match=r"/2: reading: .*Input/output error: '.*/2/.*ocdbt.process_0/.*'; tried 6 times"),
    ):
        checkpoints.latest_whole()
    assert (saved / "2").is_dir(), "an error of reading is no damage"


def test_a_full_disk_keeps_the_last_checkpoint_is_waited_for_and_then_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses: list[int] = []
    large = 200_000  # numbers; with the optimizer 1.6 MB
    with little_room(tmp_path / "disk") as make_room, Checkpoints(tmp_path / "disk" / "run") as checkpoints:
        monkeypatch.setattr("train.retry.time.sleep", pauses.append)
        save(checkpoints, 1)
        save(checkpoints, 2, large)  # waits for 1; itself fails in the background
        with pytest.raises(Failure, match=r"/3: saving: .*; tried 6 times over 31 s\. Make room"):
            save(checkpoints, 3, large)
        assert "run/2: saving failed in the background (" in capsys.readouterr().err
        assert checkpoints.steps() == [1]
        assert checkpoints.latest_whole() == 1
        jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(1, like(state(1))).state, state(1))

        pauses.clear()
        monkeypatch.setattr("train.retry.time.sleep", lambda pause: (pauses.append(pause), make_room()))
        save(checkpoints, 4, large, now=True)
        assert pauses == [1] and checkpoints.settled()
        assert (checkpoints.latest_whole(), checkpoints.steps()) == (4, [4])
        restored = checkpoints.restore(4, like(state(4, large)))
        jax.tree.map(np.testing.assert_array_equal, restored.state, state(4, large))


def test_a_step_of_whose_renaming_only_the_marker_was_moved_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mounted bucket without folders may leave it that meets an error: the marker is there, most of the rest is not."""
    rename, cut = os.rename, []

    def rename_file_by_file(source: str, target: str) -> None:
        if Path(target).name != "2" or cut:
            return rename(source, target)
        cut.append(source)
        Path(target).mkdir()
        rename(Path(source) / MARKER, Path(target) / MARKER)
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))

    monkeypatch.setattr("os.rename", rename_file_by_file)
    monkeypatch.setattr("train.retry.time.sleep", lambda _: None)
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2, now=True)
        assert cut and (checkpoints.latest_whole(), checkpoints.steps()) == (2, [2])
        jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(2, like(state(2))).state, state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["2"]
