"""The published map in a real Chromium, from Python's own web server: drawn, searched, chosen from and coloured by files alone."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from support import explorer_index
from support.browser import silent_page
from support.published_site import OTHER, hosted, make_results, publish_to
from support.results.labels import RUN

from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.search.query import Query
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.library import INDEX

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
matplotlib_image = pytest.importorskip("matplotlib.image", reason="pip install matplotlib")
pytestmark = pytest.mark.slow

NAMES = ("<img src=x onerror=window.pwned=1>", "law, courts, judges", "music, songs", "")
N_FEATURES = 400
EACH = N_FEATURES // len(NAMES)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    root = tmp_path_factory.mktemp("results")
    results = make_results(root, runs=(RUN, OTHER), n_features=N_FEATURES, n_neurons=4, n_tokens=12, per_bin=1)
    explorer_index.add_map(IndexFolder(results / RUN / INDEX), N_FEATURES, NAMES)
    opened = Reader(IndexFolder(results / RUN / INDEX))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def url(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("host")
    publish_to(root / "site", reader.folder.path.parents[1], (RUN, OTHER))
    with hosted(root) as address:
        yield f"{address}/site"


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about but how slowly the test reads the drawing."""
    with silent_page(browser, *request.param) as opened:
        yield opened


def ready(page: playwright.Page, address: str) -> None:
    page.goto(address)
    page.locator("#atlas[aria-busy=false]").wait_for()


def pixels(page: playwright.Page) -> np.ndarray:
    """The points as the map shows them (height, width, 3), from 0 to 1."""
    page.evaluate("for (const id of ['names', 'over', 'tip']) document.getElementById(id).style.visibility = 'hidden'")
    image: np.ndarray = matplotlib_image.imread(io.BytesIO(page.locator("#map").screenshot()))[:-70, :-60, :3]
    page.evaluate("for (const id of ['names', 'over', 'tip']) document.getElementById(id).style.visibility = ''")
    return image


def drawn(image: np.ndarray) -> float:
    """The share of pixels that differ from the background."""
    return float((np.abs(image - image[0, 0]).max(axis=2) > 0.15).mean())


def found(reader: Reader, words: str) -> int:
    return int((reader.find(Query(words=words)) < N_FEATURES).sum())


def test_a_search_dims_the_other_points_and_its_units_open_as_a_list(
    page: playwright.Page, url: str, reader: Reader
) -> None:
    ready(page, f"{url}/map.html")
    whole = drawn(pixels(page))
    assert whole > 0.005
    n = found(reader, "legal judges")
    page.keyboard.press("/")
    page.keyboard.type("legal judges")
    playwright.expect(page.locator("#count")).to_have_text(f"{n} of {N_FEATURES}")
    playwright.expect(page.locator("#take-found")).to_be_enabled()
    assert drawn(pixels(page)) < 0.8 * whole
    assert page.url == f"{url}/map.html?q=legal+judges"
    page.keyboard.press("Escape")
    page.keyboard.press("h")
    playwright.expect(page.locator("#chosen-n")).to_have_text(f"{n} features chosen")
    assert page.locator(".keep").count() == 0
    page.get_by_role("link", name="show in the search").click()
    playwright.expect(page.locator("#count")).to_have_text(f"{n} of {N_FEATURES + 4}")
    assert page.url.startswith(f"{url}/index.html?rows=")


def test_a_line_and_the_part_in_view_choose_units(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map.html")
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.keyboard.press("d")
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.5), (0.02, 0.5)]
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*at[0])
    page.mouse.down()
    for x, y in at[1:]:
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    playwright.expect(page.locator("#chosen-n")).to_contain_text("chosen")
    assert 0 < int(page.locator("#chosen-n").inner_text().split()[0]) < N_FEATURES
    playwright.expect(page.locator("#chosen-units a")).to_have_count(20)
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    playwright.expect(page.locator("#chosen-n")).to_have_text(f"{N_FEATURES} features chosen")
    page.locator("#clusters button").nth(1).click()
    playwright.expect(page.locator("#chosen-n")).to_have_text(f"{EACH} features chosen")


def test_every_column_colours_the_points(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map.html")
    seen = {}
    for column in ("cluster", "density", "maximum", "mean", "grade", "distinction", "probability", "label"):
        page.locator("#colour").select_option(column)
        playwright.expect(page.locator("#legend .ticks span")).to_have_count(0 if column in ("cluster", "label") else 5)
        page.wait_for_timeout(300)
        seen[column] = pixels(page)
    assert page.locator("#problem").is_hidden()
    for one, other in (("cluster", "density"), ("density", "maximum"), ("grade", "label"), ("grade", "probability")):
        assert np.abs(seen[one] - seen[other]).max() > 0.2


def test_a_units_page_has_its_place_which_leads_to_the_map_and_keys_lead_back(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/unit.html?u=feature-210")
    small = page.locator(".small-map")
    small.wait_for()
    assert "music, songs" in page.locator(".part", has=small).inner_text()
    small.click()
    playwright.expect(page.locator("#tip .id")).to_contain_text("feature-210")
    assert page.url == f"{url}/map.html?unit=feature-210"
    page.locator("#map").focus()
    page.keyboard.press("+")
    playwright.expect(page.locator("#tip .id")).to_contain_text("feature-210")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("h1")).to_have_text("feature-210")
    assert page.url == f"{url}/unit.html?u=feature-210"


def test_hostile_names_are_text_and_an_index_without_a_map_says_so(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map.html")
    assert page.locator("#names span").first.inner_text() == NAMES[0]
    assert page.locator("#atlas img, #atlas script").count() == 0
    assert page.evaluate("window.pwned") is None
    page.goto(f"{url}/runs/{OTHER}/map.html")
    playwright.expect(page.locator("#problem")).to_contain_text("has no map")
    page.goto(f"{url}/runs/{OTHER}/unit.html?u=feature-2")
    page.locator(".ex").first.wait_for()
    assert page.locator(".small-map").is_hidden()


def test_axe_finds_nothing_serious(browser: playwright.Browser, url: str) -> None:
    for scheme, width in (("light", 1400), ("dark", 390)):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
        )
        page = context.new_page()
        ready(page, f"{url}/map.html?q=legal")
        found = axe.Axe().run(page).response["violations"]
        assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        context.close()
