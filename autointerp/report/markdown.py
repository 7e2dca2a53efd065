"""The same findings as text: a Markdown file that also reads well unrendered."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autointerp import formatting
from autointerp.findings.summary import Summary
from autointerp.report import prose, unit_explorer
from autointerp.report import tables as report_tables
from autointerp.report.escape import clip, visible
from autointerp.report.escape import markdown as escaped
from autointerp.report.figures import judge, scorers
from autointerp.report.reader import Results, Row
from autointerp.report.tables import Table


def render(results: Results) -> str:
    """The report as Markdown."""
    summary = results.summary
    verdict = prose.verdict(summary)
    level = f"Intervals are at {100 * results.confidence:g}%, over units."
    parts = [f"# {escaped(summary.name)}", f"**{escaped(verdict.sentence)}**"]
    if verdict.tone != "withheld":
        parts += [" ".join(part for part in (prose.superiority(summary.headline), level) if part).replace(">", "\\>")]
        parts += [_table(report_tables.weightings(summary))]
        parts += [escaped(sentence) for sentence in prose.robustness(summary)]
    parts += _bullets([f"{name}: {shown} ({meaning})" for name, shown, meaning in prose.corrected(summary)])
    parts += [escaped(sentence) for sentence in prose.not_llm(summary)]
    parts += _judge(summary)
    parts += [
        "## Missing data and cost",
        _table(report_tables.denominators(summary)),
        _table(report_tables.unscored(summary, results.n_judgements)),
    ]
    parts += [_pairs(report_tables.facts(summary))]
    if summary.cautions:
        parts += ["Cautions:", "\n".join(f"- {escaped(caution)}" for caution in summary.cautions)]
    parts += ["## Grades by activation", _table(report_tables.bins(summary))]
    parts += _others(summary)
    if summary.check:
        parts += [
            "## The dictionary",
            escaped(prose.fit(summary)),
            _pairs(report_tables.check_pairs(summary.check)),
        ]
    if summary.studies:
        parts += [
            "## Studies of the dictionary",
            _pairs(report_tables.densities(summary.studies)),
            escaped(prose.resemblance(summary)),
        ]
        if correlations := report_tables.correlations(summary.studies):
            parts += [_table(correlations)]
        parts += [_table(report_tables.rounding(summary))]
    parts += ["## Units", _table(_units(results, results.units))]
    if results.known:
        parts += ["## Control units", _table(_units(results, results.known))]
    parts += [
        "## Rubric",
        "\n".join(f"- {level.grade}: {escaped(level.text)}" for level in summary.rubric.levels),
    ]
    parts += [
        "## Provenance",
        _pairs(report_tables.provenance(summary)),
        "Made by:",
        _fenced(summary.command, "sh"),
    ]
    parts += ["The spec:", _fenced(results.spec, "toml")]
    return "\n\n".join(parts) + "\n"


def _judge(summary: Summary) -> list[str]:
    """How far the judge can be relied on, and the evidence."""
    shown = prose.judge_reliability(summary)
    parts = [f"**{escaped(shown.label)}.** {escaped(shown.found.sentence)}", "## Judge reliability"]
    parts += _bullets(f"{prose.CHECKS[c.name]}, {prose.PASSED[c.passed]}: {c.said}" for c in shown.found.checks)
    found = [report_tables.controls, judge.planted, judge.normalised, judge.random_weights, judge.repeats]
    found += [judge.agreement, judge.corrected]
    tables = [make(summary) for make in found]
    return parts + [_table(table) for table in [*tables, *judge.confusions(summary)] if table]


def _others(summary: Summary) -> list[str]:
    """Results of the other evaluations and effects of explanation aids, if there are any."""
    scored, answers, compared = (make(summary) for make in (scorers.scorers, scorers.answers, scorers.variants))
    parts = []
    if scored and answers:
        parts += ["## Other evaluations", _table(scored), _table(answers), _pairs(scorers.meanings(summary))]
    return parts + (["## Effect of explanation aids", _table(compared)] if compared else [])


def _units(results: Results, chosen: list[Row]) -> Table:
    rows = []
    for unit in sorted(chosen, key=lambda unit: (unit["kind"], -(unit["mean_score"] or 0), unit["index"])):
        said = clip(unit["explanation"], 300) if unit["explanation"] else f"none ({unit['status'].replace('_', ' ')})"
        numbers = (unit["mean_score"], unit["shuffled_mean"], unit["base_rate_mean"])
        scored = f"{formatting.count(unit['n_scored'])} / {formatting.count(unit['n_scored'] + unit['n_unscored'])}"
        rows.append(
            (unit["unit_id"], said, *(formatting.number(value) for value in numbers), density(unit["density"]), scored)
        )
    header = ("unit", "explanation", "mean grade", "shuffled", "silent", "density", "scored / judged")
    shown = f"{formatting.plural(len(chosen), 'unit')}; {prose.judged_by(results.summary)}; windows in report.html ({unit_explorer.WINDOW_TOKENS} tokens each)"
    return Table(shown, header, tuple(rows))


def density(value: float | None) -> str:
    """A density as the share of tokens in scientific form, 0 as itself."""
    return formatting.NONE if value is None else "0" if value == 0 else f"{value:.1e}"


def _table(table: Table) -> str:
    lines = [f"*{escaped(table.caption)}*", "", _row(table.header), _row(("---",) * len(table.header), raw=True)]
    return "\n".join(lines + [_row(row) for row in table.rows])


def _row(cells: tuple[str, ...], raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else escaped(cell) for cell in cells) + " |"


def _bullets(lines: Iterable[str]) -> list[str]:
    """One list, or nothing."""
    written = "\n".join(f"- {escaped(line)}" for line in lines)
    return [written] if written else []


def _pairs(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in pairs)


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{visible(text, keep=chr(10)).rstrip()}\n{fence}"
