"""The explorer in a real Chromium: hostile text stays text, keys move between units, and scrolling shows rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support import explorer_index
from support.explorer_server import served
from support.hostile_text import WORDS
from support.results import labels as labelled
from support.results.labels import RUN

from autointerp.explorer.web.library import INDEX, Library
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytestmark = pytest.mark.slow

HOSTILE = [clean(word) for word in WORDS]
N_UNITS = 3_000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("results")
    ledger = labelled.make(root)
    folder = explorer_index.make(root / RUN / INDEX, n_features=N_UNITS, n_neurons=0, hostile=HOSTILE, run=RUN)
    with served(Library(root, folder.path), ledger) as address:
        yield address
    ledger.close()


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about."""
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    context.close()
    assert complaints == []


def hits(page: playwright.Page) -> Any:
    return page.locator(".hit:not(.waiting)")


def active(page: playwright.Page) -> str:
    return str(page.locator(".hit.active .id").inner_text())


def test_hostile_explanations_and_tokens_are_shown_as_text(page: playwright.Page, url: str) -> None:
    page.goto(url)
    hits(page).first.wait_for()
    for place, text in enumerate(HOSTILE[:12]):
        page.goto(f"{url}/u/feature-{place}")
        page.locator(".said").first.wait_for()
        if text.isprintable():
            assert page.locator(".said").first.inner_text() == text.strip()
        assert page.locator("#unit script, #unit img, #unit iframe, #unit svg[onload]").count() == 0
    page.goto(f"{url}/?q=%3Cscript%3Ewindow.pwned%3D1")
    hits(page).first.wait_for()
    assert "<script>" in hits(page).first.inner_text()
    page.goto(f"{url}/runs")
    page.locator(".run").first.wait_for()
    assert page.evaluate("window.pwned") is None


def test_a_unit_is_found_opened_and_left_by_keys_alone(page: playwright.Page, url: str) -> None:
    page.goto(url)
    hits(page).first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("legal")
    playwright.expect(page.locator("#count")).to_contain_text(f" of {N_UNITS:,}")
    assert "q=legal" in page.url
    page.keyboard.press("Escape")
    first = active(page)
    page.keyboard.press("j")
    second = active(page)
    assert second != first
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#within")).to_contain_text("2 of ")
    assert page.locator("h1").inner_text() == second
    page.keyboard.press("k")
    playwright.expect(page.locator("h1")).to_have_text(first)
    assert page.url.endswith(f"/u/{first}")
    page.keyboard.press("j")
    playwright.expect(page.locator("h1")).to_have_text(second)
    page.keyboard.press("x")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    hits(page).first.wait_for()
    assert "q=legal" in page.url
    assert page.locator("#text").input_value() == "legal"


def test_the_way_back_leads_to_the_unit_that_was_opened(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/?sort=-density")
    hits(page).first.wait_for()
    page.evaluate("document.getElementById('list').scrollTop = 60_000")
    hits(page).first.wait_for()
    playwright.expect(page.locator(".hit .window .h1, .hit .window .h9").first).to_be_visible()
    row = page.locator(".hit:not(.waiting) a").nth(8)
    name = row.locator(".id").inner_text()
    row.click()
    playwright.expect(page.locator("h1")).to_have_text(name)
    page.go_back()
    hits(page).first.wait_for()
    assert active(page) == name
    assert page.locator(".hit.active").is_visible()


def test_scrolling_shows_the_rows_of_the_place(page: playwright.Page, url: str) -> None:
    page.goto(url)
    hits(page).first.wait_for()
    for place in (500, 2_900, 40):
        page.evaluate(
            "place => { const list = document.getElementById('list'); const height = document.querySelector('.hit').offsetHeight;"
            " list.scrollTop = place * height }",
            place,
        )
        playwright.expect(page.get_by_text(f"feature-{place + 2}", exact=True)).to_be_visible(timeout=5_000)
    page.keyboard.press("End")
    playwright.expect(page.locator(".hit.active .id")).to_have_text(f"feature-{N_UNITS - 1}")
    playwright.expect(page.locator(".hit.active")).to_be_in_viewport()


def test_a_wrong_filter_is_said_and_an_empty_result_too(page: playwright.Page, url: str) -> None:
    page.goto(url)
    hits(page).first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("qqqq")
    playwright.expect(page.locator("#count")).to_contain_text(f"0 of {N_UNITS:,}")
    playwright.expect(hits(page)).to_have_count(0)
