"""The report page in a real Chromium: no hostile text runs, nothing is fetched, and the list of units works."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.results import summaries as report_data

from autointerp import report
from autointerp.report import index, prose

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")


@dataclass
class Watched:
    """A page, with its requests and its console messages, errors and dialogs."""

    page: playwright.Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def opened(self) -> list[str]:
        """Ids of the open units."""
        return list(self.page.locator(".unit[open]").evaluate_all("nodes => nodes.map(node => node.id)"))

    def shown(self) -> list[str]:
        """Ids of the units that the filters leave."""
        return list(self.page.locator(".unit:not([hidden])").evaluate_all("nodes => nodes.map(node => node.id)"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    report_data.make(root / "plain", n_features=8, n_neurons=8)
    report_data.make(root / "hostile", n_features=4, n_neurons=4, hostile=True, knows="sharp")
    report_data.make(root / "apart" / "judged", n_features=6, n_neurons=6, bins=4, per_bin=2, knows="sharp")
    report_data.make(root / "apart" / "blind", n_features=2, n_neurons=2, knows="blind", withheld="the judge fails")
    studied = root / "apart" / "studied"
    summary = report_data.make(studied, n_features=2, n_neurons=2, bins=2, per_bin=2, controls=1, studied=True)
    summary["dictionary"]["neuronpedia"] = "https://www.neuronpedia.org/gpt2/10-res"
    (studied / "summary.json").write_text(json.dumps(summary), "utf-8")
    for name in ("plain", "hostile", "apart/studied", "apart/judged", "apart/blind"):
        report.write(root / name)
    index.write(root)
    return root


@pytest.fixture
def watched(browser: playwright.Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1200, "height": 800}, reduced_motion="reduce")
    opened = Watched(context.new_page())
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("dialog", lambda dialog: (opened.complaints.append(dialog.message), dialog.dismiss()))
    yield opened
    context.close()


@pytest.mark.parametrize("name", ["hostile/report.html", "index.html"])
def test_hostile_text_runs_nothing_and_fetches_nothing(watched: Watched, results: Path, name: str) -> None:
    address = (results / name).as_uri()
    watched.page.goto(address)
    watched.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true })")
    if name != "index.html":
        watched.page.locator(".unit .window").first.wait_for()
        assert watched.page.locator(".unit[open] > .body").count() == 8 + 7
        assert watched.page.locator(".unit[open] .others q").count() == 8 * 2
        shown = watched.page.locator("#list").inner_text()
        assert "<script>window.pwned=1</script>" in shown
        assert "{{7*7}}" in shown
        assert not set("\x1b\u202e\u2028") & set(shown)
    assert watched.page.evaluate("'pwned' in window") is False
    assert watched.page.locator("img, iframe, object, svg [onload], [onerror], [onfocus]").count() == 0
    assert watched.page.locator("a:not([href^='#'])").count() == (2 if name == "index.html" else 7)
    assert watched.requests == [address]
    assert watched.complaints == []


def test_the_content_security_policy_stops_an_injected_script(watched: Watched, results: Path, tmp_path: Path) -> None:
    page = (results / "plain" / "report.html").read_text("utf-8")
    broken = tmp_path / "report.html"
    injected = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2><link rel=stylesheet href=x.css>"
    broken.write_text(page.replace("<footer>", injected + "<footer>"), "utf-8")
    watched.page.goto(broken.as_uri())
    assert watched.page.evaluate("'pwned' in window") is False
    assert any("Content Security Policy" in complaint for complaint in watched.complaints)


def test_the_page_shows_the_verdict_of_the_summary(watched: Watched, results: Path) -> None:
    from autointerp.findings.summary import read_summary

    watched.page.goto((results / "plain" / "report.html").as_uri())
    assert (
        watched.page.locator("#verdict").inner_text().split()
        == prose.verdict(read_summary(results / "plain")).sentence.split()
    )


def test_units_can_be_sorted_filtered_and_searched(watched: Watched, results: Path) -> None:
    watched.page.goto((results / "plain" / "report.html").as_uri())
    means = watched.page.evaluate("[...document.querySelectorAll('.unit')].map(node => node.unit.m)")
    scored = [m for m in means if m is not None]
    assert scored == sorted(scored, reverse=True)
    watched.page.locator("[data-sort=density]").click()
    watched.page.locator("[data-sort=density]").click()
    densities = watched.page.evaluate("[...document.querySelectorAll('.unit')].map(node => node.unit.d)")
    assert densities == sorted(densities)
    assert watched.page.locator("[data-sort=density]").get_attribute("aria-pressed") == "true"
    watched.page.locator("#kind").select_option("neuron")
    assert len(watched.shown()) == 8
    assert all(name.startswith("neuron-") for name in watched.shown())
    assert watched.page.locator("output").inner_text() == "8 of 16 units"
    watched.page.locator("#kind").select_option("all")
    watched.page.locator("#search").fill("feature 137")
    assert watched.shown() == ["feature-137"]
    watched.page.locator("#search").press("Escape")
    assert len(watched.shown()) == 16
    assert watched.complaints == []


def test_a_link_to_a_unit_opens_and_draws_that_unit(watched: Watched, results: Path) -> None:
    unit = "neuron-" + next(n.split("-", 1)[1] for n in _neurons(results))
    watched.page.goto((results / "plain" / "report.html").as_uri() + "#" + unit)
    assert watched.opened() == [unit]
    assert (
        watched.page.locator(".unit[open] mark").count()
        == watched.page.locator(".unit[open] .window").count()
        == 12 + 3
    )
    assert watched.page.locator(".unit[open] .chip").count() >= 12
    assert watched.page.locator(".unit > .body").count() == 1
    watched.page.locator(".unit[open] .judged a").first.click()
    watched.page.locator(".unit[open] > .body").nth(1).wait_for()
    assert len(watched.opened()) == 2
    assert watched.complaints == []


def test_a_unit_shows_its_tokens_its_nearest_neuron_and_its_page_elsewhere(watched: Watched, results: Path) -> None:
    watched.page.goto((results / "apart" / "studied" / "report.html").as_uri() + "#feature-100")
    shown = watched.page.locator("#feature-100 .cards .facts")
    assert shown.locator(".token").count() == 2 * 8
    assert "promotes" in shown.inner_text()
    assert re.search(r"nearest neuron\s+mlp_act.3:0, correlation 0\.\d\d", shown.inner_text())
    link = shown.locator("a")
    assert link.get_attribute("href") == "https://www.neuronpedia.org/gpt2/10-res/100"
    assert watched.page.locator("#feature-100 .band").first.inner_text().startswith("Strongest contexts")
    watched.page.goto((results / "plain" / "report.html").as_uri() + "#feature-100")
    assert watched.page.locator("#feature-100 .cards .facts a").count() == 0


def test_a_link_to_a_unit_keeps_the_focus_on_it(browser: playwright.Browser, results: Path) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 800}, reduced_motion="no-preference")
    page = context.new_page()
    order = _shown_order(page, results)
    page.goto((results / "plain" / "report.html").as_uri() + "#" + order[5])
    page.wait_for_timeout(200)  # the browser's own way to the fragment
    assert page.evaluate("document.activeElement.parentNode.id") == order[5]
    assert 0 <= page.evaluate(f"document.getElementById({order[5]!r}).getBoundingClientRect().top") < 100
    page.keyboard.press("j")
    assert page.locator(".unit[open]").evaluate_all("nodes => nodes.map(node => node.id)") == [order[6]]
    page.goto("about:blank")
    page.goto((results / "plain" / "report.html").as_uri())
    first = page.locator(".picks a").first
    first.click()
    assert page.evaluate("'#' + document.activeElement.parentNode.id") == first.get_attribute("href")
    context.close()


def _shown_order(page: playwright.Page, results: Path) -> list[str]:
    page.goto((results / "plain" / "report.html").as_uri())
    order = list(page.locator("#list .unit").evaluate_all("nodes => nodes.map(node => node.id)"))
    page.goto("about:blank")
    return order


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marked_text_has_enough_contrast(browser: playwright.Browser, results: Path, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto((results / "plain" / "report.html").as_uri())
    page.locator(".unit").evaluate_all("nodes => nodes.forEach(node => { node.open = true })")
    page.locator(".unit .window .h9").first.wait_for()
    ratios = page.evaluate(_MARK_CONTRAST)
    assert {place for place, _ in ratios} == {"first", "units"}
    assert min(ratio for _, ratio in ratios) >= 4.5
    context.close()


def test_print_opens_what_is_folded_and_cuts_no_table(watched: Watched, results: Path) -> None:
    watched.page.set_viewport_size({"width": 718, "height": 1000})
    watched.page.goto((results / "apart" / "judged" / "report.html").as_uri())
    watched.page.emulate_media(media="print")
    cut = "nodes => nodes.filter(node => !node.checkVisibility() || node.scrollWidth > node.clientWidth + 1).length"
    assert watched.page.locator(".scroll").count() > 8
    assert watched.page.locator(".scroll").evaluate_all(cut) == 0
    assert watched.page.locator("pre").evaluate_all(cut) == 0


def test_the_first_screen_has_verdict_trust_curve_and_nine_features(watched: Watched, results: Path) -> None:
    watched.page.goto((results / "plain" / "report.html").as_uri())
    for part in ("#verdict", "#reliability", ".first figure svg"):
        box = watched.page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800
    picks = watched.page.locator(".picks li")
    assert picks.count() == 6  # of 8 features, two in each of three groups
    assert picks.last.bounding_box()["y"] <= 800
    assert picks.locator("mark").count() == 6


def test_units_can_be_opened_and_stepped_through_by_keyboard(watched: Watched, results: Path) -> None:
    watched.page.goto((results / "plain" / "report.html").as_uri())
    order = watched.shown()
    watched.page.keyboard.press("/")
    assert watched.page.evaluate("document.activeElement.id") == "search"
    for _ in range(3 + 4):
        watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.parentNode.id") == order[0]
    watched.page.keyboard.press("ArrowDown")
    watched.page.keyboard.press("Enter")
    watched.page.locator(".unit[open] > .body").wait_for()
    assert watched.opened() == [order[1]]
    watched.page.keyboard.press("j")
    assert watched.opened() == [order[2]]
    watched.page.keyboard.press("k")
    assert watched.opened() == [order[1]]
    assert watched.page.evaluate("decodeURIComponent(location.hash)") == "#" + order[1]
    assert watched.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
@pytest.mark.parametrize(
    ("name", "label"), [("judged", "Judge: interpret with caution"), ("blind", "The judge is not reliable")]
)
def test_the_first_screen_shows_the_judges_reliability(
    browser: playwright.Browser, results: Path, name: str, label: str, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto((results / "apart" / name / "report.html").as_uri())
    reliability = page.locator("#reliability")
    assert reliability.locator("b").inner_text() == f"{label}."
    box = reliability.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 800
    assert reliability.locator("svg.icon").bounding_box()["width"] > 16
    assert page.evaluate(_CONTRAST) >= 4.5
    assert page.locator("#verdict b").count() == (name == "judged")
    context.close()


def test_the_judge_section_can_be_read_by_keyboard_and_without_colour(watched: Watched, results: Path) -> None:
    watched.page.goto((results / "apart" / "judged" / "report.html").as_uri())
    watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.getAttribute('href')") == "#judge"
    watched.page.keyboard.press("Enter")
    assert watched.page.evaluate("decodeURIComponent(location.hash)") == "#judge"
    checks = watched.page.locator("#judge .checks li")
    assert checks.count() == len(prose.CHECKS) - 1, "all but the graded set's, which no check of this judge has"
    shapes = {"passed": "circle", "failed": "rect", "not measured": "circle.open"}
    for place in range(checks.count()):
        check = checks.nth(place)
        result = check.locator("i").inner_text()
        assert check.locator(f"svg {shapes[result]}").count() == 1
    figures = watched.page.locator("#judge figure")
    assert figures.count() == 3
    assert watched.page.locator("#judge details.data").count() == 1 + 3
    watched.page.locator("#judge details.data summary").first.focus()
    watched.page.keyboard.press("Enter")
    assert watched.page.locator("#judge details.data[open] table").first.is_visible()
    assert watched.complaints == []


def test_control_units_are_listed_separately(watched: Watched, results: Path) -> None:
    watched.page.goto((results / "apart" / "judged" / "report.html").as_uri())
    assert watched.page.locator("#list .unit").count() == 12
    assert watched.page.locator("output").inner_text() == "12 units"
    assert watched.page.locator("#known .unit").count() == 7
    watched.page.locator("#search").fill("colours")
    assert watched.page.locator("output").inner_text() == "0 of 12 units"
    assert watched.page.locator("#known .unit:not([hidden])").count() == 7
    watched.page.goto((results / "apart" / "judged" / "report.html").as_uri() + "#planted-0")
    watched.page.locator("#planted-0 > .body").wait_for()
    assert watched.opened() == ["planted-0"]
    assert watched.page.locator("#planted-0 .judged b").all_inner_texts() == ["Beside a planted word"] * 2
    watched.page.keyboard.press("j")
    assert watched.opened() == ["planted-1"]
    assert watched.complaints == []


def test_the_judges_reliability_is_printed(watched: Watched, results: Path) -> None:
    watched.page.goto((results / "apart" / "judged" / "report.html").as_uri())
    watched.page.emulate_media(media="print")
    assert watched.page.locator("#reliability").is_visible()
    assert watched.page.locator("#judge .checks").is_visible()


@pytest.mark.parametrize("name", ["plain", "apart/studied", "apart/judged"])
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark"), (320, "light")])
def test_nothing_is_clipped_and_no_label_overlaps(
    browser: playwright.Browser, results: Path, name: str, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto((results / name / "report.html").as_uri())
    page.locator(".unit").first.evaluate("node => { node.open = true }")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_OVERLAPS) == []
    context.close()


def _neurons(results: Path) -> list[str]:
    import pandas as pd

    frame = pd.read_parquet(results / "plain" / "units.parquet")
    return [str(u) for u in frame.loc[(frame["kind"] == "neuron") & (frame["status"] == "alive"), "unit_id"]]


_MARK_CONTRAST = """
(() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = channels(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('.window [class^=h]')].map(node => {
    const [r, g, b, alpha = 1] = channels(getComputedStyle(node).backgroundColor);
    const ground = light([r, g, b].map((v, i) => v * alpha + paper[i] * (1 - alpha))), ink = light(channels(getComputedStyle(node).color));
    return [node.closest('.picks') ? 'first' : 'units', (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)];
  });
})()
"""
_CONTRAST = """
(() => {
  const light = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll('#reliability, #reliability b, #reliability a, .checks .icon, .checks i')].map(node => {
    const ink = light(getComputedStyle(node).color);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  }));
})()
"""
_OVERLAPS = """
[...document.querySelectorAll('figure svg')].filter(svg => svg.getClientRects().length).flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll('text')].map(node => [node.textContent, node.getBoundingClientRect()]);
  const found = boxes.filter(([, b]) => b.left < frame.left - 1 || b.right > frame.right + 1 || b.bottom > frame.bottom + 2).map(([t]) => 'outside: ' + t);
  boxes.forEach(([t, a], i) => boxes.slice(i + 1).forEach(([u, b]) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left), down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 1 && down > 3) found.push(t + ' / ' + u);
  }));
  return found;
})
"""
