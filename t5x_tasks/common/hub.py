"""The Hugging Face hub: how its repositories are named here, and what happens when it cannot be reached."""

import functools
import logging
import os
import ssl
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException

from t5x_tasks.common.errors import UserError

SCHEME = "hf://"
_PATIENCE_S = 10  # as long as the hub's own library waits for an answer; once a process
# Two warnings for each split that is read from the cache, and no word of what is to be done.
_CHATTY = ("datasets.load", "datasets.packaged_modules.cache.cache")


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
    """Switches this process to the hub's offline mode if no answer comes from its address, and says so in one line.

    Its libraries would try six times over half a minute or longer, for each split and with a warning each time, before they
    look into their local cache or say that there is no network.
    """
    offline = os.environ.get("HF_HUB_OFFLINE")
    if offline is None:
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        if (why := _why_unreachable(endpoint)) is None:
            return
        print(f"{endpoint} cannot be reached ({why}): only what is in its cache is used", file=sys.stderr, flush=True)
        os.environ["HF_HUB_OFFLINE"] = "1"
        for name in ("huggingface_hub.constants", "datasets.config"):  # where they are imported already
            if (module := sys.modules.get(name)) is not None:
                vars(module)["HF_HUB_OFFLINE"] = True
    elif offline.lower() not in ("1", "true", "yes", "on"):
        return
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)


@functools.cache
def _why_unreachable(address: str) -> str | None:
    """Returns why no answer comes from an address; None if any does, though it be an error, or if that cannot be told."""
    proxies = {scheme: proxy for scheme, proxy in urllib.request.getproxies().items() if scheme != "no"}
    if "all" in proxies or any(proxy.startswith("socks") for proxy in proxies.values()):
        return None  # Python's own library knows no such proxies, the hub's does
    found: list[str | None] = []
    # In a thread: looking up a name has no time limit of its own.
    thread = threading.Thread(target=lambda: found.append(_ask(address)), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S + 1)
    return found[0] if found else f"no answer within {_PATIENCE_S} s"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A redirection is an answer."""


def _ask(address: str) -> str | None:
    try:
        request = urllib.request.Request(address, method="HEAD")
        urllib.request.build_opener(_NoRedirects).open(request, timeout=_PATIENCE_S).close()
    except TimeoutError:
        return f"no answer within {_PATIENCE_S} s"
    except urllib.error.HTTPError:
        return None
    except OSError as error:
        why = getattr(error, "reason", error)  # of urllib's URLError
        if isinstance(why, ssl.SSLError):  # the hub's library may have other certificates
            return None
        return (
            f"no answer within {_PATIENCE_S} s"
            if isinstance(why, TimeoutError)
            else getattr(why, "strerror", "") or str(why)
        )
    except (HTTPException, ValueError):  # whoever answers; an address that is none, of which its library says more
        return None
    return None


def reason(error: Exception) -> str:
    """Returns the first sentence of an error of the hub's libraries, which explain themselves at length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(". ")[0].rstrip(".")[:200]
