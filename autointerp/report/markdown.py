"""Renders the report as Markdown that also reads well as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autointerp import formatting
from autointerp.findings.summary import Summary
from autointerp.report import cells, contexts, differences, prose, unit_sides
from autointerp.report import tables as report_tables
from autointerp.report.contexts import Row
from autointerp.report.escape import clip, visible
from autointerp.report.escape import markdown as escaped
from autointerp.report.figures import judge, scorers
from autointerp.report.reader import Results
from autointerp.report.tables import Table


def render(results: Results) -> str:
    """The report as Markdown."""
    summary = results.summary
    verdict = prose.verdict(summary)
    level = f"Brackets are {100 * results.confidence:g}% intervals over units."
    first = " ".join(part for part in (prose.lead(summary), verdict.sentence) if part)
    parts = [f"# {escaped(summary.name)}", f"**{escaped(first)}**"]
    if verdict.tone != "withheld" and summary.headline.n_neurons:
        superiority = prose.superiority(summary.headline)
        parts += [" ".join([f"{superiority}."] * bool(superiority) + [level]).replace(">", "\\>")]
        parts += [_table(report_tables.weightings(summary))]
        if by_bin := report_tables.bin_differences(summary):
            parts += [_table(by_bin)]
        if by_level := report_tables.rarity_levels(summary):
            parts += [_table(by_level)]
        parts += [escaped(sentence) for sentence in prose.robustness(summary)]
    parts += [f"Compared with other runs: [{escaped(each.titles[0])}](../{each.href})" for each in results.comparisons]
    parts += [f"[{escaped(each.title)}]({each.href}): {escaped(' '.join(each.sentences))}" for each in results.studies]
    parts += _bullets(
        [f"{name}: {shown} ({meaning})" for name, shown, meaning in differences.alternative_differences(summary)]
    )
    parts += _judge(summary)
    parts += [
        "## Missing data and cost",
        _table(report_tables.denominators(summary)),
        _table(report_tables.unscored(summary, results.n_judgements)),
    ]
    parts += [_pairs(report_tables.facts(summary))]
    if summary.cautions:
        parts += ["## Caveats", "\n".join(f"- {escaped(caution)}" for caution in summary.cautions)]
    parts += ["## Grades by activation", _table(report_tables.bins(summary))]
    parts += _others(summary)
    if summary.check:
        parts += [
            "## Dictionary",
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
    parts += _sides(results)
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
        "Command:",
        _fenced(summary.command, "sh"),
    ]
    parts += ["Resolved spec:", _fenced(results.spec, "toml")]
    return "\n\n".join(parts) + "\n"


def _judge(summary: Summary) -> list[str]:
    """How far the judge can be relied on, and the evidence."""
    reliability = prose.judge_reliability(summary)
    verdict = reliability.verdict
    parts = [f"**{escaped(reliability.label)}.** {escaped(verdict.sentence)}", "## Judge reliability"]
    parts += _bullets(f"{prose.CHECKS[c.name]}, {prose.PASSED[c.passed]}: {c.said}" for c in verdict.checks)
    builders = [report_tables.controls, judge.planted, judge.normalised, judge.random_weights, judge.repeats]
    builders += [judge.giveaways, judge.agreement, judge.corrected]
    tables = [build(summary) for build in builders]
    return parts + [_table(table) for table in [*tables, *judge.confusions(summary)] if table]


def _others(summary: Summary) -> list[str]:
    """Results of the other evaluations and effects of explainer aids, if there are any."""
    metrics, answers, aids = (build(summary) for build in (scorers.metrics, scorers.answers, scorers.aid_effects))
    parts = []
    if metrics and answers:
        parts += ["## Other evaluations", _table(metrics), _table(answers), _pairs(scorers.definitions(summary))]
    return parts + (["## Effect of explainer aids", _table(aids)] if aids else [])


def _sides(results: Results) -> list[str]:
    """Both sides of the units, if they were measured."""
    summary = results.summary
    tables = [unit_sides.classes(summary), unit_sides.precisions(summary), unit_sides.explanations(results)]
    parts = [_table(table) for table in tables if table]
    return ["## Both sides of the units", unit_sides.sentence(), *parts] if summary.two_sided else []


def _units(results: Results, units: list[Row]) -> Table:
    rows = []
    for unit in sorted(units, key=lambda unit: (unit["kind"], -(unit["mean_score"] or 0), unit["index"])):
        status = unit["status"].replace("_", " ")
        reason = unit.get("explanation_why") or status
        explanation = clip(unit["explanation"], 300) if unit["explanation"] else f"none ({reason})"
        means = [_mean(unit, name) for name in ("mean_score", "shuffled_mean", "base_rate_mean")]
        scored = f"{formatting.count(unit['n_scored'])} / {formatting.count(unit['n_scored'] + unit['n_unscored'])}"
        rows.append((unit["unit_id"], explanation, *means, formatting.scientific(unit["density"]), scored))
    header = ("unit", "explanation", "mean grade", "shuffled", "silent", "density", "scored / judged")
    caption = (
        f"{formatting.plural(len(units), 'unit')}; report.html shows exemplars, with"
        f" {contexts.WINDOW_TOKENS} tokens each"
    )
    return Table(caption, header, tuple(rows))


def _mean(unit: Row, name: str) -> str:
    """A unit's mean grade, or why it has none, unless that is why it has no explanation."""
    if unit[name] is not None:
        return formatting.number(unit[name])
    return cells.absent(unit.get(f"{name}_why")) if unit["explanation"] else cells.BESIDE


def _table(table: Table) -> str:
    return table.markdown()


def _bullets(lines: Iterable[str]) -> list[str]:
    """A single bulleted list, or no part at all if there are no lines."""
    bullets = "\n".join(f"- {escaped(line)}" for line in lines)
    return [bullets] if bullets else []


def _pairs(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in pairs)


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{visible(text, keep=chr(10)).rstrip()}\n{fence}"
