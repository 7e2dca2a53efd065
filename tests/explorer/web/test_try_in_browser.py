"""The page on which a text is typed, in a real Chromium, by keyboard alone."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from support import live_model
from support.explorer_server import serving
from support.hostile_text import WORDS
from support.planted_world import world as planted

from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import LABELS
from autointerp.explorer.live.host import LiveHost
from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.library import Library
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytestmark = pytest.mark.slow

HOSTILE = [word for word in map(clean, WORDS) if word.strip()]
TEXT = "filler1 harbour4 filler2 orchard3"


class Site(NamedTuple):
    url: str
    live: LiveHost


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("try")
    index = live_model.index(planted.make(root / "world", documents=20, extra=[" ".join(HOSTILE)]), root / "index")
    rows = list(range(8))
    given: dict[str, Any] = {name: [None] * 8 for name in schema.LABELS.names}
    given |= {"row": rows, "explanation": HOSTILE[:8], "source": ["live"] * 8, "judge": [""] * 8}
    index.write_table(LABELS, pa.table(given, schema=schema.LABELS))
    app = application(Library(root, index.path), Access())
    with serving(app) as url:
        yield Site(url, app.state.live)


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about but refusals of the server."""
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    context.close()
    assert [text for text in complaints if "status of 503" not in text] == []


def opened(page: playwright.Page, url: str) -> None:
    page.goto(url)
    page.locator("#active li[data-unit]").first.wait_for(timeout=120_000)


def typed(page: playwright.Page, text: str) -> None:
    page.keyboard.press("/")
    page.keyboard.type(text)


def test_a_text_is_typed_coloured_and_steered_by_keys_alone(page: playwright.Page, site: Site) -> None:
    opened(page, f"{site.url}/try#text=filler3+harbour1")
    typed(page, TEXT)
    playwright.expect(page.locator("#tokens .tok")).to_have_text(["filler1", "harbour4", "filler2", "orchard3"])
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    playwright.expect(page.locator(".tok:focus")).to_have_text(page.locator(".tok[aria-selected=true]").inner_text())
    page.keyboard.press("j")
    page.keyboard.press("j")
    name = page.locator("#active li:focus-within .id").inner_text()
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#legend .id")).to_have_text(name)
    assert page.locator("#tokens .tok:not(.h0)").count() >= 1
    page.keyboard.press("s")
    playwright.expect(page.locator("#chosen .id")).to_have_text([name])
    page.keyboard.press("v")
    page.keyboard.press("ArrowRight")
    playwright.expect(page.locator("#chosen output")).to_contain_text("\u00d72.5")
    playwright.expect(page.locator("#pace")).to_contain_text("40 tokens")
    page.keyboard.press("Tab")
    page.keyboard.press("r")
    playwright.expect(page.locator("#continuations article")).to_have_count(3)
    page.keyboard.press("a")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#chosen li")).to_have_count(2)
    playwright.expect(page.locator("#chosen li:nth-child(2) input")).to_be_focused()
    playwright.expect(page.locator("#pace")).to_contain_text("40 tokens")
    assert all(page.locator("#continuations .more-text").all_inner_texts())
    before, chosen = page.url, page.locator("#chosen .id").all_inner_texts()
    page.reload()
    playwright.expect(page.locator("#chosen .id")).to_have_text(chosen)
    playwright.expect(page.locator("#legend .id")).to_have_text(name)
    playwright.expect(page.locator("#control")).to_be_checked()
    assert page.url == before
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()


def test_the_page_of_a_unit_leads_here_with_the_unit_set(page: playwright.Page, site: Site) -> None:
    page.goto(f"{site.url}/u/feature-1")
    page.locator(".try-it").wait_for()
    page.keyboard.press("t")
    playwright.expect(page.locator("#chosen .id")).to_have_text(["feature-1"])
    playwright.expect(page.locator("#legend .id")).to_have_text("feature-1", timeout=120_000)
    assert "orchard" in page.locator("#text").input_value()  # the unit's strongest example
    playwright.expect(page.locator("#pace")).to_contain_text("40 tokens")


def test_hostile_texts_and_explanations_are_shown_as_text(page: playwright.Page, site: Site) -> None:
    opened(page, f"{site.url}/try")
    for text in (" ".join(HOSTILE[:20]), " ".join(HOSTILE[20:])):
        page.locator("#text").fill(f"harbour1 {text}")
        playwright.expect(page.locator("#tokens .tok").first).to_have_text("harbour1")
        page.wait_for_timeout(300)
        assert page.locator("main script, main img, main iframe, main svg").count() == 0
    page.locator("#text").fill("filler1 harbour1 orchard1 furnace1 glacier1")
    playwright.expect(page.locator("#active .explanation").get_by_text("<script>").first).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    playwright.expect(page.locator("#pace")).to_contain_text("40 tokens")
    assert page.evaluate("window.pwned") is None


@pytest.mark.parametrize("page", [("light", 1400)], indirect=True)
def test_a_model_that_ends_is_said_and_opened_again(page: playwright.Page, site: Site) -> None:
    opened(page, f"{site.url}/try")
    process = site.live.process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    page.locator("#text").fill(TEXT)
    playwright.expect(page.locator("#size")).to_have_text("waiting for the model")
    os.kill(process.pid, signal.SIGKILL)
    playwright.expect(page.locator("#problem")).to_contain_text("the model has to be opened again")
    playwright.expect(page.locator("#tokens .tok")).to_have_count(4, timeout=120_000)
    playwright.expect(page.locator("#problem")).to_be_hidden()


def test_units_that_fire_on_a_text_are_searched_for_by_keys_alone(page: playwright.Page, site: Site) -> None:
    page.goto(site.url)
    page.locator(".hit:not(.waiting)").first.wait_for()
    typed(page, TEXT)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.type("filler4 orchard2 filler3")
    playwright.expect(page).to_have_url(re.compile(r"fires=filler1.*without=filler4\+orchard2\+filler3"))
    playwright.expect(page.locator("#count")).to_contain_text(" of ", timeout=120_000)
    playwright.expect(page.locator(".hit .id").first).to_have_text("feature-0")
    assert "feature-1" not in page.locator(".hit .id").all_inner_texts()
    page.reload()
    playwright.expect(page.locator(".hit .id").first).to_have_text("feature-0")
    assert page.locator("#not-on").input_value() == "filler4 orchard2 filler3"
