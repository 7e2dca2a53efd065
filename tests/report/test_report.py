"""The report's files: their wording and size, and that no untrusted text in them is interpreted."""

from __future__ import annotations

import html
import json
import re
import shutil
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.results import summaries as report_data

from autointerp import formatting, report
from autointerp.errors import UsageError
from autointerp.findings import judge_verdict
from autointerp.findings.summary import Summary
from autointerp.judges import prices
from autointerp.report import contexts, differences, escape, index, prose, string_table, strongest, unit_explorer
from autointerp.report.figures import bin_grades, controls, scorers, studies
from autointerp.report.figures import judge as judge_figures
from autointerp.report.reader import read
from autointerp.report.tables import Table
from autointerp.spec.judge_sections import Judge


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("results") / "demo-1"
    report_data.make(made)
    report.write(made)
    return made


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("results") / "judged-1"
    report_data.make(made, knows="sharp")
    report.write(made)
    return made


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("results") / "hostile-1"
    report_data.make(made, hostile=True, knows="sharp")
    report.write(made)
    return made


@pytest.fixture
def summary(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return loaded


class _Attributes(HTMLParser):
    """Every attribute of every element that an HTML parser finds."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(name, value or "") for name, value in attrs]


def model(summary: dict[str, Any]) -> Summary:
    return Summary.model_validate(summary)


def with_headline(summary: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return summary | {"headline": summary["headline"] | changes}


@pytest.mark.parametrize(
    ("low", "high", "tone", "start"),
    [
        (0.27, 0.78, "higher", "Features are more specific than neurons by 0.52 [0.27, 0.78] on the 0\u20133 scale ("),
        (
            -0.9,
            -0.1,
            "lower",
            "Features are less specific than neurons: 0.52 [\u22120.90, \u22120.10] on the 0\u20133 scale (",
        ),
        (-0.1, 0.9, "none", "No difference shown between features and neurons: 0.52 [\u22120.10, 0.90] on the 0"),
        (0.0, 0.9, "none", "No difference shown between features and neurons: 0.52 [0.00, 0.90] on the 0"),
        (None, None, "none", "Features minus neurons, without an interval: 0.52 on the 0"),
    ],
)
def test_the_verdict_follows_the_interval(
    summary: dict[str, Any], low: float, high: float, tone: str, start: str
) -> None:
    verdict = prose.verdict(model(with_headline(summary, difference=0.52, ci_low=low, ci_high=high)))
    assert verdict.tone == tone
    assert verdict.sentence.startswith(start)


def test_the_verdict_names_denominators_and_judge(summary: dict[str, Any]) -> None:
    changed = with_headline(summary, n_features=64, n_features_scored=64, n_neurons=64, n_neurons_scored=61)
    changed |= {"unscored": {"refusal": 2, "truncated": 1}, "judge": "anthropic/claude-haiku-4-5", "judge_is_llm": True}
    said = prose.verdict(model(changed)).basis
    assert said == (
        "(64 of 64 features and 61 of 64 neurons scored, 3 judgements unscored; explained by the embedded baseline,"
        " not an LLM, graded by anthropic/claude-haiku-4-5)"
    )
    assert prose.verdict(model(changed | {"judge": "embedded", "judge_is_llm": False})).basis.endswith(
        "; explained and graded by the embedded baseline, not an LLM)"
    )


def test_another_rubric_is_not_called_specificity(summary: dict[str, Any]) -> None:
    other = {"name": "clarity", "version": "1", "levels": [{"grade": g, "text": "x"} for g in (1, 2, 3, 4, 5)]}
    said = prose.verdict(
        model(with_headline(summary, difference=0.5, ci_low=0.1, ci_high=0.9) | {"rubric": other})
    ).sentence
    assert said.startswith("Features score higher than neurons by 0.50 [0.10, 0.90] on the 1\u20135 scale")


def alone(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary as of a run without neurons."""
    lacks = dict.fromkeys(("difference", "ci_low", "ci_high", "neurons_mean", "p_superior"))
    why = "no neurons were sampled, so the features are not compared"
    return with_headline(summary, **lacks, n_neurons=0, n_neurons_scored=0, why=why)


def test_features_alone_have_a_verdict_of_their_own(folder: Path, summary: dict[str, Any], tmp_path: Path) -> None:
    without = alone(summary)
    grade = without["controls"]["main"]["feature"]
    verdict = prose.verdict(model(without))
    assert verdict.tone == "none"
    assert verdict.number == formatting.estimate(grade["mean"], grade["ci_low"], grade["ci_high"])
    assert verdict.sentence.startswith(
        f"Features, without neurons to compare, are graded {verdict.number} on the 0\u20133 scale"
    )
    assert verdict.basis.startswith(f"({without['headline']['n_features_scored']} of 12 features scored,")
    copy = tmp_path / "alone-1"
    shutil.copytree(folder, copy)
    (copy / "summary.json").write_text(json.dumps(without))
    report.write(copy)
    page, text = (copy / "report.html").read_text("utf-8"), (copy / "report.md").read_text("utf-8")
    first_screen = page[page.index("<header") : page.index("</header>")]
    assert "neurons, mean grade" not in first_screen
    assert formatting.number(grade["mean"]) in first_screen
    assert "Features, without neurons to compare" in text
    index.write(tmp_path)
    assert "features alone" in (tmp_path / "index.html").read_text("utf-8")


def test_the_end_of_the_output_gives_the_judges_verdict_and_the_cost(summary: dict[str, Any]) -> None:
    paid = model(summary | {"cost_usd": 1.25, "cost_unknown_calls": 0})
    label = prose.judge_reliability(paid).label
    assert prose.closing(paid) == f"{label}; cost $1.25"
    old = prices.price_doubt(Judge(model="anthropic/claude-haiku-4-5"), date(2028, 1, 1))
    assert prose.closing(paid, {old or ""}).startswith(
        f"{label}; cost $1.25, by a price last compared with its source on 2026-"
    )
    unpriced = model(summary | {"cost_usd": None, "cost_unknown_calls": 3})
    assert prose.closing(unpriced).endswith("cost unknown (3 calls without a price)")


def test_a_withheld_headline_has_no_number_in_its_place(tmp_path: Path) -> None:
    made = report_data.make(tmp_path, withheld="21% of all judgements are unscored, more than 10%")
    report.write(tmp_path)
    page, text = (tmp_path / "report.html").read_text("utf-8"), (tmp_path / "report.md").read_text("utf-8")
    difference = formatting.estimate(*(made["headline"][key] for key in ("difference", "ci_low", "ci_high")))
    for written in (page, text):
        assert "The headline is withheld: 21% of all judgements are unscored, more than 10%" in written
        assert difference not in written
        assert "P(feature" not in written
    index.write(tmp_path.parent)
    assert difference not in (tmp_path.parent / "index.html").read_text("utf-8")


@pytest.mark.parametrize("fixture", ["folder", "judged"])
def test_who_explained_and_graded_is_said_once_in_the_verdict(fixture: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(fixture)
    page, text = (folder / "report.html").read_text("utf-8"), (folder / "report.md").read_text("utf-8")
    said = "explained and graded by the embedded baseline, not an LLM"
    assert said in re.findall(r"<h1.*?</h1>", page, flags=re.DOTALL)[0]
    assert page.count("embedded baseline") == text.count("embedded baseline") == 1


def test_an_unknown_cost_is_never_zero(summary: dict[str, Any]) -> None:
    assert prose.cost(model(summary | {"cost_usd": None, "cost_unknown_calls": 0})) == "unknown"
    assert (
        prose.cost(model(summary | {"cost_usd": None, "cost_unknown_calls": 7})) == "unknown (7 calls without a price)"
    )
    assert (
        prose.cost(model(summary | {"cost_usd": 1.5, "cost_unknown_calls": 1}))
        == "more than $1.50 (1 call without a price)"
    )
    assert prose.cost(model(summary | {"cost_usd": 0.0})) == "$0.00"
    assert prose.cost(model(summary | {"cost_usd": 0.0004})) == "$0.0004"


@pytest.mark.parametrize(("knows", "judge", "verdict"), [
    ("sharp", "openai/gpt-5-mini", "believe"),
    ("sharp", "embedded", "with_care"),
    ("blind", "openai/gpt-5-mini", "do_not"),
])  # fmt: skip
def test_page_and_text_begin_with_the_judges_reliability(tmp_path: Path, knows: str, judge: str, verdict: str) -> None:
    made = report_data.make(tmp_path, knows=knows, judge=judge)
    assert made["belief"]["verdict"] == verdict
    report.write(tmp_path)
    page, text = (tmp_path / "report.html").read_text("utf-8"), (tmp_path / "report.md").read_text("utf-8")
    first = html.unescape(page[: page.index("<nav")])
    said = f"{prose.VERDICTS[verdict][0]}.</b> {made['belief']['sentence']}"
    assert said in first
    assert f'<p class="reliability {verdict}"' in first
    unescaped = text.replace("\\", "")
    assert f"**{prose.VERDICTS[verdict][0]}.** {made['belief']['sentence']}" in unescaped[: unescaped.index("## ")]
    for check in made["belief"]["checks"]:
        assert check["said"] in html.unescape(page)
        assert f"{prose.PASSED[check['passed']]}: {check['said']}" in unescaped


def test_normalised_and_corrected_differences_are_shown_unless_the_headline_is_withheld(tmp_path: Path) -> None:
    made = report_data.make(tmp_path / "a", knows="sharp")
    shown = differences.alternative_differences(model(made))
    assert [name for name, _, _ in shown] == [
        "difference by the judge alone",
        "normalised difference",
        "difference corrected by a second judge's grades",
    ]
    scaled = made["evidence"]["normalised"]
    assert shown[1][1] == formatting.estimate(scaled["difference"], scaled["ci_low"], scaled["ci_high"])
    withheld = report_data.make(tmp_path / "b", knows="sharp", withheld="too few units")
    assert differences.alternative_differences(model(withheld)) == []
    report.write(tmp_path / "b")
    page = (tmp_path / "b" / "report.html").read_text("utf-8")
    assert "normalised difference" not in page
    assert {row[1] for row in _table(judge_figures.corrected(model(withheld))).rows} == {"withheld"}


def _table(table: Table | None) -> Table:
    assert table is not None
    return table


def test_controls_are_never_among_features_and_neurons(judged: Path) -> None:
    results = read(judged)
    data = unit_explorer.page_data(results)
    assert {unit["k"] for unit in data["units"]} == {"feature", "neuron"}
    others = [f"planted-{n}" for n in range(4)] + [f"random_dictionary-{n}" for n in range(3)]
    assert [unit["id"] for unit in data["known"]] == others
    rows = [row for unit in results.units for row in results.judgements.get(unit["unit_id"], [])]
    assert results.n_judgements == sum(not row["again"] and row["arm"] != "variant" for row in rows) < len(rows)
    page, text = (judged / "report.html").read_text("utf-8"), (judged / "report.md").read_text("utf-8")
    assert "All 24 units" in page
    listed, known = text[text.index("## Units") : text.index("## Rubric")].split("## Control units")
    assert not re.search(r"^\| (planted|random)", listed, flags=re.MULTILINE)
    assert len(re.findall(r"^\| (planted|random)", known, flags=re.MULTILINE)) == len(others)


def test_another_judges_grades_and_other_explanations_stay_out_of_a_units_means(judged: Path) -> None:
    results = read(judged)
    data = unit_explorer.page_data(results)
    frame = pd.read_parquet(judged / "judgements.parquet")
    own = frame.loc[(frame["judge"] == results.summary.judge) & (frame["arm"] == "main")].dropna(subset="score")
    assert len(own) < len(frame.loc[frame["arm"] == "main"].dropna(subset="score"))
    for unit in data["units"]:
        mine = own.loc[own["unit_id"] == unit["id"]].groupby("bin")["score"].mean()
        shown = {place + 1: mean for place, mean in enumerate(unit["b"]) if mean is not None}
        assert shown == pytest.approx(mine.to_dict(), abs=0.0051)


def test_every_explanation_of_a_unit_is_kept_with_its_grade(judged: Path) -> None:
    data = unit_explorer.page_data(read(judged))
    unit = next(unit for unit in data["units"] if unit["s"] == "alive")
    assert [aid for aid, *_ in unit["v"]] == [prose.AIDS["contrast"], prose.AIDS["revise"]]
    texts = [data["strings"][place] for _, place, _, _ in unit["v"]]
    assert [text.rsplit(" ", 1)[1] for text in texts] == ["contrast", "revise"]
    assert all(n > 0 and 0 <= mean <= 3 for _, _, n, mean in unit["v"])
    assert all(unit["v"] == [] for unit in data["known"])


def test_undefined_statistics_are_shown_with_their_reason(judged: Path) -> None:
    made = json.loads((judged / "summary.json").read_text("utf-8"))
    first = made["evidence"]["people"]["agreement"][0]
    first["kappa"] = {"value": None, "ci_low": None, "ci_high": None, "why": "undefined: all grades are 3"}
    first["alpha"] = {"value": 0.5, "ci_low": None, "ci_high": None, "why": "no interval: fewer than 3 units"}
    cells = {row[0]: row[2] for row in _table(judge_figures.agreement(model(made))).rows}
    assert cells["quadratic kappa"] == "n/a (undefined: all grades are 3)"
    assert cells["Krippendorff's ordinal alpha"] == "0.50 (no interval: fewer than 3 units)"


def test_a_ceiling_that_is_not_above_the_floor_is_reported(judged: Path) -> None:
    made = json.loads((judged / "summary.json").read_text("utf-8"))
    scaled = made["evidence"]["normalised"]
    assert {row[0]: row[1] for row in _table(judge_figures.normalised(model(made))).rows}[
        "normalised difference"
    ].startswith(formatting.number(scaled["difference"]))
    names = ("features", "neurons", "difference", "ci_low", "ci_high")
    absent = {"difference": "the ceiling is not above the floor"}
    made["evidence"]["normalised"] = scaled | dict.fromkeys(names) | {"ceiling": 0.1, "absent": absent}
    assert _table(judge_figures.normalised(model(made))).rows[-1] == (
        "difference between floor and ceiling",
        "n/a (the ceiling is not above the floor)",
    )
    assert "normalised difference" not in [name for name, _, _ in differences.alternative_differences(model(made))]


def test_random_weight_controls_have_a_table(judged: Path) -> None:
    made = json.loads((judged / "summary.json").read_text("utf-8"))
    (row,) = _table(judge_figures.random_weights(model(made))).rows
    found = made["evidence"]["random"]["random_dictionary"]
    assert row[0] == "random dictionary"
    assert row[1].startswith(formatting.estimate(found["mean"], found["ci_low"], found["ci_high"]))
    assert "Random weights and directions" in (judged / "report.html").read_text("utf-8")


def test_figures_of_the_judge_draw_every_grade_mean_and_count(judged: Path) -> None:
    made = json.loads((judged / "summary.json").read_text("utf-8"))
    planted = made["evidence"]["planted"]
    for width in (720, 350):
        bars = judge_figures.planted_figure(model(made), width=width).count("<rect")
        assert bars == sum(n > 0 for name in prose.PLANTED for n in planted[name]["given"].values())
        arms = controls.controls_figure(model(made), width=width)
        assert arms.count('class="second dot"') == 3 + 1
        assert arms.count("<circle") == 3
        drawn = scorers.scorers_figure(model(made), width=width)
        assert drawn.count('class="second dot"') == 2
        assert drawn.count('class="floor"') == 2
    matrix = judge_figures.matrices(model(made))[0]
    counts = [n for row in made["evidence"]["second"]["agreement"]["confusion"] for n in row]
    found = [node.text for node in ElementTree.fromstring(matrix).iter("text") if node.get("class") == "strong"]
    assert found[1:] == [f"{n:,}" for n in counts]


def test_other_evaluations_and_aids_are_shown_with_unscored_answers(judged: Path) -> None:
    made = json.loads((judged / "summary.json").read_text("utf-8"))
    page, text = (
        (judged / "report.html").read_text("utf-8"),
        (judged / "report.md").read_text("utf-8").replace("\\", ""),
    )
    for written in (html.unescape(page), text):
        assert "detection: balanced accuracy" in written
        assert "the reply could not be read: 3, the judge refused: 1" in written
        assert "contrasting windows, all units" in written
    cell = made["variants"]["contrast"]["all"]
    assert formatting.estimate(cell["difference"], cell["ci_low"], cell["ci_high"]) in page
    rows = {row[0]: row for row in _table(scorers.metrics(model(made))).rows}
    assert rows["simulation: correlation"][3] == formatting.NOT_AVAILABLE
    assert rows["sensitivity: sensitivity"][6] == formatting.NOT_AVAILABLE


def test_a_figure_over_hardly_any_units_of_a_kind_says_so_beside_it(judged: Path) -> None:
    made = json.loads((judged / "summary.json").read_text("utf-8"))
    assert "only" not in _table(scorers.metrics(model(made))).rows[0][4]
    made["scorers"][0]["figures"][0]["neuron"]["n"] = 0
    made["denominator"]["neuron"]["sampled"] = 40
    assert _table(scorers.metrics(model(made))).rows[0][4].endswith(" (only 0 of 40 neurons)")


def test_the_report_shows_how_well_length_and_mark_alone_tell_items_apart(judged: Path, tmp_path: Path) -> None:
    made = json.loads((judged / "summary.json").read_text("utf-8"))
    assert judge_figures.giveaways(model(made)) is None
    measured = {"mean": 0.51, "ci_low": 0.48, "ci_high": 0.54, "n": 40}
    made["giveaways"] = [{"comparison": name, "balanced_accuracy": measured} for name in ("base_rate", "fuzzing")]
    rows = _table(judge_figures.giveaways(model(made))).rows
    assert [row[0] for row in rows] == ["silent windows, and windows in which the unit is active", "fuzzing"]
    shutil.copytree(judged, tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text(json.dumps(made), "utf-8")
    report.write(tmp_path / "run")
    for name in ("report.html", "report.md"):
        assert "told apart without reading" in (tmp_path / "run" / name).read_text("utf-8")


@pytest.mark.parametrize("lacks", [("belief",), ("belief", "evidence"), ("belief", "evidence", "scorers", "variants")])
def test_summaries_of_older_versions_still_render(tmp_path: Path, lacks: tuple[str, ...]) -> None:
    made = report_data.make(tmp_path / "run", n_features=6, n_neurons=6, bins=2, per_bin=2, controls=2, knows="sharp")
    for key in lacks:
        del made[key]
    (tmp_path / "run" / "summary.json").write_text(json.dumps(made), "utf-8")
    report.write(tmp_path / "run")
    index.write(tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "judge: caution" in page
    assert "Not readable" not in page


@pytest.mark.parametrize("part", ["planted", "normalised", "random", "repeats", "second", "people"])
def test_each_part_of_the_evidence_may_be_missing(judged: Path, tmp_path: Path, part: str) -> None:
    shutil.copytree(judged, tmp_path, dirs_exist_ok=True)
    made = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    made["evidence"][part] = None
    made["belief"] = judge_verdict.of(model(made)).model_dump()
    (tmp_path / "summary.json").write_text(json.dumps(made), "utf-8")
    report.write(tmp_path)
    assert "NaN" not in (tmp_path / "report.html").read_text("utf-8")
    if part in prose.CHECKS:
        assert f"{prose.CHECKS[part]}, not measured" in (tmp_path / "report.md").read_text("utf-8")


@pytest.mark.parametrize("wordy", [False, True])
def test_a_page_of_200_units_stays_small(tmp_path: Path, wordy: bool) -> None:
    report_data.make(tmp_path, n_features=100, n_neurons=100, wordy=wordy, per_bin=2, controls=2, knows="sharp")
    report.write(tmp_path)
    size = (tmp_path / "report.html").stat().st_size
    assert size < (1_500_000 if wordy else 820_000)
    assert len((Path(report.__file__).parent / "templates" / "report.js").read_bytes()) < 30_000


def test_the_page_fetches_nothing_and_allows_only_its_own_script(hostile: Path) -> None:
    page = (hostile / "report.html").read_text("utf-8")
    markup = re.sub(r'<script type="application/json" id="data">.*?</script>', "", page, flags=re.DOTALL)
    attributes = _Attributes(markup).found
    fetched = [value for name, value in attributes if name in {"src", "href", "action", "srcset", "xlink:href"}]
    assert len(fetched) > 4
    beside = {path.name for path in hostile.iterdir()}
    assert all(value.startswith("#") or value == "data:," or value in beside for value in fetched)
    assert not [name for name, _ in attributes if name.startswith("on") or name == "style"]
    assert not re.search(
        r"@import|url\(|fetch\(|import\s*\(|XMLHttpRequest|innerHTML|outerHTML|insertAdjacentHTML", markup
    )
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert page.count("<script") == 2


def test_the_embedded_json_stays_in_its_element_and_holds_only_visible_text(hostile: Path) -> None:
    page = (hostile / "report.html").read_text("utf-8")
    found = re.search(r'id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    assert not set("<>&\u2028\u2029\u202e\x1b\x00") & set(found[1])
    strings = json.loads(found[1])["strings"]
    assert "<script>window.pwned=1</script>" in strings
    assert "\u241b[31mred\u241b[0m\u2407\u2400" in strings
    assert "\u27e8RLO\u27e9gnp.exe\u27e8LRI\u27e9\u27e8PDI\u27e9" in strings


def test_markdown_renders_hostile_text_literally(hostile: Path) -> None:
    text = (hostile / "report.md").read_text("utf-8")
    outside = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<", outside)
    assert not re.search(r"(?<!\\)\[(?=link)", outside)
    assert not re.search(r"https?://", outside)
    lengths = {
        line.count("|") - line.count("\\|") for line in outside.splitlines() if re.match(r"\| (feature|neuron)-", line)
    }
    assert len(lengths) == 1
    assert not set("\x1b\x00\u202e\u2028") & set(text)


@given(st.text(st.characters(exclude_categories=())))
def test_visible_text_is_valid_utf8_without_invisible_characters(text: str) -> None:
    shown = escape.visible(text)
    shown.encode("utf-8")
    assert len(shown) >= len(text)
    assert not any(
        ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or 0x202A <= ord(c) <= 0x202E or 0x2066 <= ord(c) <= 0x2069
        for c in shown
    )
    assert escape.visible(shown) == shown
    assert json.loads(escape.script_json(shown)) == shown


def test_every_bin_is_shown_and_the_mark_stays_on_its_token(folder: Path) -> None:
    results = read(folder)
    data = unit_explorer.page_data(results)
    unit = next(u for u in data["units"] if u["s"] == "alive")
    assert {x[0] for x in unit["x"]} == set(range(data["bins"] + 1))
    assert len(unit["x"]) == contexts.shown_per_unit(len(data["units"]))
    chosen = [results.exemplars[name] for name in results.chosen[unit["id"]]]
    marked = {escape.visible(exemplar["tokens"][exemplar["mark"]]) for exemplar in chosen}
    for _, fraction, mark, _, heat, packed, _ in unit["x"]:
        tokens = string_table.unpack(packed)
        assert len(tokens) <= contexts.WINDOW_TOKENS
        assert data["strings"][tokens[mark]] in marked
        assert int((heat + "0" * len(tokens))[mark]) == (0 if fraction == 0 else min(9, int(9 * fraction) + 1))


def test_the_page_names_the_message_of_an_exemplar_that_has_one(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    assert all(len(x) == 7 for u in unit_explorer.page_data(read(folder))["units"] for x in u["x"])
    table = pd.read_parquet(folder / "exemplars.parquet").assign(turn="assistant\u202e 2")
    table.to_parquet(tmp_path / "run" / "exemplars.parquet")
    turns = {x[7] for u in unit_explorer.page_data(read(tmp_path / "run"))["units"] for x in u["x"]}
    assert turns == {escape.visible("assistant\u202e 2")}


def test_a_shuffled_judgement_names_the_explanation_that_was_shown(folder: Path) -> None:
    results = read(folder)
    data = unit_explorer.page_data(results)
    shuffled = [
        (u["id"], v)
        for u in data["units"]
        for x in u["x"]
        for v in x[6]
        if v[0] == unit_explorer.ARMS.index("shuffled")
    ]
    assert shuffled
    for unit_id, row in shuffled:
        shown = data["units"][row[4]]["id"]
        assert any(shown == judged["explanation_unit_id"] for judged in results.judgements[unit_id])


def test_the_figure_for_the_readme_stands_alone_and_names_the_judge(summary: dict[str, Any]) -> None:
    figure = bin_grades.bins_figure(model(summary))
    root = ElementTree.fromstring(figure)
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Explained and graded by the embedded baseline, not an LLM." in texts
    bars = [
        node for node in root.iter("{http://www.w3.org/2000/svg}rect") if node.get("class") in {"g0", "g1", "g2", "g3"}
    ]
    shares = sum(row[f"share_{g}"] > 0 for row in summary["bins"] for g in range(4))
    assert len(bars) == 2 * shares + 4


def test_missing_numbers_are_written_as_not_available(tmp_path: Path) -> None:
    made = report_data.make(
        tmp_path, n_features=3, n_neurons=3, controls=0, unscored_rate=1.0, withheld="nothing was scored"
    )
    assert made["bins"][0]["mean"] is None
    report.write(tmp_path)
    assert formatting.NOT_AVAILABLE in (tmp_path / "report.md").read_text("utf-8")
    assert "NaN" not in (tmp_path / "report.html").read_text("utf-8")


def test_the_dictionary_and_its_studies_are_shown_as_figures_and_as_tables(tmp_path: Path) -> None:
    made = report_data.make(tmp_path, n_features=2, n_neurons=2, bins=2, per_bin=1, controls=1, studied=True)
    report.write(tmp_path)
    page, text = (tmp_path / "report.html").read_text("utf-8"), (tmp_path / "report.md").read_text("utf-8")
    share = formatting.percent(made["studies"]["correlation"]["signed"]["share"])
    for written in (page, text):
        assert "explains 0.81 of the variance and recovers 0.97 of the subject" in written
        assert f"For {share} of 60 sampled features" in written.replace("\\", "")
        assert "142 of 4,096 (3.5%), on 65,540 tokens" in written.replace("\\", "")
    figure = studies.rounding_figure(model(made), width=720)
    assert figure.count("<circle") == 1 + len(made["studies"]["rounding"]["shares"])
    drawn = studies.panels(model(made))
    bars = sum(n > 0 for n in made["studies"]["correlation"]["signed"]["counts"])
    assert drawn["signed"].count("<rect") == bars


def test_a_doubtful_dictionary_and_missing_neurons_are_reported(tmp_path: Path) -> None:
    made = report_data.make(tmp_path, n_features=2, n_neurons=2, bins=2, per_bin=1, controls=1, studied=True)
    made["check"] |= {"said": "explains little of <b>", "loss": None, "loss_recovered": None}
    made["studies"]["correlation"] = {"skipped": "mlp_act.0: a mixture of experts"}
    (tmp_path / "summary.json").write_text(json.dumps(made), "utf-8")
    report.write(tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "The check before the harvest found that the dictionary explains little of &lt;b&gt;." in page
    assert "not measured: the activations cannot be replaced at this hook point" in page
    assert "were not compared with neurons: mlp_act.0: a mixture of experts." in page
    assert "Correlations as a table" not in page


def test_writing_a_report_again_changes_no_file(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report.write(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("summary.json", None, "does not exist: name a folder"),
        ("summary.json", b"{", "is not valid JSON"),
        ("summary.json", b'{"schema_version": 9}', "has schema_version 9, but this version of autointerp reads 1"),
        ("units.parquet", None, "does not exist"),
        ("judgements.parquet", b"PAR1 broken", "cannot be read"),
    ],
)
def test_broken_folders_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    report_data.make(tmp_path, n_features=2, n_neurons=2, bins=2, per_bin=1, controls=1)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        report.write(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_the_index_lists_runs_newest_first_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    for name, judge, finished in (
        ("a", "embedded", "2026-11-20T01:00:00Z"),
        ("b & c", "openai/gpt-5-mini", "2026-11-21T01:00:00Z"),
    ):
        made = report_data.make(tmp_path / name, n_features=3, n_neurons=3, bins=2, per_bin=2, judge=judge)
        (tmp_path / name / "summary.json").write_text(
            json.dumps(made | {"finished_at": finished, "name": name}), "utf-8"
        )
    report.write(tmp_path / "b & c")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "summary.json").write_text("{}", "utf-8")
    index.write(tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.index("b &amp; c") < page.index("2026-11-20")
    assert re.findall(r'<a href="([^"]*)"', page) == ["b%20%26%20c/report.html"]
    assert page.count("not an LLM") == 1
    assert "Not readable by this version: broken." in page


def labelled(summary: dict[str, Any], value: float, low: float, high: float) -> dict[str, Any]:
    """The summary with people's correction of its difference."""
    people = summary["evidence"]["people"]
    corrected = people["corrected"]
    difference = corrected["difference"] | {"value": value, "ci_low": low, "ci_high": high}
    changed = people | {"corrected": corrected | {"difference": difference}}
    return summary | {"evidence": summary["evidence"] | {"people": changed}}


def test_after_labelling_the_corrected_difference_leads_everywhere(judged: Path, tmp_path: Path) -> None:
    made = json.loads((judged / "summary.json").read_text("utf-8"))
    changed = labelled(made, 0.45, -0.3, 1.21)
    verdict = prose.verdict(model(changed))
    assert (verdict.tone, verdict.number) == ("none", "0.45 [\u22120.30, 1.21]")
    assert verdict.scale == "on the 0\u20133 scale, corrected by people's grades"
    assert "labels by 2 people" in verdict.basis
    shutil.copytree(judged, tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text(json.dumps(changed), "utf-8")
    report.write(tmp_path / "run")
    index.write(tmp_path)
    header = re.findall(r"<header.*?</header>", (tmp_path / "run" / "report.html").read_text("utf-8"), re.DOTALL)[0]
    assert "more specific than neurons" not in header
    assert "difference by the judge alone" in header
    assert verdict.number in (tmp_path / "index.html").read_text("utf-8")
    assert verdict.number in (tmp_path / "run" / "report.md").read_text("utf-8")
    withheld = changed | {"headline": changed["headline"] | {"withheld": "too few units"}}
    assert prose.verdict(model(withheld)).tone == "withheld"


def test_every_file_of_the_run_is_listed_with_a_link(folder: Path) -> None:
    links = {value for name, value in _Attributes((folder / "report.html").read_text("utf-8")).found if name == "href"}
    assert {path.name for path in folder.iterdir()} - {"report.html"} <= links


def test_a_units_strongest_contexts_are_shown_once_whoever_read_them(folder: Path) -> None:
    results = read(folder)
    data = unit_explorer.page_data(results)
    frame = pd.read_parquet(folder / "exemplars.parquet")
    for unit in data["units"]:
        active = frame.loc[(frame["unit_id"] == unit["id"]) & (frame["bin"] > 0), "activation_fraction"]
        strongest = sorted(active, reverse=True)[: contexts.STRONGEST]
        assert [x[1] for x in unit["t"]] == [round(fraction, 3) for fraction in strongest]
        assert not set(results.strongest.get(unit["id"], [])) & set(results.chosen.get(unit["id"], []))
    roles = dict(zip(frame["exemplar_id"], frame["role"], strict=True))
    for unit in data["units"]:
        for name, x in zip(results.strongest.get(unit["id"], []), unit["t"], strict=True):
            assert bool(x[3] & 4) == (roles[name] == "explain_top")
            assert bool(x[6]) == (roles[name] == "score")


def test_the_first_screen_has_the_best_typical_and_worst_features_with_their_strongest_context(folder: Path) -> None:
    results = read(folder)
    groups = dict(strongest.groups(results))
    means = {u["unit_id"]: u["mean_score"] for u in results.units if u["kind"] == "feature"}
    graded = sorted((mean for mean in means.values() if mean is not None), reverse=True)
    assert [means[shown.unit_id] for shown in groups["Best features"]] == graded[:3]
    assert [means[shown.unit_id] for shown in groups["Worst features"]] == graded[::-1][:3]
    best, typical, worst = ([means[shown.unit_id] for shown in groups[title]] for title in groups)
    assert min(best) >= max(typical) >= min(typical) >= max(worst)
    for shown in (shown for group in groups.values() for shown in group):
        exemplar = results.exemplars[results.strongest[shown.unit_id][0]]
        [marked] = [word for word in shown.context if word.marked]
        assert marked.text == escape.visible(exemplar["tokens"][exemplar["mark"]])
        assert marked.heat == contexts.heat(exemplar["activation_fraction"], 1.0)


@given(st.lists(st.integers(0, 160_000)))
def test_packed_indices_are_read_back(indices: list[int]) -> None:
    assert string_table.unpack("".join(map(string_table.pack, indices))) == indices
