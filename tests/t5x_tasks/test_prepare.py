import json
import subprocess
import sys

import numpy as np
import pytest

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.hashing import example_key
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.data_config import DataConfig, Lengths
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.rendering.render import render
from t5x_tasks.sources import Row, read_rows


@pytest.fixture
def data(make_card, tmp_path):
    return DataConfig(cards=(str(make_card()),), cache=str(tmp_path / "cache"))


def decoded(prepared, vocabulary):
    split = prepared.open()
    return [tuple(vocabulary.decode(ids) for ids in pair) for pair in split.tokens(range(len(split)))]


def test_a_mixture_is_one_split_for_each_training_template(data, vocabulary):
    prepared = ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary)
    assert [(p.task, p.dataset, p.variant, p.split) for p in prepared] == [
        ("tiny.t00", "tiny", "t00", "train"),
        ("tiny.t01", "tiny", "t01", "train"),
    ]
    assert all(p.folder.parent == data.cache_folder() / p.task for p in prepared)
    keys = [p.open().keys for p in prepared]
    assert keys[0].tolist() == keys[1].tolist() == [example_key(i) for i in "abc"]


def test_tokens_are_those_of_the_rendered_texts(data, vocabulary, tiny_rows):
    (prepared,) = ensure_prepared("tiny.t01", "train", data=data, vocabulary=vocabulary)
    split = prepared.open()
    for row, (inputs, targets) in zip(tiny_rows, split.tokens(range(3)), strict=True):
        expected = vocabulary.encode_batch([f"{row['dialogue']} In short:", row["summary"]])
        assert inputs.tolist() == [*expected[0], vocabulary.eos_id]
        assert targets.tolist() == [*expected[1], vocabulary.eos_id]


@pytest.mark.parametrize("empty", ["", None])
def test_rows_with_an_empty_field_are_left_out_of_training_and_counted(
    make_card, tmp_path, vocabulary, tiny_rows, capsys, empty
):
    rows = [
        *tiny_rows,
        {"id": "d", "dialogue": " \u200b", "summary": "x"},
        {"id": "e", "dialogue": "x", "summary": empty},
    ]
    card = make_card(rows=rows, test_rows=rows)
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))
    for prepared in ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary):
        split = prepared.open()
        assert len(split) == 3
        expected = {"empty dialogue": {"rows": 1, "ids": ["d"]}, "empty summary": {"rows": 1, "ids": ["e"]}}
        assert split.manifest["counts"]["skipped"] == expected
    assert "rows left out: 1 empty dialogue (d), 1 empty summary (e)" in capsys.readouterr().err
    (prepared,) = ensure_prepared("tiny.t00", "test", data=data, vocabulary=vocabulary, text=True)
    counts = prepared.open().manifest["counts"]
    assert (counts["examples"], counts["skipped"], counts["empty_inputs"], counts["empty_targets"]) == (5, {}, 1, 1)


def test_unknown_tokens_are_counted_and_reported(data, vocabulary, capsys):
    (prepared,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    split = prepared.open()
    unknown = sum(int((ids == vocabulary.unk_id).sum()) for pair in split.tokens(range(3)) for ids in pair)
    assert unknown >= 1  # the emoji
    assert sum(split.manifest["counts"]["unknown_tokens"].values()) == unknown
    assert f"unknown tokens {unknown} " in (said := capsys.readouterr().err) and "of targets" not in said


def test_unknown_tokens_of_targets_are_said_for_they_are_never_written(make_card, tmp_path, vocabulary, capsys):
    card = make_card(rows=[{"id": "a", "dialogue": "Ann: Hi.", "summary": "Ann 東."}])
    ensure_prepared(
        "tiny.t00", "train", data=DataConfig(cards=(str(card),), cache=str(tmp_path)), vocabulary=vocabulary
    )
    assert "of targets 1, which a model then never writes" in capsys.readouterr().err


def test_evaluation_splits_hold_texts_references_and_fields(make_card, tmp_path, vocabulary):
    rows = [{"id": "a", "dialogue": "x y", "summaries": ["one", "two"], "topic": "t"}]
    card = make_card(test_rows=rows, references="summaries")
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))
    (prepared,) = ensure_prepared("tiny.t02", "test", data=data, vocabulary=vocabulary, text=True)
    assert prepared.folder.name.endswith("-text")
    assert prepared.open().example(0) == {
        "id": "a",
        "phrasing": "t02",
        "inputs": "Tell me: x y",
        "targets": "one",
        "references": ["one", "two"],
        "fields": {"dialogue": "x y", "summary": "one"},
        "groups": {},
    }


def folders(data, vocabulary, names="tiny", split="train"):
    return [p.folder for p in ensure_prepared(names, split, data=data, vocabulary=vocabulary, progress=False)]


def stamps(paths):
    return [(path / "manifest.json").stat().st_mtime_ns for path in paths]


def test_what_is_prepared_is_used_as_it_is(data, vocabulary, capsys):
    before = folders(data, vocabulary)
    stamp = stamps(before)
    ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary)
    assert stamps(folders(data, vocabulary)) == stamp
    assert capsys.readouterr().err == ""


def test_groups_that_no_row_has_are_reported_where_scores_are_to_be_parted_by_them(
    data, make_card, vocabulary, tiny_rows, capsys
):
    rows = [{**row, "topic": "parcels"} for row in tiny_rows]
    make_card(rows, groups={"topic": "topic", "product": "prodcut"})
    ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary)
    assert "groups" not in capsys.readouterr().err
    ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary, text=True)
    assert "no row has a value in prodcut (groups of the card)" in capsys.readouterr().err


def test_a_changed_template_or_field_is_prepared_anew(data, make_card, vocabulary, tiny_rows):
    before = folders(data, vocabulary)
    card = make_card()
    card.write_text(card.read_text().replace("In short:", "In brief:"))
    after = folders(data, vocabulary)
    assert after[0] == before[0]
    assert after[1] != before[1]
    rows = [{"id": row["id"], "text": row["dialogue"], "summary": row["summary"]} for row in tiny_rows]
    make_card(rows=rows, fields={"dialogue": "text", "summary": "summary"})
    assert not set(folders(data, vocabulary)) & {*before, *after}


def test_another_vocabulary_is_prepared_anew(data, vocabulary, tmp_path):
    import sentencepiece

    texts = ["Ann: Where is my parcel? Bob: It comes on Monday. Summarize In short"] * 3
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(tmp_path / "v"), vocab_size=35, model_type="char", minloglevel=2,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False,
    )  # fmt: skip
    other = Vocabulary.load(tmp_path / "v.model")
    assert not set(folders(data, vocabulary)) & set(folders(data, other))


def test_changed_data_are_prepared_anew_in_a_folder_of_their_own(data, vocabulary, write_jsonl, make_card, tiny_rows):
    before = folders(data, vocabulary)
    source = make_card().parent / "train.jsonl"
    write_jsonl(source, tiny_rows[:2])
    prepared = ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary)
    assert not {p.folder for p in prepared} & set(before)
    assert [len(p.open()) for p in prepared] == [2, 2]


def test_a_broken_row_leaves_nothing_behind(make_card, tmp_path, vocabulary, tiny_rows):
    rows = [*tiny_rows, {"id": "d", "dialogue": "x"}]
    data = DataConfig(cards=(str(make_card(rows=rows)),), cache=str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"train\.jsonl:4: no key 'summary'"):
        ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_dir() and p.parent.name == "tiny.t00"] == []


def test_held_out_variants_and_data_sets_are_refused_for_training(data, make_card, vocabulary):
    with pytest.raises(UserError, match=r"tiny\.heldout: a held-out template is evaluated, never trained on"):
        ensure_prepared("tiny.heldout", "train", data=data, vocabulary=vocabulary)
    assert ensure_prepared("tiny.heldout", "test", data=data, vocabulary=vocabulary, text=True)
    make_card(heldout=True)
    with pytest.raises(UserError, match="holds tiny out of training"):
        ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)


def test_neither_tensorflow_nor_jax_is_imported_to_prepare(data, vocabulary_path):
    code = f"""
import sys
from t5x_tasks.prepare.data_config import DataConfig, Lengths
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.common.vocabulary import Vocabulary
ensure_prepared("tiny", "train", data=DataConfig(**{data.model_dump()!r}), vocabulary=Vocabulary.load({str(vocabulary_path)!r}))
print(sorted({{"tensorflow", "seqio", "jax", "torch", "datasets"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


@pytest.mark.needs_shared
def test_samsums_empty_dialogue_is_counted(shared_data, tmp_path, vocabulary):
    data = DataConfig(root=str(shared_data), cache=str(tmp_path))
    (prepared,) = ensure_prepared("samsum.t00", "train", data=data, vocabulary=vocabulary)
    assert len(prepared.open()) == 14731
    assert prepared.open().manifest["counts"]["skipped"] == {"empty dialogue": {"rows": 1, "ids": ["13828807"]}}


@pytest.mark.needs_shared
def test_dialogsum_has_the_measured_lengths(shared_data, tmp_path):
    data = DataConfig(root=str(shared_data), cache=str(tmp_path))
    vocabulary = Vocabulary.load(shared_data / "t5_vocab")
    (prepared,) = ensure_prepared("dialogsum.t00", "train", data=data, vocabulary=vocabulary)
    lengths = prepared.open().lengths
    assert lengths.shape == (12460, 2)
    assert lengths[:, 1].mean() == pytest.approx(41, abs=0.5)
    assert np.percentile(lengths[:, 1], [95, 99]).tolist() == pytest.approx([73, 96], abs=1)
    assert lengths[:, 1].max() == 277
    prompt = len(vocabulary.encode_batch([render_prompt()])[0]) + 1
    card = load_catalog().cards["dialogsum"]
    dialogues = vocabulary.encode_batch([row.fields["dialogue"] for row in read_rows(card, "train", shared_data)])
    assert np.array_equal(lengths[:, 0], np.array([len(ids) for ids in dialogues]) + prompt)


def render_prompt():
    card = load_catalog().cards["dialogsum"]
    return render(card, card.variants[0], Row("x", {"dialogue": "", "summary": ""})).inputs


def test_runs_on_different_data_never_share_a_folder(make_card, tmp_path, vocabulary, tiny_rows, write_jsonl):
    card = make_card()
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))
    (before,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    write_jsonl(card.parent / "train.jsonl", tiny_rows[:2])
    (after,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    assert (len(before.open()), len(after.open())) == (3, 2)


def test_without_its_source_what_was_prepared_is_used_and_said(make_card, tmp_path, vocabulary, capsys):
    card = make_card()
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))
    (before,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    (card.parent / "train.jsonl").unlink()
    capsys.readouterr()
    (after,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    assert after.folder == before.folder
    assert "prepared before is used, for the source is not at hand" in capsys.readouterr().err
    with pytest.raises(UserError, match="no such folder"):
        ensure_prepared(
            "tiny.t00", "train", data=data.model_copy(update={"root": str(tmp_path / "typo")}), vocabulary=vocabulary
        )


def test_what_was_prepared_of_another_source_stands_in_for_none(make_card, tmp_path, vocabulary):
    data = DataConfig(cards=(str(make_card()),), cache=str(tmp_path / "cache"))
    ensure_prepared("tiny.t00", "test", data=data, vocabulary=vocabulary)
    make_card(source={"type": "jsonl", "train": "train.jsonl"})
    with pytest.raises(UserError, match="tiny has no split test"):
        ensure_prepared("tiny.t00", "test", data=data, vocabulary=vocabulary)
    make_card(source={"type": "jsonl", "train": "train.jsonl", "test": "tset.jsonl"})
    with pytest.raises(UserError, match=r"tset\.jsonl"):
        ensure_prepared("tiny.t00", "test", data=data, vocabulary=vocabulary)


def test_rows_whose_inputs_stand_in_another_split_are_left_out_where_that_is_asked_for(make_card, tmp_path, vocabulary):
    rows = [{"id": f"r{i}", "dialogue": f"Ann: {i}", "summary": f"It is {i}."} for i in range(6)]
    seen = [{"id": "other", "dialogue": " Ann: 4 ", "summary": "Another summary of the same."}]
    card = make_card(rows=rows, test_rows=seen)
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))
    (whole,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    (fewer,) = ensure_prepared(
        "tiny.t00", "train", data=data.model_copy(update={"dedupe": True}), vocabulary=vocabulary
    )
    assert (len(whole.open()), len(fewer.open())) == (6, 5)
    assert fewer.open().manifest["counts"]["skipped"] == {"inputs also in test": {"rows": 1, "ids": ["r4"]}}
    make_card(rows=rows, test_rows=seen, dedupe=True)
    (by_card,) = ensure_prepared("tiny.t00", "train", data=data, vocabulary=vocabulary)
    assert len(by_card.open()) == 5


def test_exemplars_are_prepared_and_counted(make_card, tmp_path, vocabulary, capsys):
    rows = [{"id": f"r{i}", "dialogue": f"Ann: {i}", "summary": f"It is {i}."} for i in range(6)]
    card = make_card(rows=rows, shots=[0, 2])
    data = DataConfig(cards=(str(card),), cache=str(tmp_path / "cache"))
    (prepared,) = ensure_prepared("tiny.t01_2shot", "train", data=data, vocabulary=vocabulary)
    assert prepared.open().manifest["counts"]["exemplars"] == {"asked": 12, "kept": 12}
    assert "exemplars that fit 12 of 12" in capsys.readouterr().err
    for (inputs, _), row in zip(decoded(prepared, vocabulary), rows, strict=True):
        assert inputs.endswith(f"{row['dialogue']} In short:")
        assert inputs.count("In short:") == 3
    short = data.model_copy(update={"lengths": Lengths(inputs=24, targets=16)})
    (cut,) = ensure_prepared("tiny.t01_2shot", "train", data=short, vocabulary=vocabulary)
    assert cut.folder != prepared.folder
    assert 0 < cut.open().manifest["counts"]["exemplars"]["kept"] < 12
    assert cut.open().lengths[:, 0].max() <= 24


def test_a_data_set_out_of_reach_is_left_out_of_a_mixture_only_where_that_is_asked_for(
    make_card, tmp_path, vocabulary, capsys
):
    card, gone = make_card(), make_card(name="gone")
    (gone.parent / "train.jsonl").unlink()
    mixture = tmp_path / "mix.yaml"
    mixture.write_text("name: mix\nmembers: [tiny, gone]\n")
    data = DataConfig(cards=(str(card), str(gone), str(mixture)), cache=str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"gone/train\.jsonl: no such file"):
        ensure_prepared("mix", "train", data=data, vocabulary=vocabulary)
    kept = data.model_copy(update={"skip_missing": True})
    prepared = ensure_prepared("mix", "train", data=kept, vocabulary=vocabulary)
    assert {entry.dataset for entry in prepared} == {"tiny"}
    assert "gone train: left out (data.skip_missing), for" in capsys.readouterr().err


def test_preparing_in_several_processes_writes_the_same_as_in_one(make_card, tmp_path, vocabulary, monkeypatch):
    rows = [{"id": f"r{i}", "dialogue": f"Ann: {i}", "summary": f"It is {i}."} for i in range(40)]
    cards = tuple(str(make_card(name=name, rows=rows, shots=[0, 1])) for name in ("one", "two"))
    names, found = ["one", "two"], []
    for inline_bytes, cores in ((10**9, 1), (0, 2)):
        monkeypatch.setattr("t5x_tasks.prepare.ensure._INLINE_BYTES", inline_bytes)
        monkeypatch.setattr("t5x_tasks.prepare.ensure.num_cores", lambda cores=cores: cores)
        data = DataConfig(cards=cards, cache=str(tmp_path / str(cores)))
        prepared = ensure_prepared(names, "train", data=data, vocabulary=vocabulary)
        found.append({p.task: [(a.tolist(), b.tolist()) for a, b in p.open().tokens(range(40))] for p in prepared})
    assert found[0] == found[1] and len(found[0]) == 8


def test_what_is_wrong_in_another_process_is_the_same_one_line(make_card, tmp_path, vocabulary, tiny_rows, monkeypatch):
    monkeypatch.setattr("t5x_tasks.prepare.ensure._INLINE_BYTES", 0)
    monkeypatch.setattr("t5x_tasks.prepare.ensure.num_cores", lambda: 2)
    data = DataConfig(cards=(str(make_card(rows=[*tiny_rows, {"id": "d"}])),), cache=str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"^[^\n]*train\.jsonl:4: no key 'dialogue'[^\n]*$"):
        ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary)


def test_a_split_that_some_data_sets_lack_is_optional(make_card, tmp_path, vocabulary):
    card = make_card()
    other = make_card(name="other", source={"type": "jsonl", "train": "train.jsonl"})
    mixture = tmp_path / "mix.yaml"
    mixture.write_text("name: mix\nmembers: [tiny, other]\n")
    data = DataConfig(cards=(str(card), str(other), str(mixture)), cache=str(tmp_path / "cache"))
    prepared = ensure_prepared("mix", "test", data=data, vocabulary=vocabulary, optional=True)
    assert {entry.dataset for entry in prepared} == {"tiny"}
    with pytest.raises(UserError, match="other has no split test"):
        ensure_prepared("mix", "test", data=data, vocabulary=vocabulary)


def test_a_split_too_large_to_hold_is_read_anew_for_each_variant_and_gives_the_same(
    make_card, tmp_path, vocabulary, monkeypatch
):
    rows = [{"id": f"r{i}", "dialogue": f"Ann: {i}", "summary": f"It is {i}."} for i in range(40)]
    card = str(make_card(rows=rows, shots=[0, 1]))
    found = []
    for held in (1000, 8):
        monkeypatch.setattr("t5x_tasks.prepare.worker.HELD_ROWS", held)
        data = DataConfig(cards=(card,), cache=str(tmp_path / str(held)))
        prepared = ensure_prepared("tiny", "train", data=data, vocabulary=vocabulary)
        found.append({p.task: [(a.tolist(), b.tolist()) for a, b in p.open().tokens(range(40))] for p in prepared})
    assert found[0] == found[1]
