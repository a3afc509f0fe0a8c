"""The small SentencePiece vocabulary that fits these chats, with T5's conventions for special tokens."""

import string
from collections.abc import Iterable
from pathlib import Path

import yaml

VOCABULARY_SIZE = 2400
_TEMPLATES = Path(__file__).parents[2] / "t5x_tasks" / "library" / "templates" / "dialogue_summarization.yaml"


def prompt_lines() -> list[str]:
    """The lines of the shared templates that ask for a summary, without their placeholders."""
    templates = yaml.safe_load(_TEMPLATES.read_text(encoding="utf-8"))
    texts = "\n".join(template["inputs"] for template in templates if not template.get("inverted"))
    return [line.strip() for line in texts.replace("{dialogue}", "\n").split("\n") if line.strip()]


def train_vocabulary(texts: Iterable[str], path: Path) -> None:
    """Trains a unigram model and writes it to `path` (a .model file).

    One thread: with more, sums are added up in another order and the pieces differ from run to run. Digits are pieces
    of their own, so that a model can copy a number that it never saw. Every printable ASCII character is a piece.
    """
    from sentencepiece import SentencePieceTrainer

    lines = [line for text in texts for line in text.split("\n")]
    # The prompts are few beside 60,000 lines of chat; repeated, their words become pieces too.
    lines += prompt_lines() * 500
    with path.open("wb") as out:
        SentencePieceTrainer.Train(
            sentence_iterator=iter(lines),
            model_writer=out,
            model_type="unigram",
            vocab_size=VOCABULARY_SIZE,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>",
            normalization_rule_name="nmt_nfkc",
            character_coverage=1.0,
            required_chars=string.ascii_letters + string.digits + string.punctuation,
            split_digits=True,
            num_threads=1,
            minloglevel=2,
        )  # fmt: skip
