"""Published comparisons in a real Chromium, from Python's own web server: the browser finds, sorts and shows what the explorer does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support import explorer_pair
from support.browser import silent_page
from support.explorer_pair import OTHER, OWN, Planted
from support.hostile_text import WORDS
from support.published_site import hosted, publish_to

from autointerp.errors import UsageError
from autointerp.explorer.comparison import files
from autointerp.explorer.comparison.listing import SHOWN, SORTS, Listing, Request
from autointerp.explorer.comparison.pairs import Pairs
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.publishing.packing import rounded
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.library import INDEX
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
pytestmark = pytest.mark.slow

HOSTILE = [clean(word) for word in WORDS]
AWAY = "away-33333333"
MORE: list[dict[str, str]] = [
    {"q": "legal"}, {"q": "par", "sort": "-density"}, {"cosine": "0.5..0.9"}, {"cosine": "..0.95", "q": "law"},
    {"cosine": "0.85.."}, {"q": "zzzz"}, {"from": "5", "limit": "7"},
]  # fmt: skip
WRONG: list[dict[str, str]] = [
    {"show": "cats"}, {"sort": "size"}, {"cosine": "1"}, {"q": "!?"}, {"q": "x" * 301},
]  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    """Two runs whose dictionaries are related as planted, and one whose dictionary is not there any more. None are compared."""
    results: Path = tmp_path_factory.mktemp("results")
    truth = explorer_pair.make(results, hostile=HOSTILE)
    decoder = explorer_pair._decoders(7)[0]
    explorer_pair.make_run(results, AWAY, decoder, seed=7, n_neurons=0, n_tokens=8)
    for path in sorted((results / "dictionaries" / AWAY).rglob("*"), reverse=True):
        path.unlink()
    return results, truth


@pytest.fixture(scope="module")
def url(planted: tuple[Path, Planted], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Published with the comparisons, which publishing computes."""
    root = tmp_path_factory.mktemp("host")
    publish_to(root / "site", planted[0], (OWN, OTHER, AWAY))
    publish_to(root / "one", planted[0], (OWN,))
    with hosted(root) as address:
        yield f"{address}/site"


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about."""
    with silent_page(browser, *request.param) as opened:
        yield opened


def listing_of(results: Path, own: str, other: str) -> Listing:
    sides = [Side(IndexFolder(results / run / INDEX)) for run in (own, other)]
    matching = files.read(sides[0], sides[1].about.identity)
    assert matching is not None
    return Listing(Pairs(Reader(sides[0].folder), Reader(sides[1].folder), matching))


def asked(page: playwright.Page, address: str, given: dict[str, str]) -> Any:
    """The answer of the published folder to an address of data, or the sentence that it is refused with."""
    return page.evaluate(
        "async ([address, given]) => { const {fetchJson} = await import(document.querySelector('script[type=module]').src.replace(/[^/]*$/, 'dom.js'));"
        " try { return await fetchJson(address + '?' + new URLSearchParams(given)); } catch (error) { return error.message; } }",
        [address, given],
    )


def rows(page: playwright.Page) -> Any:
    return page.locator(".pair-row:not(.waiting)")


@pytest.mark.parametrize(("own", "other", "at"), [(OWN, OTHER, ""), (OTHER, OWN, f"runs/{OTHER}/")])
def test_lists_have_what_the_explorer_finds_in_its_order(
    browser: playwright.Browser, url: str, planted: tuple[Path, Planted], own: str, other: str, at: str
) -> None:
    listing = listing_of(planted[0], own, other)
    page = browser.new_page()
    page.goto(f"{url}/{at}compare.html?with={other}")
    rows(page).first.wait_for()
    sorts = [{"sort": sign + name} for sign, name in product(("", "-"), SORTS)]
    n_found = 0
    for show, more in product(SHOWN, [{}, *sorts, *MORE]):
        given = {"show": show, **more}
        found = listing.find(Request.of(given))
        first, limit = int(more.get("from", 0)), int(more.get("limit", 100))
        answer = asked(page, "./api/compare/rows", {"with": other, **given})
        assert answer["n"] == len(found), given
        n_found += len(found)
        cards = json.loads(json.dumps(rounded(listing.cards(found.take(slice(first, first + limit))))))
        assert len(answer["rows"]) == len(cards)
        for row, card in zip(answer["rows"], cards, strict=True):
            for side in ("own", "other"):
                assert (row[side] is None) == (card[side] is None), given
                assert card[side] is None or card[side].items() <= row[side].items()
            assert {key: row[key] for key in ("place", "change", "shared", "compared")} == {
                key: card[key] for key in ("place", "change", "shared", "compared")
            }
            for key in ("cosine", "similarity", "difference"):
                assert row[key] == (None if card[key] is None else pytest.approx(card[key], rel=2e-3, abs=1e-6)), key
    assert n_found > 1000
    for given in WRONG:
        with pytest.raises(UsageError) as refused:
            listing.find(Request.of(given))
        assert asked(page, "./api/compare/rows", {"with": other, **given}) == str(refused.value)
    page.close()


def test_a_comparison_is_chosen_and_read_by_keys_alone(
    page: playwright.Page, url: str, planted: tuple[Path, Planted]
) -> None:
    truth, n_pairs = planted[1], len(listing_of(planted[0], OWN, OTHER).pairs.pairs)
    page.goto(f"{url}/index.html")
    page.get_by_role("link", name="compare", exact=True).click()
    page.get_by_role("link", name=OTHER).focus()
    page.keyboard.press("Enter")
    rows(page).first.wait_for()
    assert page.url == f"{url}/compare.html?with={OTHER}"
    assert page.locator("#work").is_hidden()
    assert OTHER in page.locator(".verdict").inner_text()
    page.keyboard.press("4")
    playwright.expect(page.locator("#count")).to_have_text(f"{3 * len(truth.splits)} entries")
    page.keyboard.press("1")
    playwright.expect(page.locator("#count")).to_have_text(f"{n_pairs} entries")
    page.keyboard.press("j")
    name = page.locator(".pair-row.active a.other .id").inner_text()
    page.keyboard.press("o")
    playwright.expect(page.locator("h1")).to_have_text(name)
    assert page.url == f"{url}/runs/{OTHER}/unit.html?u={name}"
    page.go_back()
    rows(page).first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_unit_leads_to_its_match_and_back(page: playwright.Page, url: str, planted: tuple[Path, Planted]) -> None:
    own, other = planted[1].pairs[0].tolist()
    page.goto(f"{url}/unit.html?u=feature-{own}")
    page.locator(".elsewhere").get_by_role("link", name=f"feature-{other}", exact=True).click()
    playwright.expect(page.locator("h1")).to_have_text(f"feature-{other}")
    assert page.url == f"{url}/runs/{OTHER}/unit.html?u=feature-{other}"
    page.locator(".elsewhere").get_by_role("link", name=f"feature-{own}", exact=True).click()
    playwright.expect(page.locator("h1")).to_have_text(f"feature-{own}")
    assert page.url == f"{url}/unit.html?u=feature-{own}"
    page.locator(".elsewhere").get_by_role("link", name=OTHER, exact=True).click()
    rows(page).first.wait_for()
    page.locator("#overview").get_by_role("link", name=OTHER, exact=True).click()
    page.locator(".hit:not(.waiting)").first.wait_for()
    assert page.url == f"{url}/runs/{OTHER}/index.html"


def test_a_comparison_that_cannot_be_computed_says_why_and_one_run_alone_says_so(
    page: playwright.Page, url: str
) -> None:
    page.goto(f"{url}/compare.html?with={AWAY}")
    playwright.expect(page.locator("#work")).to_contain_text("Not compared: ")
    assert f"{AWAY} holds no dictionary" in page.locator("#work").inner_text()
    assert page.locator("#work button").count() == 0
    assert page.locator("#overview .charts svg").count() > 0
    page.goto(f"{url.removesuffix('site')}one/compare.html")
    playwright.expect(page.locator("#no-runs")).to_have_text(
        "This folder holds one run: publish it with others to compare them."
    )
    page.goto(f"{url.removesuffix('site')}one/unit.html?u=feature-1")
    page.locator(".ex").first.wait_for()
    assert page.locator(".elsewhere").is_hidden()


def test_hostile_explanations_stay_text(page: playwright.Page, url: str) -> None:
    for show in ("pairs", "changed", "splits", "only-own", "only-other"):
        page.goto(f"{url}/compare.html?with={OTHER}&show={show}")
        rows(page).first.wait_for()
        assert page.locator("#list script, #list img, #list iframe, #list svg[onload]").count() == 0
    assert page.evaluate("window.pwned") is None


def test_axe_finds_nothing_serious(browser: playwright.Browser, url: str) -> None:
    for scheme, width, name in (
        ("light", 1400, f"compare.html?with={OTHER}"),
        ("dark", 390, f"compare.html?with={AWAY}"),
    ):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
        )
        page = context.new_page()
        page.goto(f"{url}/{name}")
        page.locator("#overview[aria-busy=false]").wait_for()
        page.wait_for_timeout(300)
        found = axe.Axe().run(page).response["violations"]
        assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
        context.close()
