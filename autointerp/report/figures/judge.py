"""Judge reliability: figures and tables of planted units, repeats, a second judge and people.

Any part of `summary.evidence` may be missing: what was not measured has no figure and no row.
"""

from __future__ import annotations

from autointerp import formatting
from autointerp.findings.summary import Summary
from autointerp.formatting import count, estimate, number, percent
from autointerp.report import prose
from autointerp.report.escape import clip
from autointerp.report.figures import svg
from autointerp.report.tables import Table
from autointerp.stats.agreement import Agreement
from autointerp.stats.estimates import Figure
from autointerp.stats.prediction_powered import Corrected

AGREEMENT = {
    "exact": "same grade",
    "adjacent": "at most one grade apart",
    "kappa": "quadratic kappa",
    "ac2": "Gwet's AC2",
    "alpha": "Krippendorff's ordinal alpha",
    "difference": "their mean minus the judge's",
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


def planted_figure(summary: Summary, *, width: float) -> str:
    """Shares of each grade among planted hits, near ones and misses, a bar each; empty where nothing was planted."""
    found = summary.evidence.planted if summary.evidence else None
    if found is None:
        return ""
    roomy = width >= 600
    left, right, each = (184.0, 130.0, 30.0) if roomy else (14.0, 14.0, 48.0)
    x = svg.linear((0, 1), (left, width - right))
    parts = []
    for row, (name, said) in enumerate(prose.PLANTED.items()):
        shown = formatting.sentence(said)
        given, at = getattr(found, name).given, 8 + each * row + (0 if roomy else 18)
        total, base = sum(given.values()), 0.0
        if roomy:
            parts.append(svg.text(left - 12, at + 13, shown, text_anchor="end", class_="strong"))
            parts.append(svg.text(width - right + 12, at + 13, formatting.plural(total, "judgement")))
        else:
            parts.append(svg.text(left, at - 5, f"{shown}, {formatting.plural(total, 'judgement')}", class_="strong"))
        for grade in summary.rubric.grades:
            n = given.get(str(grade), 0)
            if n:
                hint = svg.hint(f"{said}: grade {grade}, {n:,} of {total:,}")
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
    label = f"Shares of each grade on planted units; {prose.judged_by(summary)}"
    return svg.figure(width, 8 + each * 3, "".join(parts), label)


def normalised(summary: Summary) -> Table | None:
    """The headline between floor and ceiling. Its own figures stay away where it is withheld."""
    found = summary.evidence.normalised if summary.evidence else None
    if found is None:
        return None
    rows = [
        ("floor: another unit's explanation", number(found.floor)),
        ("ceiling: planted units", number(found.ceiling)),
    ]
    if found.difference is None:
        none = "too few units" if found.floor is None else "undefined: the ceiling is not above the floor"
        rows.append(("between them", none))
    elif not summary.headline.withheld:
        rows += [
            (f"{kind}, 0 at the floor and 1 at the ceiling", number(getattr(found, kind)))
            for kind in ("features", "neurons")
        ]
        rows.append(("difference", estimate(found.difference, found.ci_low, found.ci_high)))
    return Table(f"Between floor and ceiling; {prose.judged_by(summary)}", ("mean grade", "value"), tuple(rows))


def random_weights(summary: Summary) -> Table | None:
    """Scores of features of random weights."""
    found = (summary.evidence.random if summary.evidence else None) or {}
    rows = tuple(
        (
            prose.KINDS[kind],
            estimate(row.mean, row.ci_low, row.ci_high),
            estimate(row.features_minus.difference, row.features_minus.ci_low, row.features_minus.ci_high),
            *(count(n) for n in (row.n, row.n_explained, row.n_alive, row.n_units)),
            percent(row.dead),
        )
        for kind, row in found.items()
    )
    header = ("control", "mean grade", "features minus control", "scored", "explained", "alive", "read", "dead")
    return Table(f"Random-weight controls; {prose.judged_by(summary)}", header, rows) if rows else None


def matrices(summary: Summary) -> list[str]:
    """Confusion matrices of the judge with each other grader, darker where there are more items."""
    return [_matrix(pair, summary) for pair in pairs(summary)[:MOST_MATRICES] if pair.n]


def _matrix(pair: Agreement, summary: Summary) -> str:
    cell, left, top = 46.0, 64.0, 44.0
    grades, counts, name = pair.grades, pair.confusion, clip(pair.b, _NAME)
    most = max(max(row) for row in counts)
    parts = [svg.text(4, 13, f"Grades by the judge (down) and {name}", class_="strong")]
    for i, grade in enumerate(grades):
        parts.append(svg.text(left + cell * (i + 0.5), top - 8, str(grade), text_anchor="middle"))
        parts.append(svg.text(left - 12, top + cell * (i + 0.5) + 4, str(grade), text_anchor="end"))
        for j, other in enumerate(grades):
            n, x, y = counts[i][j], left + cell * j, top + cell * i
            box = {"x": x + 1, "y": y + 1, "width": cell - 2, "height": cell - 2}
            shade = svg.tag("rect", **box, class_="feature bar", fill_opacity=f"{0.04 + 0.36 * n / most:.2f}")
            edge = svg.tag("rect", **box, class_="cell") if i == j else ""
            said = svg.hint(f"judge {grade}, {name} {other}: {formatting.plural(n, 'item')}")
            shown = svg.text(x + cell / 2, y + cell / 2 + 4, f"{n:,}", class_="strong", text_anchor="middle")
            parts.append(svg.tag("g", said, shade, edge, shown))
    label = f"Grades by the judge against those by {pair.b}; {prose.judged_by(summary)}"
    return svg.figure(330, top + cell * len(grades) + 6, "".join(parts), label, class_="panel")


def planted(summary: Summary) -> Table | None:
    """The judge's grades on each part of the planted units."""
    found = summary.evidence.planted if summary.evidence else None
    if found is None:
        return None
    grades = summary.rubric.grades
    rows = [
        (
            shown,
            *(count(items.given.get(str(grade), 0)) for grade in grades),
            estimate(items.mean, items.ci_low, items.ci_high),
            count(items.n),
        )
        for shown, items in zip(prose.PLANTED.values(), (found.hits, found.near, found.misses), strict=True)
    ]
    header = ("marked in planted units", *(f"grade {grade}" for grade in grades), "mean grade", "units")
    return Table(f"Planted units; {prose.judged_by(summary)}", header, tuple(rows))


def confusions(summary: Summary) -> list[Table]:
    """The numbers of `matrices`, one row for each grade by the judge."""
    found = []
    for pair in pairs(summary)[:MOST_MATRICES]:
        if pair.n:
            rows = tuple(
                (f"judge {grade}", *map(count, row)) for grade, row in zip(pair.grades, pair.confusion, strict=True)
            )
            header = ("grade by", *(f"{pair.b} {grade}" for grade in pair.grades))
            found.append(Table(f"Grades by the judge and {pair.b}; {prose.judged_by(summary)}", header, rows))
    return found


def repeats(summary: Summary) -> Table | None:
    """The judge's agreement with itself."""
    found = summary.evidence.repeats if summary.evidence else None
    if found is None:
        return None
    rows = tuple((shown, figure(getattr(found, key), share=key == "flip_rate")) for key, shown in REPEATS.items())
    items = f"{formatting.plural(found.n, 'item')} of {formatting.plural(found.n_units, 'unit')}"
    caption = f"Repeatability: the same judge again, on {items}, {number(found.per_item, 1)} times each; {prose.judged_by(summary)}"
    return Table(caption, ("figure", "value"), rows)


def agreement(summary: Summary) -> Table | None:
    """The judge's agreement with every other grader, and people's with each other."""
    found = pairs(summary)
    if not found:
        return None
    rows = [("items that both graded", *(count(pair.n) for pair in found))]
    for key, shown in AGREEMENT.items():
        rows.append((shown, *(figure(getattr(pair, key), share=key in ("exact", "adjacent")) for pair in found)))
    people = summary.evidence.people if summary.evidence else None
    together = people.together if people else None
    header = ("figure", *(pair.b for pair in found))
    if together:
        among = {"items that both graded": count(together.n), AGREEMENT["alpha"]: figure(together.alpha)}
        rows = [(*row, among.get(row[0], "")) for row in rows]
        header = (*header, f"among {formatting.plural(len(together.raters), 'person', 'people')}")
    return Table(f"Agreement with the judge; {prose.judged_by(summary)}", header, tuple(rows))


def corrected(summary: Summary) -> Table | None:
    """The headline corrected by other graders' labels. A withheld headline's own figures are not repeated here."""
    evidence, rows = summary.evidence, []
    if evidence is None:
        return None
    for found, grader in ((evidence.people, "people"), (evidence.second, evidence.second and evidence.second.judge)):
        for name in ("features", "neurons", "difference") if found else ():
            assert found is not None
            cell: Corrected = getattr(found.corrected, name)
            rows.append(
                (
                    f"{name}, by {grader}",
                    "withheld" if summary.headline.withheld else number(cell.judge),
                    figure(cell),
                    count(cell.n_labels),
                    count(cell.n_units),
                    number(cell.power),
                )
            )
    header = ("corrected", "the judge alone", "corrected", "labels", "units with a label", "weight of the judge")
    return Table(f"The headline corrected; {prose.judged_by(summary)}", header, tuple(rows)) if rows else None


def figure(found: Figure, *, share: bool = False) -> str:
    """A figure with its interval, or with the reason why the figure or its interval is missing."""
    if found.value is None:
        return found.why or formatting.NONE
    shown = percent if share else number
    if found.ci_low is None or found.ci_high is None:
        return f"{shown(found.value)}, {found.why}" if found.why else shown(found.value)
    return f"{shown(found.value)} [{shown(found.ci_low)}, {shown(found.ci_high)}]"
