"""A real browser for pages that stand alone: what they show, say to the console, and fetch.

Debian's Chromium by Debian's driver; `needs_browser` skips tests where either is absent.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"

DESKTOP, PHONE = (1280, 900), (390, 844)

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

needs_browser = pytest.mark.skipif(
    not (Path(CHROMIUM).exists() and Path(DRIVER).exists()),
    reason="needs Debian's chromium and chromium-driver",
)


@dataclass(frozen=True)
class Page:
    """An open page.

    Attributes:
        driver: selenium's driver, to find elements, press keys and run scripts.
        file: the page's file.
    """

    driver: webdriver.Chrome
    file: Path

    def console_errors(self) -> list[str]:
        """What went wrong on the page since this was asked last: scripts, and files not had."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]

    def requests(self) -> list[str]:
        """Addresses that the page asked for since this was asked last, but for its own file.

        By the browser's own account of the network, which tells of failed requests too. What lies
        within the page (data: and blob: addresses) is no request.
        """
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        # The browser's own first tab is full of its own resources.
        own = (self.file.as_uri(), "data:", "blob:", "chrome:")
        return [url for url in asked if not url.startswith(own)]

    def width_overflow(self) -> int:
        """Pixels by which the page is wider than the window; 0 where nothing sticks out."""
        return int(
            self.run(
                "const page = document.documentElement;"
                "return Math.max(0, page.scrollWidth - page.clientWidth)"
            )
        )

    def inner_width(self) -> int:
        """Width of the viewport in CSS pixels."""
        return int(self.run("return window.innerWidth"))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)  # type: ignore[no-untyped-call]

    def resize(self, size: tuple[int, int]) -> None:
        """Makes the viewport (width, height) in CSS pixels, also narrower than windows can be."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def screenshot(self, to: Path) -> Path:
        """The whole page as a PNG, however long it is."""
        width = self.inner_width()
        height = int(self.run("return document.documentElement.scrollHeight"))
        before = int(self.run("return window.innerHeight"))
        self.resize((width, height))
        self.driver.save_screenshot(str(to))
        self.resize((width, before))
        return to


@contextmanager
def browser_page(file: Path, size: tuple[int, int] = DESKTOP) -> Iterator[Page]:
    """Opens a local HTML file in a browser of its own, in a viewport of `size` (width, height)."""
    profile = tempfile.mkdtemp(prefix="chromium-")
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={profile}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    try:
        page = Page(driver, file.absolute())
        page.resize(size)
        driver.get(page.file.as_uri())
        yield page
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
