"""Finds the folder of `model.weights`; fetches it from the hub."""

from pathlib import Path

from t5x_tasks.common.errors import UserError, one_line
from t5x_tasks.common.hub import SCHEME, parse_hub_id, skip_retries_if_unreachable
from train.weights.t5x import find_t5x


def resolve_weights(weights: str) -> Path:
    """Finds the folder of `model.weights`: a local one, or that of hf://ID or hf://ID@REVISION after fetching it.

    Of a T5X folder that holds one checkpoint_<step>, that is it.

    Raises:
      UserError: no such folder, no such repository, or the hub is out of reach and its cache has not got it.
    """
    if weights.startswith("gs://"):
        raise UserError(
            f"model.weights: {weights}: buckets are not read; run `gcloud storage cp -r {weights} DIR` and give DIR"
        )
    if not weights.startswith(SCHEME):
        folder = Path(weights).expanduser()
        if not folder.is_dir():
            raise UserError(
                f"model.weights: {weights}: no such folder; give hf://ID, a Hugging Face directory, a T5X checkpoint, one of "
                "our runs, or random"
            )
        return find_t5x(folder) or folder
    folder = fetch_weights(weights, ["*.safetensors", "*.json", "spiece.model"])
    if not any(folder.glob("*.safetensors")):  # offline, a cache that has only the vocabulary counts as the repository
        raise UserError(f"model.weights: {weights}: no safetensors in {folder}; {how_to_get(weights)}")
    return folder


def fetch_weights(weights: str, files: list[str]) -> Path:
    """The folder of the hub's cache with these files of a repository. UserError: it is out of reach."""
    hub = parse_hub_id(weights)
    try:
        skip_retries_if_unreachable()
        from huggingface_hub import snapshot_download

        # Folders in a repository hold other formats of the same weights.
        return Path(
            snapshot_download(hub.repository, revision=hub.revision, allow_patterns=files, ignore_patterns=["*/*"])
        )
    except Exception as error:  # no network, no such repository, no access, no valid id
        reason = one_line(error, most=160)
        raise UserError(f"model.weights: {weights} cannot be fetched ({reason}); {how_to_get(weights)}") from error


def how_to_get(weights: str) -> str:
    hub = parse_hub_id(weights)
    at = f" --revision {hub.revision}" if hub.revision else ""
    return (
        f"get online, or run `hf download {hub.repository}{at} --local-dir DIR` on a machine that is, and set "
        "model.weights=DIR"
    )
