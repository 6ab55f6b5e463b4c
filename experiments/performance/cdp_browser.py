"""Control a headless Chromium through its debugging pipe: open a page, run JavaScript, press keys, take screenshots.

Protocol: Chrome DevTools Protocol, https://chromedevtools.github.io/devtools-protocol/; messages are JSON, each ended
by a NUL byte.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
for pipe, place in zip(pipes, (3, 4)):
    os.dup2(pipe, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Becomes the browser, which reads its commands from descriptor 3 and answers on 4."""
SECONDS = 60
"""A page may take so long to become ready."""


def program() -> str | None:
    """Return the path of the browser; None if none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a running browser."""

    def __init__(self, read: int, write: int) -> None:
        """Communicate over two file descriptors."""
        self._read, self._write = read, write
        self._held = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        """Every address that the page asked for."""
        self.complaints: list[str] = []
        """What the page's console and its policy said."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result. Raises RuntimeError if the browser rejects it."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            received = os.read(self._read, 1 << 20)
            if not received:
                raise RuntimeError("the browser is gone")
            self._held += received
        line, self._held = self._held.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"])[:2000])
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])

    def js(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited. Raises RuntimeError if it throws."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return the first truthy value of an expression. Raises TimeoutError if there is none in time."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if (value := self.js(expression)) not in (None, False, 0, ""):  # an element comes back as {}
                return value
            time.sleep(0.02)
        raise TimeoutError(f"never true: {expression}")

    def open(self, url: str) -> None:
        """Load a page."""
        self.send("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url[:200])})")

    def press(self, key: str) -> None:
        """Press and release a key in the focused element."""
        typed = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **typed, **_codes(key))
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, **_codes(key))

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the window size in CSS pixels and the preferred colour scheme."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, file: Path) -> None:
        """Write a PNG of the window."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


def _codes(key: str) -> dict[str, int]:
    codes = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36}
    arrows = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
    code = (codes | arrows).get(key)
    return {"windowsVirtualKeyCode": code} if code else {}


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser with a temporary profile. Raises FileNotFoundError if none is installed."""
    found = program()
    if found is None:
        raise FileNotFoundError(f"no browser: none of {', '.join(NAMES)} is installed")
    to_it, ours_out = os.pipe()
    ours_in, from_it = os.pipe()
    start = [sys.executable, "-c", START, str(to_it), str(from_it), found, *_flags()]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [*start, f"--user-data-dir={profile}"], pass_fds=(to_it, from_it), stderr=subprocess.DEVNULL
        )
        os.close(to_it)
        os.close(from_it)
        try:
            yield Browser(ours_in, ours_out)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(ours_in)
            os.close(ours_out)


def _flags() -> list[str]:
    # Containers rarely let the browser build its own sandbox; the pages are our own.
    plain = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    quiet = ["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]
    return [*plain, *quiet, "about:blank"]
