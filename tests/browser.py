"""A headless Chromium, driven over WebDriver's own protocol (https://www.w3.org/TR/webdriver2/) with urllib alone."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60  # seconds
KEYS = {"Enter": "\ue007", "Backspace": "\ue003", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014", "Down": "\ue015"}


class Browser:
    """One window; commands are named as in the protocol."""

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        self._address = f"{address}/session"
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        self._address += "/" + self._send("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the driver's address
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:  # noqa: S310
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None

    def open(self, url: str) -> None:
        self._send("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys: str) -> None:
        """Types keys, each a character or a name of KEYS."""
        codes = [KEYS.get(key, key) for key in keys]
        actions = [{"type": kind, "value": code} for code in codes for kind in ("keyDown", "keyUp")]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, selector: str) -> str:
        """What a person sees of an element; empty where it is hidden."""
        return self.run("return document.querySelector(arguments[0]).innerText", selector).strip()

    def wait(self, condition: Callable[[], Any]) -> Any:
        """The condition's value as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.02)
        raise TimeoutError(self.run("return document.body.innerText"))

    def dark(self, dark: bool) -> None:
        """The system's colour scheme."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        parameters = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": [feature]}}
        self._send("POST", "/goog/cdp/execute", parameters)

    def console(self) -> list[str]:
        """What the console got since the last call, errors of loading among it."""
        return [entry["message"] for entry in self._send("POST", "/se/log", {"type": "browser"})]

    def requested(self) -> list[str]:
        """The addresses that were asked for since the last call."""
        entries = self._send("POST", "/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def screenshot(self) -> bytes:
        return base64.b64decode(self._send("GET", "/screenshot"))

    def quit(self) -> None:
        self._send("DELETE", "")


def missing() -> str:
    """Why there is no browser, or nothing."""
    if not shutil.which("chromedriver"):
        return "there is no chromedriver on PATH (Debian: apt-get install chromium chromium-driver)"
    if not any(map(shutil.which, BROWSERS)):
        return f"there is no browser on PATH: {', '.join(BROWSERS)}"
    return ""


@contextmanager
def headless(width: int = 1200, height: int = 900) -> Iterator[Browser]:
    """A browser with a profile of its own and a window of so many pixels."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = ["chromedriver", "--port=0"]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = next(match[1] for line in driver.stdout if (match := re.search(r"successfully on port (\d+)", line)))
            arguments = ["--headless=new", f"--window-size={width},{height}", f"--user-data-dir={folder}"]
            arguments += ["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]
            arguments += ["--no-sandbox"] * (os.geteuid() == 0)  # Chromium's sandbox refuses root
            binary = next(filter(None, map(shutil.which, BROWSERS)))
            browser = Browser(f"http://127.0.0.1:{port}", {"binary": binary, "args": arguments})
            try:
                yield browser
            finally:
                browser.quit()
        finally:
            driver.terminate()
            driver.wait()
            driver.stdout.close()
