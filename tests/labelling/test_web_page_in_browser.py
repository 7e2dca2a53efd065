"""The labelling page in a real Chromium: every label is saved exactly once, also with several raters, tabs and server restarts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
from support.results import labels as labelled
from support.results.labels import RUN, scores

from autointerp.labelling.sheet import Sheet
from autointerp.ledger.database import Ledger

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
ITEMS = 50


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = labelled.make(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sheet(ledger: Ledger, tmp_path: Path) -> Sheet:
    return labelled.sheet(ledger, tmp_path, n=ITEMS)


@pytest.fixture
def url(sheet: Sheet) -> Iterator[str]:
    with labelled.served(sheet) as address:
        yield address


@pytest.fixture
def page(browser: playwright.Browser) -> Iterator[playwright.Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 800}, reduced_motion="reduce")
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: dialog.accept())
    yield opened
    context.close()
    # The browser complains about a stopped server, which one of the tests causes on purpose.
    assert [text for text in complaints if "ERR_CONNECTION" not in text and "404" not in text] == []


def settled(page: playwright.Page) -> None:
    """Wait until every change is saved."""
    playwright.expect(page.locator("#saved")).to_have_text("saved", timeout=30_000)


def place(page: playwright.Page) -> str:
    return str(page.locator("#place").inner_text())


def number(page: playwright.Page) -> int:
    # From the page itself: Playwright's own record of the address lags behind.
    return int(str(page.evaluate("location.hash")).removeprefix("#"))


@pytest.mark.slow
def test_fifty_labels_with_a_reload_and_an_undo_are_all_saved(page: playwright.Page, url: str, ledger: Ledger) -> None:
    """The expected labels are recorded key by key from what the page shows, and compared with the ledger's rows."""
    rng, pressed = random.Random(3), dict[int, int | None]()
    page.goto(url)

    def press() -> None:
        key = rng.choice("0123s")
        pressed[number(page)] = None if key == "s" else int(key)
        page.keyboard.press(key)

    for _ in range(20):
        press()
    settled(page)
    before = place(page), number(page), page.locator("#explanation").inner_text()
    assert before[0] == "Item 21 of 50"
    page.reload()
    assert (place(page), number(page), page.locator("#explanation").inner_text()) == before
    page.keyboard.press("u")
    assert place(page) == "Item 20 of 50"
    assert number(page) in pressed
    settled(page)
    assert scores(ledger) == {n: score for n, score in pressed.items() if n != number(page)}
    while len(pressed) < ITEMS - 1:
        press()
    # Go back, grade again, and undo that.
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    again = number(page)
    page.keyboard.press("3" if pressed[again] != 3 else "0")
    page.keyboard.press("Backspace")
    assert number(page) == again
    page.goto(url)
    press()
    settled(page)
    assert page.locator("#end-h").inner_text().endswith(("graded.", "skipped."))
    assert len(pressed) == ITEMS
    assert scores(ledger) == pressed


@pytest.mark.slow
def test_two_raters_at_once_see_the_same_items_in_another_order(
    browser: playwright.Browser, ledger: Ledger, tmp_path: Path
) -> None:
    pressed: dict[str, dict[int, int]] = {"anna": {}, "ben": {}}
    orders: dict[str, list[int]] = {"anna": [], "ben": []}
    with ExitStack() as stack:
        pages = {}
        for rater in pressed:
            address = stack.enter_context(labelled.served(labelled.sheet(ledger, tmp_path, rater, ITEMS)))
            pages[rater] = stack.enter_context(browser.new_context()).new_page()
            pages[rater].goto(address)
        for turn in range(ITEMS):
            for rater, page in pages.items():
                orders[rater].append(number(page))
                pressed[rater][number(page)] = (turn + len(rater)) % 4
                page.keyboard.press(str((turn + len(rater)) % 4))
        for page in pages.values():
            settled(page)
            assert page.locator("#end-h").inner_text() == "All 50 items graded."
    assert {rater: scores(ledger, rater) for rater in pressed} == pressed
    assert orders["anna"] != orders["ben"]
    assert set(orders["anna"]) == set(orders["ben"]) == set(range(1, ITEMS + 1))


@pytest.mark.slow
def test_two_tabs_of_one_rater_share_their_labels(browser: playwright.Browser, url: str, ledger: Ledger) -> None:
    with browser.new_context() as context:
        tabs, pressed = [context.new_page(), context.new_page()], dict[int, int]()
        for tab in tabs:
            tab.goto(url)
        for turn in range(30):
            tab = tabs[turn // 3 % 2]
            if turn % 3 == 0:
                tab.evaluate("window.dispatchEvent(new Event('focus'))")
                playwright.expect(tab.locator("#tally")).to_have_text(f"{len(pressed)} of 50 items done")
                if number(tab) in pressed:
                    tab.keyboard.press("ArrowRight")
            while number(tab) in pressed:
                tab.keyboard.press("ArrowRight")
            pressed[number(tab)] = turn % 4
            tab.keyboard.press(str(turn % 4))
            settled(tab)
        assert scores(ledger) == pressed


def test_changes_are_kept_while_the_server_is_down_and_saved_after_its_restart(
    page: playwright.Page, sheet: Sheet, ledger: Ledger
) -> None:
    pressed: dict[int, int] = {}

    def press(key: int) -> None:
        pressed[number(page)] = key
        page.keyboard.press(str(key))

    with labelled.served(sheet) as url:
        port = urlsplit(url).port or 0
        page.goto(url)
        press(1)
        settled(page)
    press(2)
    press(3)
    page.locator("#trouble").wait_for()
    assert "2 changes are kept in this browser" in page.locator("#trouble").inner_text()
    assert page.locator("#saved").inner_text() == "2 not saved yet"
    assert len(scores(ledger)) == 1
    with labelled.served(sheet, port):
        settled(page)
        assert page.locator("#trouble").is_hidden()
        assert scores(ledger) == pressed
    press(0)
    page.locator("#trouble").wait_for()
    # After a restart the address differs; what was kept by the old page is saved by the new one.
    with labelled.served(sheet, port, token="another") as url:
        playwright.expect(page.locator("#trouble")).to_contain_text("earlier start", timeout=30_000)
        page.goto(url)
        settled(page)
        assert scores(ledger) == pressed
        assert place(page) == "Item 5 of 50"


def test_no_agreement_before_the_end_and_no_change_after_it(
    page: playwright.Page, url: str, sheet: Sheet, ledger: Ledger
) -> None:
    sheet.set({item.number: 2 for item in sheet.items[:-1]})
    page.goto(url)
    assert place(page) == "Item 50 of 50"
    assert page.locator("#end").is_hidden()
    assert page.locator("[data-do=next]").is_disabled()
    page.keyboard.press("s")
    page.locator("#end").wait_for()
    assert page.locator("pre").inner_text() == f"autointerp report {RUN}"
    assert page.locator("#agreement").is_hidden()
    settled(page)
    page.get_by_role("button", name="close the labels and show the agreement").click()
    page.locator("#agreement").wait_for()
    assert "Of 49 graded items, the judge gave" in page.locator("#agreement").inner_text()
    assert page.evaluate("document.activeElement.id") == "agreement"
    told = page.locator("#agreement td").all_inner_texts()
    assert sum(map(int, told)) == 49
    assert all(int(count) == 0 for place_, count in enumerate(told) if place_ % 4 != 2)
    before = scores(ledger)
    for key in ("u", "Backspace", "ArrowLeft", "0"):
        page.keyboard.press(key)
    assert page.locator(".grade").first.is_disabled()
    page.reload()
    page.keyboard.press("3")
    assert scores(ledger) == before
    page.goto(url)
    page.locator("#agreement table").wait_for()


def test_the_page_can_be_used_with_a_mouse_or_a_screen_reader(page: playwright.Page, url: str, ledger: Ledger) -> None:
    page.goto(url)
    first = number(page)
    assert page.get_by_role("group", name="How well does the explanation fit").get_by_role("button").count() == 4
    assert page.get_by_role("progressbar", name="Items done").count() == 1
    assert page.evaluate("document.activeElement.id") == "item"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.score") == "1"
    page.keyboard.press("Enter")
    assert page.get_by_role("status").inner_text() == "Item 1: grade 1. Press u to undo."
    assert page.evaluate("document.activeElement.id") == "item"
    page.get_by_role("button", name="The feature cleanly identifies").click()
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="How to grade").is_visible()
    page.keyboard.press("2")
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    page.keyboard.press("Control+1")
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: '1', repeat: true, bubbles: true}))")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert number(page) == first
    assert page.locator(".grade[aria-pressed=true]").get_attribute("data-score") == "1"
    settled(page)
    assert sorted(map(str, scores(ledger).values())) == ["1", "3"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    results = tmp_path_factory.mktemp("hostile")
    ledger = labelled.make(results, hostile=True)
    with ledger.write() as tx:
        tx.exec_driver_sql("UPDATE explanations SET text = text || ? WHERE unit_id IN (SELECT unit_id FROM explanations LIMIT 3)",
                           ("<b>" + "x" * 20_000,))  # fmt: skip
    with labelled.served(labelled.sheet(ledger, results, "<i>anna</i>", ITEMS)) as url:
        yield url
    ledger.close()


def test_hostile_text_runs_nothing_and_fetches_nothing(page: playwright.Page, hostile: str) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(hostile)
    seen = ""
    for _ in range(ITEMS):
        seen += page.locator("#item").inner_text()
        page.keyboard.press("ArrowRight")
    assert "<script>window.pwned=1</script>" in seen
    assert "{{7*7}}" in seen
    assert "x" * 20_000 in seen
    assert not set("\x1b\u202e\u2028\u200b\x00") & set(seen)
    assert page.evaluate("'pwned' in window") is False
    assert page.locator("img, iframe, b, i, a, svg, [onload], [onerror], [onfocus]").count() == 0
    assert page.locator("bdi").inner_text() == "<i>anna</i>"
    assert {urlsplit(request).netloc for request in requests} == {urlsplit(hostile).netloc}


def test_the_content_security_policy_stops_an_injected_script(browser: playwright.Browser, url: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(url)
        page.evaluate(
            "try { document.body.innerHTML = '<img src=x onerror=window.pwned=1>' } catch { window.stopped = 1 }"
        )
        page.evaluate("const s = document.createElement('script'); try { s.text = 'window.pwned=1' } catch {}; document.body.append(s)")  # fmt: skip
        assert page.evaluate("window.stopped") == 1
        assert page.evaluate("'pwned' in window") is False


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark"), (320, "light")])
def test_nothing_is_clipped(browser: playwright.Browser, hostile: str, url: str, width: int, scheme: Any) -> None:
    for address in (url, hostile):
        with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
            page = context.new_page()
            page.goto(address)
            for _ in range(12):
                page.keyboard.press("ArrowRight")
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.keyboard.press("?")
            box = page.locator("dialog").bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_text_has_enough_contrast(browser: playwright.Browser, url: str) -> None:
    """WCAG 2.1, success criterion 1.4.3: a contrast of 4.5 for all text, in both schemes."""
    for scheme in ("light", "dark"):
        with browser.new_context(color_scheme=scheme) as context:
            page = context.new_page()
            page.goto(url)
            page.keyboard.press("1")
            assert page.evaluate(_CONTRASTS) == []


_CONTRASTS = """
(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = node => { for (; node; node = node.parentElement) { const c = rgb(getComputedStyle(node).backgroundColor);
    if (c.length === 3) return c; } return [255, 255, 255]; };
  return [...document.querySelectorAll('body *')].filter(n => n.getClientRects().length && !n.closest(':disabled') && n.tagName !== 'MARK' &&
      [...n.childNodes].some(c => c.nodeType === 3 && c.data.trim()))
    .map(n => [n.tagName + '.' + n.className, light(rgb(getComputedStyle(n).color)), light(behind(n))])
    .map(([name, a, b]) => [name, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)]).filter(([name, c]) => c < 4.5);
})()
"""


def test_the_page_holds_every_window_as_it_was_judged(
    page: playwright.Page, url: str, ledger: Ledger, tmp_path: Path
) -> None:
    from autointerp.ledger import labels

    windows = pd.read_parquet(tmp_path / RUN / "exemplars.parquet").set_index("exemplar_id")
    with ledger.read() as tx:
        of = {item.number: windows.loc[item.exemplar_id] for item in labels.items(tx, RUN)}
    page.goto(url)
    for _ in range(ITEMS):
        row = of[number(page)]
        shown = str(page.locator("#window").evaluate("node => node.textContent"))
        assert shown.replace("\u2423", "") == "".join(row["tokens"])
        assert page.locator("#window mark").evaluate("node => node.textContent") in (
            row["tokens"][row["mark"]].lstrip(" "),
            "\u2423",
            "\u21b5",
        )
        page.keyboard.press("ArrowRight")
