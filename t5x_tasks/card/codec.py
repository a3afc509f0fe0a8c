"""Reversible text codecs: how to write texts that the vocabulary cannot hold as they are.

A card names a codec for a field (`{column: java, codec: code}`): a name in `CODECS`, or `package.module:name` of an object
with `encode(text) -> str` and `decode(text) -> str`. What is tokenised is encoded; references and predictions are raw text.

`code` is for source code and T5's vocabulary, which has no `{ } < ~ ^ \\`, backtick, line break or tab, and folds spaces.
Decoding the tokens of an encoded text gives back any text bit for bit, with its control characters and runs of spaces:

- *Regions.* An encoded field begins with one of `_OPENINGS` and ends with one of `_CLOSINGS`. `decode` changes nothing
  outside, so fields can stand anywhere in a template, several of them too. An opening without an end, as in a prediction
  that was cut, reaches to the next opening or to the end of the text.
- *Idioms.* Punctuation with its spaces becomes one rare piece: a sign, a Cyrillic letter or a Romanian word. So do, with
  the punctuation around them, keywords that T5 cuts into pieces (`int` is `in t`). Other keywords and names stay readable.
- *Words.* T5's words begin with a space, so names are written as words: `) {return fooBar(` is `‘ return foo Bar(`.
  That costs nothing: a plain space is one of the text where it stands after a word and before one in lower case, or after
  one of `_MODIFIERS`; elsewhere it is there for the vocabulary only, and spaces of the text are idioms.
- *Escapes.* All else is written as in XML, in ASCII: `&#8217;`. Text that holds pieces of the tables needs nothing more, as
  each of them has a character that is escaped. Broken escapes in predictions stay as they are; `decode` never raises.

Derivation, on the 10,295 pairs of the train split of CodeXGLUE's Java <-> C#, tokens a field:

    Java   C#
    72.4  94.1   plain SentencePiece; 3.1 and 3.6 of them unknown, and line breaks lost
    71.0  94.2   a rare piece for each missing character, spaces and names as they are
    70.0  87.0   names as words, in regions
    57.1  73.0   and 81 idioms and 7 closings of punctuation alone
    54.9  70.1   and 33 idioms with keywords
    53.8  68.1   and openings with the modifiers that nearly every method begins with

On validation and test, which chose no table: 54.5 and 69.0 against 73.2 and 95.5. Idioms were taken greedily, each the one
that saves most after those before it, the cheapest segmentation counted; by that estimate the next 48 would save 1%
together. Pieces go by frequency, signs first, since a word after a sign can do without a space. `_UNSPACED` holds words
that T5 has only, or cheaper, without one. Names are no idioms: `new InvokeOptions();options.` would pay on this set alone.

Another vocabulary may lack these pieces. Nothing breaks: they become unknown tokens, counted as such, and the text does not
come back. A change of the tables changes what prepared data and trained models mean.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.functions import check_name, load_object

# fmt: off
_IDIOMS = {  # piece -> text, by frequency. No word begins another one; each has a character that is escaped in encoded text.
    "“": " = ", "”": ", ", "„": " ", "‘": ") {", "’": "){", "«": "();", "»": "<", "•": '("', "–": ") ",
    "—": ">(", "®": "){var ", "°": " (", "€": "(){", "£": ", int ", "′": "; ", "и": "() {", "м": " void ",
    "д": ";}", "в": "if (", "к": "}", "л": " + ", "н": "(int ", "т": "[] ", "lăsa": " < ", "fața": ");}",
    "ţări": "> ", "piaț": " override ", "știu": " == ", "preț": '");', "țară": ' "', "mică": "    ",
    "casă": "{", "oraş": "];", "zonă": " int ", "lună": '", "', "ieși": "){if (", "reuș": "();}",
    "uşor": ");if (", "ține": "int ", "mână": "));", "șans": " == null", "reţe": " {", "răni": " - ",
    "aşez": "] = ", "acasă": " = (", "rămas": ";if (", "mulţi": "\\", "ajută": " (int ", "viaţa": '" + ',
    "căuta": " > ", "găsit": '");}', "formă": ") {if (", "tânăr": ' + "', "cărți": " != null", "maşin": "().",
    "învăţ": "((", "judeţ": ";int ", "presă": "())", "rămân": ";_", "afară": " != ", "emoți": " : ",
    "luptă": " && ", "depăș": " boolean ", "spați": "());", "rugăm": ";}}", "adăug": " += ", "părți": "bool ",
    "părăs": " >= ", "plăti": "(_", "școli": " || ", "bănci": " null", "scăpa": " & ", "zahăr": "  ",
    "iarnă": ")){", "întăr": "){_", "ediți": "): ", "dărui": ', "', "ușoar": "( ", "șofer": ";}if (",
    "aștept": "null", "pregăt": "._", "măsuri": '("\\', "susţin": "('", "pământ": " * ", "plăcut": "(), ",
    "vârstă": "()) {", "apărut": "();if (", "funcți": " override void", "câştig": " = _", "bărbat": " ? ",
    "soluţi": "){int ", "obține": "(byte[] ", "născut": " = null;", "păcate": " bool ", "conțin": " _",
    "urmări": " >>", "relaţi": ") throws ", "crește": ");}}", "război": ': " + ', "echipă": "boolean ",
    "română": "int)", "scăzut": " <= ", "poliţi": " instanceof ", "vieții": "int[] ", "noștri": " << ",
    "muzică": " / ", "atenţi": "());}", "doreșt": "foreach (", "mențin": "}}", "şedinţ": "^", "lumină": "~",
    "străzi": "`", "părere": "\n", "încălc": "\t",
}
_CLOSINGS = {  # piece -> the end of the text: idioms too
    "dorinț": ";}", "bătrân": ");}", "opțiun": "}}", "găzdui": "();}", "stradă": ");}}", "vizită": "());}",
    "căldur": ";}}", "stăpân": "",
}
_OPENINGS = {  # piece -> the start of the text
    "fișier": "", "agenți": "public ", "mănânc": "public override ", "pătrun": "public static ", "reacți": "public virtual ",
}
# After these words a type follows, not the rest of an identifier: `new Foo` is common, `newFoo` is not.
_MODIFIERS = [
    "case", "final", "new", "override", "private", "protected", "public", "return", "static", "string", "throw", "virtual",
    "void",
]
_UNSPACED = [
    "args", "arg", "byte", "char", "float", "id", "if", "java", "num", "obj", "pos", "sb", "src", "val", "var",
    "Array", "Count", "DB", "Delete", "Describe", "Exception", "IO", "Message", "Object", "Query", "Result", "Stream", "Term",
]
# fmt: on
_LETTERS = "àáâäçéèêîôöùûüßóÉÎÜ"  # those beyond ASCII that T5 has, but for what the tables need
_WORD = f"A-Za-z0-9{_LETTERS}"


class Codec(Protocol):
    """A text codec, which a card's `codec` names: `decode(encode(text)) == text` for any text, also inside other text."""

    def encode(self, text: str) -> str: ...

    def decode(self, text: str) -> str: ...


def _any_of(texts: Iterable[str]) -> str:
    """Returns the pattern of the longest of some texts, as a tree: alternatives side by side take three times as long."""
    branches: dict[str, list[str]] = {}
    for text in texts:
        branches.setdefault(text[:1], []).append(text[1:])
    optional = branches.pop("", None) is not None
    if not branches:
        return ""
    return f"(?:{'|'.join(re.escape(head) + _any_of(rest) for head, rest in branches.items())}){'?' * optional}"


# While spaces are put in and taken out, a private-use character stands for each piece: from U+E000 on for signs, from
# U+E100 on for words, which need a space to a word that follows.
_MARKS = {
    piece: chr((0xE000 if len(piece) == 1 else 0xE100) + i)
    for i, piece in enumerate([*_IDIOMS, *_CLOSINGS, *_OPENINGS])
}
_TEXTS = {_MARKS[piece]: text for table in (_IDIOMS, _CLOSINGS, _OPENINGS) for piece, text in table.items()}
_SPELLINGS = {mark: piece if len(piece) == 1 else f" {piece}" for piece, mark in _MARKS.items()}
_IDIOM = {text: _MARKS[piece] for piece, text in _IDIOMS.items()}
_OPENING = {text: _MARKS[piece] for piece, text in _OPENINGS.items()}
_CLOSING = {_IDIOM.get(text, ""): _MARKS[piece] for piece, text in _CLOSINGS.items()}  # mark -> mark

_OPENED = re.compile(_any_of(_OPENINGS.values()))
_REGION = re.compile(rf"{_any_of(_OPENINGS)}.*?(?:{_any_of(_CLOSINGS)}|(?={_any_of(_OPENINGS)})|\Z)", re.DOTALL)
_PIECE = re.compile(_any_of(_MARKS))
_ENCODABLE = re.compile(  # an idiom, not beginning or ending inside a word; or what must be escaped
    rf"(?:{_any_of(text for text in _IDIOMS.values() if text != ' ' and not text[0].isalpha())}"
    rf"|(?<![{_WORD}_$]){_any_of(text for text in _IDIOMS.values() if text[0].isalpha())})(?<![a-z](?=[{_WORD}_$]))"
    rf"|&(?=#)|[^ -~{_LETTERS}]"
)
_MARK = re.compile("[\ue000-\ue1ff]")
_DECODABLE = re.compile("[\ue000-\ue1ff]|&#([0-9]{1,7});")
# A plain space that is none of the text: not after a word, or before neither a word in lower case nor a modifier's type.
_OTHER_SPACE = re.compile(
    rf"(?<![{_WORD}]) | (?:(?![{_WORD}])|(?=[A-Z]){''.join(f'(?<![^{_WORD}]{word} )' for word in _MODIFIERS)})"
)
# Where the vocabulary wants one: after this character, of punctuation and marks; before this capital, inside a name. Patterns
# that begin with a set of characters are found faster than those that begin with a condition.
_UNSPACED_NAME = f"{_any_of(_UNSPACED)}(?![a-z{_LETTERS}])"
_SPACE_AFTER = re.compile(
    rf"[^ {_WORD}](?:(?=[A-Za-z][A-Za-z{_LETTERS}])(?!{_UNSPACED_NAME})|(?<=[\ue100-\ue1ff])(?=[A-Za-z{_LETTERS}]))"
)
_SPACE_BEFORE = re.compile(
    rf"[A-Z](?:(?<=[a-z0-9].){''.join(f'(?<![^{_WORD}]{word}.)' for word in _MODIFIERS)}|(?<=[A-Z].)(?=[a-z]))"
    rf"(?<!(?={_UNSPACED_NAME}).)"
)


class CodeCodec:
    """The codec `code`; how it works stands at the top of the module."""

    def encode(self, text: str) -> str:
        """Returns the text as a region; an empty text stays empty."""
        if not text:
            return ""
        opened = _OPENED.match(text)
        start = opened[0] if opened else ""
        marked = _ENCODABLE.sub(lambda match: _IDIOM.get(match[0]) or f"&#{ord(match[0])};", text[len(start) :])
        closing = _CLOSING.get(marked[-1:])
        marked = _OPENING[start] + (marked[:-1] + closing if closing else marked + _CLOSING[""])
        marked = _OTHER_SPACE.sub(_IDIOM[" "], marked)
        marked = _SPACE_AFTER.sub(lambda match: f"{match[0]} ", marked)
        marked = _SPACE_BEFORE.sub(lambda match: f" {match[0]}", marked)
        return _MARK.sub(lambda match: _SPELLINGS[match[0]], marked).lstrip()

    def decode(self, text: str) -> str:
        """Returns the text with its regions decoded, and the rest of it as it is."""
        return _REGION.sub(_decode_region, text)


def _decode_region(match: re.Match[str]) -> str:
    marked = _PIECE.sub(lambda piece: _MARKS[piece[0]], match[0])
    return _DECODABLE.sub(_decode_one, _OTHER_SPACE.sub("", marked))


def _decode_one(match: re.Match[str]) -> str:
    if not match[1]:
        return _TEXTS.get(match[0], match[0])
    return chr(int(match[1])) if int(match[1]) <= sys.maxunicode else match[0]


CODECS: dict[str, Codec] = {"code": CodeCodec()}


def check_codec_name(name: str) -> None:
    """Raises ValueError if `name` is neither in `CODECS` nor of the form `package.module:name`."""
    check_name(name, CODECS, kind="codec", key="codec")


def load_codec(name: str) -> Codec:
    """Returns the codec of that name.

    Raises:
      UserError: no codec of that name, it cannot be imported, or what is imported has no `encode` and `decode`.
    """
    try:
        check_codec_name(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    if name in CODECS:
        return CODECS[name]
    codec = load_object(name, folder=Path(), where="codec")
    if not all(callable(getattr(codec, method, None)) for method in ("encode", "decode")):
        raise UserError(f"codec: {name}: has no encode(text) and decode(text); name an object with both")
    return codec
