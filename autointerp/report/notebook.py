"""A finished run and its units as HTML for a notebook's cell, with styles that stay inside the cell, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from autointerp.formatting import number, scientific
from autointerp.report import contexts, prose, strongest
from autointerp.report.contexts import Row
from autointerp.report.escape import clip, visible
from autointerp.report.figures import bin_grades
from autointerp.report.page import environment
from autointerp.report.reader import Results
from autointerp.report.strongest import Word
from autointerp.report.tables import Table

_WIDTH = 640
_TOKEN_CHARS = 48


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
    """A run in a notebook: verdict, reliability of the judge, grades by activation, best, typical and worst features. `report`: its page."""
    summary = results.summary
    return _render(
        "result",
        summary=summary,
        lead=prose.lead(summary),
        verdict=prose.verdict(summary),
        reliability=prose.judge_reliability(summary),
        judged_by=prose.judged_by(summary),
        curve=Markup(bin_grades.curve_figure(summary, width=_WIDTH)),
        groups=strongest.groups(results),
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


def study(title: str, cautions: Sequence[str], sentences: Sequence[str], tables: Sequence[Table], page: str) -> str:
    """A study in a notebook: its sentences and the first rows of its tables. `page`: its page."""
    return _render("study", title=title, cautions=cautions, sentences=sentences, tables=tables, page=page)


def words(window: Mapping[str, Any], maximum: float | None) -> list[Word]:
    """The tokens around the mark of a window that are shown."""
    mark, activations = int(window["mark"]), window["token_activations"]
    shown = range(*contexts.bounds(len(window["tokens"]), mark))
    return [
        Word(clip(visible(window["tokens"][at]), _TOKEN_CHARS), contexts.heat(activations[at], maximum), at == mark)
        for at in shown
    ]


def _render(what: str, **content: Any) -> str:
    """One of the parts of the template."""
    return environment().get_template("notebook.html.j2").render(what=what, **content)
