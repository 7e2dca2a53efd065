"""The map in a real Chromium: points are drawn, named, found and chosen by mouse and by keys, and hostile names stay text."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from support import explorer_index
from support.explorer_server import served
from support.hostile_text import WORDS
from support.results.labels import RUN

from autointerp.explorer.web.library import INDEX, Library
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
matplotlib_image = pytest.importorskip("matplotlib.image", reason="pip install matplotlib")
pytestmark = pytest.mark.slow

HOSTILE = [clean(word) for word in WORDS]
NAMES = ("<img src=x onerror=window.pwned=1>", "law, courts, judges", "music, songs", "")
N_UNITS = 400
EACH = N_UNITS // len(NAMES)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("results")
    folder = explorer_index.make(root / RUN / INDEX, n_features=N_UNITS, n_neurons=4, hostile=HOSTILE, run=RUN)
    explorer_index.add_map(folder, N_UNITS, NAMES)
    explorer_index.make(root / "without" / INDEX, n_features=5, n_neurons=0, run="without")
    with served(Library(root, folder.path)) as address:
        yield address


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about but how slowly the test reads the drawing."""
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    context.close()
    assert [text for text in complaints if "GPU stall due to ReadPixels" not in text] == []


def ready(page: playwright.Page, address: str) -> None:
    page.goto(address)
    page.locator("#atlas[aria-busy=false]").wait_for()


def pixels(page: playwright.Page) -> np.ndarray:
    """What the map shows (height, width, 3), from 0 to 1, without names and buttons."""
    # Elements over the points would be seen as points.
    page.evaluate("for (const id of ['names', 'over', 'tip']) document.getElementById(id).style.visibility = 'hidden'")
    image: np.ndarray = matplotlib_image.imread(io.BytesIO(page.locator("#map").screenshot()))[:-70, :-60, :3]
    page.evaluate("for (const id of ['names', 'over', 'tip']) document.getElementById(id).style.visibility = ''")
    return image


def drawn(image: np.ndarray) -> float:
    """The share of pixels that differ from the background."""
    return float((np.abs(image - image[0, 0]).max(axis=2) > 0.15).mean())


def spots(page: playwright.Page, row: int) -> tuple[float, float]:
    """Where on the page a point of the whole map is, computed from the data and not by the page's code."""
    answer = page.evaluate(
        "row => fetch('/api/map').then(a => a.json()).then(m => [m.x, m.y].map(a => [a[row], Math.max(...a) / 2]))", row
    )
    box = page.locator("#map").bounding_box()
    assert box is not None
    scale = min(box["width"], box["height"]) * 0.88 / 10_000
    (x, middle_x), (y, middle_y) = answer
    return box["x"] + box["width"] / 2 + (x - middle_x) * scale, box["y"] + box["height"] / 2 - (y - middle_y) * scale


def test_points_are_drawn_named_and_opened_by_mouse(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map?colour=density")
    assert page.locator("#plain").is_hidden()
    image = pixels(page)
    assert drawn(image) > 0.005
    assert len(np.unique((image.reshape(-1, 3) * 7).round(), axis=0)) > 8
    x, y = spots(page, 150)
    page.mouse.move(x, y)
    tip = page.locator("#tip")
    playwright.expect(tip).to_be_visible()
    playwright.expect(tip).to_contain_text("law, courts, judges")
    named = tip.locator(".id").inner_text().split()[0]
    page.mouse.click(x, y)
    playwright.expect(page.locator("h1")).to_have_text(named)


def test_a_search_dims_the_rest_and_the_found_ones_can_be_opened_as_a_list(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map")
    whole = drawn(pixels(page))
    page.keyboard.press("/")
    page.keyboard.type("legal judges")
    playwright.expect(page).to_have_url(f"{url}/map?q=legal+judges")
    playwright.expect(page.locator("#count")).to_contain_text(f" of {N_UNITS}")
    playwright.expect(page.locator("#take-found")).to_be_enabled()
    n = int(page.locator("#count").inner_text().split()[0])
    assert 0 < n < N_UNITS
    assert drawn(pixels(page)) < 0.8 * whole
    page.keyboard.press("Escape")
    page.keyboard.press("h")
    playwright.expect(page.locator("#chosen-n")).to_have_text(f"{n} features chosen")
    page.get_by_role("link", name="show in the search").click()
    playwright.expect(page.locator("#count")).to_have_text(f"{n} of {N_UNITS + 4}")
    page.locator("#among").click()
    playwright.expect(page.locator("#count")).to_have_text(f"{N_UNITS + 4} units")
    assert "rows" not in page.url


def test_a_line_drawn_around_a_cluster_chooses_it(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map")
    page.keyboard.press("d")
    assert page.locator("#lasso").get_attribute("aria-pressed") == "true"
    at = np.array([spots(page, row) for row in range(EACH, 2 * EACH, 3)])
    (left, top), (right, bottom) = at.min(axis=0) - 12, at.max(axis=0) + 12
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    playwright.expect(page.locator("#chosen-n")).to_contain_text("chosen")
    chosen = int(page.locator("#chosen-n").inner_text().split()[0])
    assert 0.9 * EACH <= chosen <= EACH
    playwright.expect(page.locator("#chosen-units a")).to_have_count(20)
    links = page.locator("#chosen-units a").all_inner_texts()
    assert {EACH <= int(name.removeprefix("feature-")) < 2 * EACH for name in links} == {True}
    page.keyboard.press("Escape")
    assert page.locator("#chosen").is_hidden()


def test_the_map_is_used_by_keys_alone(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map?unit=feature-250")
    playwright.expect(page.locator("#tip .id")).to_contain_text("feature-250")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#map")).to_be_focused()
    playwright.expect(page.locator("#tip .id")).to_contain_text("feature-250")
    page.keyboard.press("+")
    page.keyboard.press("i")
    playwright.expect(page.locator("#chosen-n")).to_contain_text("chosen")
    few = int(page.locator("#chosen-n").inner_text().split()[0])
    page.keyboard.press("0")
    page.keyboard.press("i")
    playwright.expect(page.locator("#chosen-n")).to_have_text(f"{N_UNITS} features chosen")
    assert 0 < few < N_UNITS
    before = pixels(page)
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(200)
    assert np.abs(pixels(page) - before).mean() > 0.001
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.goto(f"{url}/map?unit=feature-250")
    playwright.expect(page.locator("#tip .id")).to_contain_text("feature-250")
    page.locator("#map").focus()
    page.keyboard.press("+")
    playwright.expect(page.locator("#tip .id")).to_contain_text("feature-250")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("h1")).to_have_text("feature-250")


def test_the_colours_of_a_column_have_a_legend(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map")
    seen = {}
    for column in ("cluster", "density", "maximum", "mean", "grade", "distinction", "probability", "label"):
        page.locator("#colour").select_option(column)
        playwright.expect(page.locator("#legend .ticks span")).to_have_count(0 if column in ("cluster", "label") else 5)
        page.wait_for_timeout(300)
        seen[column] = pixels(page)
        assert page.url.endswith("/map" if column == "cluster" else f"colour={column}")
    assert page.locator("#problem").is_hidden()
    playwright.expect(page.locator("#legend")).to_contain_text("no explanation")
    pairs = [("cluster", "density"), ("density", "maximum"), ("grade", "label"), ("grade", "probability")]
    assert all(np.abs(seen[a] - seen[b]).max() > 0.2 for a, b in pairs)


def test_names_and_explanations_are_text_and_clusters_are_a_list_too(page: playwright.Page, url: str) -> None:
    ready(page, f"{url}/map")
    assert page.locator("#names span").first.inner_text() == NAMES[0]
    assert page.locator("#clusters li").all_inner_texts()[0].replace("\n", " ").startswith(NAMES[0])
    assert page.locator("#clusters li").count() == 3
    page.locator("#clusters button").nth(1).click()
    playwright.expect(page.locator("#chosen-n")).to_have_text(f"{EACH} features chosen")
    page.goto(f"{url}/map?unit=feature-0&q=%3Cimg%20src%3Dx%3E")
    playwright.expect(page.locator("#tip")).to_be_visible()
    for place in range(4):
        page.goto(f"{url}/map?unit=feature-{place}")
        playwright.expect(page.locator("#tip .id")).to_contain_text(f"feature-{place}")
        if HOSTILE[place].isprintable():
            assert page.locator("#tip .explanation").inner_text() == HOSTILE[place].strip()
    assert page.locator("#atlas img, #atlas script, #atlas iframe").count() == 0
    assert page.evaluate("window.pwned") is None


def test_a_unit_shows_its_place_and_leads_to_the_map(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/u/feature-210")
    small = page.locator(".small-map")
    small.wait_for()
    assert "music, songs" in page.locator(".part", has=small).inner_text()
    small.click()
    playwright.expect(page.locator("#tip .id")).to_contain_text("feature-210")
    page.goto(f"{url}/u/neuron-0%2B")
    page.locator(".part").first.wait_for()
    playwright.expect(page.locator(".small-map")).to_be_hidden()
    page.goto(f"{url}/map?unit=neuron-0%2B")
    playwright.expect(page.locator("#problem")).to_contain_text("neuron-0+ is a neuron")


def test_the_map_is_shown_with_a_problem_if_the_address_has_an_unknown_unit(
    browser: playwright.Browser, url: str
) -> None:
    page = browser.new_page()
    ready(page, f"{url}/map?unit=feature-99999")
    playwright.expect(page.locator("#problem")).to_contain_text("no unit 'feature-99999'")
    assert drawn(pixels(page)) > 0
    page.close()


def test_without_webgl_the_points_are_drawn_and_the_page_says_so(page: playwright.Page, url: str) -> None:
    page.add_init_script(
        "const own = HTMLCanvasElement.prototype.getContext;"
        " HTMLCanvasElement.prototype.getContext = function (kind, ...rest) { return kind === 'webgl2' ? null : own.call(this, kind, ...rest); }"
    )
    ready(page, f"{url}/map?colour=density")
    assert page.locator("#plain").is_visible()
    page.evaluate("document.getElementById('plain').style.visibility = 'hidden'")
    assert drawn(pixels(page)) > 0.005


def test_an_index_without_a_map_says_why(browser: playwright.Browser, url: str) -> None:
    page = browser.new_page()
    page.goto(f"{url}/runs/without/map")
    playwright.expect(page.locator("#problem")).to_contain_text("This index has no map")
    assert page.locator("#atlas").is_hidden()
    page.close()
