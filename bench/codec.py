"""Measures the codec for source code: its cost in tokens, whether every row survives the round trip, and its speed.

    python -m bench.codec --root ../shared/data --vocabulary ../shared/data/t5_vocab/spiece.model

Over all splits of CodeXGLUE's Java <-> C#. `plain` is SentencePiece on the text as it is, which loses what the vocabulary
lacks. Rates are those of one core, by processor time, the best of three.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from t5x_tasks.card.codec import Codec, load_codec
from t5x_tasks.common.errors import UserError, run_cli
from t5x_tasks.common.vocabulary import Vocabulary

SHORT = 60  # characters: a line of code


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.codec", description="Cost of the codec for source code.")
    parser.add_argument("--root", required=True, help="folder that mirrors data sets")
    parser.add_argument("--vocabulary", required=True, help="a SentencePiece model")
    parser.add_argument("--codec", default="code", help="its name, or package.module:name (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    codec, vocabulary = load_codec(chosen.codec), Vocabulary.load(chosen.vocabulary)
    print(
        f"{'':<18}{'rows':>8}{'reversible':>12}{'unknown':>9}{'tokens per row':>14}{'plain':>8}{'unknown':>9}{'ratio':>8}"
    )
    texts: list[str] = []
    for split in ("train", "validation", "test"):
        for field in ("java", "cs"):
            rows = read(Path(chosen.root) / "codexglue_code_trans" / f"{split}.jsonl.gz", field)
            print_cost(f"{split} {field}", rows, codec, vocabulary)
            texts += rows
    print_cost("all", texts, codec, vocabulary)
    print(f"\n{'texts a second':<32}{'encode':>10}{'decode':>10}")
    for name, sample in (("rows", texts[::5]), (f"their first {SHORT} characters", [text[:SHORT] for text in texts])):
        encoded = [codec.encode(text) for text in sample]
        print(f"{name:<32}{rate(codec.encode, sample):>10,.0f}{rate(codec.decode, encoded):>10,.0f}")


def read(path: Path, field: str) -> list[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line)[field] for line in lines]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; --root is the folder that holds codexglue_code_trans") from None


def print_cost(name: str, texts: list[str], codec: Codec, vocabulary: Vocabulary) -> None:
    """Prints rows that come back from their tokens, tokens and unknown tokens in all and a row."""
    ids = vocabulary.encode_batch([codec.encode(text) for text in texts])
    plain = vocabulary.encode_batch(texts)
    back = sum(codec.decode(vocabulary.decode(row)) == text for row, text in zip(ids, texts, strict=True))
    unknown, plain_unknown = (int((np.concatenate(rows) == vocabulary.unk_id).sum()) for rows in (ids, plain))
    tokens, plain_tokens = (sum(map(len, rows)) / len(texts) for rows in (ids, plain))
    print(
        f"{name:<18}{len(texts):>8,}{back:>12,}{unknown:>9,}{tokens:>14.2f}{plain_tokens:>8.2f}"
        f"{plain_unknown / len(texts):>9.2f}{tokens / plain_tokens:>8.3f}"
    )


def rate(function: Callable[[str], str], texts: list[str]) -> float:
    """Texts a second of processor time."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for text in texts:
            function(text)
        best = min(best, time.process_time() - start)
    return len(texts) / best


if __name__ == "__main__":
    run_cli(main)
