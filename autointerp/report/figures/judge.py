"""What was measured of the judge: figures and tables of planted units, repeats, a second judge and people.

Each function reads `summary["evidence"]`, of which any part may be missing: what was not measured has no figure and no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autointerp import formatting
from autointerp.formatting import count, estimate, number, percent
from autointerp.report import prose
from autointerp.report.escape import clip
from autointerp.report.figures import svg
from autointerp.report.prose import Summary
from autointerp.report.tables import Table

AGREEMENT = {
    "exact": "same grade",
    "adjacent": "at most one grade apart",
    "kappa": "quadratic kappa",
    "ac2": "Gwet's AC2",
    "alpha": "Krippendorff's ordinal alpha",
    "difference": "their mean less the judge's",
}
REPEATS = {
    "flip_rate": "chance that two grades of an item differ",
    "within_sd": "standard deviation within an item",
    "icc_single": "reliability of one grade, ICC(1,1)",
    "icc_mean": "reliability of an item's mean, ICC(1,k)",
}
MOST_MATRICES = 4
_NAME = 24


def evidence(summary: Summary, name: str) -> Mapping[str, Any]:
    """One part of the evidence; empty where it was not measured."""
    return (summary.get("evidence") or {}).get(name) or {}


def pairs(summary: Summary) -> list[Mapping[str, Any]]:
    """Each other grader's agreement with the judge: the second judge, then people."""
    second = evidence(summary, "second")
    return ([second["agreement"]] if second else []) + list(evidence(summary, "people").get("agreement", ()))


def planted_figure(summary: Summary, *, width: float) -> str:
    """Shares of each grade among planted hits, near ones and misses, a bar each; empty where nothing was planted."""
    found = evidence(summary, "planted")
    if not found:
        return ""
    roomy = width >= 600
    left, right, each = (184.0, 130.0, 30.0) if roomy else (14.0, 14.0, 48.0)
    x = svg.linear((0, 1), (left, width - right))
    parts = []
    for row, (name, said) in enumerate(prose.PLANTED.items()):
        shown = formatting.sentence(said)
        given, at = found[name]["given"], 8 + each * row + (0 if roomy else 18)
        total, base = sum(given.values()), 0.0
        if roomy:
            parts.append(svg.text(left - 12, at + 13, shown, text_anchor="end", class_="strong"))
            parts.append(svg.text(width - right + 12, at + 13, formatting.plural(total, "judgement")))
        else:
            parts.append(svg.text(left, at - 5, f"{shown}, {formatting.plural(total, 'judgement')}", class_="strong"))
        for grade in prose.grades_of(summary):
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
    found = evidence(summary, "normalised")
    if not found:
        return None
    rows = [
        ("floor: another unit's explanation", number(found["floor"])),
        ("ceiling: planted units", number(found["ceiling"])),
    ]
    if found["difference"] is None:
        none = "too few units" if found["floor"] is None else "undefined: the ceiling is not above the floor"
        rows.append(("between them", none))
    elif not summary["headline"].get("withheld"):
        rows += [
            (f"{kind}, 0 at the floor and 1 at the ceiling", number(found[kind])) for kind in ("features", "neurons")
        ]
        rows.append(("difference", estimate(found["difference"], found["ci_low"], found["ci_high"])))
    return Table(f"Between floor and ceiling; {prose.judged_by(summary)}", ("mean grade", "value"), tuple(rows))


def untrained(summary: Summary) -> Table | None:
    """What features of random weights earn."""
    found = evidence(summary, "random")
    rows = [
        (
            prose.KINDS[kind],
            estimate(cell["mean"], cell["ci_low"], cell["ci_high"]),
            estimate(*(cell["features_minus"][key] for key in ("difference", "ci_low", "ci_high"))),
            *(count(cell[key]) for key in ("n", "n_explained", "n_alive", "n_units")),
            percent(cell["dead"]),
        )
        for kind, cell in found.items()
    ]
    header = ("never trained", "mean grade", "features less these", "scored", "explained", "alive", "read", "dead")
    return Table(f"Features of random weights; {prose.judged_by(summary)}", header, tuple(rows)) if rows else None


def matrices(summary: Summary) -> list[str]:
    """What the judge gave against what each other grader gave, darker where there is more."""
    return [_matrix(pair, summary) for pair in pairs(summary)[:MOST_MATRICES] if pair["n"]]


def _matrix(pair: Mapping[str, Any], summary: Summary) -> str:
    cell, left, top = 46.0, 64.0, 44.0
    grades, counts, name = pair["grades"], pair["confusion"], clip(str(pair["b"]), _NAME)
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
    label = f"Grades by the judge against those by {pair['b']}; {prose.judged_by(summary)}"
    return svg.figure(330, top + cell * len(grades) + 6, "".join(parts), label, class_="panel")


def planted(summary: Summary) -> Table | None:
    """What the judge gave to each part of the planted units."""
    found = evidence(summary, "planted")
    if not found:
        return None
    grades = prose.grades_of(summary)
    rows = [
        (
            shown,
            *(count(found[name]["given"].get(str(grade), 0)) for grade in grades),
            estimate(found[name]["mean"], found[name]["ci_low"], found[name]["ci_high"]),
            count(found[name]["n"]),
        )
        for name, shown in prose.PLANTED.items()
    ]
    header = ("marked in planted units", *(f"grade {grade}" for grade in grades), "mean grade", "units")
    return Table(f"Planted units; {prose.judged_by(summary)}", header, tuple(rows))


def confusions(summary: Summary) -> list[Table]:
    """What `matrices` show, a row a grade by the judge."""
    found = []
    for pair in pairs(summary)[:MOST_MATRICES]:
        if pair["n"]:
            rows = tuple(
                (f"judge {grade}", *map(count, row))
                for grade, row in zip(pair["grades"], pair["confusion"], strict=True)
            )
            header = ("grade by", *(f"{pair['b']} {grade}" for grade in pair["grades"]))
            found.append(Table(f"Grades by the judge and {pair['b']}; {prose.judged_by(summary)}", header, rows))
    return found


def repeats(summary: Summary) -> Table | None:
    """The judge with itself."""
    found = evidence(summary, "repeats")
    if not found:
        return None
    rows = tuple((shown, figure(found[key], share=key == "flip_rate")) for key, shown in REPEATS.items())
    items = f"{formatting.plural(found['n'], 'item')} of {formatting.plural(found['n_units'], 'unit')}"
    caption = f"The same judge again, on {items}, {number(found['per_item'], 1)} times each; {prose.judged_by(summary)}"
    return Table(caption, ("figure", "value"), rows)


def agreement(summary: Summary) -> Table | None:
    """The judge with every other grader, and people with each other."""
    found = pairs(summary)
    if not found:
        return None
    rows = [("items that both graded", *(count(pair["n"]) for pair in found))]
    for key, shown in AGREEMENT.items():
        rows.append((shown, *(figure(pair[key], share=key in ("exact", "adjacent")) for pair in found)))
    together = evidence(summary, "people").get("together")
    header = ("figure", *(str(pair["b"]) for pair in found))
    if together:
        among = {"items that both graded": count(together["n"]), AGREEMENT["alpha"]: figure(together["alpha"])}
        rows = [(*row, among.get(row[0], "")) for row in rows]
        header = (*header, f"among {formatting.people(len(together['raters']))}")
    return Table(f"Agreement with the judge; {prose.judged_by(summary)}", header, tuple(rows))


def corrected(summary: Summary) -> Table | None:
    """The headline as others would have graded it. What is withheld stays so: the judge's own figures are not repeated here."""
    rows = []
    withheld = bool(summary["headline"].get("withheld"))
    for key in ("people", "second"):
        found = evidence(summary, key)
        who = "people" if key == "people" else str(found.get("judge"))
        for name in ("features", "neurons", "difference") if found else ():
            cell = found["corrected"][name]
            rows.append(
                (
                    f"{name}, by {who}",
                    "withheld" if withheld else number(cell["judge"]),
                    figure(cell),
                    count(cell["n_labels"]),
                    count(cell["n_units"]),
                    number(cell["power"]),
                )
            )
    header = ("corrected", "the judge alone", "corrected", "labels", "units with one", "weight of the judge")
    return Table(f"The headline corrected; {prose.judged_by(summary)}", header, tuple(rows)) if rows else None


def figure(found: Mapping[str, Any], *, share: bool = False) -> str:
    """A figure with its interval, or with the reason why it or its interval is missing."""
    value, low, high, why = (found.get(key) for key in ("value", "ci_low", "ci_high", "why"))
    if value is None:
        return str(why or formatting.NONE)
    shown = percent if share else number
    if low is None or high is None:
        return f"{shown(value)}, {why}" if why else shown(value)
    return f"{shown(value)} [{shown(low)}, {shown(high)}]"
