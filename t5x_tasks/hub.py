"""The Hugging Face hub: how its repositories are named here, and what happens when it cannot be reached."""

import os
import socket
from dataclasses import dataclass
from urllib.parse import urlparse

from t5x_tasks.errors import UserError

SCHEME = "hf://"


@dataclass(frozen=True)
class HubId:
    """A repository of the hub at a commit, tag or branch; None: its main branch as it is now."""

    repository: str
    revision: str | None


def parse_hub_id(uri: str) -> HubId:
    """Takes `hf://ID` or `hf://ID@REVISION` apart. UserError: there is nothing before or after the @."""
    repository, at, revision = uri.removeprefix(SCHEME).partition("@")
    if not repository or (at and not revision):
        raise UserError(f"{uri}: must be hf://ID or hf://ID@REVISION, as hf://google/flan-t5-base")
    return HubId(repository, revision or None)


def skip_retries_if_unreachable() -> None:
    """Switches this process to the hub's offline mode if its host has no address. Call before importing its libraries.

    They would try six times over half a minute, with a warning each time, before they look into their local cache or
    say that there is no network. Behind a proxy the host's name may be unknown here and yet be reached.
    """
    proxies = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    if any(name in os.environ for name in ("HF_HUB_OFFLINE", *proxies)):
        return
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"


def reason(error: Exception) -> str:
    """Returns the first sentence of an error of the hub's libraries, which explain themselves at length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(". ")[0].rstrip(".")[:200]
