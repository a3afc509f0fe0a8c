from collections import Counter

import numpy as np
import pytest

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import UNKNOWN, Vocabulary, shown_characters


def test_tokens_give_the_text_back_up_to_the_end_of_sequence(vocabulary):
    ids = vocabulary.encode_batch(["Ann asks where her parcel is."])[0]
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert vocabulary.eos_id not in ids
    padded = [0, *ids.tolist(), vocabulary.eos_id, *ids.tolist(), 0]
    assert vocabulary.decode(padded) == "Ann asks where her parcel is."


def test_sentinels_are_the_last_ids(vocabulary):
    ids = vocabulary.encode_batch(["a <extra_id_0> b <extra_id_99>"])[0].tolist()
    assert vocabulary.size - 1 in ids
    assert vocabulary.size - 100 in ids


def test_ids_that_only_the_padded_embedding_has_decode_as_unknown(vocabulary):
    assert vocabulary.decode([vocabulary.size + 5]) == vocabulary.decode([vocabulary.unk_id])


def test_characters_that_the_vocabulary_lacks_are_counted_and_shown(vocabulary):
    texts = ["Ann 🙂 asks 🙂🙂.", "No 東, nothing.", "All of it."]
    counts = vocabulary.unknown_characters(texts, vocabulary.encode_batch(texts))
    assert counts == {"🙂": 3, "東": 1}
    assert shown_characters(counts) == "🙂 3, 東 1"
    many = Counter({chr(0x4E00 + n): 1 for n in range(10)}) + Counter({"\u200b": 7})
    assert shown_characters(many).startswith("U+200B 7, 一 1, ") and shown_characters(many).endswith(" and 3 more")
    assert UNKNOWN in vocabulary.decode(vocabulary.encode_batch(["東"])[0])


def test_threads_do_not_change_tokens(vocabulary):
    texts = [f"Order {n} comes on day {n % 30}." for n in range(100)]
    one, two = (vocabulary.encode_batch(texts, num_threads=n) for n in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_folder_stands_for_its_spiece_model(tmp_path, vocabulary_path, vocabulary):
    (tmp_path / "spiece.model").write_bytes(vocabulary_path.read_bytes())
    assert Vocabulary.load(tmp_path).sha256 == vocabulary.sha256


@pytest.mark.parametrize("content", [b"", b"this is no model", b"\x00" * 100])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "v.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a SentencePiece model") as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


def test_missing_vocabularies_are_named(tmp_path):
    with pytest.raises(UserError, match="no such vocabulary"):
        Vocabulary.load(tmp_path / "none.model")
    with pytest.raises(UserError, match=r"no spiece\.model in this folder"):
        Vocabulary.load(tmp_path)


def test_other_ids_than_t5s_are_refused(tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g"] * 10), model_prefix=str(tmp_path / "v"), vocab_size=12, minloglevel=2
    )
    with pytest.raises(UserError, match=r"T5 needs \(0, 1, 2\)"):
        Vocabulary.load(tmp_path / "v.model")


def test_a_hub_out_of_reach_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"hf://nobody/no-such-model: spiece\.model cannot be fetched") as caught:
        Vocabulary.load("hf://nobody/no-such-model")
    assert "set model.vocabulary to a local one" in str(caught.value)


@pytest.mark.needs_shared
def test_the_true_vocabulary_has_32100_ids(shared_data):
    assert Vocabulary.load(shared_data / "t5_vocab").size == 32100
