"""A page's file -> what a headless Chromium makes of it, by chromedriver's own HTTP interface.

    python -m tests.report.browser PAGE.html FOLDER

writes screenshots at the widths and colour schemes below. The standard library is enough: seven
requests need no client library.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

WIDTHS = (360, 1280)
SCHEMES = ("light", "dark")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium() -> str | None:
    """The browser's path, where it and its driver are installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    return found if shutil.which("chromedriver") else None


@dataclass(slots=True)
class Browser:
    """One session of a running chromedriver."""

    url: str

    def show(self, page: Path, width: int, scheme: str) -> None:
        """Open a page on a screen so wide, in a colour scheme."""
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._devtools("Emulation.setEmulatedMedia", {"media": "screen", "features": features})
        self._ask("/url", {"url": page.as_uri()})

    def run(self, script: str) -> Any:
        """What a script of ours returns from within the page."""
        return self._ask("/execute/sync", {"script": script, "args": []})

    def console(self) -> list[str]:
        """What the console said since it was last asked, warnings and errors alike."""
        return [entry["message"] for entry in self._ask("/se/log", {"type": "browser"})]

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        shot = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": True})
        return base64.b64decode(shot["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self._devtools("Page.printToPDF", {})["data"])

    def _devtools(self, command: str, params: dict[str, Any]) -> Any:
        return self._ask("/goog/cdp/execute", {"cmd": command, "params": params})

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        return ask(self.url + path, body)


def ask(url: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
    """One request to the driver; its answer's value."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())["value"]


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium with a new, empty profile; nothing of it is left behind."""
    driver = shutil.which("chromedriver")
    assert driver is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            server = f"http://127.0.0.1:{_port(process)}"
            options = {"binary": chromium(), "args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = ask(f"{server}/session", {"capabilities": {"alwaysMatch": wanted}})
            url = f"{server}/session/{session['sessionId']}"
            try:
                yield Browser(url)
            finally:
                ask(url, method="DELETE")
        finally:
            process.terminate()
            process.wait(10)


def _port(process: subprocess.Popen[str]) -> int:
    """The port that the driver says it chose."""
    assert process.stdout is not None
    for line in process.stdout:
        if "started successfully on port" in line:
            return int(line.rstrip().rstrip(".").rsplit(" ", 1)[1])
    raise URLError("chromedriver did not start")


def main(page: Path, folder: Path) -> None:
    with browser() as window:
        for width in WIDTHS:
            for scheme in SCHEMES:
                window.show(page, width, scheme)
                name = f"{page.stem}-{width}-{scheme}.png"
                (folder / name).write_bytes(window.screenshot())
                wide = window.run("return document.documentElement.scrollWidth")
                print(name, f"content {wide} wide", window.console())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
