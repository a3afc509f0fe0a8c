"""SeqIO's view of the cards. The tokens it gives and those of the native `prepare` must be the same."""

import subprocess
import sys

import numpy as np
import pytest

import t5x_tasks
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import UserError
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.sources import read_rows

seqio = pytest.importorskip("seqio")

SHIPPED = [
    "support_chats",
    pytest.param("samsum", marks=pytest.mark.needs_shared),
    pytest.param("dialogsum", marks=pytest.mark.needs_shared),
]


def examples(name, split, lengths=None, **options):
    options = {"shuffle": False, **options}
    dataset = seqio.get_mixture_or_task(name).get_dataset(lengths, split=split, **options)
    return list(dataset.as_numpy_iterator())


def root_of(name, shared_data):
    return None if name == "support_chats" else str(shared_data)


def assert_same(theirs, ours):
    for seen, (inputs, targets) in zip(theirs, ours, strict=True):
        assert np.array_equal(seen["inputs"], inputs), seen["id"]
        assert np.array_equal(seen["targets"], targets), seen["id"]


@pytest.mark.parametrize("name", SHIPPED)
def test_seqio_and_prepare_give_the_same_tokens(name, shared_data, tmp_path, vocabulary, vocabulary_path):
    """A whole split of one template, and the first rows of each, with references, keys and texts."""
    root = root_of(name, shared_data)
    t5x_tasks.install(root=root, vocabulary=vocabulary_path)
    data = DataConfig(root=root, cache=str(tmp_path))
    card = load_catalog().cards[name]
    tasks = [card.task_name(variant) for variant in card.variants]
    for prepared in ensure_prepared(tasks, "test", data=data, vocabulary=vocabulary, text=True, progress=False):
        split = prepared.open()
        count = len(split) if prepared.variant == "t00" else 24
        theirs = [example for example, _ in zip(examples_iterator(prepared.task), range(count), strict=False)]
        assert_same(theirs, split.tokens(range(count)))
        for index, seen in enumerate(theirs):
            stored = split.example(index)
            assert [r.decode() for r in seen["references"]] == stored["references"]
            assert seen["id"].decode() == stored["id"]
            assert seen["inputs_pretokenized"].decode() == stored["inputs"]


def examples_iterator(task):
    return seqio.get_mixture_or_task(task).get_dataset(split="test", shuffle=False).as_numpy_iterator()


@pytest.mark.needs_shared
def test_seqio_and_prepare_agree_with_the_true_vocabulary(shared_data, tmp_path):
    from t5x_tasks.common.vocabulary import Vocabulary

    path = shared_data / "t5_vocab"
    t5x_tasks.install(root=shared_data, vocabulary=path)
    data = DataConfig(root=str(shared_data), cache=str(tmp_path))
    for task in ("samsum.t03", "dialogsum.t03"):
        (prepared,) = ensure_prepared(task, "validation", data=data, vocabulary=Vocabulary.load(path), text=True)
        split = prepared.open()
        assert_same(examples(task, "validation"), split.tokens(range(len(split))))


@pytest.mark.needs_shared
def test_tensorflow_texts_own_tokens_differ_in_ties_alone(shared_data, vocabulary_path):
    """Why `CardSource` brings the tokens along: as likely a segmentation of the same text, but another one."""
    import tensorflow as tf

    from t5x_tasks.registry import LazyVocabulary

    vocabulary = LazyVocabulary(str(vocabulary_path))
    card = load_catalog().cards["samsum"]
    texts = [row.fields["dialogue"] for row in read_rows(card, "test", shared_data)]
    pairs = list(
        zip(vocabulary.encode_tf(tf.constant(texts)).to_list(), vocabulary.native.encode_batch(texts), strict=True)
    )
    score = vocabulary.tokenizer.GetScore
    differing = [(theirs, ours.tolist()) for theirs, ours in pairs if theirs != ours.tolist()]
    assert len(differing) < 0.03 * len(texts)
    for theirs, ours in differing:
        assert vocabulary.decode(theirs) == vocabulary.decode(ours)
        assert sum(map(score, theirs)) == pytest.approx(sum(map(score, ours)), abs=1e-3)


def test_seqios_own_vocabulary_in_python_gives_the_same_tokens(vocabulary, vocabulary_path):
    theirs = seqio.SentencePieceVocabulary(str(vocabulary_path), extra_ids=100)
    texts = [row.fields["dialogue"] for row in read_rows(load_catalog().cards["support_chats"], "test")]
    texts += ["<extra_id_0> a <extra_id_99>", "", "🙂 Hmmm"]
    assert theirs.vocab_size == vocabulary.size
    for text, ours in zip(texts, vocabulary.encode_batch(texts), strict=True):
        assert theirs.encode(text) == ours.tolist()
        assert theirs.decode(ours.tolist()) == vocabulary.decode(ours)


@pytest.mark.needs_shared
def test_both_leave_samsums_empty_dialogue_out_of_training(shared_data, tmp_path, vocabulary, vocabulary_path):
    t5x_tasks.install(root=shared_data, vocabulary=vocabulary_path)
    data = DataConfig(root=str(shared_data), cache=str(tmp_path))
    (prepared,) = ensure_prepared("samsum.t00", "train", data=data, vocabulary=vocabulary)
    assert seqio.get_mixture_or_task("samsum.t00").num_input_examples("train") == len(prepared.open()) == 14731


def test_awkward_texts_give_the_same_tokens(make_card, tmp_path, vocabulary, vocabulary_path):
    emoji = "🙂👩‍👩‍👧 <file_gif>"
    spaces = "  spaces\t\nand lines \n"
    texts = ["a\x00b", emoji, "x" * 2000, spaces, "<extra_id_3> {dialogue}", "ﬁ ① é e\u0301", ".", "\ufffd\ufeff"]
    rows = [{"id": str(n), "dialogue": text, "summary": text} for n, text in enumerate(texts)]
    path = str(make_card(rows=rows, test_rows=[*rows, {"id": "empty", "dialogue": "", "summary": ""}]))
    t5x_tasks.install(cards=[path], vocabulary=vocabulary_path)
    data = DataConfig(cards=(path,), cache=str(tmp_path))
    for split, text in (("train", False), ("test", True)):
        for prepared in ensure_prepared("tiny", split, data=data, vocabulary=vocabulary, text=text):
            cached = prepared.open()
            assert_same(examples(prepared.task, split), cached.tokens(range(len(cached))))


def test_what_is_cut_is_cut_alike_for_seqio_and_training(tmp_path, vocabulary, vocabulary_path):
    """Unpacked batches of the training input hold the rows that SeqIO trims to the same lengths, in another order."""
    from train.data.batches import open_input
    from train.data.open import sources

    t5x_tasks.install(vocabulary=vocabulary_path)
    data = DataConfig(cache=str(tmp_path))
    prepared = ensure_prepared("support_chats.t00", "test", data=data, vocabulary=vocabulary)
    lengths = {"inputs": 96, "targets": 24}
    theirs = {(tuple(e["inputs"]), tuple(e["targets"])) for e in examples("support_chats.t00", "test", lengths)}
    batches = open_input(
        sources(prepared, load_catalog(), "support_chats.t00"), row_lengths=(96, 24), batch_size=8, seed=0, pack=False,
        epochs=1, prefetch=0,
    )  # fmt: skip
    ours = set()
    truncated = 0
    for batch in batches:
        truncated += batch.stats["truncated_inputs"]
        arrays = batch.arrays
        for inputs, targets in zip(arrays["encoder_input_tokens"], arrays["decoder_target_tokens"], strict=True):
            if inputs.any():
                ours.add((tuple(inputs[: np.count_nonzero(inputs)]), tuple(targets[: np.count_nonzero(targets)])))
    assert truncated > 50
    assert ours == theirs


def test_mixtures_hold_the_templates_of_their_kind(make_card, vocabulary_path):
    path = make_card()
    names = t5x_tasks.install(cards=[path], vocabulary=vocabulary_path)
    assert {"tiny", "tiny.heldout", "tiny.t00", "tiny.t02", "support_chats", "support_chats.heldout"} <= set(names)
    assert [task.name for task in seqio.get_mixture_or_task("tiny").tasks] == ["tiny.t00", "tiny.t01"]
    assert [task.name for task in seqio.get_mixture_or_task("tiny.heldout").tasks] == ["tiny.t02"]
    mixed = examples(
        "tiny", "train", {"inputs": 64, "targets": 32}, num_epochs=1
    )  # a mixture repeats for ever by default
    each = [e for task in ("tiny.t00", "tiny.t01") for e in examples(task, "train")]
    assert {tuple(e["inputs"]) for e in mixed} <= {tuple(e["inputs"]) for e in each}
    assert len(mixed) >= 3


def test_a_held_out_data_set_has_no_training_mixture(make_card, vocabulary_path):
    t5x_tasks.install(cards=[make_card(name="secret", heldout=True)], vocabulary=vocabulary_path)
    assert "secret" not in seqio.MixtureRegistry.names()
    assert len(seqio.get_mixture_or_task("secret.heldout").tasks) == 3


def test_shards_part_the_rows_between_them(make_card, vocabulary_path):
    t5x_tasks.install(cards=[make_card()], vocabulary=vocabulary_path)
    shards = [examples("tiny.t00", "train", shard_info=seqio.ShardInfo(index, 2)) for index in (0, 1)]
    assert [[e["id"] for e in shard] for shard in shards] == [[b"a", b"c"], [b"b"]]


def test_shuffling_follows_the_seed(vocabulary_path):
    t5x_tasks.install(vocabulary=vocabulary_path)
    first, again, other = (
        [e["id"] for e in examples("support_chats.t00", "test", shuffle=True, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert sorted(first) == sorted(other)


def test_installing_twice_is_harmless_and_a_new_root_takes_effect(
    make_card, tmp_path, vocabulary_path, write_jsonl, tiny_rows
):
    card = make_card()
    names = t5x_tasks.install(cards=[card], vocabulary=vocabulary_path)
    task = seqio.get_mixture_or_task("tiny.t00")
    assert t5x_tasks.install(cards=[card], vocabulary=vocabulary_path) == names
    assert seqio.get_mixture_or_task("tiny.t00") is task
    write_jsonl(tmp_path / "mirror" / "tiny" / "train.jsonl", tiny_rows[1:2])
    t5x_tasks.install(root=tmp_path / "mirror", cards=[card], vocabulary=vocabulary_path)
    assert [e["id"] for e in examples("tiny.t00", "train")] == [b"b"]
    assert seqio.get_mixture_or_task("tiny").tasks[0] is seqio.get_mixture_or_task("tiny.t00")


def test_a_new_vocabulary_takes_effect_and_is_looked_for_when_used(make_card, tmp_path, vocabulary_path):
    card = make_card()
    t5x_tasks.install(cards=[card], vocabulary=tmp_path / "later")
    task = seqio.get_mixture_or_task("tiny.t00")
    with pytest.raises(UserError, match="no such vocabulary"):
        task.get_dataset(split="train")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "spiece.model").write_bytes(vocabulary_path.read_bytes())
    assert len(examples("tiny.t00", "train")) == 3
    vocabularies = {side: feature.vocabulary for side, feature in task.output_features.items()}
    assert vocabularies["inputs"] == vocabularies["targets"]


def test_a_name_of_someone_else_is_refused(make_card, vocabulary_path):
    seqio.TaskRegistry.add(
        "theirs.t00", source=seqio.FunctionDataSource(lambda split, shuffle_files: None, splits=[]), output_features={}
    )
    with pytest.raises(UserError, match=r"theirs\.t00 of someone else; choose another name"):
        t5x_tasks.install(cards=[make_card(name="theirs")], vocabulary=vocabulary_path)
    assert "theirs.t01" not in seqio.TaskRegistry.names()


def test_seqios_evaluator_scores_against_all_references(make_card, vocabulary, vocabulary_path):
    rows = [
        {"id": "a", "dialogue": "x", "summaries": ["Ann orders a parcel.", "Bob agrees."]},
        {"id": "b", "dialogue": "y", "summaries": ["It comes on Monday.", "A refund."]},
    ]
    path = make_card(test_rows=rows, references="summaries")
    t5x_tasks.install(cards=[path], vocabulary=vocabulary_path)
    evaluator = seqio.Evaluator(
        "tiny.t00",
        feature_converter=seqio.EncDecFeatureConverter(pack=False),
        eval_split="test",
        sequence_length={"inputs": 32, "targets": 16},
    )
    answers = [ids.tolist() for ids in vocabulary.encode_batch(["Bob agrees.", "It comes on Monday."])]
    predictions = [(n, np.array(ids + [0] * (16 - len(ids)))) for n, ids in enumerate(answers)]
    metrics, _ = evaluator.evaluate(compute_metrics=True, step=0, predict_fn=lambda dataset: predictions)
    scores = metrics.result()["tiny.t00"]
    assert scores["rougeL"] == 100.0
    assert 0 < scores["rougeL_mean"] < 100.0


def test_importing_registers_nothing_and_imports_no_seqio(make_card):
    code = "import sys, t5x_tasks, t5x_tasks.card.catalog; print('seqio' in sys.modules, 'tensorflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
    assert "tiny" in load_catalog([make_card()]).cards
