"""Every page that the program writes or serves, examined by axe-core in a real Chromium, in light colours on a screen and in dark
colours on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.results import graded_runs, summaries
from support.results import labels as labelled

from autointerp import report
from autointerp.comparisons.command import compare_runs
from autointerp.report import index

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
pytestmark = pytest.mark.slow

COLOURS = [("light", 1280), ("dark", 390)]
_UNFOLD = """
(() => {
  document.querySelectorAll('details:not(.unit)').forEach(node => { node.open = true });
  document.querySelectorAll('.unit').forEach((node, place) => { node.open = place % 4 === 0 });
})()
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    summaries.make(root / "judged", n_features=12, n_neurons=12, bins=4, per_bin=3, knows="sharp", studied=True)
    summaries.make(root / "withheld", n_features=4, n_neurons=4, knows="blind", withheld="the judge fails")
    summaries.make(root / "alone", n_features=12, n_neurons=0)
    _add_a_night(root, "judged")
    rng = np.random.default_rng(0)
    for name, level in (("first", 0.4), ("second", 0.6)):
        grades = [rng.binomial(3, level, (20, 3, 3)).astype(float) for _ in range(2)]
        graded_runs.write(root / name, *grades, judge=f"openai/{name}")
    list(compare_runs(["first", "second"], root, root / "comparison", 0.95))
    for name in ("judged", "withheld", "alone"):
        report.write(root / name)
    index.write(root)
    return root


def _add_a_night(root: Path, run: str) -> None:
    """Files of a night that found a regression."""
    change = {"difference": -0.5, "ci_low": -0.6, "ci_high": -0.4}
    drift = change | {"judge": "a judge", "is_llm": True, "since": "2026-11-20", "n_anchors": 5, "excludes_zero": True}
    trend = {
        "night": "2026-11-21",
        "lineage": "sae",
        "verdict": "regression",
        "told": "worse",
        "reason": "",
        "mean_now": 1.0,
    }
    trend |= change | {"previous_run_id": "before", "judge_drift": drift, "corrected": change | {"drift": change}}
    entry = {"path": "/x/sae-v2", "lineage": "sae", "reason": "the file is cut", "run_id": run}
    night: dict[str, Any] = {
        "night": "2026-11-21",
        "cost_usd": 1.0,
        "budget_usd": 2.0,
        "notes": [],
        "judge_drift": drift,
    }
    night |= {key: [entry] for key in ("scored", "copies", "corrupt", "failed", "deferred")}
    (root / run / "trend.json").write_text(json.dumps(trend))
    (root / "nights").mkdir()
    (root / "nights" / "2026-11-21.json").write_text(json.dumps(night))


@pytest.fixture(params=COLOURS, ids=lambda param: f"{param[0]}-{param[1]}")
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    scheme, width = request.param
    # axe-core is a script that the pages' content security policy does not allow.
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "reduced_motion": "reduce"}
    context = browser.new_context(**options, bypass_csp=True)
    opened = context.new_page()
    opened.on("dialog", lambda dialog: dialog.accept())
    yield opened
    context.close()


def grave(page: playwright.Page) -> list[str]:
    """The serious and critical violations that axe-core finds on the page, a line for each rule."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{rule['id']} at {len(rule['nodes'])} places, such as {rule['nodes'][0]['target']}: {rule['nodes'][0]['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(
    "name",
    ["judged/report.html", "withheld/report.html", "alone/report.html", "comparison/comparison.html", "index.html"],
)
def test_axe_finds_nothing_serious_on_a_page(page: playwright.Page, results: Path, name: str) -> None:
    page.goto((results / name).as_uri())
    page.evaluate(_UNFOLD)
    assert grave(page) == []


def test_axe_finds_nothing_serious_on_the_labelling_page(page: playwright.Page, tmp_path: Path) -> None:
    ledger = labelled.make(tmp_path)
    sheet = labelled.sheet(ledger, tmp_path, n=20)
    with labelled.served(sheet) as url:
        page.goto(url)
        assert grave(page) == []
        page.keyboard.press("?")
        assert page.get_by_role("dialog").is_visible()
        assert grave(page) == []
        page.keyboard.press("Escape")
        for _ in range(20):
            page.keyboard.press("2")
        playwright.expect(page.locator("#saved")).to_have_text("saved", timeout=30_000)
        page.get_by_role("button", name="close the labels and show the agreement").click()
        page.locator("#agreement").wait_for()
        assert grave(page) == []
    ledger.close()


def test_axe_finds_a_fault_that_is_there(page: playwright.Page, results: Path) -> None:
    page.goto((results / "judged" / "report.html").as_uri())
    page.add_style_tag(content=".picks q { color: #8888 }")
    assert any(line.startswith("color-contrast") for line in grave(page))
