"""Renders the report as one HTML file that opens from disk, makes no network requests, and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from autointerp import formatting
from autointerp.findings.summary import Summary
from autointerp.records import COMPARED
from autointerp.report import contexts, differences, prose, strongest, tables, unit_explorer, unit_sides
from autointerp.report.escape import script_json, visible
from autointerp.report.figures import bin_grades, controls, judge, rarity, scorers, studies
from autointerp.report.reader import Results

_TEMPLATES = Path(__file__).parent / "templates"
_WIDE, _NARROW = 720, 350
_EVIDENCE = {
    "planted": "planted units",
    "normalised": "floor and ceiling",
    "random_weights": "random weights",
    "repeats": "repeatability",
    "giveaways": "length and mark alone",
    "agreement": "other graders",
}
"""Parts of the evidence on the judge, as the page names them."""
FILES = {
    "summary.json": "every number of this page",
    "units.parquet": "units with explanations and mean grades",
    "exemplars.parquet": "contexts of units with the activation of every token",
    "judgements.parquet": "every grade with its reason",
    "explanations.parquet": "explanations, also those made with aids",
    "scorers.parquet": "answers of the other evaluations",
    "report.md": "this report as text",
    "spec.toml": "the settings of the run",
}
"""The files of a run with their contents."""


def render(results: Results) -> str:
    """The HTML of a report."""
    summary = results.summary
    verdict = prose.verdict(summary)
    data = unit_explorer.page_data(results)
    return environment().get_template("report.html.j2").render(
        **assets("report.css", "report.js"),
        summary=summary,
        lead=prose.lead(summary),
        verdict=verdict,
        withheld=verdict.tone == "withheld",
        headline=summary.headline,
        scale=verdict.scale.partition(","),
        means=differences.leading_means(summary),
        averaged=prose.averaged(summary),
        corrected=differences.corrected_by_people(summary) is not None,
        groups=strongest.groups(results),
        confidence=f"{100 * results.confidence:g}%",
        robustness=prose.robustness(summary),
        reliability=prose.judge_reliability(summary),
        alternatives=differences.alternative_differences(summary),
        names=prose.CHECKS,
        passed=prose.PASSED,
        judging=_judging(summary),
        evaluations=_evaluations(summary),
        aid_effects=scorers.aid_effects(summary),
        charts={name: Markup(drawing) for name, drawing in _charts(summary).items()},
        tables=_tables(results),
        check=tables.check_pairs(summary.check) if summary.check else None,
        fit=prose.fit(summary) if summary.check else "",
        studies=_studies(summary),
        sides=_sides(results),
        facts=tables.facts(summary),
        provenance=tables.provenance(summary),
        spec=Markup(escape(visible(results.spec, keep="\n"))),
        comparisons=results.comparisons,
        made_studies=results.studies,
        shown=contexts.shown_per_unit(len(results.units)),
        window=contexts.WINDOW_TOKENS,
        files=[(name, FILES.get(name, "")) for name in results.files],
        n_units=len(results.units),
        n_known=len(results.known),
        data=Markup(script_json(data)),
    )  # fmt: skip


@cache
def environment() -> Environment:
    """The environment of the templates. All printed text is made visible, then escaped; an unknown name is an error."""
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    templates.filters |= {"number": formatting.number, "count": formatting.count, "day": formatting.day}
    return templates


def assets(style: str, script: str | None = None) -> dict[str, Any]:
    """A page's style and script, and the content security policy that allows these two texts and nothing else."""
    css = (_TEMPLATES / "base.css").read_text(encoding="utf-8") + (_TEMPLATES / style).read_text(encoding="utf-8")
    js = (_TEMPLATES / script).read_text(encoding="utf-8") if script else ""
    rules = ["default-src 'none'", f"style-src {_hash(css)}", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    rules += [f"script-src {_hash(js)}", "require-trusted-types-for 'script'", "trusted-types 'none'"] if script else []
    return {"css": Markup(css), "js": Markup(js), "csp": Markup("; ".join(rules))}


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _charts(summary: Summary) -> dict[str, str]:
    """The figures of grades and controls by name. Those with `_wide` and `_narrow` are drawn twice, for screens and phones."""
    drawn = {
        f"{kind}_{'shares' if shares else 'counts'}": bin_grades.bins_panel(summary, kind, shares=shares)
        for kind in COMPARED
        for shares in (False, True)
    }
    for size, width in (("wide", _WIDE), ("narrow", _NARROW)):
        drawn[f"curve_{size}"] = bin_grades.curve_figure(summary, width=width)
        drawn[f"rarity_{size}"] = rarity.rarity_figure(summary, width=width)
        drawn[f"controls_{size}"] = controls.controls_figure(summary, width=width)
    return drawn


def _judging(summary: Summary) -> dict[str, Any]:
    """Figures and tables on the judge. Parts that were not measured are None or empty."""
    measured: dict[str, Any] = {
        name: getattr(judge, name)(summary)
        for name in ("planted", "normalised", "random_weights", "repeats", "giveaways", "agreement", "corrected")
    }
    return {
        "any": [shown for name, shown in _EVIDENCE.items() if measured[name]],
        "wide": Markup(judge.planted_figure(summary, width=_WIDE)),
        "narrow": Markup(judge.planted_figure(summary, width=_NARROW)),
        "matrices": [Markup(drawing) for drawing in judge.matrices(summary)],
        "confusions": judge.confusions(summary),
        **measured,
    }


def _evaluations(summary: Summary) -> dict[str, Any] | None:
    """Figures and tables of the other evaluations; None if there are none."""
    if not summary.scorers:
        return None
    return {
        "wide": Markup(scorers.scorers_figure(summary, width=_WIDE)),
        "narrow": Markup(scorers.scorers_figure(summary, width=_NARROW)),
        "metrics": scorers.metrics(summary),
        "answers": scorers.answers(summary),
        "definitions": scorers.definitions(summary),
    }


def _studies(summary: Summary) -> dict[str, Any] | None:
    """Figures and tables of the dictionary's studies; None if there are none."""
    if summary.studies is None:
        return None
    return {
        "densities": tables.densities(summary.studies),
        "resemblance": prose.resemblance(summary),
        "panels": [Markup(drawing) for drawing in studies.panels(summary).values()],
        "wide": Markup(studies.rounding_figure(summary, width=_WIDE)),
        "narrow": Markup(studies.rounding_figure(summary, width=_NARROW)),
        "correlations": tables.correlations(summary.studies),
        "rounding": tables.rounding(summary),
    }


def _sides(results: Results) -> dict[str, Any] | None:
    """Tables of both sides of the units; None if they were not measured."""
    if not results.summary.two_sided:
        return None
    return {
        "sentence": unit_sides.sentence(),
        "classes": unit_sides.classes(results.summary),
        "precisions": unit_sides.precisions(results.summary),
        "explanations": unit_sides.explanations(results),
    }


def _tables(results: Results) -> dict[str, tables.Table | None]:
    summary = results.summary
    return {
        "bins": tables.bins(summary),
        "weightings": tables.weightings(summary),
        "bin_differences": tables.bin_differences(summary),
        "rarity_levels": tables.rarity_levels(summary),
        "controls": tables.controls(summary),
        "denominators": tables.denominators(summary),
        "unscored": tables.unscored(summary, results.n_judgements),
    }
