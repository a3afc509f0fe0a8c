"""A page in headless Chromium, driven over its debugging pipe: no package beside the browser itself."""

import contextlib
import itertools
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers import programs

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SWITCHES = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage", "remote-debugging-pipe",
)  # fmt: skip
TIMEOUT_S = 120
_KEY_CODES = {"Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}


def find() -> str | None:
    """Returns the browser's path; None if there is none."""
    return programs.find(*NAMES)


class Page:
    """A tab.

    Attributes:
      troubles: errors, refused by the content policy or thrown by a script, and dialogs that opened.
    """

    def __init__(self, to_browser: int, from_browser: int):
        self._out, self._in = to_browser, from_browser
        self._buffer, self._numbers = b"", itertools.count(1)
        self._session: str | None = None
        self._events: set[str] = set()
        self._asked: dict[str, str] = {}
        self.troubles: list[str] = []

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for, without those that its own policy refused."""
        return list(self._asked.values())

    def open(self, address: str) -> None:
        if self._session is None:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        self._events.discard("Page.loadEventFired")
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + TIMEOUT_S
        while "Page.loadEventFired" not in self._events:
            self._read(deadline)

    def press(self, *keys: str) -> None:
        """Presses keys, one after the other, as `ArrowLeft` or `g`."""
        for key in keys:
            text = "\r" if key == "Enter" else key if len(key) == 1 else ""
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=key, text=text, code=key,
                      windowsVirtualKeyCode=_KEY_CODES.get(key, ord(key[0].upper())))  # fmt: skip
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def close(self) -> None:
        """Ends the browser as a user does, with all that pages keep in it on disk."""
        os.write(self._out, json.dumps({"id": next(self._numbers), "method": "Browser.close"}).encode() + b"\0")
        while os.read(self._in, 2**20):
            pass

    def run(self, script: str) -> Any:
        """Returns what an expression comes to in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answer = self._read(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"Chromium did not answer within {TIMEOUT_S} s"
            read = os.read(self._in, 2**20)
            assert read, "Chromium ended"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        event, details = message.get("method", ""), message.get("params", {})
        self._events.add(event)
        if event == "Network.requestWillBeSent":
            self._asked[details["requestId"]] = details["request"]["url"]
        elif event == "Network.loadingFailed" and details.get("blockedReason") == "csp":
            del self._asked[details["requestId"]]  # it never left the browser
        elif event == "Runtime.exceptionThrown":
            self.troubles.append(json.dumps(details["exceptionDetails"]))
        elif event == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.troubles.append(details["entry"]["text"])
        elif event == "Page.javascriptDialogOpening":
            self.troubles.append(f"a dialog opened: {details['message']}")
        return message


@contextlib.contextmanager
def page(profile: Path) -> Iterator[Page]:
    """Starts a browser with a new profile in the folder `profile`, and ends it."""
    browser = find()
    assert browser, "no Chromium here"
    (child_in, to_browser), (from_browser, child_out) = os.pipe(), os.pipe()
    # the pipe has to have these numbers in the child
    command = f'exec "$@" 3<&{child_in} 4>&{child_out}'
    process = subprocess.Popen(
        [
            "bash",
            "-c",
            command,
            "bash",
            browser,
            *(f"--{switch}" for switch in _SWITCHES),
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        pass_fds=(child_in, child_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(child_in)
    os.close(child_out)
    try:
        yield Page(to_browser, from_browser)
    finally:
        process.kill()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)
