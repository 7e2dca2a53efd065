"""Judge reliability: figures and tables of planted units, random units, repeats, a second judge and people.

Any part of `summary.evidence` may be missing. What was not measured has no figure and no row.
"""

from __future__ import annotations

from autointerp import formatting
from autointerp.findings.giveaways import NAMES
from autointerp.findings.summary import Summary
from autointerp.formatting import count, number, percent
from autointerp.report import cells, prose
from autointerp.report.escape import clip
from autointerp.report.figures import svg
from autointerp.report.tables import Table
from autointerp.stats.agreement.coefficients import Agreement
from autointerp.stats.estimates import Figure
from autointerp.stats.prediction_powered import Corrected

AGREEMENT = {
    "exact": "same grade",
    "adjacent": "at most one grade apart",
    "kappa": "quadratic kappa",
    "ac2": "Gwet's AC2",
    "alpha": "Krippendorff's ordinal alpha",
    "difference": "mean grade minus the judge's",
}
REPEATS = {
    "flip_rate": "probability that two grades of an item differ",
    "within_sd": "standard deviation within an item",
    "icc_single": "reliability of one grade, ICC(1,1)",
    "icc_mean": "reliability of an item's mean, ICC(1,k)",
}
MOST_MATRICES = 4
_NAME = 18


def pairs(summary: Summary) -> list[Agreement]:
    """The judge's agreement with each other grader: the second judge, then people."""
    evidence = summary.evidence
    if evidence is None:
        return []
    second = [evidence.second.agreement] if evidence.second else []
    return second + (evidence.people.agreement if evidence.people else [])


def giveaways(summary: Summary) -> Table | None:
    """How well length and mark alone tell the items of each arm and evaluation apart; None if that was not measured."""
    rows = []
    for giveaway in summary.giveaways:
        measured = giveaway.balanced_accuracy
        rows.append((NAMES.get(giveaway.comparison, giveaway.comparison), cells.interval(measured), count(measured.n)))
    caption = "Items told apart without reading: balanced accuracy of a rule that knows only the length of a text and the place of its mark; chance is 0.50"
    return Table(caption, ("comparison", "balanced accuracy", "units"), tuple(rows)) if rows else None


def planted_figure(summary: Summary, *, width: float) -> str:
    """Shares of each grade among hits, near items and misses of planted units, as one bar each; empty without planted units."""
    planted_units = summary.evidence.planted if summary.evidence else None
    if planted_units is None:
        return ""
    roomy = width >= 600
    left, right, each = (184.0, 130.0, 30.0) if roomy else (14.0, 14.0, 48.0)
    x = svg.linear((0, 1), (left, width - right))
    parts = []
    for row, (part, name) in enumerate(prose.PLANTED.items()):
        shown = formatting.sentence(name)
        counts, at = getattr(planted_units, part).given, 8 + each * row + (0 if roomy else 18)
        total, base = sum(counts.values()), 0.0
        if roomy:
            parts.append(svg.text(left - 12, at + 13, shown, text_anchor="end", class_="strong"))
            parts.append(svg.text(width - right + 12, at + 13, formatting.plural(total, "judgement")))
        else:
            parts.append(svg.text(left, at - 5, f"{shown}, {formatting.plural(total, 'judgement')}", class_="strong"))
        for grade in summary.rubric.grades:
            n = counts.get(str(grade), 0)
            if n:
                hint = svg.hint(f"{name}: grade {grade}, {count(n)} of {count(total)}")
                start, end = x(base / total), x((base + n) / total)
                bar = svg.tag("rect", x=start, y=at, width=max(end - start - 1, 0.5), height=18.0, class_=f"g{grade}")
                wide = end - start > 16
                label = (
                    svg.text((start + end) / 2, at + 13, str(grade), class_=f"on{grade}", text_anchor="middle")
                    if wide
                    else ""
                )
                parts.append(svg.tag("g", hint, bar, label))
                base += n
    label = "Shares of each grade on planted units"
    return svg.figure(width, 8 + each * 3, "".join(parts), label)


def normalised(summary: Summary) -> Table | None:
    """The headline between floor and ceiling. If it is withheld, only floor and ceiling are shown."""
    ends = summary.evidence.normalised if summary.evidence else None
    if ends is None:
        return None
    rows = [
        ("floor: mean grade of other units' explanations", cells.value(ends, "floor")),
        ("ceiling: mean grade of planted units' true explanations", cells.value(ends, "ceiling")),
    ]
    if ends.difference is None:
        rows.append(("difference between floor and ceiling", cells.value(ends, "difference")))
    elif not summary.headline.withheld:
        rows += [
            (f"{kind} between floor (0) and ceiling (1)", number(getattr(ends, kind)))
            for kind in ("features", "neurons")
        ]
        rows.append(("normalised difference", cells.interval(ends, "difference")))
    return Table("Normalised headline", ("quantity", "value"), tuple(rows))


def random_weights(summary: Summary) -> Table | None:
    """Mean grades of units of random weights and of directions, and features minus these."""
    by_kind = (summary.evidence.random if summary.evidence else None) or {}
    rows = tuple(
        (
            prose.KINDS[kind],
            cells.interval(row),
            cells.interval(row.features_minus, "difference"),
            *(count(n) for n in (row.n, row.n_explained, row.n_alive, row.n_units)),
            cells.value(row, "dead", percent) if row.n_units else cells.BESIDE,
        )
        for kind, row in by_kind.items()
    )
    header = ("control", "mean grade", "features minus control", "scored", "explained", "active", "sampled", "dead")
    return Table("Random weights and directions", header, rows) if rows else None


def matrices(summary: Summary) -> list[str]:
    """Confusion matrices of the judge with other graders, at most `MOST_MATRICES`."""
    return [_matrix(pair, summary) for pair in pairs(summary)[:MOST_MATRICES] if pair.n]


def _matrix(pair: Agreement, summary: Summary) -> str:
    cell, left, top = 46.0, 64.0, 44.0
    grades, counts, name = pair.grades, pair.confusion, clip(pair.b, _NAME)
    most = max(max(row) for row in counts)
    parts = [svg.text(4, 13, f"Grades by the judge (rows) and {name}", class_="strong")]
    for i, grade in enumerate(grades):
        parts.append(svg.text(left + cell * (i + 0.5), top - 8, str(grade), text_anchor="middle"))
        parts.append(svg.text(left - 12, top + cell * (i + 0.5) + 4, str(grade), text_anchor="end"))
        for j, other in enumerate(grades):
            n, x, y = counts[i][j], left + cell * j, top + cell * i
            box = {"x": x + 1, "y": y + 1, "width": cell - 2, "height": cell - 2}
            shade = svg.tag("rect", **box, class_="feature bar", fill_opacity=f"{0.04 + 0.36 * n / most:.2f}")
            edge = svg.tag("rect", **box, class_="cell") if i == j else ""
            hint = svg.hint(f"judge {grade}, {name} {other}: {formatting.plural(n, 'item')}")
            shown = svg.text(x + cell / 2, y + cell / 2 + 4, count(n), class_="strong", text_anchor="middle")
            parts.append(svg.tag("g", hint, shade, edge, shown))
    label = f"Grades by the judge against those by {pair.b}"
    return svg.figure(330, top + cell * len(grades) + 6, "".join(parts), label, class_="panel")


def planted(summary: Summary) -> Table | None:
    """The judge's grades of hits, near items and misses of planted units."""
    planted_units = summary.evidence.planted if summary.evidence else None
    if planted_units is None:
        return None
    grades = summary.rubric.grades
    rows = [
        (
            shown,
            *(count(items.given.get(str(grade), 0)) for grade in grades),
            cells.interval(items),
            count(items.n),
        )
        for shown, items in zip(
            prose.PLANTED.values(), (planted_units.hits, planted_units.near, planted_units.misses), strict=True
        )
    ]
    header = ("condition", *(f"grade {grade}" for grade in grades), "mean grade", "units")
    return Table("Planted units", header, tuple(rows))


def confusions(summary: Summary) -> list[Table]:
    """The confusion matrices as tables, one row per grade by the judge."""
    tables = []
    for pair in pairs(summary)[:MOST_MATRICES]:
        if pair.n:
            rows = tuple(
                (f"judge {grade}", *map(count, row)) for grade, row in zip(pair.grades, pair.confusion, strict=True)
            )
            header = ("grade", *(f"{pair.b} {grade}" for grade in pair.grades))
            tables.append(Table(f"Grades by the judge and {pair.b}", header, rows))
    return tables


def repeats(summary: Summary) -> Table | None:
    """The judge's agreement with itself."""
    repeated = summary.evidence.repeats if summary.evidence else None
    if repeated is None:
        return None
    rows = tuple((shown, figure(getattr(repeated, key), share=key == "flip_rate")) for key, shown in REPEATS.items())
    items = f"{formatting.plural(repeated.n, 'item')} of {formatting.plural(repeated.n_units, 'unit')}"
    caption = f"Repeatability: {items}, each graded {number(repeated.per_item, 1)} times"
    return Table(caption, ("statistic", "value"), rows)


def agreement(summary: Summary) -> Table | None:
    """The judge's agreement with every other grader, and that of people with each other."""
    graded = pairs(summary)
    if not graded:
        return None
    rows = [("items that both graded", *(count(pair.n) for pair in graded))]
    for key, shown in AGREEMENT.items():
        rows.append((shown, *(figure(getattr(pair, key), share=key in ("exact", "adjacent")) for pair in graded)))
    people = summary.evidence.people if summary.evidence else None
    together = people.together if people else None
    header = ("statistic", *(pair.b for pair in graded))
    if together:
        among = {"items that both graded": count(together.n), AGREEMENT["alpha"]: figure(together.alpha)}
        rows = [(*row, among.get(row[0], "")) for row in rows]
        header = (*header, f"among {formatting.plural(len(together.raters), 'person', 'people')}")
    return Table("Agreement with the judge", header, tuple(rows))


def corrected(summary: Summary) -> Table | None:
    """The headline corrected by other graders' labels. If it is withheld, the judge's own numbers are not repeated here."""
    evidence, rows = summary.evidence, []
    if evidence is None:
        return None
    for labelled, grader in ((evidence.people, "people"), (evidence.second, evidence.second and evidence.second.judge)):
        for name in ("features", "neurons", "difference") if labelled else ():
            assert labelled is not None
            cell: Corrected = getattr(labelled.corrected, name)
            rows.append(
                (
                    f"{name}, by {grader}",
                    "withheld" if summary.headline.withheld else cells.value(cell, "judge"),
                    figure(cell),
                    count(cell.n_labels),
                    count(cell.n_units),
                    cells.BESIDE if cell.power is None else number(cell.power),
                )
            )
    header = ("mean grade", "by the judge alone", "corrected", "labels", "labelled units", "weight of the judge")
    return Table("Corrected headline", header, tuple(rows)) if rows else None


def figure(statistic: Figure, *, share: bool = False) -> str:
    """A statistic with its interval, or with the reason why one of them is missing; a `share` is shown in percent."""
    return cells.interval(statistic, "value", form=percent if share else number)
