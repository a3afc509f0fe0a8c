"""Writes the data set and its vocabulary again.

    python -m t5x_tasks.support_chats --output DIR [--seed 2026]

leaves DIR/{train,validation,test}.jsonl.gz and DIR/support_chats.model. With the default seed these are the files that
ship in t5x_tasks/data/support_chats and t5x_tasks/vocabularies.
"""

import argparse
import gzip
import json
from collections.abc import Iterable
from pathlib import Path

from t5x_tasks.support_chats.generate import DEFAULT_SEED, Row, generate


def encode(rows: Iterable[Row]) -> bytes:
    """JSON lines, one row each."""
    return "".join(json.dumps(row.fields(), ensure_ascii=True) + "\n" for row in rows).encode("ascii")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m t5x_tasks.support_chats", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the files, made when missing")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default: %(default)s, the data set that ships")
    arguments = parser.parse_args()
    from t5x_tasks.support_chats.vocabulary import train_vocabulary

    arguments.output.mkdir(parents=True, exist_ok=True)
    splits = generate(arguments.seed)
    for split, rows in splits.items():
        path = arguments.output / f"{split}.jsonl.gz"
        # No name and no time in the header, so that the same rows are the same bytes.
        path.write_bytes(gzip.compress(encode(rows), compresslevel=9, mtime=0))
        print(f"{path}: {len(rows)} rows, {path.stat().st_size} bytes")
    path = arguments.output / "support_chats.model"
    train_vocabulary([text for row in splits["train"] for text in (row.dialogue, row.summary)], path)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
