"""Explanations, notes and lists in a real Chromium, by keys alone, at both widths and in both schemes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import explorer_index
from support.explorer_http import get, send
from support.explorer_server import served
from support.explorer_spec import spec
from support.hostile_text import WORDS
from support.providers.server import ProviderServer

from autointerp.explorer.web.library import INDEX, Library
from sae.corpus.sources import clean

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
pytestmark = pytest.mark.slow
RUN = "synthetic-1"
FIRST_MS = 60_000
"""The first price waits until the modules that make questions are imported."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with ProviderServer(delay_s=0.05) as provider:
        folder = explorer_index.make(tmp_path / RUN / INDEX, n_features=40, n_neurons=0, labelled=0.0, run=RUN)
        (tmp_path / RUN / "spec.toml").write_text(spec(provider.url).to_toml())
        with served(Library(tmp_path, folder.path), usd=1.0) as address:
            yield address


@pytest.fixture(params=[("light", 1400), ("dark", 390)], ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest, url: str) -> Iterator[playwright.Page]:
    """A page at which the browser has nothing to complain about but the refusals that a test provokes; closed before the server."""
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    context.close()
    assert [text for text in complaints if "409" not in text] == []


def serious(page: playwright.Page) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in found if each["impact"] in ("serious", "critical")
    ]


def fits(page: playwright.Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def test_a_unit_is_explained_graded_noted_and_listed_by_keys_alone(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/u/feature-3")
    page.get_by_role("button", name="explain this now").wait_for()
    page.keyboard.press("g")  # there is nothing to grade yet
    page.keyboard.press("e")
    playwright.expect(page.locator(".price")).to_contain_text(
        "1 call to openai-compatible/a-model: about $0.0", timeout=FIRST_MS
    )
    assert page.locator(".said").count() == 0
    assert serious(page) == []
    page.keyboard.press("e")
    page.keyboard.press("n")  # while the answer is on its way
    page.keyboard.type("begun early")
    playwright.expect(page.locator(".said")).to_contain_text("words like those of group")
    playwright.expect(page.locator(".label .soft")).to_contain_text("explained by openai-compatible/a-model")
    assert page.locator("textarea").input_value() == "begun early"
    page.get_by_role("button", name="discard").press("Enter")
    page.keyboard.press("g")
    playwright.expect(page.locator(".price .confirm")).to_be_focused()
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".label .soft")).to_contain_text("held-out examples by openai-compatible/a-model")
    playwright.expect(page.locator(".label .soft")).to_contain_text("control: ")

    page.keyboard.press("n")
    page.keyboard.type("jkl: a note")  # no shortcuts while one writes
    assert serious(page) == []
    page.keyboard.press("Control+Enter")
    playwright.expect(page.locator(".note .text")).to_contain_text("jkl: a note")
    page.keyboard.press("l")
    page.keyboard.type("odd ones")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_label("odd ones")).to_be_checked()
    assert serious(page) == []
    page.keyboard.press("Escape")
    playwright.expect(page.locator(".in-lists")).to_have_text("In odd ones")
    assert fits(page)
    page.reload()
    playwright.expect(page.locator(".note .text")).to_contain_text("jkl: a note")
    page.get_by_role("link", name="odd ones").click()
    playwright.expect(page.locator("#count")).to_have_text("1 of 40")
    assert page.locator(".hit .id").inner_text() == "feature-3"


def test_lists_are_renamed_emptied_deleted_and_brought_back(page: playwright.Page, url: str) -> None:
    send(url, "/api/lists", {"name": "first", "unit_ids": ["feature-1", "feature-2"]})
    page.goto(f"{url}/lists")
    page.get_by_role("link", name="first").wait_for()
    page.keyboard.press("n")
    page.keyboard.type("second")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="second").wait_for()
    page.get_by_role("button", name="rename first").press("Enter")
    page.keyboard.type("1st")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="1st").wait_for()
    page.get_by_role("button", name="empty 1st").press("Enter")
    page.get_by_role("button", name="put 2 units back").press("Enter")
    playwright.expect(page.locator(".list").first).to_contain_text("2 units")
    page.get_by_role("button", name="delete 1st").press("Enter")
    undo = page.get_by_role("button", name="undo the deletion of 1st")
    undo.wait_for()
    assert [each["name"] for each in get(url, "/api/lists")[1]["lists"]] == ["second"]
    assert serious(page) == []
    undo.press("Enter")
    page.get_by_role("link", name="1st").wait_for()
    assert len(get(url, "/api/lists")[1]["lists"]) == 2
    assert fits(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").first.click()
    assert Path(download.value.path()).read_text().splitlines()[1].startswith("feature-1,")
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#count")).to_have_text("2 of 40")


def test_a_note_that_was_changed_elsewhere_is_shown_and_not_lost(page: playwright.Page, url: str) -> None:
    page.goto(f"{url}/u/feature-3")
    page.get_by_role("button", name="note").wait_for()
    page.locator("#note-button").press("Enter")
    playwright.expect(page.locator("textarea")).to_be_focused()
    page.keyboard.type("mine")
    send(url, "/api/notes/feature-3", {"text": "theirs", "version": 0}, "PUT")
    page.keyboard.press("Control+Enter")
    playwright.expect(page.locator(".note .failed")).to_contain_text("changed in another window")
    assert page.locator("textarea").input_value() == "mine"
    page.get_by_role("button", name="load the newer note").press("Enter")
    assert page.locator("textarea").input_value() == "theirs"
    page.keyboard.type(" and mine")
    page.keyboard.press("Control+Enter")
    playwright.expect(page.locator(".note .text")).to_contain_text("theirs and mine")


def test_hostile_notes_and_names_of_lists_are_text(page: playwright.Page, url: str) -> None:
    hostile = [text for text in map(clean, WORDS) if text.strip()]
    for number, text in enumerate(hostile[:12]):
        send(url, f"/api/notes/feature-{number}", {"text": text, "version": 0}, "PUT")
        send(url, "/api/lists", {"name": f"{text[:60]} {number}", "unit_ids": [f"feature-{number}"]})
        page.goto(f"{url}/u/feature-{number}")
        page.locator(".note .text").wait_for()
        assert page.locator("#unit script, #unit img, #unit iframe").count() == 0
    page.locator("body").press("l")
    page.locator("#lists[open] li").first.wait_for()
    page.goto(f"{url}/lists")
    playwright.expect(page.locator(".list")).to_have_count(min(12, len(hostile)))
    page.goto(f"{url}/")
    page.locator(".hit:not(.waiting)").first.wait_for()
    assert page.evaluate("window.pwned") is None
    assert fits(page)


def test_a_note_that_is_still_read_is_opened_once_it_is_there(page: playwright.Page, url: str) -> None:
    held: list[playwright.Route] = []
    page.route("**/api/notes/*", lambda route: held.append(route))
    page.goto(f"{url}/u/feature-5")
    page.locator("#note-button").press("Enter")
    assert page.locator("textarea").count() == 0
    held[0].continue_()
    playwright.expect(page.locator("textarea")).to_be_focused()
