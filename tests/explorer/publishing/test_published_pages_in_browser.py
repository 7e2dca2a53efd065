"""A published folder below a path of `python -m http.server`, in a real Chromium: it finds, sorts and shows what the explorer does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browser import silent_page
from support.hostile_text import WORDS
from support.published_site import OTHER, hosted, make_results, publish_to
from support.results.labels import RUN

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.publishing.packing import rounded
from autointerp.explorer.search.query import Query
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.library import INDEX
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
pytestmark = pytest.mark.slow

HOSTILE = [clean(word) for word in WORDS]
N_UNITS = 700
SEARCHES: list[dict[str, str]] = [
    {}, {"q": "legal"}, {"q": "legal terms"}, {"q": "LEG"}, {"q": "par", "sort": "-density"}, {"q": "word1"},
    {"q": "the", "explained": "no"}, {"q": "İ ΣΑΣ"}, {"sort": "-grade"}, {"sort": "grade"}, {"sort": "-distinction"},
    {"sort": "probability"}, {"sort": "-events"}, {"sort": "maximum"}, {"sort": "-row"}, {"kind": "neuron"},
    {"kind": "feature", "sort": "-number"}, {"explained": "yes"}, {"density": "1e-4..0.01"}, {"grade": "1.5.."},
    {"maximum": "..12", "mean": "1..inf", "sort": "mean"}, {"q": "cities", "grade": "..2", "explained": "yes"},
    {"q": "zzzz"}, {"sort": "match"}, {"row": "10..20"}, {"events": "100..", "sort": "-events"},
]  # fmt: skip
WRONG: list[dict[str, str]] = [
    {"q": "!?"}, {"kind": "cat"}, {"explained": "maybe"}, {"sort": "size"}, {"grade": "1"}, {"grade": ".."},
    {"density": "a..b"}, {"density": "nan.."}, {"q": "x" * 301},
]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    return make_results(
        root, runs=(RUN, OTHER), n_features=N_UNITS - 40, n_neurons=40, n_tokens=24, per_bin=1, hostile=HOSTILE
    )


@pytest.fixture(scope="module")
def url(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("host")
    publish_to(root / "someone" / "site", results, (RUN, OTHER))
    with hosted(root) as address:
        yield f"{address}/someone/site"


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about, and which asks its own host alone."""
    with silent_page(browser, *request.param) as opened:
        yield opened


def hits(page: playwright.Page) -> Any:
    return page.locator(".hit:not(.waiting)")


def asked(page: playwright.Page, address: str, given: dict[str, str]) -> Any:
    """The answer of the published folder to an address of data, or the sentence that it is refused with."""
    return page.evaluate(
        "async ([address, given]) => { const {fetchJson} = await import(new URL('static/dom.js', location.href));"
        " try { return await fetchJson(address + new URLSearchParams(given)); } catch (error) { return error.message; } }",
        [address, given],
    )


def test_searches_find_what_the_explorer_finds_in_its_order(
    browser: playwright.Browser, url: str, results: Path
) -> None:
    reader = Reader(IndexFolder(results / RUN / INDEX))
    page = browser.new_page()
    page.goto(f"{url}/runs.html")
    for given in SEARCHES:
        found = reader.find(Query.of(given))
        answer = asked(page, "./api/rows?", given | {"from": "3", "limit": "40"})
        assert [row["row"] for row in answer["rows"]] == found[3:43].tolist(), given
        assert (answer["n"], answer["of"]) == (len(found), N_UNITS)
        if len(found) > 3:
            assert answer["rows"] == json.loads(json.dumps(rounded(reader.cards(found[3:43]))))
            row = int(found[len(found) // 2])
            name = reader.columns.unit_ids[row].as_py()
            within = asked(page, f"./api/units/{name}?", given)["within"]
            ids = [reader.columns.unit_ids[int(each)].as_py() for each in found]
            place = ids.index(name)
            after = ids[place + 1] if place + 1 < len(ids) else None
            assert within == {"n": len(found), "place": place, "previous": ids[place - 1], "next": after}
    for given in WRONG:
        with pytest.raises(UsageError) as refused:
            reader.find(Query.of(given))
        assert asked(page, "./api/rows?", given) == str(refused.value), given
    assert "no unit" in asked(page, "./api/units/feature-99999?", {})
    chosen = asked(page, "./api/rows?", {"rows": "7,3-5,698-900", "sort": "-row"})
    assert [row["row"] for row in chosen["rows"]] == [699, 698, 7, 5, 4, 3]
    assert "is no list of rows" in asked(page, "./api/rows?", {"rows": "5-3"})
    features = asked(page, "./api/found?", {"sort": "-density"})["rows"]
    assert features == [row for row in reader.find(Query.of({"sort": "-density"})).tolist() if row < N_UNITS - 40]
    page.close()


def test_meaning_is_ranked_as_by_the_explorer(browser: playwright.Browser, url: str, results: Path) -> None:
    reader = Reader(IndexFolder(results / RUN / INDEX))
    page = browser.new_page()
    page.goto(f"{url}/runs.html")
    for text in ("law and courts", "animals", "the weather in winter"):
        found = reader.find(Query.of({"meaning": text}))
        answer = asked(page, "./api/rows?", {"meaning": text, "limit": "200"})
        assert answer["n"] == len(found)
        similarity = reader._fits_meaning(text)[1]  # vectors of 8 bits move the order of like ones alone
        order = [row["row"] for row in answer["rows"]]
        assert np.all(np.diff(similarity[order]) < 0.01)
        assert len(set(order[:20]) & set(found[:20].tolist())) >= 17
    assert "has no word whose meaning" in asked(page, "./api/rows?", {"meaning": "qqqqxx zzzzyy"})
    page.close()


def test_a_unit_is_found_opened_and_left_by_keys_alone(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/")
    hits(page).first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("legal")
    playwright.expect(page.locator("#count")).to_contain_text(f" of {N_UNITS}")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    second = page.locator(".hit.active .id").inner_text()
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#within")).to_contain_text("2 of ")
    playwright.expect(page.locator("h1")).to_have_text(second)
    assert page.url.endswith(f"/someone/site/unit.html?u={second}")
    page.locator(".ex").first.wait_for()
    page.keyboard.press("k")
    playwright.expect(page.locator("h1")).not_to_have_text(second)
    page.go_back()
    playwright.expect(page.locator("h1")).to_have_text(second)
    page.keyboard.press("u")
    hits(page).first.wait_for()
    assert page.url.endswith("/someone/site/index.html?q=legal")


def test_filters_and_the_order_stand_in_the_address(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/index.html?grade=2..&sort=-grade&kind=feature")
    hits(page).first.wait_for()
    shown = [float(text) for text in page.locator(".hit .grade").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    assert min(shown) >= 2
    page.locator(".hit .window mark").first.wait_for()


def test_runs_lead_to_their_reports_and_dictionaries(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/")
    page.get_by_role("link", name="runs").click()
    playwright.expect(page.locator(".run")).to_have_count(2)
    page.locator(f'[id="{OTHER}"]').get_by_role("link", name="units").click()
    hits(page).first.wait_for()
    assert f"/someone/site/runs/{OTHER}/index.html" in page.url
    hits(page).first.locator("a").click()
    page.locator(".ex").first.wait_for()
    page.get_by_role("link", name="runs", exact=True).click()
    page.locator(f'[id="{RUN}"]').get_by_role("link", name="report").click()
    playwright.expect(page).to_have_title("a report")


def test_an_address_is_permanent_and_one_without_a_unit_is_explained(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/unit.html?u=neuron-3%2B")
    playwright.expect(page.locator("h1")).to_have_text("neuron-3+")
    page.locator(".ex").first.wait_for()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.url.endswith("unit.html?u=neuron-3%2B#main")
    page.goto(f"{url}/unit.html?u=%3Cscript%3E")
    playwright.expect(page.locator("#problem")).to_contain_text("the index has no unit")
    assert page.locator("#unit script").count() == 0


def test_pages_say_that_they_are_a_copy_and_offer_nothing_that_needs_a_server(page: playwright.Page, url: str) -> None:
    for name in ("index.html", "unit.html?u=feature-3", "runs.html"):
        page.goto(f"{url}/{name}")
        page.locator(".hit .id, .ex, .run").first.wait_for()
        assert "autointerp 1.2.3" in page.locator(".snapshot").inner_text()
        assert page.get_by_role("link", name="try", exact=True).count() == 0
        assert page.locator(".needs-server:visible").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_explanations_and_tokens_are_shown_as_text(page: playwright.Page, url: str) -> None:
    for place, text in enumerate(HOSTILE[:8]):
        page.goto(f"{url}/unit.html?u=feature-{place}")
        page.locator(".said").first.wait_for()
        if text.isprintable():
            assert page.locator(".said").first.inner_text() == text.strip()
        assert page.locator("#unit script, #unit img, #unit iframe, #unit svg[onload]").count() == 0
    assert page.evaluate("window.pwned") is None


@pytest.mark.parametrize("path", ["index.html?q=legal&density=1e-6..", "unit.html?u=feature-40", "runs.html"])
def test_axe_finds_nothing_serious(browser: playwright.Browser, url: str, path: str) -> None:
    for scheme, width in (("light", 1400), ("dark", 390)):
        # axe-core is a script that the pages' content security policy does not allow.
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
        )
        page = context.new_page()
        page.goto(f"{url}/{path}")
        page.locator(".hit .window, .ex, .run").first.wait_for()
        page.wait_for_timeout(300)
        found = axe.Axe().run(page).response["violations"]
        serious = [
            (rule["id"], rule["nodes"][0]["target"]) for rule in found if rule["impact"] in ("serious", "critical")
        ]
        assert serious == []
        context.close()
