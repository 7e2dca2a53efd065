"""Published judgements in a real Chromium, from Python's own web server: found, sorted and shown as the explorer does, and never as markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from starlette.applications import Starlette
from support import explorer_calls
from support.browser import silent_page
from support.explorer_calls import RUN as ASKED
from support.hostile_text import WORDS
from support.published_site import hosted, make_results, publish_to
from support.results.labels import RUN

from autointerp.explorer.publishing import answers
from autointerp.explorer.publishing.packing import rounded
from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.known_ledger import KnownLedger
from autointerp.explorer.web.library import INDEX, Library
from autointerp.ledger.database import Ledger
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
pytestmark = pytest.mark.slow

HOSTILE = [word for word in map(clean, WORDS) if word.strip()]
N, UNITS = 240, 60
SEARCHES: list[dict[str, str]] = [
    {}, {"of": "calls"}, {"kind": "grade"}, {"kind": "explain", "unit": "feature-3"}, {"state": "unscored"},
    {"state": "refusal", "of": "calls"}, {"grade": "2", "sort": "-at"}, {"sort": "-cost", "of": "calls"}, {"sort": "tokens"},
    {"sort": "-grade"}, {"sort": "time"}, {"arm": "main"}, {"judge": "second"}, {"unit": "feature-99"}, {"q": "mark77"},
    {"q": "LANTERN number"}, {"q": "copper", "state": "unscored", "of": "calls"}, {"q": "<script>"}, {"q": "window.pwned=3"},
    {"q": "100%"}, {"q": "feature-12"}, {"q": "zzzz"}, {"q": "velvet", "sort": "-tokens", "grade": "0"}, {"from": "100", "limit": "30"},
]  # fmt: skip
WRONG: list[dict[str, str]] = [
    {"of": "all"}, {"sort": "size"}, {"grade": "x"}, {"q": "a b c d e f g h i"}, {"q": "x" * 301},
]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    return make_results(root, runs=(ASKED, RUN), n_features=UNITS, n_neurons=0, n_tokens=8, per_bin=1)


@pytest.fixture(scope="module")
def ledger(results: Path) -> Iterator[Ledger]:
    opened = Ledger.in_folder(results)
    keys = explorer_calls.make(opened, N, units=UNITS, hostile=HOSTILE)
    explorer_calls.add_failed_attempt(opened, keys[3], "anthropic answered 500")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def live(results: Path, ledger: Ledger) -> Starlette:
    return application(Library(results, results / ASKED / INDEX), Access(read_only=True), KnownLedger(results, ledger))


@pytest.fixture(scope="module")
def url(results: Path, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("host")
    publish_to(root / "some" / "site", results, (ASKED, RUN), ledger=ledger, calls=True)
    with hosted(root) as address:
        yield f"{address}/some/site"


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about, and which asks its own host alone."""
    with silent_page(browser, *request.param) as opened:
        yield opened
        assert opened.evaluate("window.pwned") is None


def asked(page: playwright.Page, run: str, address: str) -> Any:
    """The answer of the published folder to an address of a run's data, or the sentence that it is refused with."""
    return page.evaluate(
        "async address => { const {fetchJson} = await import(new URL('static/dom.js', location.href));"
        " try { return await fetchJson(address); } catch (error) { return error.message; } }",
        f"./runs/{run}/api/{address}",
    )


def plain(value: Any) -> Any:
    """What the explorer answers, with numbers as they are published, and without what concerns the owner of the run alone."""
    dropped = ("worker", "request_id", "batch_key", "call_key", "reserved_usd", "exemplar_id")
    if isinstance(value, dict):
        return {
            key: int(each) if key == "started_at" and each is not None else plain(each)
            for key, each in value.items()
            if key not in dropped
        }
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("run", [ASKED, RUN])
def test_searches_find_what_the_explorer_finds_in_its_order(
    browser: playwright.Browser, url: str, live: Starlette, run: str
) -> None:
    page = browser.new_page()
    page.goto(f"{url}/runs.html")
    n_found = 0
    for given in SEARCHES:
        address = f"calls?{urlencode(given)}"
        expected = answers.data(live, f"/runs/{run}/api/{address}")
        found = asked(page, run, address)
        while found["read"] < found["to_read"]:
            found = asked(page, run, address)
        wanted = json.loads(json.dumps(rounded(plain(expected))))
        for answer in (found, wanted):
            del answer["read"], answer["to_read"]
        assert found == wanted, given
        n_found += found["n"]
    assert n_found > N
    for given in WRONG:
        assert (
            asked(page, run, f"calls?{urlencode(given)}")
            == answers.data(live, f"/runs/{run}/api/calls?{urlencode(given)}")["error"]
        )
    page.close()


def test_items_and_calls_are_those_of_the_explorer(browser: playwright.Browser, url: str, live: Starlette) -> None:
    page = browser.new_page()
    page.goto(f"{url}/runs.html")
    for run, of, step in ((ASKED, "items", 13), (ASKED, "calls", 17), (RUN, "items", 9)):
        ids = [row["id"] for row in answers.data(live, f"/runs/{run}/api/calls?of={of}&limit=200")["rows"]]
        assert ids
        for name in ids[::step]:
            address = f"calls/{quote(name, safe='')}"
            search = f"?of={of}&sort=-at"
            found, expected = (
                asked(page, run, address + search),
                answers.data(live, f"/runs/{run}/api/{address}{search}"),
            )
            wanted = json.loads(json.dumps(rounded(plain(expected))))
            del wanted["item"]["window"]  # `window` has it whole
            assert plain(found) == wanted
            made = asked(page, run, f"{address}/rebuilt")
            assert made == answers.data(live, f"/runs/{run}/api/{address}/rebuilt")
    assert "the run has no item" in asked(page, ASKED, "calls/nothing")
    page.close()


def test_an_item_is_found_opened_and_left_by_keys_alone(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/runs.html")
    page.locator(f'[id="{ASKED}"]').get_by_role("link", name=ASKED).click()
    page.locator(".stage").first.wait_for()
    assert page.url.endswith(f"/some/site/runs/{ASKED}/about.html")
    page.keyboard.press("c")
    page.locator(".hit .explanation").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("mark77")
    playwright.expect(page.locator("#count")).to_have_text(f"1 of {N + UNITS + 1} items")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#within")).to_have_text("1 of 1")
    page.locator(".verbatim", has_text="<<mark77>>").wait_for()
    assert "/call.html?i=" in page.url
    permanent = page.url
    page.keyboard.press("o")
    page.locator(".ex").first.wait_for()
    assert f"/some/site/unit.html?u=feature-{77 % UNITS}" in page.url
    page.goto(permanent)
    page.locator(".verbatim", has_text="<<mark77>>").wait_for()
    page.keyboard.press("u")
    playwright.expect(page.locator("#count")).to_have_text(f"1 of {N + UNITS + 1} items")
    page.keyboard.press("u")
    page.locator(".stage").first.wait_for()
    page.keyboard.press("u")
    page.locator("li.run").first.wait_for()


def test_the_pages_of_a_run_lead_to_its_own_index(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/runs/{RUN}/about.html")
    page.locator(".verdict").first.wait_for()
    page.locator("#pages").get_by_role("link", name="units").click()
    page.locator(".hit .id").first.wait_for()
    assert f"/some/site/runs/{RUN}/index.html" in page.url
    page.goto(f"{url}/runs/{RUN}/calls.html?state=scored&kind=grade")
    page.locator(".hit .window mark, .hit .window .mark, .hit .window").first.wait_for()
    page.locator(".hit a").first.click()
    page.locator(".ended-box").wait_for()
    page.keyboard.press("j")
    playwright.expect(page.locator("#within")).to_contain_text("2 of ")
    page.go_back()
    playwright.expect(page.locator("#within")).to_contain_text("1 of ")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.get_by_role("link", name="try", exact=True).count() == 0
    assert "judgements" not in page.locator(".snapshot").inner_text()


def test_hostile_explanations_prompts_and_replies_are_shown_as_text(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/runs/{ASKED}/calls.html?kind=grade")
    page.locator(".hit .explanation").first.wait_for()
    assert page.locator("#rows script, #rows img, #rows iframe, #rows svg[onload]").count() == 0
    ids = asked_ids(page)
    for name in ids:
        page.goto(f"{url}/runs/{ASKED}/call.html?i={name}")
        page.locator(".verbatim").first.wait_for()
        page.keyboard.press("x")
        assert page.locator("#item script, #item img, #item iframe, #item svg[onload], #item [onerror]").count() == 0
    page.goto(f"{url}/runs/{ASKED}/call.html?i=%3Cscript%3Ewindow.pwned=1%3C/script%3E")
    playwright.expect(page.locator("#problem")).to_contain_text("the run has no item")


def asked_ids(page: playwright.Page) -> list[str]:
    """Items of the first units, which have hostile texts."""
    found = page.evaluate(
        "async () => (await (await import(new URL('../../static/dom.js', location.href))).fetchJson("
        "new URL('api/calls?kind=grade&limit=60', location.href).pathname + '?kind=grade&limit=60')).rows.map(row => row.id)"
    )
    assert len(found) == 60
    return [str(each) for each in found[::4]]


@pytest.mark.parametrize("name", ["about.html", "calls.html?state=unscored", "calls.html?of=calls"])
def test_axe_finds_nothing_serious(browser: playwright.Browser, url: str, name: str) -> None:
    for scheme, width in (("light", 1400), ("dark", 390)):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
        page = context.new_page()
        page.goto(f"{url}/runs/{ASKED}/{name}")
        page.locator(".hit .explanation, .stage").first.wait_for()
        if name.endswith("of=calls"):
            page.locator(".hit a").nth(4).click()
            page.locator(".verbatim").first.wait_for()
        page.wait_for_timeout(300)
        found = axe.Axe().run(page).response["violations"]
        assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        context.close()
