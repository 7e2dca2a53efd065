"""A Chromium driven by Playwright, for tests that open pages in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


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
