"""The league as a table for each judge, and its section of a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from autointerp.errors import UsageError
from autointerp.league.metrics import METRICS, Metric
from autointerp.league.ranking import ERROR, Area, Key, League
from autointerp.league.samples import KINDS

TITLES: Mapping[str, str] = {
    "knows": "A judge that knows which words every explanation covers",
    "errs": f"The same judge, wrong in {ERROR:.0%} of its answers",
    "embedded": "The embedded judge",
}
BEGIN, END = "<!-- league: written by `make scorers-league` -->", "<!-- league: end -->"
"""The marks around the section of a page."""


def markdown(league: League, n_worlds: int) -> str:
    """A table per judge, the best metric first, with a row per compared figure."""
    parts = [f"Means over {n_worlds} worlds; behind ± half the width of the 95% interval over worlds."]
    for judge in dict.fromkeys(key.judge for key in league):
        parts += [f"**{TITLES[judge]}**", "\n".join(_lines(league, judge))]
    return "\n\n".join(parts) + "\n"


def rows(league: League) -> list[dict[str, Any]]:
    """Every cell with all figures, for programs."""
    return [
        {"judge": key.judge, "figure": METRICS[key.metric].name, "source": METRICS[key.metric].source, "kind": key.kind}
        | {name: None if value != value else value for name, value in area._asdict().items()}  # NaN differs from itself
        for key, area in league.items()
    ]


def write_section(page: Path, text: str) -> None:
    """Put the text between the marks of a page. Raises `UsageError` if the page has not exactly one pair of them."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UsageError(f"{page} has no section for the league: add the lines {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")


def _lines(league: League, judge: str) -> Iterator[str]:
    yield "| figure | of | mean | " + " | ".join(KINDS) + " |"
    yield "|---" * (3 + len(KINDS)) + "|"
    by_metric = {n: [league[Key(judge, n, kind)] for kind in KINDS] for n, m in enumerate(METRICS) if m.is_compared}
    defined = {n: areas for n, areas in by_metric.items() if any(area.undefined < 1 for area in areas)}
    for n in sorted(defined, key=lambda n: -_mean(defined[n])):
        yield _row(METRICS[n], defined[n])
    if missing := [f"`{METRICS[n].name}`" for n in by_metric if n not in defined]:
        yield ""
        yield f"Without a figure, because this judge cannot answer: {', '.join(missing)}."


def _row(metric: Metric, areas: list[Area]) -> str:
    cells = [f"{area.mean:.2f} ±{area.margin:.2f}" for area in areas]
    return f"| `{metric.name}` | {metric.source} | {_mean(areas):.2f} | " + " | ".join(cells) + " |"


def _mean(areas: list[Area]) -> float:
    return fmean(area.mean for area in areas)
