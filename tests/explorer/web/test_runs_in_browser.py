"""The pages of runs in a real Chromium: by keys alone, live while a run goes on, and hostile replies inert."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import explorer_calls, explorer_index
from support.explorer_calls import RUN
from support.explorer_server import served
from support.hostile_text import WORDS

from autointerp.explorer.web.library import INDEX, Library
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytestmark = pytest.mark.slow

HOSTILE = [clean(word) for word in WORDS]
N = 300


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def keys() -> list[str]:
    return []


@pytest.fixture(scope="module")
def url(results: Path, keys: list[str]) -> Iterator[str]:
    ledger = Ledger.in_folder(results)
    keys += explorer_calls.make(ledger, N, units=40, hostile=HOSTILE)
    explorer_calls.make(ledger, 5, run="other-1", state="stopped")
    explorer_calls.add_failed_attempt(ledger, keys[3], "anthropic answered 500")
    folder = explorer_index.make(results / RUN / INDEX, n_features=60, n_neurons=0, run=RUN, hostile=HOSTILE)
    with served(Library(results, folder.path), ledger) as address:
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


def ready(page: playwright.Page) -> None:
    page.locator("[aria-busy=false]").first.wait_for()


def test_from_the_runs_to_an_unscored_reply_and_back_by_keys_alone(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/runs")
    page.locator(".run").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("asked haiku")
    playwright.expect(page.locator("#count")).to_have_text("1 of 2 runs")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("h1")).to_have_text(RUN)
    ready(page)
    page.keyboard.press("c")
    hits(page).first.wait_for()
    page.keyboard.press("m")
    playwright.expect(page.locator("#count")).to_contain_text(f"{N // 5} of ")
    page.keyboard.press("j")
    page.keyboard.press("j")
    wanted = page.locator(".hit.active a").get_attribute("href")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#within")).to_contain_text(f" of {N // 5}")
    assert page.url.endswith(str(wanted))
    playwright.expect(page.locator(".ended-box")).to_contain_text("Unscored")
    playwright.expect(page.locator("pre mark").first).to_contain_text("<<mark")
    page.keyboard.press("j")
    playwright.expect(page.locator("#within")).to_contain_text("3 of ")
    assert not page.url.endswith(str(wanted))
    page.keyboard.press("k")
    playwright.expect(page.locator("#within")).to_contain_text("2 of ")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    hits(page).first.wait_for()
    assert "state=unscored" in page.url
    page.keyboard.press("u")
    playwright.expect(page.locator("h1")).to_have_text(RUN)
    ready(page)
    page.keyboard.press("u")
    page.locator(".run").first.wait_for()


def test_a_unit_leads_to_its_judgements_and_an_item_to_its_unit(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/u/feature-37")
    page.get_by_role("link", name="judgements of this unit").first.click()
    playwright.expect(page.locator("#count")).to_contain_text(" of ")
    playwright.expect(hits(page).first.locator(".id")).to_have_text("feature-37")
    hits(page).nth(1).locator("a").click()
    ready(page)
    page.keyboard.press("o")
    playwright.expect(page.locator("h1")).to_have_text("feature-37")
    assert page.url == f"{url}/runs/{RUN}/u/feature-37"


def test_hostile_replies_are_shown_as_text(page: playwright.Page, url: str, keys: list[str]) -> None:
    page.goto(f"{url}/runs/{RUN}/calls?sort=at")
    hits(page).first.wait_for()
    for place, text in enumerate(HOSTILE[:10]):
        page.goto(f"{url}/runs/{RUN}/calls/{keys[place][:20]}")
        ready(page)
        page.locator(".verbatim").first.wait_for()
        if text.isprintable() and place % 5 != 4:
            assert any(text in reply for reply in page.locator(".verbatim pre").all_inner_texts())
        assert page.locator("#item script, #item img, #item iframe, #item svg").count() == 0
    for path in (f"/runs/{RUN}/about", "/runs", f"/runs/{RUN}/calls?of=calls&q=%3Cscript%3E"):
        page.goto(url + path)
        page.locator(".stage, .run, .hit").first.wait_for()
    assert page.evaluate("window.pwned") is None


def test_progress_is_shown_while_a_run_goes_on(browser: playwright.Browser, tmp_path: Path) -> None:
    ledger = Ledger.in_folder(tmp_path)
    explorer_calls.make(ledger, 20, state="running")
    explorer_calls.add_pending(ledger, 6)
    goes_on = threading.Event()

    def work() -> None:
        """A run in another thread, with a connection of its own."""
        own = Ledger.in_folder(tmp_path)
        goes_on.wait(60)
        for _ in range(6):
            explorer_calls.finish_one(own)
        with own.write() as tx:
            runs.set_state(tx, RUN, "done")
        own.close()

    worker = threading.Thread(target=work)
    worker.start()
    with served(Library(tmp_path, None), ledger) as url:
        page = browser.new_page()
        page.goto(f"{url}/runs/{RUN}/about")
        playwright.expect(page.locator(".stage").nth(1)).to_contain_text("20 of 26 jobs done")
        playwright.expect(page.locator("#live")).to_have_text("live")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        goes_on.set()
        playwright.expect(page.locator(".stage").nth(1)).to_contain_text("26 jobs done", timeout=20_000)
        playwright.expect(page.locator("#log li")).to_have_count(7)
        playwright.expect(page.locator("#live")).to_have_text("")
        asked.clear()
        page.wait_for_timeout(5_000)
        assert asked == []  # nothing is asked for once the run has ended
        page.close()
    worker.join()
    ledger.close()


def test_a_hidden_page_asks_for_nothing(browser: playwright.Browser, tmp_path: Path) -> None:
    ledger = Ledger.in_folder(tmp_path)
    explorer_calls.make(ledger, 5, state="running")
    with served(Library(tmp_path, None), ledger) as url:
        page = browser.new_page()
        page.goto(f"{url}/runs")
        page.locator(".run").first.wait_for()
        asked: list[str] = []
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.isHidden}); window.isHidden = true;"
            " document.dispatchEvent(new Event('visibilitychange'))"
        )
        page.wait_for_timeout(500)
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(5_000)
        assert asked == []
        with page.expect_response("**/api/runs"):
            page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
        page.close()
    ledger.close()
