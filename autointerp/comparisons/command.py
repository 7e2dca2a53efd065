"""`autointerp compare`: reads finished runs, compares them, writes the comparison and says what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from autointerp.comparisons import needed_size, pages, prose
from autointerp.comparisons.comparison import compare
from autointerp.comparisons.finished_run import read
from autointerp.comparisons.pairing import Side
from autointerp.errors import UsageError


def compare_runs(names: Sequence[str], results: Path, out: Path | None, confidence: float) -> Iterator[str]:
    """Compare runs, write the comparison to `out` (default: a folder in `results/comparisons`), and yield its lines for a terminal.

    A name with commas stands for runs over dictionaries that differ only in the seed of their training. Raises `UsageError`.
    """
    if len(names) < 2:
        raise UsageError(f"{names[0]} alone cannot be compared: name two runs or more, the one to compare with first")
    sides = [_side(name, results) for name in names]
    comparison = compare(sides, confidence=confidence)
    folder = out or pages.folder_of(comparison, results)
    pages.write(comparison, folder)
    yield from prose.cautions(comparison)
    for pair in comparison.pairs:
        yield prose.verdict(pair)
        yield from (f"  {note}" for note in prose.notes(pair))
    yield str(folder / "comparison.html")


def plan(difference: float, names: Sequence[str], results: Path, confidence: float) -> Iterator[str]:
    """How many units and exemplars a difference takes, by the spread of one finished run, or of the differences of two. Raises `UsageError`."""
    if len(names) > 2 or any("," in name for name in names):
        raise UsageError(f"--plan takes one run or two, and not {len(names)}: name runs like those that you plan")
    yield from needed_size.lines(difference, [read(name, results) for name in names], confidence)


def _side(name: str, results: Path) -> Side:
    runs = tuple(read(each, results) for each in name.split(",") if each)
    if not runs:
        raise UsageError(f"{name!r} names no run: join runs with commas, as in RUN,RUN")
    return Side(runs)
