"""Published notes and lists in a real Chromium, from Python's own web server: shown with their units and found, and nothing can be changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browser import silent_page
from support.published_site import hosted, make_results, publish_to
from support.results.labels import RUN

from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.web.library import INDEX
from autointerp.ledger.database import Ledger
from autointerp.ledger.own import lists, notes

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
pytestmark = pytest.mark.slow

N_UNITS = 30
NAME = "odd <img src=x onerror=window.pwned=1>"
NOTE = "seen twice\n<script>window.pwned=1</script>"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    results, root = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("host")
    make_results(results, n_features=N_UNITS, n_neurons=0, n_tokens=8, per_bin=1)
    key = IndexFolder(results / RUN / INDEX).about.dictionary.key
    ledger = Ledger.in_folder(results)
    with ledger.write() as tx:
        notes.write(tx, key, "feature-3", NOTE, 0)
        notes.write(tx, key, "feature-9", "another", 0)
        lists.make(tx, key, NAME, ["feature-9", "feature-2", "feature-3"])
        lists.make(tx, key, "empty", [])
    publish_to(root / "site", results, notes_in=ledger)
    ledger.close()
    with hosted(root) as address:
        yield f"{address}/site"


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about."""
    with silent_page(browser, *request.param) as opened:
        yield opened
        assert opened.evaluate("window.pwned") is None


def ids(page: playwright.Page) -> Any:
    return page.locator(".hit:not(.waiting) .id").all_inner_texts()


def test_a_unit_has_its_note_and_lists_which_lead_to_their_units(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/unit.html?u=feature-3")
    playwright.expect(page.locator(".note .text")).to_contain_text("seen twice<script>window.pwned=1</script>")
    assert page.get_by_role("button", name="lists").count() == 0
    page.keyboard.press("n")
    assert page.locator("textarea").count() == 0
    page.locator(".in-lists").get_by_role("link", name=NAME).click()
    playwright.expect(page.locator("#count")).to_have_text(f"3 of {N_UNITS}")
    assert ids(page) == ["feature-9", "feature-2", "feature-3"]
    page.goto(f"{url}/unit.html?u=feature-4")
    page.locator(".ex").first.wait_for()
    assert page.locator(".note .text").count() == 0


def test_the_page_of_lists_leads_to_units_by_keys_alone(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/index.html")
    page.get_by_role("link", name="lists", exact=True).click()
    playwright.expect(page.locator("#noted")).to_have_text("2 units with a note")
    playwright.expect(page.locator(".list")).to_have_count(2)
    assert page.locator(".list button, #new").count() == 0
    assert "notes" not in page.locator(".snapshot").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".list").filter(has_text="empty").locator("[download]").count() == 0
    for name, ending in (("CSV", "csv"), ("JSON", "json")):
        with page.expect_download() as download:
            page.locator(".list").filter(has_text=NAME).get_by_role("link", name=name).click()
        assert download.value.suggested_filename == f"list-1.{ending}"
        text = download.value.path().read_text()
        assert [text.find(unit) > 0 for unit in ("feature-9", "feature-2", "feature-3", "feature-4")] == [True] * 3 + [
            False
        ]
        assert "seen twice" in text
    page.locator("main").focus()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#count")).to_have_text(f"3 of {N_UNITS}")


def test_searches_find_within_lists_and_notes(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/lists.html")
    page.get_by_role("link", name=NAME).wait_for()
    address = page.get_by_role("link", name=NAME).get_attribute("href")
    assert address is not None
    for query, wanted in (
        (f"{address}&noted=yes", ["feature-9", "feature-3"]),
        (f"{address}&sort=-number", ["feature-9", "feature-3", "feature-2"]),
        ("./index.html?noted=yes", ["feature-3", "feature-9"]),
        ("./index.html?noted=no&rows=1-4", ["feature-1", "feature-2", "feature-4"]),
    ):
        page.goto(f"{url}/{query.removeprefix('./')}")
        playwright.expect(page.locator("#count")).to_have_text(f"{len(wanted)} of {N_UNITS}")
        assert ids(page) == wanted
    for query, said in (("list=99", "there is no list 99 of this dictionary"), ("noted=maybe", "neither yes nor no")):
        page.goto(f"{url}/index.html?{query}")
        page.evaluate(
            "query => import(new URL('static/dom.js', location.href)).then(dom => dom.fetchJson('./api/rows?' + query)).catch(e => { document.title = e.message; })",
            query,
        )
        assert said in page.title()


def test_axe_finds_nothing_serious(browser: playwright.Browser, url: str) -> None:
    for scheme, width, name in (("light", 1400, "lists.html"), ("dark", 390, "unit.html?u=feature-3")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
        page = context.new_page()
        page.goto(f"{url}/{name}")
        page.locator(".list, .note .text").first.wait_for()
        page.wait_for_timeout(300)
        found = axe.Axe().run(page).response["violations"]
        assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
        context.close()
