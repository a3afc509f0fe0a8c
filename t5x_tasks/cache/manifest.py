"""A split's manifest.json: what its writer says of it, with a checksum of each file that has none of its own, and of itself."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

NAME = "manifest.json"
FORMAT = 2  # 1 had neither checksums nor a digest of its tokens
_CHECKSUM = "checksum"
# What reading a damaged or edited file of a split raises. RuntimeError: JSON nested too deep.
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError)


def sealed(values: Mapping[str, Any]) -> str:
    """Returns JSON with a checksum of itself."""
    values = json.loads(json.dumps(values))  # as it will be read
    return json.dumps({**values, _CHECKSUM: _checksum(values)}, indent=2, ensure_ascii=False) + "\n"


def unsealed(text: str) -> dict[str, Any]:
    """Returns the values of `sealed`.

    Raises:
      ValueError: it was changed since; or others of `DAMAGE`.
    """
    values: dict[str, Any] = json.loads(text)
    if values.pop(_CHECKSUM, None) != _checksum(values):
        raise ValueError("does not fit its own checksum: it was edited, or is damaged")
    return values


def read_manifest(folder: Path, *, formats: Collection[int] = (FORMAT,)) -> dict[str, Any]:
    """Reads a manifest.

    Raises:
      OSError, ValueError: it cannot be read, is of another format, or was changed since it was written; or others of `DAMAGE`.
    """
    text = (folder / NAME).read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)
    if values["format"] not in formats:
        raise ValueError(f"{NAME}: format {values['format']}, this version reads {FORMAT}")
    if values["format"] == 1:
        return values
    try:
        return unsealed(text)
    except ValueError as error:
        raise ValueError(f"{NAME} {error}") from error


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """A whole manifest of this version's format, or None: for those who look for a split among others."""
    try:
        return read_manifest(folder)
    except DAMAGE:
        return None


def read_checked(folder: Path, name: str, manifest: Mapping[str, Any]) -> bytes:
    """Reads a file of a split whole.

    Raises:
      OSError, ValueError: it cannot be read, or does not fit the manifest's checksum.
    """
    content = (folder / name).read_bytes()
    checksums = manifest.get("sha256")  # none in format 1
    if checksums is not None and sha256(content) != checksums[name]:
        raise ValueError(f"{name} does not fit its checksum")
    return content


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _checksum(values: Mapping[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True).encode())
