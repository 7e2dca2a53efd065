"""The tables of a comparison as rows of text, for the page and for Markdown."""

from __future__ import annotations

from autointerp.comparisons.comparison import Comparison, Pair
from autointerp.comparisons.prose import SHARED
from autointerp.formatting import NOT_AVAILABLE, count, estimate, number, percent, plural
from autointerp.records import Arm
from autointerp.report.escape import clip
from autointerp.report.tables import Table

SHOWN_UNITS = 30
"""Number of units shown per pair; `units.parquet` has all of them."""


def runs(comparison: Comparison) -> Table:
    """What each run graded, and with which judge."""
    rows = []
    for run in (run for side in comparison.sides for run in side.runs):
        summary, main = run.summary, run.items.loc[run.items["arm"] == Arm.MAIN.value]
        units = main.groupby("kind")["unit_id"].nunique()
        rows.append(
            (
                run.run_id,
                f"{summary.dictionary.name}, {summary.hook_point}",
                summary.judge + ("" if summary.judge_is_llm else " (not an LLM)"),
                summary.explainer + ("" if summary.explainer_is_llm else " (not an LLM)"),
                f"{count(int(units.get('feature', 0)))} / {count(int(units.get('neuron', 0)))}",
                count(len(main)),
                percent(run.unscored_share),
            )
        )
    header = ("run", "dictionary", "judge", "explainer", "features / neurons graded", "exemplars graded", "unscored")
    return Table("Runs", header, tuple(rows))


def measures(pair: Pair) -> Table:
    """Every measure of a pair."""
    rows = []
    for result in pair.results:
        if result.difference is None:
            continue
        name = result.title + (" (verdict)" if result.measure == pair.main else "")
        rows.append(
            (
                name,
                number(result.mean_a),
                number(result.mean_b),
                estimate(result.difference, result.ci_low, result.ci_high, signed=True),
                result.verdict,
                NOT_AVAILABLE if result.p is None else _probability(result.p),
                number(result.smallest),
                count(result.n_units),
            )
        )
    header = ("measure", pair.a, pair.b, "difference", "verdict", "p", "smallest found", "units")
    return Table(f"{pair.b} minus {pair.a}", header, tuple(rows))


def changes(pair: Pair) -> Table | None:
    """How many units changed, by kind; None if no kind is matched by unit."""
    if not len(pair.units):
        return None
    counts = pair.units.groupby(["kind", "change"]).size()
    names = ("higher", "lower", "same grades", "cannot be told", "only in a", "only in b")
    rows = tuple(
        (f"{kind}s", *(count(int(counts.get((kind, name), 0))) for name in names))
        for kind in pair.units["kind"].drop_duplicates().sort_values()
    )
    header = ("kind", *names[:4], f"only in {pair.a}", f"only in {pair.b}")
    return Table("Units by how their grades changed", header, rows)


def units(pair: Pair) -> Table | None:
    """The units whose grades changed most, with both explanations; None if no kind is matched by unit."""
    matched = pair.units.loc[pair.units["difference"].notna() & (pair.units["difference"] != 0)]
    if not len(matched):
        return None
    rows = tuple(
        (
            str(row["unit_id"]),
            number(row["mean_a"]),
            number(row["mean_b"]),
            number(row["difference"], signed=True),
            str(row["change"]),
            _explanation(row["explanation_a"]),
            _explanation(row["explanation_b"]),
        )
        for row in matched.head(SHOWN_UNITS).to_dict("records")
    )
    header = ("unit", pair.a, pair.b, "difference", "change", f"explanation of {pair.a}", f"explanation of {pair.b}")
    shown = f"The {plural(len(rows), 'unit')} whose grades changed most, of {count(len(matched))} that changed"
    return Table(shown, header, rows)


def pairs(comparison: Comparison) -> list[Table]:
    """The verdict on every pair, a table for each key of a matrix."""
    together = (
        f"; the intervals hold for all {len(comparison.pairs)} pairs together" if len(comparison.pairs) > 1 else ""
    )
    brackets = f"Brackets are {percent(comparison.confidence)} intervals over units and texts{together}"
    header = ("pair", "differ in", "features compared on", "measure", "difference", "verdict", "smallest found")
    return [
        Table(
            f"Along {along}. {brackets}" if along else brackets,
            header,
            tuple(_verdict(pair) for pair in comparison.pairs if pair.along == along),
        )
        for along in dict.fromkeys(pair.along for pair in comparison.pairs)
    ]


def _verdict(pair: Pair) -> tuple[str, ...]:
    result = pair.result
    return (
        f"{pair.b} against {pair.a}",
        ", ".join(pair.differ) or "nothing",
        SHARED[pair.pairing["feature"]],
        result.title,
        estimate(result.difference, result.ci_low, result.ci_high, signed=True),
        result.verdict,
        number(result.smallest),
    )


def _probability(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _explanation(text: object) -> str:
    return clip(text, 160) if isinstance(text, str) else "none"
