"""A finished run and its units as HTML for a notebook's cell, with styles that stay inside the cell, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from autointerp.formatting import number, scientific
from autointerp.report import prose
from autointerp.report.contexts import Row
from autointerp.report.escape import clip, visible
from autointerp.report.figures import bin_grades
from autointerp.report.page import environment
from autointerp.report.reader import Results
from autointerp.report.tables import Table

BEST = 3
"""Features shown with the highest mean grade, and as many with the lowest."""
WINDOW_TOKENS = 24
"""Tokens shown around the mark."""
_WIDTH = 640
_TOKEN_CHARS = 48


class Word(NamedTuple):
    """A token of a window: its text, its activation in ninths of the unit's maximum (0 to 9), and whether it is the marked one."""

    text: str
    heat: int
    marked: bool


@dataclass(frozen=True)
class Shown:
    """The same content as HTML, which a notebook shows, and as text, which `print` does."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def result(results: Results, report: str) -> str:
    """A run in a notebook: verdict, reliability of the judge, grades by activation, best and worst features. `report`: its page."""
    summary = results.summary
    features = sorted(
        (unit for unit in results.units if unit["kind"] == "feature" and unit["mean_score"] is not None),
        key=lambda unit: (-unit["mean_score"], unit["unit_id"]),
    )
    best = features[:BEST]
    return _render(
        "result",
        summary=summary,
        lead=prose.lead(summary),
        verdict=prose.verdict(summary),
        reliability=prose.judge_reliability(summary),
        judged_by=prose.judged_by(summary),
        curve=Markup(bin_grades.curve_figure(summary, width=_WIDTH)),
        groups=[
            ("Best features", [(unit, _strongest(unit, results)) for unit in best]),
            ("Worst features", [(unit, _strongest(unit, results)) for unit in features[len(best) :][-BEST:][::-1]]),
        ],
        report=report,
    )


def unit(row: Row, windows: Sequence[Mapping[str, Any]], grades: Mapping[str, int | None]) -> Shown:
    """A unit and some of its windows, rows of exemplars.parquet. `grades`: of judged windows, by exemplar id."""
    shown = [(window, words(window, row["max_activation"]), grades.get(window["exemplar_id"])) for window in windows]
    facts = (
        f"{row['kind']}, mean grade {number(row['mean_score'])}, density {scientific(row['density'])},"
        f" maximum {number(row['max_activation'])}"
    )
    lines = [f"{row['unit_id']}: {visible(row['explanation'] or 'no explanation')}", facts]
    for window, tokens, grade in shown:
        text = "".join(f"[[{word.text}]]" if word.marked else word.text for word in tokens)
        lines.append(f"{window['activation']:8.3f}  {'-' if grade is None else grade}  {text}")
    html = _render("unit", unit=row, facts=facts, windows=shown)
    return Shown(html, "\n".join(lines))


def comparison(verdicts: Sequence[str], cautions: Sequence[str], pairs: Sequence[Table]) -> str:
    """A comparison of runs in a notebook: the verdict and the measures of every pair."""
    return _render("comparison", verdicts=verdicts, cautions=cautions, pairs=pairs)


def words(window: Mapping[str, Any], maximum: float | None) -> list[Word]:
    """The tokens of a window that are shown: `WINDOW_TOKENS` around the mark."""
    mark = int(window["mark"])
    start = max(0, mark - WINDOW_TOKENS // 2)
    stop = min(len(window["tokens"]), start + WINDOW_TOKENS)
    return [
        Word(
            clip(visible(window["tokens"][at]), _TOKEN_CHARS),
            _heat(window["token_activations"][at], maximum),
            at == mark,
        )
        for at in range(start, stop)
    ]


def _heat(value: float | None, maximum: float | None) -> int:
    return min(9, int(9 * value / maximum) + 1) if value and maximum and value > 0 else 0


def _strongest(unit: Row, results: Results) -> list[Word]:
    """The unit's judged window with the strongest activation; empty if none was judged."""
    judged = {row["exemplar_id"] for row in results.judgements.get(unit["unit_id"], []) if row["arm"] == "main"}
    windows = [results.exemplars[name] for name in sorted(judged & results.exemplars.keys())]
    return (
        words(max(windows, key=lambda window: window["activation_fraction"]), unit["max_activation"]) if windows else []
    )


def _render(what: str, **content: Any) -> str:
    """One of the parts of the template."""
    return environment().get_template("notebook.html.j2").render(what=what, **content)
