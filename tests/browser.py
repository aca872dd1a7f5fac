"""A real headless Chromium for tests of pages: from the system, without network, telling what went wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(FOUND is None, reason=f"no Chromium on PATH ({', '.join(NAMES)}): not looked at")
LOCAL = ("file:", "data:", "blob:")
LOOPBACK = "http://127.0.0.1:"


@contextmanager
def launched() -> Iterator[Browser]:
    """One browser; skips the test where there is none. Start it once a module: it takes a second or two."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is a development dependency")
    if FOUND is None:
        pytest.skip("no Chromium on PATH")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=FOUND, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page of a browser, and what a careful reader of its console and network would object to.

    ``where``: a file, which is to need no network, or the address of a server on loopback, which may ask that alone.
    """

    def __init__(self, browser: Browser, where: Path | str, *, width: int = 1280, dark: bool = False) -> None:
        self.problems: list[str] = []
        address, allowed = (where.as_uri(), LOCAL) if isinstance(where, Path) else (where, (*LOCAL, where))
        assert address.startswith(("file:", LOOPBACK))
        self._context = browser.new_context(viewport={"width": width, "height": 800}, offline=isinstance(where, Path),
                                            color_scheme="dark" if dark else "light")
        self.page: Page = self._context.new_page()
        self.page.on("console", lambda m: self.problems.append(f"{m.type}: {m.text}")
                     if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("request", lambda r: None if r.url.startswith(allowed) else self.problems.append(f"asked {r.url}"))
        self.page.goto(address)

    def close(self) -> None:
        """Close the page; AssertionError if there was anything to object to."""
        self._context.close()
        self.check()

    def check(self) -> None:
        """AssertionError if there was anything to object to so far."""
        assert self.problems == []
