import gzip
import json
import random
import unicodedata

import numpy as np
import pytest

from t5x_tasks.card.codec import (
    _CLOSINGS as CLOSINGS,
)
from t5x_tasks.card.codec import (
    _IDIOMS as IDIOMS,
)
from t5x_tasks.card.codec import (
    _LETTERS as LETTERS,
)
from t5x_tasks.card.codec import (
    _OPENINGS as OPENINGS,
)
from t5x_tasks.card.codec import (
    CODECS,
    check_codec_name,
    load_codec,
)
from t5x_tasks.card.template import fill
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary

CODE = CODECS["code"]
PIECES = [*IDIOMS, *CLOSINGS, *OPENINGS]
HARD = [
    *PIECES,
    *IDIOMS.values(),
    *OPENINGS.values(),
    *("public", "new ", "newFoo", "new Foo", "renewFoo", "return", "XMLReader", "fooBar", "a", "A", "9", "_", ". Foo"),
    *(" ", "  ", "\n", "\r\n", "\t", "\v", "\0", "\x03", "\x7f", "\xa0", "\u3000", "\u200b", "\ufeff", "\u2028"),
    *("&", "#", "&#", "&#3", "&#38;", "&#38;#38;", "&amp;", ";", "\\", '"', "'"),
    *("é", "e\u0301", "\u0301", "É", "ß", "ﬁ", "①", "Å", "\u212b", "한", "ﬀ", "½", "…", "ı"),
    *("🙂", "👩‍💻", "\ud83d", "\ude42", "\ue000", "\ue1ff", "\uffff", "\U0010ffff", "\ufffd"),
    *("▁", "⁇", " ⁇ ", "<unk>", "</s>", "<extra_id_0>"),
]


@pytest.fixture(scope="module")
def t5(shared_data) -> Vocabulary:
    return Vocabulary.load(shared_data / "t5_vocab")


def hard_texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)

    def atom() -> str:
        return draw.choice(HARD) if draw.random() < 0.8 else chr(draw.randrange(0x110000))

    return ["".join(atom() for _ in range(draw.randrange(12))) for _ in range(count)]


def back_from_tokens(vocabulary: Vocabulary, texts: list[str]) -> tuple[list[str], int]:
    """Returns the texts after encoding, tokens and decoding, and the number of unknown tokens."""
    ids = vocabulary.encode_batch([CODE.encode(text) for text in texts])
    return [CODE.decode(vocabulary.decode(row)) for row in ids], int((np.concatenate(ids) == vocabulary.unk_id).sum())


@pytest.mark.needs_shared
@pytest.mark.parametrize("language", ["java", "cs"])
def test_every_row_of_the_real_data_comes_back_from_its_tokens_at_three_quarters_of_the_cost(t5, shared_data, language):
    texts = []
    for split in ("train", "validation", "test"):
        with gzip.open(shared_data / "codexglue_code_trans" / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)[language] for line in lines]
    assert len(texts) == 11_794
    back, unknown = back_from_tokens(t5, texts)
    assert back == texts
    assert unknown == 0
    tokens, plain = (sum(map(len, t5.encode_batch(t))) for t in ([CODE.encode(text) for text in texts], texts))
    assert tokens < 0.76 * plain


@pytest.mark.needs_shared
def test_any_text_comes_back_from_its_tokens(t5):
    texts = [*HARD, *hard_texts(20_000, seed=1)]
    back, unknown = back_from_tokens(t5, texts)
    assert [text for text, got in zip(texts, back, strict=True) if text != got] == []
    assert unknown == 0


@pytest.mark.needs_shared
def test_every_piece_and_letter_is_one_token_of_t5(t5):
    for piece in PIECES:
        before = "▁" if len(piece) > 1 else ""
        assert t5.encode_batch([f"word{' ' * bool(before)}{piece}"])[0].tolist()[1:] == [
            t5._processor.piece_to_id(before + piece)
        ]
    for letter in LETTERS:
        assert t5._processor.piece_to_id(letter) != t5.unk_id


def test_the_tables_can_be_read_in_one_way_only():
    assert len(set(PIECES)) == len(PIECES)
    assert not [(a, b) for a in PIECES for b in PIECES if a != b and b.startswith(a)]
    for table in (IDIOMS, CLOSINGS, OPENINGS):
        assert len(set(table.values())) == len(table)
    for piece in PIECES:
        assert any(not char.isascii() and char not in LETTERS for char in piece)
        assert unicodedata.normalize("NFC", piece) == piece


def test_fields_of_a_template_come_back_with_the_text_around_them_untouched():
    template = "Java. New Foo: {java} {cs}{java}\nC# . Foo (x) “it’s” {cs} and MoreWords"
    texts = hard_texts(10_000, seed=2)
    for java, cs in zip(texts[::2], texts[1::2], strict=True):
        encoded = {"java": CODE.encode(java), "cs": CODE.encode(cs)}
        assert CODE.decode(fill(template, encoded)) == fill(template, {"java": java, "cs": cs})


@pytest.mark.needs_shared
def test_a_field_between_words_of_a_template_comes_back_from_tokens(t5):
    java = 'if (map.get("a  b") != null) {\n\treturn `x` ^ ~y;\n}\n'
    ids = t5.encode_batch([f"Translate to C#: {CODE.encode(java)} C#:"])[0]
    assert CODE.decode(t5.decode(ids)) == f"Translate to C#: {java} C#:"


def test_encoded_text_has_nothing_that_sentencepiece_changes():
    for text in hard_texts(10_000, seed=3):
        encoded = CODE.encode(text)
        assert encoded == encoded.strip(" ")
        assert "  " not in encoded
        assert encoded == unicodedata.normalize("NFKC", encoded)
        assert not set(encoded) & set("{}<~^\\`\n\t")


def test_names_and_keywords_stay_words():
    encoded = CODE.encode("public void writeAll(Reader in) {return new LineReader(in);}")
    assert [word for word in ("write All", "Reader", "return new", "Line Reader") if word not in encoded] == []


def test_text_without_regions_is_left_alone():
    for text in ("", "“Yes” — 5°, said Ann. New York", "a  b\n&#65;", "stăpân", "} bătrân"):
        assert CODE.decode(text) == text


def test_a_prediction_that_was_cut_is_decoded_as_far_as_it_goes():
    text = "public int size() {return mSize;}"
    words = CODE.encode(text).split(" ")
    for count in range(1, len(words)):
        assert text.startswith(CODE.decode(" ".join(words[:count])))
    assert CODE.decode(" ".join(words[:-1])) == text.removesuffix(";}")


@pytest.mark.parametrize("escape", ["&#1114112;", "&#9999999;", "&#12345678;", "&#;", "&#x41;", "&#65", "&#６５;"])
def test_broken_escapes_stay_as_they_are(escape):
    opening, closing = (next(piece for piece, text in table.items() if not text) for table in (OPENINGS, CLOSINGS))
    assert CODE.decode(f"{opening} a{escape} {closing}") == f"a{escape}"


def test_decode_takes_whatever_a_model_writes():
    draw = random.Random(4)
    atoms = [*HARD, "&#9999999;", "&#;", "&#55357;", *OPENINGS, *CLOSINGS]
    for _ in range(20_000):
        assert isinstance(CODE.decode("".join(draw.choice(atoms) for _ in range(draw.randrange(15)))), str)


def test_a_vocabulary_without_the_pieces_gives_unknown_tokens_and_no_error(vocabulary):
    texts = ["public int size() {return mSize;}", "a  b"]
    back, unknown = back_from_tokens(vocabulary, texts)
    assert unknown > 0
    assert len(back) == 2


def test_codecs_are_found_by_name_or_by_path(tmp_path, monkeypatch):
    assert load_codec("code") is CODE
    (tmp_path / "my_codecs.py").write_text(
        "class Backwards:\n    def encode(self, text): return text[::-1]\n    decode = encode\n"
        "backwards, none = Backwards(), 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert load_codec("my_codecs:backwards").encode("ab") == "ba"
    with pytest.raises(UserError, match=r"codec: my_codecs:none: has no encode\(text\) and decode\(text\)"):
        load_codec("my_codecs:none")
    with pytest.raises(UserError, match="codec: my_codecs:other: cannot be imported"):
        load_codec("my_codecs:other")


def test_unknown_codecs_are_refused_with_the_ones_there_are():
    with pytest.raises(ValueError, match="codec: unknown codec cod, did you mean code"):
        check_codec_name("cod")
    with pytest.raises(UserError, match=r"codec: unknown codec a-b:c; known are code, or package\.module:function"):
        load_codec("a-b:c")
