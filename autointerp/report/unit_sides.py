"""The report's section on both sides of the units: classes, precisions, and the two-sided explanations of units."""

from __future__ import annotations

from autointerp import formatting
from autointerp.findings.summary import Summary
from autointerp.findings.unit_sides import CLASSES, OutputPrecision
from autointerp.formatting import count, number
from autointerp.report import cells
from autointerp.report.escape import clip
from autointerp.report.reader import Results
from autointerp.report.tables import Table
from autointerp.stats.estimates import MeanEstimate

SHOWN = 20
"""Units whose two-sided explanation is shown."""
_TOKENS, _EXPLANATION_CHARS = 8, 160


def sentence() -> str:
    """The meaning of the classes."""
    return (
        "An input unit fires where the words that the subject reads foretell it, better than with permuted labels. An output unit, raised"
        " from silence to its largest activation, makes its tokens more probable than 19 random directions of its norm make theirs. Both"
        " are tested at 5% a unit and without a judge, so 1 in 20 units without a side has it by chance."
    )


def classes(summary: Summary) -> Table | None:
    """Number of units of each class and their mean grades; None if sides were not measured."""
    if not summary.two_sided:
        return None
    rows = tuple(
        (
            f"{kind}s",
            side,
            f"{count(getattr(sides, side))} of {count(sides.n)}",
            _mean(sides.grades[side]) if side in sides.grades else formatting.NOT_AVAILABLE,
        )
        for kind, sides in summary.two_sided.items()
        for side in CLASSES
    )
    return Table("Units by side", ("kind", "side", "units", "mean grade"), rows)


def precisions(summary: Summary) -> Table | None:
    """How well firing is told, and promoted tokens are named; None if sides were not measured."""
    if not summary.two_sided:
        return None
    rows: list[tuple[str, ...]] = []
    for kind, sides in summary.two_sided.items():
        rows += [
            (f"{kind}s", "active windows told from silent ones (0.5 is chance)", _mean(sides.told), "", ""),
            (f"{kind}s", "rise of their tokens, in logits", _mean(sides.rise), _mean(sides.random_rise), ""),
            (f"{kind}s", "precision at 10 of tokens named by clamping", *_precision(sides.by_clamp)),
            (f"{kind}s", "precision at 10 of tokens named by the decoder", *_precision(sides.by_decoder)),
        ]
    header = ("kind", "figure", "units", "random directions", "difference")
    return Table("Both sides of the units, measured without a judge", header, tuple(rows))


def explanations(results: Results) -> Table | None:
    """Two-sided explanations of the units that promote their tokens most beyond random directions; None if there are none."""
    sided = [unit for unit in results.units if unit.get("side") in ("output", "both")]
    sided.sort(key=lambda unit: (unit["output_random_rise"] - unit["output_rise"], unit["unit_id"]))
    rows = tuple(
        (
            unit["unit_id"],
            unit["side"],
            clip(unit["explanation"], _EXPLANATION_CHARS) if unit["explanation"] else "no explanation",
            " ".join(f"\u201c{token}\u201d" for token in unit["raised"][:_TOKENS]),
            f"{number(unit['output_rise'])} / {number(unit['output_random_rise'])}",
            f"{number(unit['output_precision'], 1)} / {number(unit['decoder_precision'], 1)}",
        )
        for unit in sided[:SHOWN]
    )
    caption = f"{formatting.plural(len(sided), 'unit')} with an output side"
    caption += f", the {SHOWN} with the largest rise beyond random directions" if len(sided) > SHOWN else ""
    header = ("unit", "side", "fires on", "makes the model say", "rise / random", "precision by clamping / decoder")
    return Table(caption, header, rows) if rows else None


def _precision(precision: OutputPrecision) -> tuple[str, str, str]:
    return _mean(precision.named), _mean(precision.random), _mean(precision.difference)


def _mean(estimate: MeanEstimate) -> str:
    return cells.interval(estimate)
