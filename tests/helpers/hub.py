"""The Hugging Face hub as a machine without network sees it: addresses that refuse or never answer, and its caches."""

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

REVISION = "a" * 40


@contextlib.contextmanager
def silent_endpoint() -> Iterator[str]:
    """The address of a port that accepts connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def refusing_endpoint() -> Iterator[str]:
    """The address of a port that refuses connections."""
    with socket.socket() as bound:  # taken and not listened at, so that nobody else gets it
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def cache_dataset(
    home: Path, name: str, rows: Sequence[dict[str, Any]], splits: Sequence[str] = ("train", "test")
) -> None:
    """Lays rows into HF_HOME as `datasets` does once it has fetched `name`: the same in each split."""
    import datasets

    source = home / "rows.parquet"
    home.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(list(rows)).to_parquet(source)
    folder = home / "datasets" / name.replace("/", "___") / "default" / "0.0.0" / REVISION
    builder: Any = datasets.load_dataset_builder(
        "parquet", data_files=dict.fromkeys(splits, str(source)), cache_dir=str(home / "scratch")
    )
    builder.download_and_prepare(str(folder))
    for file in folder.glob("parquet-*.arrow"):
        file.rename(folder / file.name.replace("parquet", name.rpartition("/")[2], 1))
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"dataset_name": name, "config_name": "default"}))


def cache_files(home: Path, name: str, files: dict[str, bytes]) -> Path:
    """Lays files of a model into HF_HOME as `huggingface_hub` does; returns the snapshot's folder."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    for file, content in files.items():
        (snapshot / file).write_bytes(content)
    return snapshot
