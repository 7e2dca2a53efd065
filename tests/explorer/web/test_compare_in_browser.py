"""The comparison of two indexes in a real Chromium: computed when it is opened, read by keyboard alone, and inert to hostile text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import explorer_pair
from support.explorer_pair import OTHER, OWN, Planted
from support.explorer_server import served
from support.hostile_text import WORDS
from support.results import labels as labelled

from autointerp.explorer.web.library import INDEX, Library
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytestmark = pytest.mark.slow

HOSTILE = [clean(word) for word in WORDS]
_LONGEST_MS = 120_000


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Planted]]:
    """An explorer with two runs whose comparison is computed by the first page that shows it, and a run without an index."""
    results: Path = tmp_path_factory.mktemp("results")
    truth = explorer_pair.make(results, hostile=HOSTILE)
    labelled.make(results).close()
    with served(Library(results, results / OWN / INDEX)) as address:
        yield address, truth


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


def rows(page: playwright.Page) -> Any:
    return page.locator(".pair-row:not(.waiting)")


def open_comparison(page: playwright.Page, url: str, more: str = "") -> None:
    page.goto(f"{url}/compare?with={OTHER}{more}")
    rows(page).first.wait_for(timeout=_LONGEST_MS)


def test_a_comparison_is_chosen_computed_and_read_by_keys_alone(
    page: playwright.Page, planted: tuple[str, Planted]
) -> None:
    url, truth = planted
    page.goto(f"{url}/compare")
    playwright.expect(page.get_by_text(f"autointerp index {labelled.RUN}")).to_be_visible()
    link = page.get_by_role("link", name=OTHER)
    for _ in range(12):
        if link.evaluate("node => node === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    rows(page).first.wait_for(timeout=_LONGEST_MS)
    playwright.expect(page.locator("#work")).to_be_hidden()
    assert OTHER in page.locator(".verdict").inner_text()
    page.keyboard.press("j")
    playwright.expect(page.locator(".pair-row.active a").first).to_be_focused()
    first = page.locator(".pair-row.active").inner_text()
    page.keyboard.press("j")
    assert page.locator(".pair-row.active").inner_text() != first
    page.keyboard.press("4")
    playwright.expect(page.locator("#count")).to_have_text(f"{3 * len(truth.splits)} entries")
    assert "show=splits" in page.url
    parents = {f"feature-{parent}" for parent in truth.splits[:, 0].tolist()}
    assert page.locator(".pair-row.parent .id").first.inner_text() in parents
    page.keyboard.press("6")
    playwright.expect(page.locator("#count")).to_have_text(f"{len(truth.only_own)} entries")
    page.keyboard.press("/")
    page.keyboard.type("qqqqqq")
    playwright.expect(page.locator("#count")).to_have_text("0 entries")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    playwright.expect(page.locator("#count")).to_have_text(f"{len(truth.only_own)} entries")
    page.keyboard.press("Escape")
    name = page.locator(".pair-row.active a.own .id").inner_text()
    page.keyboard.press("Enter")
    playwright.expect(page.locator("h1")).to_have_text(name)
    page.go_back()
    rows(page).first.wait_for()
    assert "show=only-own" in page.url


def test_a_unit_is_linked_with_its_match_in_the_other_dictionary(
    page: playwright.Page, planted: tuple[str, Planted]
) -> None:
    url, truth = planted
    open_comparison(page, url)
    own, other = truth.pairs[0].tolist()
    page.goto(f"{url}/u/feature-{own}")
    there = page.locator(".elsewhere").get_by_role("link", name=f"feature-{other}", exact=True)
    there.click()
    playwright.expect(page.locator("h1")).to_have_text(f"feature-{other}")
    assert f"/runs/{OTHER}/u/" in page.url
    playwright.expect(page.locator(".elsewhere").get_by_role("link", name=f"feature-{own}", exact=True)).to_be_visible()


def test_the_other_feature_of_a_pair_opens_in_its_index(page: playwright.Page, planted: tuple[str, Planted]) -> None:
    open_comparison(page, planted[0], "&sort=number")
    page.keyboard.press("j")
    name = page.locator(".pair-row.active a.other .id").inner_text()
    page.keyboard.press("o")
    playwright.expect(page.locator("h1")).to_have_text(name)
    assert f"/runs/{OTHER}/u/" in page.url


def test_hostile_explanations_stay_text(page: playwright.Page, planted: tuple[str, Planted]) -> None:
    open_comparison(page, planted[0], "&q=%3Cscript%3Ewindow.pwned%3D1")
    assert "<script>" in rows(page).first.inner_text()
    for show in ("changed", "splits", "only-own", "only-other"):
        open_comparison(page, planted[0], f"&show={show}")
        assert page.locator("#list script, #list img, #list iframe, #list svg[onload]").count() == 0
    assert page.evaluate("window.pwned") is None


def test_nothing_is_wider_than_the_screen(page: playwright.Page, planted: tuple[str, Planted]) -> None:
    open_comparison(page, planted[0])
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_an_error_is_said_on_the_page(browser: playwright.Browser, planted: tuple[str, Planted]) -> None:
    page = browser.new_page()  # the browser complains about the status of the answer
    page.goto(f"{planted[0]}/compare?with={labelled.RUN}")
    playwright.expect(page.locator("#problem")).to_contain_text(f"autointerp index {labelled.RUN}")
    page.close()
