"""Checksums of a folder's files: whether it holds, bit for bit, what was once written into it.

FOLDER/checksums.json is two lines: {"FILE": {"bytes": N, "sha256": HEX}, ...}, and the SHA-256 of that line.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SEAL = "checksums.json"
_THREADS = 8  # hashing lets the interpreter go; a checkpoint has a few large files and many small ones


def write(folder: Path) -> None:
    """Writes the checksums of all files in a folder, atomically. OSError: a file cannot be read, or this one not written."""
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != SEAL)
    with ThreadPoolExecutor(_THREADS) as pool:
        hashes = pool.map(_sha256, [folder / name for name in names])
        files = {n: {"bytes": (folder / n).stat().st_size, "sha256": h} for n, h in zip(names, hashes, strict=True)}
    line = json.dumps(files)
    temporary = folder / f"{SEAL}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(f"{line}\n{hashlib.sha256(line.encode()).hexdigest()}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / SEAL)


def damage(folder: Path, parts: Sequence[str] = ()) -> str | None:
    """Returns `FILE: what is wrong with it` for the first file that is not as it was; None if all are.

    Args:
      folder: has checksums.
      parts: subfolders; only their files and those that are in no subfolder are read. Empty: all.

    Raises:
      OSError: a file is there and cannot be read.
    """
    try:
        line, checksum = (folder / SEAL).read_text(encoding="utf-8").splitlines()
        if hashlib.sha256(line.encode()).hexdigest() != checksum:
            raise ValueError
        files = {
            name: entry
            for name, entry in json.loads(line).items()
            if not parts or "/" not in name or name.partition("/")[0] in parts
        }
    except ValueError:  # no text, not two lines, not that line
        return f"{SEAL}: is not as it was written"
    for name, entry in files.items():
        try:
            size = (folder / name).stat().st_size
        except FileNotFoundError:
            return f"{name}: is missing"
        if size != entry["bytes"]:
            return f"{name}: has {size:,} bytes, {entry['bytes']:,} were written"
    with ThreadPoolExecutor(_THREADS) as pool:
        for name, checksum in zip(files, pool.map(_sha256, [folder / name for name in files]), strict=True):
            if checksum != files[name]["sha256"]:
                return f"{name}: its checksum is not that of what was written"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
