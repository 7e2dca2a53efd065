"""Every page of the explorer in a real Chromium: accessible, within its window, and usable by the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from support import explorer_calls, explorer_index, explorer_pair, live_model
from support.explorer_calls import RUN
from support.explorer_http import send
from support.explorer_pair import OTHER, OWN
from support.explorer_server import served
from support.hostile_text import WORDS
from support.planted_world import world as planted

from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.web.library import INDEX, Library
from autointerp.explorer.web.site import NAVIGATION
from autointerp.ledger.database import Ledger
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
pytestmark = pytest.mark.slow

HOSTILE = ["\n" + 60 * " ", 200 * "w", *(word for word in map(clean, WORDS) if word.strip())]
WORLD = "a-run-with-a-name-that-is-much-longer-than-most-names-of-runs-and-has-no-space-in-it-at-all-12345678"
_LONGEST_MS = 20_000
_TABS = 600


class Page(NamedTuple):
    address: str
    shown: str
    """Matches something once the page has its data."""
    key: str = ""
    """Pressed then, to have more on the page."""
    status: int = 200


PAGES = {
    "search": Page("/", ".hit .window"),
    "a search with filters": Page("/?q=legal&density=1e-6..", ".hit .window"),
    "map": Page("/map?q=legal&unit=feature-21&colour=maximum", "#atlas[aria-busy=false]", "h"),
    "try": Page(f"/runs/{WORLD}/try?feature=feature-1#text=filler1+harbour4&f=feature-1:2&control=1", "#pace:has-text('40 tokens')"),
    "compare": Page(f"/compare?with={OTHER}", ".pair-row .id"),
    "splits": Page(f"/compare?with={OTHER}&show=splits", ".pair-row .id"),
    "lists": Page("/lists", ".list h2"),
    "unit": Page("/u/feature-3", ".ex"),
    "a unit without an explanation": Page(f"/runs/{RUN}/u/feature-3", ".ex"),
    "runs": Page("/runs", "li.run"),
    "run": Page(f"/runs/{RUN}/about", ".stage"),
    "calls": Page(f"/runs/{RUN}/calls?state=unscored", ".hit .explanation"),
    "call": Page(f"/runs/{RUN}/calls/ITEM", ".verbatim"),
    "no page": Page("/nowhere", ".problem", status=404),
}  # fmt: skip


class Site(NamedTuple):
    url: str
    item: str

    def open(self, page: playwright.Page, name: str) -> None:
        """Open a page and wait until it has its data."""
        wanted = PAGES[name]
        answer = page.goto(self.url + wanted.address.replace("ITEM", self.item))
        assert answer.status == wanted.status
        page.locator(wanted.shown).first.wait_for(timeout=_LONGEST_MS)
        if wanted.key:
            page.keyboard.press(wanted.key)
        page.wait_for_timeout(300)  # parts that need answers of their own


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("results")
    explorer_pair.make(root, hostile=HOSTILE)
    index = IndexFolder(root / OWN / INDEX)
    explorer_index.add_map(index, index.about.n_features, ("law, courts, judges", "music, songs", ""))
    live_model.index(planted.make(tmp_path_factory.mktemp("world"), documents=20), root / WORLD / INDEX)
    ledger = Ledger.in_folder(root)
    keys = explorer_calls.make(ledger, 40, units=20, hostile=HOSTILE)
    explorer_calls.add_failed_attempt(ledger, keys[3], "anthropic answered 500")
    unexplained = explorer_index.make(
        root / RUN / INDEX, n_features=len(HOSTILE), n_neurons=0, hostile=HOSTILE, run=RUN
    )
    explorer_pair.set_labels(unexplained, {})
    with served(Library(root, index.path), ledger, usd=1.0) as url:
        send(url, "/api/notes/feature-3", {"text": HOSTILE[0], "version": 0}, "PUT")
        send(url, "/api/lists", {"name": "w" * 80, "unit_ids": ["feature-3", "feature-4"]})
        yield Site(url, keys[3][:20])
    ledger.close()


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about but an address that leads nowhere."""
    scheme, width = request.param
    # axe-core is a script that the pages' content security policy does not allow.
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
    )
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    context.close()
    assert [text for text in complaints if "404" not in text and "GPU stall" not in text] == []


def serious(page: playwright.Page) -> list[Any]:
    return [
        (rule["id"], rule["nodes"][0]["target"], rule["nodes"][0]["failureSummary"])
        for rule in axe.Axe().run(page).response["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


def test_no_page_of_the_navigation_is_left_out() -> None:
    assert {name for name, _ in NAVIGATION} <= set(PAGES)


FOCUSABLE = """() => {
  let n = 0;
  for (const node of document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')) {
    if (node.disabled || node.tabIndex < 0 || node.closest('#rows') || !node.checkVisibility({visibilityProperty: true})) continue;
    node.dataset.wanted = node.type === 'radio' ? 'one of ' + node.name : String(n++);
  }
}"""
"""Marks what the Tab key has to reach: one button of each choice, and no rows of long lists, which are drawn anew as they move."""
FOCUSED = """() => {
  const node = document.activeElement;
  if (node === document.body) return null;
  const outlined = [node, node.nextElementSibling].some(each => each && getComputedStyle(each).outlineStyle !== 'none');
  return [node.dataset.wanted ?? '', outlined ? '' : node.outerHTML.slice(0, 200)];
}"""
MISSED = """reached => [...document.querySelectorAll('[data-wanted]')].filter(node => !reached.includes(node.dataset.wanted))
  .map(node => node.outerHTML.slice(0, 200))"""


def tab_through(page: playwright.Page) -> None:
    """Assert that the Tab key reaches everything, shows where it is, and leaves the page at the end."""
    page.evaluate(FOCUSABLE)
    page.locator(".skip").focus()
    reached: list[str] = []
    for _ in range(_TABS):
        focused = page.evaluate(FOCUSED)
        if focused is None or (reached and focused[0] == reached[0]):
            break
        reached.append(focused[0])
        assert focused[1] == "", "this has no outline when it has the focus"
        page.keyboard.press("Tab")
    else:
        pytest.fail(f"the focus does not leave the page: {reached[-10:]}")
    assert page.evaluate(MISSED, reached) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_fits_into_its_window_and_needs_no_mouse(
    page: playwright.Page, site: Site, name: str
) -> None:
    site.open(page, name)
    page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true })")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.locator("h1").count() == 1
    page.keyboard.press("?")
    playwright.expect(page.locator("#help")).to_be_visible()
    playwright.expect(page.locator("#help h2")).to_be_in_viewport()
    if PAGES[name].status == 200:
        playwright.expect(page.locator("#help > p")).to_have_text(re.compile(r"\w+ \w+ .{40,}\."))
    assert serious(page) == []
    page.keyboard.press("?")
    playwright.expect(page.locator("#help")).to_be_hidden()
    tab_through(page)
