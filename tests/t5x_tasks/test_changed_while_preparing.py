"""Data that are replaced while they are prepared: nothing of old and new rows is published under the old fingerprint."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from t5x_tasks.common.errors import Failure
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared


class Meanwhile(Vocabulary):
    """Does something once, when the first texts are tokenised: rows have been read then, and none is published."""

    def __init__(self, path: Path, act: Callable[[], object]):
        super().__init__(path)
        self._act: Callable[[], object] | None = act

    def encode_batch(self, texts, num_threads=None):
        act, self._act = self._act, None
        if act is not None:
            act()
        return super().encode_batch(texts, num_threads)


def rows(word: str, count: int = 4) -> list[dict]:
    return [{"id": f"r{i}", "dialogue": f"Ann: {word} {i}?", "summary": f"{word} {i}."} for i in range(count)]


def settings(card: Path, tmp_path: Path, **changes) -> DataConfig:
    return DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"), **changes)


def published(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("manifest.json"))


def refused(name: str, split: str, data: DataConfig, path: Path, act: Callable[[], object], **options) -> str:
    with pytest.raises(Failure) as caught:
        ensure_prepared(name, split, data=data, vocabulary=Meanwhile(path, act), progress=False, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_replaced_while_it_is_prepared_leaves_no_cache_and_the_same_command_works(
    make_card, write_jsonl, tmp_path, vocabulary, vocabulary_path, monkeypatch
):
    monkeypatch.setattr("t5x_tasks.prepare.worker.HELD_ROWS", 1)  # so that each template reads the rows anew
    card = make_card(rows=rows("old"))
    train = card.parent / "train.jsonl"
    data = settings(card, tmp_path)
    said = refused("tiny", "train", data, vocabulary_path, lambda: write_jsonl(train, rows("new")))
    assert said.startswith(f"{train}: changed while tiny train was prepared") and "start the command again" in said
    assert published(tmp_path) == [] and not list((tmp_path / "cache").rglob("*.partial*"))
    prepared = ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary, progress=False)
    texts = [vocabulary.decode(ids) for p in prepared for ids, _ in p.open().tokens(range(4))]
    assert all("new" in text and "old" not in text for text in texts)


def test_a_file_that_is_half_written_while_it_is_read_is_not_called_bad(
    make_card, write_jsonl, tmp_path, vocabulary_path, monkeypatch
):
    monkeypatch.setattr("t5x_tasks.prepare.worker.HELD_ROWS", 1)
    card = make_card(rows=rows("old"))
    train = card.parent / "train.jsonl"
    said = refused("tiny", "train", settings(card, tmp_path), vocabulary_path, lambda: train.write_text('{"id": "r'))
    assert said.startswith(f"{train}: changed while")


@pytest.mark.parametrize(
    ("split", "changed", "options", "changes"),
    [
        ("test", "train", {"shots": [2]}, {}),
        ("test", "train", {"shots": [2]}, {"text": True}),
        ("train", "test", {"dedupe": True}, {}),
        ("test", "test", {}, {"text": True}),
    ],
    ids=["exemplars", "exemplars of an evaluation", "dedupe", "an evaluation"],
)
def test_every_split_that_decided_what_is_written_is_compared(
    make_card, write_jsonl, tmp_path, vocabulary_path, split, changed, options, changes
):
    card = make_card(rows=rows("one"), test_rows=rows("two"), **options)
    file = card.parent / f"{changed}.jsonl"
    act = lambda: write_jsonl(file, rows("three"))  # noqa: E731
    said = refused("tiny", split, settings(card, tmp_path), vocabulary_path, act, **changes)
    assert said.startswith(f"{file}: changed while tiny {split} was prepared")
    assert published(tmp_path) == []


def test_a_split_that_decides_nothing_may_change(make_card, write_jsonl, tmp_path, vocabulary_path):
    card = make_card(rows=rows("one"), test_rows=rows("two"))
    act = lambda: write_jsonl(card.parent / "test.jsonl", rows("three"))  # noqa: E731
    data = settings(card, tmp_path)
    assert ensure_prepared("tiny", "train", data=data, vocabulary=Meanwhile(vocabulary_path, act), progress=False)


def test_a_mirror_that_is_replaced_is_compared(make_card, write_jsonl, tmp_path, vocabulary_path):
    card = make_card()
    file = write_jsonl(tmp_path / "data" / "tiny" / "train.jsonl", rows("old"))
    data = settings(card, tmp_path, root=str(tmp_path / "data"))
    assert refused("tiny", "train", data, vocabulary_path, lambda: write_jsonl(file, rows("new"))).startswith(str(file))


def test_a_folder_of_the_hubs_layout_is_compared(make_card, write_jsonl, tmp_path, vocabulary_path):
    card = make_card(source={"type": "hub", "path": "hub", "splits": ["train"]})
    file = write_jsonl(card.parent / "hub" / "train.jsonl", rows("old"))
    said = refused(
        "tiny", "train", settings(card, tmp_path), vocabulary_path, lambda: write_jsonl(file, rows("new", 5))
    )
    assert said.startswith(f"{card.parent / 'hub'}: changed while")


def test_a_function_that_is_edited_is_compared(make_card, tmp_path, vocabulary_path):
    card = make_card(source={"type": "python", "function": "reader.py:read", "splits": ["train"]})
    reader = card.parent / "reader.py"
    text = 'def read(split):\n    return [{"dialogue": f"Ann: old {i}", "summary": "x"} for i in range(3)]\n'
    reader.write_text(text)
    act = lambda: reader.write_text(text.replace("old", "new"))  # noqa: E731
    assert "reader.py" in refused("tiny", "train", settings(card, tmp_path), vocabulary_path, act)
    assert published(tmp_path) == []


def test_a_change_that_another_process_meets_is_the_same_failure(make_card, tmp_path, vocabulary, monkeypatch):
    """A transform touches the file, for that runs where the rows are read."""
    monkeypatch.setattr("t5x_tasks.prepare.ensure._INLINE_BYTES", 0)
    monkeypatch.setattr("t5x_tasks.prepare.ensure.num_cores", lambda: 2)
    summary = {"column": "summary", "transform": "touching:touch"}
    card = make_card(fields={"dialogue": "dialogue", "summary": summary})
    (tmp_path / "touching.py").write_text(
        f"def touch(text):\n    open({str(card.parent / 'train.jsonl')!r}, 'a').write(chr(10))\n    return text\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Failure, match=r"^[^\n]*train.jsonl: changed while tiny train was prepared[^\n]*$"):
        ensure_prepared("tiny", "train", data=settings(card, tmp_path), vocabulary=vocabulary, progress=False)
    assert published(tmp_path) == []


def test_the_command_exits_with_1_so_that_it_is_started_again(make_card, tmp_path, vocabulary_path):
    card = make_card(source={"type": "python", "function": "reader.py:read", "splits": ["train"]})
    (card.parent / "reader.py").write_text(
        "from pathlib import Path\n"
        "def read(split):\n"
        "    file = Path(__file__)\n"
        "    file.write_text(file.read_text() + '#')\n"
        '    return [{"dialogue": f"Ann: {i}", "summary": "x"} for i in range(3)]\n'
    )
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{mixture: tiny, cards: ['{card}'], cache: '{tmp_path / 'cache'}'}}\n"
        f"model: {{vocabulary: '{vocabulary_path}'}}\neval: {{split: train}}\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "t5x_tasks", "prepare", str(config)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, "changed while" in run.stderr) == (1, True), run.stderr
    assert "Traceback" not in run.stderr
