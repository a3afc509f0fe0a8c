"""Makes the shipped data set `support_chats` (synthetic customer-support chats with summaries) and its vocabulary.

    python -m tools.support_chats --output DIR [--seed 2026]

writes DIR/{train,validation,test}.jsonl.gz and DIR/support_chats.model. With the default seed they are the files in
t5x_tasks/library/data/support_chats and t5x_tasks/vocabularies, byte for byte. README.md says how to write the texts.
"""

import argparse
import gzip
from pathlib import Path

from t5x_tasks.common.errors import run_cli
from tools.support_chats.generate import DEFAULT_SEED, encode, generate
from tools.support_chats.vocabulary import train_vocabulary


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.support_chats",
        description="Make synthetic support chats with summaries, and a vocabulary.",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the files, made when missing")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default: %(default)s, the data set that ships")
    arguments = parser.parse_args(argv)
    splits = generate(arguments.seed)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        path = arguments.output / f"{split}.jsonl.gz"
        # No name and no time in the header, so that the same rows are the same bytes.
        path.write_bytes(gzip.compress(encode(rows), compresslevel=9, mtime=0))
        print(f"{path}: {len(rows)} rows, {path.stat().st_size} bytes")
    path = arguments.output / "support_chats.model"
    train_vocabulary([text for row in splits["train"] for text in (row.dialogue, row.summary)], path)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    run_cli(main)
