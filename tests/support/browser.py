"""A Chromium driven by Playwright, for tests that open pages in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
_OF_THE_RENDERER = "GPU stall due to ReadPixels"
"""What Chromium says of WebGL where it draws without a GPU."""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A Playwright browser, shared by the tests of a module. While it is open, its thread cannot run another event loop."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield opened
        opened.close()


@contextmanager
def silent_page(browser: Any, scheme: str, width: int) -> Iterator[Any]:
    """A page at which the browser has nothing to complain about, and which asks this machine alone."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    opened.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
    opened.on("request", lambda asked: complaints.append(asked.url) if "//127.0.0.1:" not in asked.url else None)
    yield opened
    context.close()
    assert [text for text in complaints if _OF_THE_RENDERER not in text] == []
